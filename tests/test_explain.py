"""Explanations: exact where the answer is a formula, equal to a second library, and honest about what they miss."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from saliency.core import INPUT_OUTPUT_GRADIENTS, GradientSaliency, IntegratedGradients
from scipy.ndimage import gaussian_filter

from pdlib import explain
from pdlib.errors import ModelError, ParameterError
from pdlib.explain import (
    GAP_FLOOR,
    METHODS,
    PANEL,
    RULES,
    attribute,
    baseline_pictures,
    class_scores,
    gradient,
    integrated_gradients,
    mean_baseline,
    occlusion,
    smooth_grad,
)
from pdlib.networks import keras, tf

SIZE = (12, 16)  # rows and columns differ, so that mixing them up shows
CLASSES = np.array([0, 1, 1, 0, 1])


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (5, *SIZE, 3), dtype=np.uint8)


def power_network(power, seed=1):
    """Logit c is (w_c · x + b_c) to the power; its weights (height, width, 3, 2) and b come with it."""
    picture = keras.Input((*SIZE, 3), name="picture")
    x = keras.layers.Dense(2, name="sums")(keras.layers.Flatten()(picture))
    logits = keras.layers.Dense(2, use_bias=False, name="logits")(
        x if power == 1 else keras.ops.power(x, power)
    )
    model = keras.Model(picture, keras.layers.Softmax(name="probabilities")(logits))
    rng = np.random.default_rng(seed)
    weights, bias = rng.normal(0, 1e-3, (*SIZE, 3, 2)), np.array([0.5, -0.25])
    model.get_layer("sums").set_weights([weights.reshape(-1, 2), bias])
    model.get_layer("logits").set_weights([np.eye(2)])
    return model, weights, bias


def convolutions(activation, seed=3):
    picture = keras.Input((*SIZE, 3), name="picture")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(picture)
    for name, filters in (("first", 5), ("last_conv", 6)):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation=activation, name=name)(x)
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(x)
    logits = keras.layers.Dense(2, name="logits")(x)
    model = keras.Model(picture, keras.layers.Softmax(name="probabilities")(logits))
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0.02, 0.4, weight.shape) for weight in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def smooth():
    return convolutions("softplus")


@pytest.fixture(scope="module")
def bent():
    """Deep and narrow with ReLUs: the gradient jumps often along a path."""
    picture = keras.Input((*SIZE, 3), name="picture")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(picture)
    for place in range(6):
        x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name=f"conv_{place}")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(x)
    model = keras.Model(picture, keras.layers.Dense(2, name="logits")(x))
    rng = np.random.default_rng(7)
    model.set_weights([rng.normal(0, 0.25, weight.shape) for weight in model.get_weights()])
    return model


def apart(found, expected):
    """Largest difference as a share of the largest expected value."""
    return float(np.abs(np.asarray(found, dtype=float) - expected).max() / np.abs(expected).max())


def chosen(weights, classes=CLASSES):
    """Weights of the asked class for each picture, shape (n, height, width, 3)."""
    return np.moveaxis(weights, -1, 0)[classes]


# ── one signature, one map type ────────────────────────────────────────────────────────────────────────
def test_all_methods_are_called_alike_and_return_one_kind_of_map(smooth, pictures):
    for name, method in METHODS.items():
        parameters = inspect.signature(method).parameters
        assert list(parameters)[:3] == ["model", "pictures", "classes"]
        assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in list(parameters.values())[3:])
        assert parameters["batch_size"].default == 32
        found = attribute(smooth, pictures, CLASSES, name)
        assert found.maps.dtype == np.float32 and found.maps.shape == (5, *SIZE)
        assert found.dead.dtype == bool and found.dead.shape == (5,)
        assert found.method == name and found.settings["output"] in explain.OUTPUTS
        assert found.signed == (found.maps.min() < 0)
        assert (found.gap is not None) == (name == "integrated_gradients")
        assert (found.maps == method(smooth, pictures, CLASSES).maps).all(), "the same call, another answer"


@pytest.mark.parametrize("name", METHODS)
def test_batches_and_neighbours_change_nothing(bent, pictures, name):
    options = {"layer": "conv_3"} if "cam" in name else {}
    whole = attribute(bent, pictures, CLASSES, name, **options)
    assert whole.maps.any()
    for size in (4, 1):
        parts = attribute(bent, pictures, CLASSES, name, batch_size=size, **options)
        assert apart(parts.maps, whole.maps) < 1e-5
    alone = attribute(bent, pictures[3:4], CLASSES[3:4], name, **options)
    assert apart(alone.maps[0], whole.maps[3]) < 1e-5


@pytest.mark.parametrize("name", METHODS)
def test_a_network_inside_a_network_gets_the_same_maps_and_is_not_changed(smooth, pictures, name):
    picture = keras.Input((*SIZE, 3))
    outer = keras.Model(picture, smooth(picture))
    before = smooth.get_weights()
    expected = attribute(smooth, pictures, CLASSES, name).maps
    found = attribute(outer, pictures, CLASSES, name).maps
    assert apart(found, expected) < 1e-5
    assert all((a == b).all() for a, b in zip(before, smooth.get_weights(), strict=True))


@pytest.mark.parametrize("name", METHODS)
def test_what_does_not_fit_is_refused_by_every_method(smooth, pictures, name):
    for wrong in (pictures[:, :8], pictures[0], pictures[:0]):
        with pytest.raises(ModelError, match="do not fit"):
            attribute(smooth, wrong, CLASSES[: len(wrong)], name)
    for classes in ([0], CLASSES + 1, CLASSES.astype(float), CLASSES - 1):
        with pytest.raises(ModelError, match="classes"):
            attribute(smooth, pictures, classes, name)
    with pytest.raises(ParameterError, match="batch_size"):
        attribute(smooth, pictures, CLASSES, name, batch_size=0)
    with pytest.raises(ParameterError, match=f"{name} has no setting layers.*\n.*batch_size"):
        attribute(smooth, pictures, CLASSES, name, layers="last_conv")


@pytest.mark.parametrize("name", ["gradient", "smooth_grad", "integrated_gradients", "occlusion"])
def test_maps_that_are_not_finite_are_refused(pictures, name):
    broken = convolutions("relu")
    kernel, bias = broken.get_layer("logits").get_weights()
    broken.get_layer("logits").set_weights([np.full_like(kernel, np.nan), bias])
    with pytest.raises(ModelError, match=f"{name} map .* is not finite"):
        attribute(broken, pictures, CLASSES, name)


def test_unknown_methods_and_settings_are_refused(smooth, pictures):
    with pytest.raises(ParameterError, match="method = 'lime'.*\n.*grad_cam, grad_cam_pp"):
        attribute(smooth, pictures, CLASSES, "lime")
    for name, wrong in (
        ("gradient", {"output": "loss"}),
        ("smooth_grad", {"samples": 0}),
        ("smooth_grad", {"noise": 0}),
        ("smooth_grad", {"seed": -1}),
        ("integrated_gradients", {"steps": 0}),
        ("integrated_gradients", {"steps": 8, "max_steps": 4}),
        ("integrated_gradients", {"rule": "simpson"}),
        ("integrated_gradients", {"tolerance": 0}),
        ("integrated_gradients", {"baseline": "grey"}),
        ("integrated_gradients", {"baseline": []}),
        ("integrated_gradients", {"baseline": "blur", "sigma": 0}),
        ("occlusion", {"grid": 8}),
        ("occlusion", {"grid": (0, 4)}),
        ("occlusion", {"grid": (2.0, 4)}),
        ("occlusion", {"grid": (SIZE[0] + 1, 4)}),
        ("occlusion", {"fill": "grey"}),
    ):
        with pytest.raises(ParameterError):
            attribute(smooth, pictures, CLASSES, name, **wrong)
    for baseline in (np.zeros((4, 4, 3)), np.zeros((4, *SIZE, 3)), np.full((*SIZE, 3), np.nan), [["black"]]):
        with pytest.raises(ModelError, match="baseline"):
            integrated_gradients(smooth, pictures, CLASSES, baseline=baseline)
        with pytest.raises(ModelError, match="baseline"):
            occlusion(smooth, pictures, CLASSES, fill=baseline)


# ── gradients ──────────────────────────────────────────────────────────────────────────────────────────
def test_the_gradient_of_a_linear_network_is_its_weights(pictures):
    model, weights, _bias = power_network(1)
    expected = chosen(weights).sum(axis=-1)
    assert gradient(model, pictures, CLASSES).maps == pytest.approx(expected, abs=1e-8)
    assert smooth_grad(model, pictures, CLASSES).maps == pytest.approx(expected, abs=1e-8)


def test_the_gradient_of_a_probability_follows_the_chain_rule(pictures):
    model, weights, _bias = power_network(1)
    spread = model(pictures).numpy().prod(axis=1)
    away = chosen(weights) - chosen(weights, 1 - CLASSES)
    expected = spread[:, None, None] * away.sum(axis=-1)
    found = gradient(model, pictures, CLASSES, output="probabilities")
    assert found.maps == pytest.approx(expected, abs=1e-8)
    assert found.settings == {"output": "probabilities"}


def test_the_gradient_is_what_the_score_changes_by_per_grey_level(smooth, pictures):
    maps = gradient(smooth, pictures, CLASSES).maps
    for row, column in ((0, 0), (5, 9), (11, 15)):
        lighter, darker = pictures.astype(float), pictures.astype(float)
        lighter[:, row, column] += 4
        darker[:, row, column] -= 4
        change = class_scores(smooth, lighter, CLASSES) - class_scores(smooth, darker, CLASSES)
        assert apart(maps[:, row, column], change / 8) < 0.02


def test_the_noise_of_smooth_grad_is_the_stated_one(pictures):
    """Closed form: the gradient of a square is linear, so the mean gradient is the one at the mean noise."""
    model, weights, bias = power_network(2)
    noise = np.random.default_rng(4).normal(0, 0.2 * 255, (7, *SIZE, 3)).mean(axis=0)
    own = chosen(weights)
    sums = ((pictures + noise) * own).sum(axis=(1, 2, 3)) + bias[CLASSES]
    expected = 2 * sums[:, None, None] * own.sum(axis=-1)
    found = smooth_grad(model, pictures, CLASSES, samples=7, noise=0.2, seed=4)
    assert found.maps == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert found.settings == {"samples": 7, "noise": 0.2, "seed": 4, "output": "logits"}
    other = smooth_grad(model, pictures, CLASSES, samples=7, noise=0.2, seed=5)
    assert np.abs(other.maps - found.maps).max() > 1e-6


def asked_gradient(model, label):
    """The network as PAIR's library calls it: gradients of one logit for a batch of pictures."""

    def call(x, call_model_args=None, expected_keys=None):
        x = tf.convert_to_tensor(x, dtype=tf.float32)
        logits = keras.Model(model.input, model.get_layer("logits").output)
        with tf.GradientTape() as tape:
            tape.watch(x)
            score = logits(x)[:, label]
        return {INPUT_OUTPUT_GRADIENTS: tape.gradient(score, x).numpy()}

    return call


def test_smooth_grad_is_that_of_a_second_library(smooth, pictures, monkeypatch):
    found = smooth_grad(smooth, pictures, CLASSES, samples=6, noise=0.1, seed=2).maps
    for picture, label, ours in zip(pictures.astype(float), CLASSES, found, strict=True):
        draws = iter(np.random.default_rng(2).normal(0, 25.5, (6, *SIZE, 3)))
        spread = 25.5 / np.ptp(picture)  # it takes the noise relative to the picture's own range
        with monkeypatch.context() as patch:
            patch.setattr(np.random, "normal", lambda mean, width, shape, draws=draws: next(draws))
            theirs = GradientSaliency().GetSmoothedMask(
                picture, asked_gradient(smooth, label), stdev_spread=spread, nsamples=6, magnitude=False
            )
        assert apart(ours, theirs.sum(axis=-1)) < 1e-5


# ── integrated gradients ───────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steps", [1, 3, 32])
def test_integrated_gradients_are_exact_on_a_linear_network(pictures, rule, steps):
    model, weights, _bias = power_network(1)
    for baseline, start in (("black", 0.0), ("white", 255.0)):
        expected = (chosen(weights) * (pictures - start)).sum(axis=-1)
        found = integrated_gradients(
            model, pictures, CLASSES, baseline=baseline, rule=rule, steps=steps, max_steps=steps
        )
        assert found.maps == pytest.approx(expected, abs=1e-5)
        assert found.gap.dtype == np.float64 and found.gap.max() < 1e-3
        assert found.settings["steps_used"] == (steps,) * 5


@pytest.mark.parametrize(("power", "steps", "exact"), [(2, 1, RULES), (3, 2, RULES[:1]), (4, 2, RULES[:1])])
@pytest.mark.parametrize("rule", RULES)
def test_rules_are_exact_up_to_their_degree(pictures, power, steps, exact, rule):
    """Closed form: the integral of p·(a + t·d)^(p−1) over t is ((a + d)^p − a^p)/d, d being the change of w·x."""
    model, weights, bias = power_network(power)
    own, offset = chosen(weights), bias[CLASSES]
    rise = (own * pictures).sum(axis=(1, 2, 3))
    slope = ((offset + rise) ** power - offset**power) / rise
    expected = slope[:, None, None] * (own * pictures).sum(axis=-1)
    found = integrated_gradients(model, pictures, CLASSES, rule=rule, steps=steps, max_steps=steps)
    largest = np.abs(expected).max(axis=(1, 2))
    error = np.abs(found.maps - expected).max(axis=(1, 2)) / largest
    if rule in exact:
        assert error.max() < 1e-4 and found.gap.max() < 1e-3
    else:
        assert error.max() > 1e-3 and found.gap.max() > 1e-3


@pytest.mark.parametrize("baseline", ["black", "blur"])
def test_integrated_gradients_are_those_of_a_second_library(smooth, pictures, baseline):
    found = integrated_gradients(smooth, pictures, CLASSES, baseline=baseline, tolerance=1e-4).maps
    starts, steps = baseline_pictures(pictures, baseline).astype(float), 101
    for picture, start, label, ours in zip(pictures.astype(float), starts, CLASSES, found, strict=True):
        call = asked_gradient(smooth, label)
        theirs = IntegratedGradients().GetMask(
            picture, call, x_steps=steps, x_baseline=start, batch_size=steps
        )
        # it weighs the ends of the path like the points between them; with half their weight it is the trapezoid rule
        ends = sum(GradientSaliency().GetMask(end, call) for end in (start, picture)) / 2
        theirs = (theirs * steps - ends * (picture - start)) / (steps - 1)
        assert apart(ours, theirs.sum(axis=-1)) < 1e-4


@pytest.mark.parametrize("output", explain.OUTPUTS)
def test_maps_sum_to_the_change_of_what_is_explained(smooth, pictures, output):
    found = integrated_gradients(smooth, pictures, CLASSES, baseline="white", output=output)
    white = np.full_like(pictures, 255)
    with_it, without = (class_scores(smooth, x, CLASSES, output=output) for x in (pictures, white))
    assert found.maps.sum(axis=(1, 2)) == pytest.approx(with_it - without, rel=0.01, abs=1e-6)
    scale = np.maximum(np.abs(with_it - without), GAP_FLOOR * np.maximum(np.abs(with_it), np.abs(without)))
    by_hand = np.abs(found.maps.sum(axis=(1, 2), dtype=float) - (with_it - without)) / scale
    assert found.gap == pytest.approx(by_hand, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_points_are_added_where_the_gap_is_too_large_and_nowhere_else(bent, pictures, rule):
    options = {"baseline": "white", "rule": rule}
    coarse = integrated_gradients(bent, pictures, CLASSES, steps=PANEL, max_steps=PANEL, **options)
    assert coarse.settings["steps_used"] == (PANEL,) * 5
    tolerance = float(np.median(coarse.gap))  # two pictures are above it
    fine = integrated_gradients(bent, pictures, CLASSES, steps=PANEL, tolerance=tolerance, **options)
    again = np.array(fine.settings["steps_used"]) > PANEL
    assert (again == (coarse.gap > tolerance)).all() and again.sum() == 2
    assert (fine.gap <= tolerance).all()
    assert (fine.maps[~again] == coarse.maps[~again]).all()


@pytest.fixture(scope="module")
def integral(bent, pictures):
    """The integral from white and from black itself, by a thousand midpoints."""
    options = {"rule": "midpoint", "steps": 1000, "max_steps": 1000, "baseline": ["white", "black"]}
    return integrated_gradients(bent, pictures[:2], CLASSES[:2], **options).maps


@pytest.mark.parametrize("rule", RULES)
def test_refined_maps_come_close_to_the_integral_itself(bent, pictures, integral, rule):
    """Pixel by pixel: adding points must not only mend the sum."""
    options = {"baseline": ["white", "black"], "rule": rule, "steps": 4, "max_steps": 256}
    errors = []
    for tolerance in (1e9, 1e-6):
        found = integrated_gradients(bent, pictures[:2], CLASSES[:2], tolerance=tolerance, **options)
        errors.append(np.abs(found.maps - integral).sum() / np.abs(integral).sum())
        assert max(found.settings["steps_used"]) <= 2 * 256  # two paths
    assert errors[1] < errors[0] / 20 and errors[1] < 0.02


def test_a_gap_that_cannot_be_closed_is_returned(bent, pictures):
    found = integrated_gradients(bent, pictures, CLASSES, steps=4, max_steps=8, tolerance=1e-7)
    assert found.settings["steps_used"] == (8,) * 5
    assert (found.gap > 1e-7).all()
    assert found.settings["tolerance"] == 1e-7 and found.settings["max_steps"] == 8


def test_the_gap_does_not_depend_on_the_scale_of_the_logits(bent, pictures):
    scaled = keras.models.clone_model(bent)
    scaled.set_weights(bent.get_weights())
    kernel, bias = scaled.get_layer("logits").get_weights()
    scaled.get_layer("logits").set_weights([1024 * kernel, 1024 * bias])
    gaps = [
        integrated_gradients(model, pictures, CLASSES, steps=4, max_steps=4).gap for model in (bent, scaled)
    ]
    assert gaps[0].min() > 1e-4
    assert gaps[1] == pytest.approx(gaps[0], rel=1e-2)


def test_a_change_near_zero_is_measured_against_the_score(smooth, pictures):
    """Relative to a change near zero, the rounding of float32 alone would be a gap of any size."""
    start = pictures.astype(float)
    start[:, 3, 4, 1] += 0.5
    found = integrated_gradients(smooth, pictures, CLASSES, baseline=start)
    with_it, without = (class_scores(smooth, x, CLASSES) for x in (pictures, start))
    missed = np.abs(found.maps.sum(axis=(1, 2), dtype=float) - (with_it - without))
    floor = GAP_FLOOR * np.maximum(np.abs(with_it), np.abs(without))
    assert (np.abs(with_it - without) < floor).all()
    assert found.gap == pytest.approx(missed / floor, rel=1e-6, abs=1e-15) and found.gap.any()


def test_a_picture_that_is_its_own_baseline_has_a_dead_map_without_gap(smooth, pictures):
    found = integrated_gradients(smooth, pictures, CLASSES, baseline=pictures[1])
    assert found.dead.tolist() == [False, True, False, False, False]
    assert found.gap[1] == 0 and not found.maps[1].any()


def test_several_baselines_are_averaged(smooth, pictures):
    own = 255 - pictures
    several = ["black", pictures[4] // 2, own]
    found = integrated_gradients(smooth, pictures, CLASSES, baseline=several)
    single = [integrated_gradients(smooth, pictures, CLASSES, baseline=one) for one in several]
    expected = np.mean([one.maps for one in single], axis=0)
    assert apart(found.maps, expected) < 2e-3
    names = found.settings["baseline"]
    assert names[0] == "black" and names[1].startswith("picture ") and names[1] != names[2]
    assert names == tuple(one.settings["baseline"][0] for one in single)
    with_it = class_scores(smooth, pictures, CLASSES)
    starts = [np.zeros_like(pictures), np.broadcast_to(several[1], pictures.shape), own]
    without = np.mean([class_scores(smooth, start, CLASSES) for start in starts], axis=0)
    assert found.maps.sum(axis=(1, 2)) == pytest.approx(with_it - without, rel=0.01, abs=1e-5)
    assert found.gap.max() <= 0.01


def test_one_baseline_per_picture_is_used_for_its_picture(smooth, pictures):
    own = 255 - pictures
    found = integrated_gradients(smooth, pictures, CLASSES, baseline=own).maps
    for row in range(5):
        alone = integrated_gradients(
            smooth, pictures[row : row + 1], CLASSES[row : row + 1], baseline=own[row]
        ).maps[0]
        assert apart(found[row], alone) < 1e-5


def test_named_baselines_are_what_they_say(pictures):
    assert not baseline_pictures(pictures, "black").any()
    assert (baseline_pictures(pictures, "white") == 255).all()
    mean = baseline_pictures(pictures, "mean")
    assert mean[2, 3, 4] == pytest.approx(pictures[2].mean(axis=(0, 1)), rel=1e-6)
    assert (mean == mean[:, :1, :1]).all()
    blurred = baseline_pictures(pictures, "blur", sigma=2.0)
    by_channel = gaussian_filter(pictures[1, ..., 2].astype(float), 2.0, mode="nearest")
    assert blurred[1, ..., 2] == pytest.approx(by_channel, abs=1e-3)
    default = baseline_pictures(pictures, "blur")
    assert (default == baseline_pictures(pictures, "blur", sigma=SIZE[0] / 10)).all()
    assert mean_baseline(pictures) == pytest.approx(pictures.mean(axis=0), rel=1e-6)
    assert mean_baseline(pictures).dtype == np.float32
    with pytest.raises(ModelError, match="no mean picture"):
        mean_baseline(pictures[:0])


def test_the_width_of_the_blur_is_on_record(smooth, pictures):
    found = integrated_gradients(smooth, pictures, CLASSES, baseline="blur", sigma=1.5)
    assert found.settings["baseline"] == ("blur of 1.5 px",)
    assert occlusion(smooth, pictures, CLASSES, fill="blur").settings["fill"] == "blur of 1.2 px"


# axioms of Sundararajan, Taly and Yan 2017


def test_a_pixel_the_network_does_not_read_gets_nothing(bent, pictures):
    picture = keras.Input((*SIZE, 3))
    mask = np.ones((*SIZE, 1), dtype=np.float32)
    mask[4:7, 5:9] = 0
    model = keras.Model(picture, bent(picture * mask))
    for name in ("gradient", "smooth_grad", "integrated_gradients"):
        maps = attribute(model, pictures, CLASSES, name).maps
        assert not maps[:, mask[..., 0] == 0].any() and maps[:, mask[..., 0] == 1].any()
    kept = mask.copy()
    kept[:] = 0
    kept[:6, :8] = 1  # exactly one cell of a 2 × 2 grid is read
    model = keras.Model(picture, bent(picture * kept))
    maps = occlusion(model, pictures, CLASSES, grid=(2, 2)).maps
    assert maps[:, :6, :8].all() and not maps[:, kept[..., 0] == 0].any()


def test_a_pixel_that_alone_changed_the_score_gets_all_of_it(smooth, pictures):
    start = pictures.astype(float)
    start[:, 6, 7] = 255 - start[:, 6, 7]
    found = integrated_gradients(smooth, pictures, CLASSES, baseline=start).maps
    change = class_scores(smooth, pictures, CLASSES) - class_scores(smooth, start, CLASSES)
    assert found[:, 6, 7] == pytest.approx(change, rel=0.02, abs=1e-6)
    found[:, 6, 7] = 0
    assert not found.any()


def test_pixels_that_play_the_same_part_get_the_same_share():
    model, weights, bias = power_network(3)
    weights[9, 2] = weights[1, 13]
    model.get_layer("sums").set_weights([weights.reshape(-1, 2), bias])
    picture = np.random.default_rng(3).integers(0, 256, (1, *SIZE, 3))
    picture[0, 9, 2] = picture[0, 1, 13]
    for name in ("gradient", "integrated_gradients"):
        maps = attribute(model, picture, [1], name).maps[0]
        assert maps[9, 2] == pytest.approx(maps[1, 13], rel=1e-5) and maps[9, 2] != 0
        assert maps[9, 3] != pytest.approx(maps[1, 13], rel=1e-2)


def test_two_networks_of_the_same_function_get_the_same_maps(pictures):
    """The second has twice the channels, half the weight behind them, and its layers in another order."""
    first = convolutions("relu")
    picture = keras.Input((*SIZE, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(picture)
    x = keras.layers.Conv2D(10, 3, strides=2, padding="same", activation="relu", name="first")(x)
    x = keras.layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="last_conv")(x)
    x = keras.layers.Dense(2, name="per_cell")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    second = keras.Model(picture, keras.layers.Activation("linear", name="logits")(x))
    kernels = {layer.name: layer.get_weights() for layer in first.layers if layer.get_weights()}
    second.get_layer("first").set_weights(
        [np.concatenate([part, part], axis=-1) for part in kernels["first"]]
    )
    kernel, bias = kernels["last_conv"]
    second.get_layer("last_conv").set_weights([np.concatenate([0.25 * kernel, 0.75 * kernel], axis=2), bias])
    second.get_layer("per_cell").set_weights(kernels["logits"])
    for name in ("gradient", "integrated_gradients", "occlusion"):
        maps = [attribute(model, pictures, CLASSES, name).maps for model in (first, second)]
        assert apart(maps[1], maps[0]) < 1e-4


# ── occlusion ──────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("grid", [(3, 4), (5, 7), (1, 1), (12, 1)])
@pytest.mark.parametrize("fill", ["black", "white", "mean", "picture"])
def test_what_a_linear_network_loses_with_a_cell_is_a_sum(pictures, grid, fill):
    model, weights, _bias = power_network(1)
    given = np.roll(pictures, 1, axis=0) if fill == "picture" else fill
    replaced = given if fill == "picture" else baseline_pictures(pictures, fill)
    pixel = (chosen(weights) * (pictures.astype(float) - replaced)).sum(axis=-1)
    found = occlusion(model, pictures, CLASSES, grid=grid, fill=given)
    for one, share in zip(found.maps, pixel, strict=True):
        heights, widths = set(), set()
        values = np.unique(one)
        assert len(values) == grid[0] * grid[1]
        for value in values:
            cell = one == value
            height, width = (np.ptp(places) + 1 for places in np.nonzero(cell))
            assert cell.sum() == height * width, "a cell that is no rectangle"
            assert value == pytest.approx(share[cell].sum(), abs=1e-5)
            heights.add(height)
            widths.add(width)
        assert np.ptp(list(heights)) <= 1 and np.ptp(list(widths)) <= 1
    assert found.settings["grid"] == grid


def test_cells_of_one_pixel_are_the_pixels(pictures):
    model, weights, _bias = power_network(1)
    found = occlusion(model, pictures, CLASSES, grid=SIZE)
    assert found.maps == pytest.approx((chosen(weights) * pictures).sum(axis=-1), abs=1e-5)


def test_occlusion_is_the_fall_of_the_explained_output(smooth, pictures):
    for output in explain.OUTPUTS:
        found = occlusion(smooth, pictures, CLASSES, grid=(3, 2), fill="white", output=output)
        covered = pictures.copy()
        covered[:, 4:8, 8:] = 255
        scores = [class_scores(smooth, x, CLASSES, output=output) for x in (pictures, covered)]
        assert found.maps[:, 5, 9] == pytest.approx(scores[0] - scores[1], abs=1e-6)
    assert found.signed and found.settings == {"grid": (3, 2), "fill": "white", "output": "probabilities"}
