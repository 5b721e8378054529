"""Class activation maps: equal to each method written out by hand, and they find a region planted in the weights."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from pdlib.cams import grad_cam, grad_cam_pp, layer_cam, score_cam
from pdlib.errors import ModelError, ParameterError
from pdlib.maps import enlarge
from pdlib.networks import CustNetConfig, custnet, keras, tf

TINY = CustNetConfig(input_size=32, width=0.125)
ALL = {"grad_cam": grad_cam, "grad_cam_pp": grad_cam_pp, "layer_cam": layer_cam, "score_cam": score_cam}
CLASSES = np.array([0, 1, 1, 0, 1, 0])


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def network():
    return custnet(TINY, seed=5)


def small_network(seed=3):
    """Three convolutions in a row: gradients at the first two differ from cell to cell, and all paths pass them."""
    picture = keras.Input((32, 32, 3), name="picture")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(picture)
    for name, filters in (("first", 5), ("second", 6), ("last_conv", 7)):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu", name=name)(x)
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(x)
    logits = keras.layers.Dense(2, name="logits")(x)
    model = keras.Model(picture, keras.layers.Softmax(name="probabilities")(logits))
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0.02, 0.25, weight.shape) for weight in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def small():
    return small_network()


def activations_and_gradients(model, pictures, classes, layer):
    """Maps of the layer, gradients of the asked logits by them, and these logits, float64."""
    both = keras.Model(model.input, [model.get_layer(layer).output, model.get_layer("logits").output])
    with tf.GradientTape() as tape:
        maps, logits = both(pictures.astype(np.float32))
        score = tf.gather(logits, classes, axis=1, batch_dims=1)
    return [part.numpy().astype(float) for part in (maps, tape.gradient(score, maps), score)]


def grad_cam_by_hand(model, pictures, classes, layer):
    """Equations 22 and 23, as in chapter 7: mean gradient of the logit, weighted sum, negative part dropped."""
    maps, gradients, _ = activations_and_gradients(model, pictures, classes, layer)
    return np.maximum(np.einsum("nijk,nk->nij", maps, gradients.mean(axis=(1, 2))), 0)


def grad_cam_pp_by_hand(model, pictures, classes, layer):
    """Chattopadhay et al. 2018: eq. 19 with Y = exp(S), its weights divided by their sum, then eq. 5 and ReLU."""
    found = []
    for maps, gradient, score in zip(
        *activations_and_gradients(model, pictures, classes, layer), strict=True
    ):
        cam = np.zeros(maps.shape[:2])
        for k in range(maps.shape[2]):
            first, second, third = (np.exp(score) * gradient[..., k] ** power for power in (1, 2, 3))
            below = 2 * second + maps[..., k].sum() * third
            alpha = np.divide(second, below, out=np.zeros_like(below), where=second != 0)
            if alpha.sum() != 0:
                alpha /= alpha.sum()
            cam += (alpha * np.maximum(first, 0)).sum() * maps[..., k]
        found.append(np.maximum(cam, 0))
    return np.stack(found)


def layer_cam_by_hand(model, pictures, classes, layer):
    """Jiang et al. 2021, eq. 5 and 6: every cell weighted by its own gradient where positive."""
    maps, gradients, _ = activations_and_gradients(model, pictures, classes, layer)
    return np.maximum((np.maximum(gradients, 0) * maps).sum(axis=-1), 0)


def corner_aligned(coarse, size):
    """Bilinear enlargement whose outer cell centres lie on the outer pixels, written out."""
    rows, columns = (np.linspace(0, side - 1, size) for side in coarse.shape)
    along = np.stack([np.interp(columns, np.arange(coarse.shape[1]), row) for row in coarse])
    return np.stack([np.interp(rows, np.arange(coarse.shape[0]), column) for column in along.T], axis=1)


def score_cam_by_hand(model, pictures, classes, layer, kept=None):
    """Wang et al. 2020, Algorithm 1, with the weights of tf-keras-vis: the probability of the masked picture."""
    maps = keras.Model(model.input, model.get_layer(layer).output)(pictures.astype(np.float32)).numpy()
    found = []
    for picture, channels, label in zip(pictures, maps, classes, strict=True):
        order = np.argsort(-channels.std(axis=(0, 1)), kind="stable")[:kept]
        cam = np.zeros(channels.shape[:2])
        for k in order:
            mask = corner_aligned(channels[..., k], len(picture))
            mask = (mask - mask.min()) / (mask.max() - mask.min() + 1e-7)
            seen = (picture * mask[..., None])[None].astype(np.float32)
            cam += float(model(seen).numpy()[0, label]) * channels[..., k]
        found.append(np.maximum(cam, 0))
    return np.stack(found)


def scaled(coarse, size=32):
    large = enlarge(coarse, size, size)
    peaks = large.max(axis=(1, 2), keepdims=True)
    return large / np.where(peaks > 0, peaks, 1)


BY_HAND = {
    "grad_cam": grad_cam_by_hand,
    "grad_cam_pp": grad_cam_pp_by_hand,
    "layer_cam": layer_cam_by_hand,
    "score_cam": score_cam_by_hand,
}


@pytest.mark.parametrize("layer", ["first", "second", "last_conv"])
@pytest.mark.parametrize("method", ALL)
def test_maps_are_those_of_the_method_written_out(small, pictures, method, layer):
    expected = scaled(BY_HAND[method](small, pictures, CLASSES, layer))
    found = ALL[method](small, pictures, CLASSES, layer=layer)
    assert found.maps.dtype == np.float32 and found.maps.shape == (6, 32, 32)
    assert (found.dead == ~expected.any(axis=(1, 2))).all() and not found.dead.all()
    # the weights of Grad-CAM++ have a denominator that can come close to zero, where float32 rounds visibly
    assert found.maps == pytest.approx(expected, abs=2e-4 if method == "grad_cam_pp" else 1e-5)
    assert (found.method, found.signed, found.gap) == (method, False, None)
    assert found.settings["layer"] == layer


@pytest.mark.parametrize("layer", ["last_conv", "repair_exit_1_bn"])
def test_grad_cam_is_that_of_chapter_7_also_where_a_path_leads_around_the_layer(network, pictures, layer):
    expected = scaled(grad_cam_by_hand(network, pictures, CLASSES, layer))
    found = grad_cam(network, pictures, CLASSES, layer=layer)
    assert (found.dead == ~expected.any(axis=(1, 2))).all() and not found.dead.all()
    assert found.maps == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("layer", ["first", "last_conv"])
@pytest.mark.parametrize("method", ["grad_cam", "grad_cam_pp", "layer_cam"])
def test_maps_are_those_of_a_second_library(small, pictures, method, layer):
    from tf_keras_vis import gradcam, gradcam_plus_plus, layercam

    cameras = {
        "grad_cam": gradcam.Gradcam,
        "grad_cam_pp": gradcam_plus_plus.GradcamPlusPlus,
        "layer_cam": layercam.Layercam,
    }
    logits = keras.Model(small.inputs, [small.get_layer("logits").output])
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        coarse = cameras[method](logits, clone=False)(
            lambda scores: tf.gather(scores, CLASSES, axis=1, batch_dims=1),
            pictures.astype(np.float32),
            penultimate_layer=layer,
            seek_penultimate_conv_layer=False,
            expand_cam=False,
            normalize_cam=False,
        )
    found = ALL[method](small, pictures, CLASSES, layer=layer).maps
    assert found == pytest.approx(scaled(np.asarray(coarse)), abs=2e-4 if method == "grad_cam_pp" else 1e-5)


def test_the_methods_differ_from_each_other_where_they_should(small, pictures):
    maps = [f(small, pictures, CLASSES, layer="second").maps for f in ALL.values()]
    for place, first in enumerate(maps):
        for second in maps[place + 1 :]:
            assert np.abs(first - second).max() > 0.05


def test_before_the_pooling_the_maps_have_a_closed_form(network, pictures):
    """Behind ``last_conv`` come only the mean and a linear layer: all gradients are the layer's own weights."""
    maps = keras.Model(network.input, network.get_layer("last_conv").output)(pictures).numpy()
    kernel = network.get_layer("logits").get_weights()[0][:, CLASSES]
    plain = scaled(np.maximum(np.einsum("nijk,kn->nij", maps, kernel), 0))
    positive = scaled(np.maximum(np.einsum("nijk,kn->nij", maps, np.maximum(kernel, 0)), 0))
    assert grad_cam(network, pictures, CLASSES).maps == pytest.approx(plain, abs=1e-5)
    assert grad_cam_pp(network, pictures, CLASSES).maps == pytest.approx(positive, abs=1e-5)
    assert layer_cam(network, pictures, CLASSES).maps == pytest.approx(positive, abs=1e-5)


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


@pytest.mark.parametrize("method", ["grad_cam", "grad_cam_pp", "layer_cam"])
def test_a_planted_region_is_found_where_it_is(method):
    picture = np.full((1, 32, 32, 3), 255, dtype=np.uint8)
    picture[0, 8:12, 20:24] = 0  # exactly one cell of the 8 × 8 map
    found = ALL[method](planted_network(), picture, [1])
    heat = found.maps[0]
    assert not found.dead[0] and heat.max() == 1
    assert heat[8:12, 20:24].mean() > 0.5
    far = np.ones((32, 32), dtype=bool)
    far[4:16, 16:28] = False
    assert heat[far].max() == 0
    rows, columns = np.nonzero(heat)
    weights = heat[rows, columns]
    # the centre of the map is the centre of the ink: no half-cell shift
    assert np.average(rows, weights=weights) == pytest.approx(9.5, abs=0.01)
    assert np.average(columns, weights=weights) == pytest.approx(21.5, abs=0.01)


@pytest.mark.parametrize("method", ["grad_cam", "grad_cam_pp", "layer_cam"])
def test_a_map_without_any_support_is_flagged_and_stays_zero(method):
    picture = np.full((2, 32, 32, 3), 255, dtype=np.uint8)
    picture[1, 8:12, 20:24] = 0
    found = ALL[method](planted_network(), picture, [1, 1])
    assert found.dead.tolist() == [True, False] and (found.maps[0] == 0).all()
    against = ALL[method](planted_network(), picture, [0, 0])
    assert against.dead.all() and not against.maps.any()


def test_class_1_is_the_second_logit(pictures):
    """Two logits of opposite sign: what speaks for PD is exactly what speaks against HC."""
    picture = np.full((1, 32, 32, 3), 255, dtype=np.uint8)
    picture[0, 8:12, 20:24] = 0
    model = planted_network()
    assert not grad_cam(model, picture, [1]).dead[0] and grad_cam(model, picture, [0]).dead[0]
    kernel, bias = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([-kernel, bias])
    assert grad_cam(model, picture, [1]).dead[0] and not grad_cam(model, picture, [0]).dead[0]


@pytest.mark.parametrize("score", [150.0, -150.0])
def test_grad_cam_pp_does_not_depend_on_the_size_of_the_score(small, pictures, score):
    """exp(150) is infinite and exp(−150) zero in float32; the weights are relative, so neither may matter."""
    expected = grad_cam_pp(small, pictures, CLASSES, layer="second").maps
    moved = keras.models.clone_model(small)
    moved.set_weights(small.get_weights())
    kernel, bias = moved.get_layer("logits").get_weights()
    moved.get_layer("logits").set_weights([kernel, bias + score])
    assert grad_cam_pp(moved, pictures, CLASSES, layer="second").maps == pytest.approx(expected, abs=1e-5)


def test_score_cam_keeps_the_channels_that_vary_most(small, pictures):
    expected = scaled(score_cam_by_hand(small, pictures, CLASSES, "second", kept=2))
    found = score_cam(small, pictures, CLASSES, layer="second", max_channels=2)
    assert found.maps == pytest.approx(expected, abs=1e-5)
    assert found.settings["max_channels"] == 2
    assert np.abs(found.maps - score_cam(small, pictures, CLASSES, layer="second").maps).max() > 0.01
    # channels are chosen picture by picture, not for the pictures together
    alone = score_cam(small, pictures[2:3], CLASSES[2:3], layer="second", max_channels=2).maps
    assert alone[0] == pytest.approx(found.maps[2], abs=1e-5)
    with pytest.raises(ParameterError, match="layer second has 6 channels"):
        score_cam(small, pictures, CLASSES, layer="second", max_channels=7)
    with pytest.raises(ParameterError, match="max_channels"):
        score_cam(small, pictures, CLASSES, layer="second", max_channels=0)


def test_score_cam_applies_one_softmax_wherever_the_network_ends(small, pictures):
    """On the probabilities tf-keras-vis would apply a second softmax, and the weights would hardly differ."""
    logits = keras.Model(small.input, small.get_layer("logits").output)
    ends = [score_cam(model, pictures, CLASSES).maps for model in (small, logits)]
    assert (ends[0] == ends[1]).all()


def nested(kind):
    """`small_network` with its convolutions inside another network, and the same weights."""
    flat = small_network()
    inner_input = keras.Input((32, 32, 3))
    x = inner_input
    for layer in flat.layers[1:5]:
        x = layer.__class__.from_config(layer.get_config())(x)
    inner = keras.Model(inner_input, x, name="backbone")
    last = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, name="logits")]
    if kind == "sequential":
        model = keras.Sequential([keras.Input((32, 32, 3)), inner, *last])
    else:
        picture = keras.Input((32, 32, 3))
        model = keras.Model(picture, keras.layers.Softmax()(last[1](last[0](inner(picture)))))
    model.set_weights(flat.get_weights())
    return model


@pytest.mark.parametrize("kind", ["sequential", "functional"])
@pytest.mark.parametrize("method", ALL)
def test_a_layer_inside_a_nested_network_is_explained_as_in_the_flat_one(small, pictures, method, kind):
    for layer in ("first", "last_conv"):
        expected = ALL[method](small, pictures, CLASSES, layer=layer).maps
        assert ALL[method](nested(kind), pictures, CLASSES, layer=layer).maps == pytest.approx(
            expected, abs=1e-5
        )


def test_the_explained_class_matters(small, pictures):
    for method in ALL.values():
        first, second = (method(small, pictures, np.full(6, label)).maps for label in (0, 1))
        assert np.abs(first - second).max() > 0.01


@pytest.mark.parametrize("method", ALL)
def test_batches_change_nothing(small, pictures, method):
    whole, parts = (ALL[method](small, pictures, CLASSES, batch_size=size).maps for size in (32, 4))
    assert whole == pytest.approx(parts, abs=1e-5)


@pytest.mark.parametrize("method", ALL)
def test_the_network_is_not_changed(small, pictures, method):
    before, scores = small.get_weights(), small(pictures).numpy()
    layers = [id(layer) for layer in small.layers]
    ALL[method](small, pictures, CLASSES)
    assert all((a == b).all() for a, b in zip(before, small.get_weights(), strict=True))
    assert (small(pictures).numpy() == scores).all()
    assert [id(layer) for layer in small.layers] == layers
    assert small.get_layer("probabilities") and small.output_shape == (None, 2)


def test_nothing_is_printed(small, pictures, capfd):
    for method in ALL.values():
        method(small, pictures, CLASSES)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


def test_only_the_one_known_warning_is_silenced(small, pictures):
    with warnings.catch_warnings():
        warnings.simplefilter("error", category=UserWarning)
        for method in ALL.values():
            method(small, pictures, CLASSES, layer="second")
    picture = keras.Input((32, 32, 3))

    def loud(x):
        warnings.warn("another warning", UserWarning, stacklevel=1)
        return x

    x = keras.layers.Conv2D(2, 3, name="last_conv")(keras.layers.Lambda(loud)(picture))
    model = keras.Model(picture, keras.layers.Dense(2, name="logits")(keras.layers.GlobalMaxPooling2D()(x)))
    with pytest.warns(UserWarning, match="another warning"):
        grad_cam(model, pictures, CLASSES)


@pytest.mark.parametrize("method", ALL)
def test_one_unit_for_two_classes_is_refused(pictures, method):
    """On one sigmoid unit ScoreCAM would weigh every channel by 1, and class 0 would get the map of class 1."""
    picture = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3, name="last_conv")(picture))
    sigmoid = keras.layers.Activation("sigmoid")(keras.layers.Dense(1, name="logits")(x))
    with pytest.raises(ModelError, match="ScoreCAM a softmax over one value"):
        ALL[method](keras.Model(picture, sigmoid), pictures, CLASSES)


def test_wrong_layers_classes_and_pictures_are_refused(small, pictures):
    for method in ALL.values():
        with pytest.raises(ModelError, match="no layer block9"):
            method(small, pictures, CLASSES, layer="block9")
        with pytest.raises(ModelError, match="rows and columns"):
            method(small, pictures, CLASSES, layer="pooled")
        for classes in ([0], CLASSES + 1, CLASSES.astype(float), CLASSES - 1):
            with pytest.raises(ModelError, match="classes"):
                method(small, pictures, classes)
        for wrong in (pictures[:, :16], pictures[0], pictures[:0]):
            with pytest.raises(ModelError, match="do not fit"):
                method(small, wrong, CLASSES[: len(wrong)])
        with pytest.raises(ParameterError, match="batch_size"):
            method(small, pictures, CLASSES, batch_size=0)


def test_a_layer_of_a_single_cell_is_refused(pictures):
    """Its map would be the same everywhere and look like an answer."""
    picture = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D(keepdims=True, name="one")(keras.layers.Conv2D(2, 3)(picture))
    model = keras.Model(picture, keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(x)))
    with pytest.raises(ModelError, match="no rows and columns"):
        grad_cam(model, pictures, CLASSES, layer="one")


def test_weights_that_are_not_finite_are_refused(pictures):
    broken = small_network()
    weights = broken.get_layer("logits").get_weights()
    broken.get_layer("logits").set_weights([np.full_like(weights[0], np.nan), weights[1]])
    for name, method in ALL.items():
        with pytest.raises(ModelError, match=f"{name} map .* is not finite"):
            method(broken, pictures, CLASSES)
