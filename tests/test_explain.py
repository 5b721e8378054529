"""Grad-CAM: equal to equations 22 and 23 computed by hand, and it finds a region planted in the weights."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from pdlib.errors import ModelError, ParameterError
from pdlib.explain import enlarge, grad_cam
from pdlib.networks import CustNetConfig, custnet, keras, tf

TINY = CustNetConfig(input_size=32, width=0.125)


@pytest.fixture(scope="module")
def network():
    return custnet(TINY, seed=5)


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)


CLASSES = np.array([0, 1, 1, 0, 1, 0])


def by_hand(model, pictures, classes, layer):
    """Equations 22 and 23 written out: mean gradient of the logit, weighted sum, negative part dropped."""
    both = keras.Model(model.input, [model.get_layer(layer).output, model.get_layer("logits").output])
    with tf.GradientTape() as tape:
        maps, logits = both(pictures.astype(np.float32))
        score = tf.gather(logits, classes, axis=1, batch_dims=1)
    weights = tape.gradient(score, maps).numpy().mean(axis=(1, 2))
    return np.maximum(np.einsum("nijk,nk->nij", maps.numpy(), weights), 0)


@pytest.mark.parametrize("layer", ["last_conv", "repair_exit_1_bn"])
def test_maps_are_those_of_the_equations(network, pictures, layer):
    expected = enlarge(by_hand(network, pictures, CLASSES, layer), 32, 32)
    peaks = expected.max(axis=(1, 2))
    maps, dead = grad_cam(network, pictures, CLASSES, layer)
    assert (dead == (peaks == 0)).all() and not dead.all()
    assert maps[~dead] == pytest.approx((expected / np.maximum(peaks, 1e-30)[:, None, None])[~dead], abs=1e-4)


def test_before_the_pooling_the_weights_are_those_of_the_last_layer(network, pictures):
    """Closed form: behind ``last_conv`` come only the mean and a linear layer (class activation mapping)."""
    maps = keras.Model(network.input, network.get_layer("last_conv").output)(pictures).numpy()
    kernel = network.get_layer("logits").get_weights()[0]
    rows = maps.shape[1] * maps.shape[2]
    expected = np.maximum(np.einsum("nijk,kn->nij", maps, kernel[:, CLASSES]) / rows, 0)
    assert by_hand(network, pictures, CLASSES, "last_conv") == pytest.approx(expected, abs=1e-5)


def test_the_explained_class_matters(network, pictures):
    first, second = (grad_cam(network, pictures, np.full(6, label)).maps for label in (0, 1))
    assert np.abs(first - second).max() > 0.1


def test_batches_change_nothing(network, pictures):
    whole, parts = (grad_cam(network, pictures, CLASSES, batch_size=size).maps for size in (32, 4))
    assert whole == pytest.approx(parts, abs=1e-5)


def test_the_network_is_not_changed(network, pictures):
    before, scores = network.get_weights(), network(pictures).numpy()
    grad_cam(network, pictures, CLASSES)
    assert all((a == b).all() for a, b in zip(before, network.get_weights(), strict=True))
    assert (network(pictures).numpy() == scores).all()


def planted_network(size=32):
    """A network that only sees ink: class 1 is bright where the picture is dark, class 0 never."""
    picture = keras.Input((size, size, 3))
    x = keras.layers.Rescaling(-1 / 255, offset=1.0)(picture)
    x = keras.layers.AveragePooling2D(4)(x)
    x = keras.layers.Conv2D(1, 1, use_bias=False, name="last_conv")(x)
    pooled = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(picture, keras.layers.Dense(2, name="logits")(pooled))
    model.get_layer("last_conv").set_weights([np.full((1, 1, 3, 1), 1 / 3)])
    model.get_layer("logits").set_weights([np.array([[-1.0, 1.0]]), np.zeros(2)])
    return model


def test_a_planted_region_is_found_where_it_is():
    picture = np.full((1, 32, 32, 3), 255, dtype=np.uint8)
    picture[0, 8:12, 20:24] = 0  # exactly one cell of the 8 × 8 map
    maps, dead = grad_cam(planted_network(), picture, [1])
    assert not dead[0] and maps.max() == 1
    assert maps[0, 8:12, 20:24].mean() > 0.5
    far = np.ones((32, 32), dtype=bool)
    far[4:16, 16:28] = False
    assert maps[0][far].max() == 0
    rows, columns = np.nonzero(maps[0])
    weights = maps[0][rows, columns]
    # the centre of the map is the centre of the ink: no half-cell shift
    assert np.average(rows, weights=weights) == pytest.approx(9.5, abs=0.01)
    assert np.average(columns, weights=weights) == pytest.approx(21.5, abs=0.01)


def test_a_map_without_any_support_is_flagged_and_stays_zero():
    picture = np.full((2, 32, 32, 3), 255, dtype=np.uint8)
    picture[1, 8:12, 20:24] = 0
    maps, dead = grad_cam(planted_network(), picture, [1, 1])
    assert dead.tolist() == [True, False] and (maps[0] == 0).all()
    assert grad_cam(planted_network(), picture, [0, 0]).dead.all()


def test_an_outer_cell_is_enlarged_over_its_own_part():
    coarse = np.zeros((1, 4, 4))
    coarse[0, 0, 0] = 1
    large = enlarge(coarse, 32, 32)[0]
    assert large[:4, :4].min() == 1  # half a cell from the edge the value is its own
    assert large[8:, 12:].max() == 0


def test_enlarging_is_linear_between_the_centres_of_cells():
    assert enlarge(np.array([[[0.0, 1.0]]]), 1, 4)[0, 0] == pytest.approx([0, 0.25, 0.75, 1])


def test_only_the_one_known_warning_is_silenced(network, pictures):
    with warnings.catch_warnings():
        warnings.simplefilter("error", category=UserWarning)
        grad_cam(network, pictures, CLASSES)
    picture = keras.Input((32, 32, 3))

    def loud(x):
        warnings.warn("another warning", UserWarning, stacklevel=1)
        return x

    x = keras.layers.Conv2D(2, 3, name="last_conv")(keras.layers.Lambda(loud)(picture))
    model = keras.Model(picture, keras.layers.Dense(2, name="logits")(keras.layers.GlobalMaxPooling2D()(x)))
    with pytest.warns(UserWarning, match="another warning"):
        grad_cam(model, pictures, CLASSES)


def test_a_network_inside_a_network_is_refused_with_the_way_out(pictures):
    inner = custnet(TINY, seed=0)
    picture = keras.Input((32, 32, 3))
    outer = keras.Model(picture, inner(picture))
    with pytest.raises(ModelError, match="one functional graph"):
        grad_cam(outer, pictures, CLASSES)


def test_wrong_layers_classes_and_pictures_are_refused(network, pictures):
    with pytest.raises(ModelError, match="no layer block9"):
        grad_cam(network, pictures, CLASSES, "block9")
    with pytest.raises(ModelError, match="rows and columns"):
        grad_cam(network, pictures, CLASSES, "pooled")
    for classes in ([0], CLASSES + 1, CLASSES.astype(float), CLASSES - 1):
        with pytest.raises(ModelError, match="classes"):
            grad_cam(network, pictures, classes)
    for wrong in (pictures[:, :16], pictures[0], pictures[:0]):
        with pytest.raises(ModelError, match="do not fit"):
            grad_cam(network, wrong, CLASSES[: len(wrong)])
    with pytest.raises(ParameterError, match="batch_size"):
        grad_cam(network, pictures, CLASSES, batch_size=0)


def test_weights_that_are_not_finite_are_refused(pictures):
    broken = custnet(TINY, seed=0)
    weights = broken.get_layer("logits").get_weights()
    broken.get_layer("logits").set_weights([np.full_like(weights[0], np.nan), weights[1]])
    with pytest.raises(ModelError, match="not finite"):
        grad_cam(broken, pictures, CLASSES)
