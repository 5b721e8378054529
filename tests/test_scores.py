"""Scores of explanations on cases whose answer is known: closed forms, all orders, drawn masks, second libraries."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import bootstrap, spearmanr

from pdlib import scores
from pdlib.errors import DataError, ModelError, ParameterError
from pdlib.networks import CustNetConfig, custnet, keras, tf

SIDE = 12


def linear_network(kernel):
    """Logits are a linear function of the picture: ``kernel`` of shape (height, width, 3, 2)."""
    height, width = kernel.shape[:2]
    picture = keras.Input((height, width, 3), name="picture")
    logits = keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(picture))
    model = keras.Model(picture, keras.layers.Activation("softmax", name="probabilities")(logits))
    model.set_weights([kernel.reshape(-1, 2).astype(np.float32), np.array([0.3, -0.2], np.float32)])
    return model


@pytest.fixture(scope="module")
def linear():
    """Class 1 looks at the block of rows 4–7 and columns 8–11 alone, class 0 nowhere."""
    kernel = np.zeros((SIDE, SIDE, 3, 2))
    kernel[4:8, 8:12, :, 1] = np.random.default_rng(1).uniform(0.5, 1, (4, 4, 3)) / 1000
    return linear_network(kernel)


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(2).integers(1, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)


def kernel_of(model):
    weights = model.get_layer("logits").kernel.numpy()
    return weights.reshape(*model.input_shape[1:], -1)


def contributions(model, pictures, classes):
    """What each pixel adds to the logit over a black baseline: the one true map of a linear network."""
    weights = np.moveaxis(kernel_of(model), -1, 0)[classes]
    return (weights * pictures).sum(axis=-1)


ONES = np.ones(5, dtype=int)
BLACK = np.zeros((SIDE, SIDE, 3))


# --- one grid ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("height", "width", "grid"), [(12, 12, 3), (7, 11, 7), (96, 224, 7), (10, 13, 4)])
def test_pooling_and_spreading_keep_the_mean(height, width, grid):
    maps = np.random.default_rng(0).normal(size=(3, height, width))
    pooled = scores.pool(maps, grid)
    means = maps.mean(axis=(1, 2))
    assert pooled.mean(axis=(1, 2)) == pytest.approx(means)
    assert scores.spread(pooled, height, width).mean(axis=(1, 2)) == pytest.approx(means)


def test_a_pixel_that_a_border_cuts_counts_by_its_area():
    maps = np.array([[[1.0, 2.0, 4.0], [1.0, 2.0, 4.0], [1.0, 2.0, 4.0]]])
    assert scores.pool(maps, 2)[0] == pytest.approx(np.array([[4 / 3, 10 / 3]] * 2))
    drawn = scores.spread(np.array([[[0.0, 1.0], [0.0, 1.0]]]), 3, 3)[0]
    assert drawn == pytest.approx(np.array([[0, 0.5, 1]] * 3))


def test_even_cells_are_plain_block_means():
    maps = np.random.default_rng(0).normal(size=(2, 12, 20))
    blocks = maps.reshape(2, 4, 3, 4, 5).mean(axis=(2, 4))
    assert scores.pool(maps, 4) == pytest.approx(blocks)
    assert scores.pool(scores.spread(blocks, 12, 20), 4) == pytest.approx(blocks)


@pytest.mark.parametrize("grid", [0, 13, 2.0, True])
def test_a_grid_that_does_not_fit_is_refused(grid):
    with pytest.raises(ParameterError, match="grid"):
        scores.pool(np.zeros((1, 12, 12)), grid)


@pytest.mark.parametrize("maps", [np.zeros((12, 12)), np.full((1, 12, 12), np.nan), np.zeros((0, 12, 12))])
def test_what_is_no_map_is_refused(maps):
    with pytest.raises(DataError, match="maps of shape"):
        scores.pool(maps, 3)


# --- deletion and insertion -------------------------------------------------------------------------------
def test_the_true_map_of_a_linear_network_beats_every_order():
    """All 9! orders of a 3 × 3 grid, their areas added up from the network's output in all 512 states."""
    rng = np.random.default_rng(3)
    model = linear_network(rng.normal(size=(6, 6, 3, 2)) / 1000)
    picture, baseline = rng.integers(0, 256, (2, 1, 6, 6, 3))
    true = contributions(model, picture.astype(float) - baseline, np.array([1]))

    states = (np.arange(512)[:, None] >> np.arange(9)) & 1  # 1: seen
    seen = np.kron(states.reshape(-1, 3, 3), np.ones((2, 2)))[..., None]
    outputs = scores.compiled(model)((picture * seen + baseline * (1 - seen)).astype(np.float32))[:, 1]
    orders = np.array(list(permutations(range(9))))
    brought = np.cumsum(1 << orders, axis=1)
    path = np.column_stack([np.zeros(len(orders), int), brought])
    areas = {
        "insertion": np.trapezoid(outputs[path], dx=1 / 9, axis=1),
        "deletion": np.trapezoid(outputs[511 - path], dx=1 / 9, axis=1),
    }

    options = {"baseline": baseline[0], "grid": 3, "steps": 9}
    args = model, picture, np.array([1]), {"true": true}
    assert scores.deletion(*args, **options)["true"].areas[0] == pytest.approx(areas["deletion"].min())
    assert scores.insertion(*args, **options)["true"].areas[0] == pytest.approx(areas["insertion"].max())
    assert np.ptp(areas["deletion"]) > 0.1  # the orders do differ


def test_areas_on_a_linear_network_have_their_closed_form(linear, pictures):
    """The cell in place j of N is seen for a share (j − ½)/N of a deletion, and for the rest of an insertion."""
    true = contributions(linear, pictures, ONES)
    by_cell = np.sort(scores.pool(true, 3).reshape(5, 9) * 16, axis=1)[:, ::-1]
    empty = -0.2
    full = empty + true.sum(axis=(1, 2))
    args = linear, pictures, ONES, {"true": true, "reversed": -true}
    deleted = scores.deletion(*args, baseline=BLACK, grid=3, steps=9)
    inserted = scores.insertion(*args, baseline=BLACK, grid=3, steps=9)
    share = (np.arange(9) + 0.5) / 9
    assert deleted["true"].areas == pytest.approx(empty + by_cell @ share, rel=1e-5)
    assert inserted["true"].areas == pytest.approx(empty + by_cell @ (1 - share), rel=1e-5)
    assert deleted["true"].values[:, [0, -1]] == pytest.approx(np.column_stack([full, full * 0 + empty]))
    assert inserted["true"].values[:, [0, -1]] == pytest.approx(np.column_stack([full * 0 + empty, full]))
    # from the wrong end, deletion runs through the states of insertion; one block holds all the weight
    assert deleted["true"].areas == pytest.approx(empty + (full - empty) / 18, rel=1e-4)
    assert (deleted["reversed"].areas > deleted["true"].areas).all()


def test_deletion_from_the_wrong_end_is_insertion_backwards(linear, pictures):
    maps = {"a": np.random.default_rng(0).random((5, SIDE, SIDE))}
    turned = {"a": -maps["a"]}
    deleted = scores.deletion(linear, pictures, ONES, turned, baseline=BLACK, grid=4, steps=4)["a"]
    inserted = scores.insertion(linear, pictures, ONES, maps, baseline=BLACK, grid=4, steps=4)["a"]
    assert deleted.values[:, ::-1] == pytest.approx(inserted.values, abs=1e-6)


def test_fewer_steps_are_points_of_the_finest_curve(linear, pictures):
    maps = {"a": np.random.default_rng(0).random((5, SIDE, SIDE))}
    args = linear, pictures, ONES, maps
    fine = scores.deletion(*args, baseline=BLACK, grid=4, steps=16)["a"]
    coarse = scores.deletion(*args, baseline=BLACK, grid=4, steps=5)["a"]
    counts = np.array([0, 3, 6, 10, 13, 16])
    assert coarse.shares == pytest.approx(counts / 16)
    assert coarse.values == pytest.approx(fine.values[:, counts], abs=1e-6)


def test_outputs_follow_from_the_logits(pictures):
    logits = np.random.default_rng(0).normal(size=(400, 3)) * 3
    rows = iter(logits)

    def predict(x):
        return np.stack([next(rows) for _ in x])

    def run(output):
        nonlocal rows
        rows = iter(logits)
        maps = {"a": np.random.default_rng(0).random((5, SIDE, SIDE))}
        classes = np.array([0, 1, 2, 1, 0])
        return scores.deletion(
            predict, pictures, classes, maps, baseline=BLACK, grid=3, steps=3, output=output
        )["a"].values

    logit, log_odds, probability = (run(output) for output in scores.OUTPUTS)
    by_hand = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for value, chance, odds in zip(logit.ravel(), probability.ravel(), log_odds.ravel(), strict=True):
        place = np.argwhere(np.isclose(logits, value, rtol=1e-12, atol=0))[0]
        assert chance == pytest.approx(by_hand[tuple(place)])
        assert expit(odds) == pytest.approx(chance)


def counting(model):
    """A predictor that notes how many pictures it was given, and the largest batch."""
    inner, batches = scores.compiled(model), []

    def predict(x):
        batches.append(len(x))
        return inner(x)

    return predict, batches


def test_a_state_that_maps_share_is_computed_once(linear, pictures):
    maps = np.random.default_rng(0).random((5, SIDE, SIDE))
    predict, batches = counting(linear)
    options = {"grid": 3, "steps": 3, "batch_size": 8}
    one = scores.deletion(predict, pictures, ONES, {"a": maps}, baseline=BLACK, **options)
    assert sum(batches) == 5 + 5 * 2 + 1  # full, on the way, the one empty state of a common baseline
    assert max(batches) == 8
    batches.clear()
    twice = {"a": maps, "scaled": 7 * maps, "reversed": -maps}
    both = scores.deletion(predict, pictures, ONES, twice, baseline=BLACK, **options)
    assert sum(batches) == 5 + 5 * 2 * 2 + 1
    assert (both["a"].values == both["scaled"].values).all()
    assert both["a"].values == pytest.approx(one["a"].values, abs=1e-6)
    batches.clear()
    scores.deletion(predict, pictures, ONES, {"a": maps}, baseline=pictures[::-1], **options)
    assert sum(batches) == 5 + 5 * 2 + 5


def test_each_picture_has_its_own_baseline(linear, pictures):
    maps = {"a": np.ones((5, SIDE, SIDE))}
    own = pictures[::-1]
    curves = scores.deletion(linear, pictures, ONES, maps, baseline=own, grid=3, steps=2)["a"]
    full = scores.compiled(linear)(pictures.astype(np.float32))[:, 1]
    assert curves.values[:, [0, -1]] == pytest.approx(np.column_stack([full, full[::-1]]))


def test_a_network_and_its_compiled_form_give_the_same_and_batches_change_nothing():
    model = custnet(CustNetConfig(input_size=32, width=0.125), seed=5)
    x = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    maps, options = {"edges": scores.edge_maps(x)}, {"baseline": x.mean(axis=(1, 2), keepdims=True) + 0 * x}
    classes = np.array([0, 1, 1])
    before = model.get_weights()
    plain = scores.insertion(model, x, classes, maps, **options)["edges"]
    parts = scores.insertion(scores.compiled(model), x, classes, maps, batch_size=4, **options)["edges"]
    assert plain.values == pytest.approx(parts.values, abs=1e-5)
    logits = keras.Model(model.input, model.get_layer("logits").output)(x).numpy()
    assert plain.values[:, -1] == pytest.approx(logits[np.arange(3), classes], abs=1e-5)
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("value", [0.0, -3.0, 0.1])
def test_a_map_that_is_the_same_everywhere_goes_in_a_random_order(value):
    """Every cell is as likely as any other to go first, also where cells are cut from uneven pixels."""
    n, side = 1800, 10
    grey = np.arange(1, 10).reshape(1, 3, 3)  # every cell its own grey, so the output tells which one is left
    drawn = np.repeat(scores.spread(grey, side, side)[..., None], 3, axis=3).repeat(n, axis=0)

    def predict(x):
        first = scores.pool(x[..., 0], 3).reshape(len(x), -1)
        return np.column_stack([np.zeros(len(x)), first.argmax(axis=1)])

    maps = {"flat": np.full((n, side, side), value, dtype=np.float32)}
    curves = scores.insertion(
        predict, drawn, np.ones(n, int), maps, baseline=np.zeros((side, side, 3)), grid=3, steps=9
    )["flat"]
    first_cell = np.bincount(curves.values[:, 1].astype(int), minlength=9)
    assert first_cell.sum() == n
    # 200 expected in each, standard deviation 13.3
    assert np.abs(first_cell - n / 9).max() < 55


def test_equal_cells_go_in_the_order_of_the_seed(linear, pictures):
    maps = {"flat": np.ones((5, SIDE, SIDE)), "dead": np.zeros((5, SIDE, SIDE))}
    options = {"baseline": BLACK, "grid": 4}
    first, again, other = (
        scores.deletion(linear, pictures, ONES, maps, seed=seed, **options) for seed in (1, 1, 2)
    )
    assert (first["flat"].values == again["flat"].values).all()
    assert (first["flat"].values != other["flat"].values).any()
    assert (first["flat"].values == first["dead"].values).all()
    assert len(np.unique(first["flat"].areas / first["flat"].values[:, 0])) > 2  # an order per picture


def test_rounding_decides_no_order(linear, pictures):
    maps = np.random.default_rng(0).integers(0, 3, (5, 4, 4)).astype(float)
    shaken = maps + np.random.default_rng(1).uniform(-1e-8, 1e-8, maps.shape)
    both = {"whole": maps, "shaken": shaken}
    curves = scores.deletion(linear, pictures, ONES, both, baseline=BLACK, grid=4, steps=16)
    assert (curves["whole"].values == curves["shaken"].values).all()


def test_settings_and_data_that_do_not_fit_are_refused(linear, pictures):
    maps = {"a": np.ones((5, SIDE, SIDE))}

    def run(x=pictures, classes=ONES, given=maps, baseline=BLACK, model=linear, **options):
        scores.deletion(model, x, classes, given, baseline=baseline, **{"grid": 3, "steps": 3} | options)

    for wrong in (
        {"steps": 1}, {"steps": 10}, {"grid": 13}, {"batch_size": 0}, {"output": "softmax"},
        {"given": {}}, {"given": maps["a"]},
    ):  # fmt: skip
        with pytest.raises(ParameterError):
            run(**wrong)
    for wrong in ({"baseline": np.zeros((SIDE, SIDE))}, {"given": {"a": np.ones((4, SIDE, SIDE))}}):
        with pytest.raises(DataError):
            run(**wrong)
    bare = keras.Model(linear.input, keras.layers.Dense(2)(linear.layers[1].output))
    for wrong in (
        {"x": pictures[0]}, {"x": pictures[..., :2]}, {"classes": ONES[:4]}, {"classes": ONES * 2},
        {"classes": ONES * 0.5}, {"classes": -ONES}, {"model": bare},
    ):  # fmt: skip
        with pytest.raises(ModelError):
            run(**wrong)


# --- controls ---------------------------------------------------------------------------------------------
def neighbours(maps, grid):
    """Correlation of horizontally neighbouring cells over all maps."""
    cells = scores.pool(maps, grid)
    return np.corrcoef(cells[:, :, 1:].ravel(), cells[:, :, :-1].ravel())[0, 1]


def test_random_cells_are_independent_and_blurred_ones_are_smooth():
    plain, blurred = (make(60, 42, 42, 7, 3) for make in (scores.random_maps, scores.blurred_random_maps))
    assert abs(neighbours(plain, 7)) < 0.06  # 2520 pairs: standard deviation 0.02
    assert neighbours(blurred, 7) > 0.6
    for maps in (plain, blurred):
        assert maps.shape == (60, 42, 42) and maps.min() >= 0 and maps.max() <= 1
        assert abs(np.corrcoef(maps[:-1].ravel(), maps[1:].ravel())[0, 1]) < 0.1
    assert len(np.unique(plain[0])) == 49
    assert np.ptp(blurred, axis=(1, 2)) == pytest.approx(np.ones(60))


def test_random_controls_follow_the_seed():
    for make in (scores.random_maps, scores.blurred_random_maps):
        assert (make(3, 14, 21, 7, 5) == make(3, 14, 21, 7, 5)).all()
        assert (make(3, 14, 21, 7, 5) != make(3, 14, 21, 7, 6)).any()


def test_the_random_control_is_not_the_order_of_ties(linear, pictures):
    many = np.repeat(pictures, 20, axis=0)
    classes = np.ones(100, int)
    maps = {"random": scores.random_maps(100, SIDE, SIDE, 3, 0), "flat": np.ones((100, SIDE, SIDE))}
    curves = scores.deletion(linear, many, classes, maps, baseline=BLACK, grid=3, steps=9, seed=0)
    places = [curve.areas / curve.values[:, 0] for curve in curves.values()]
    assert abs(np.corrcoef(places)[0, 1]) < 0.35  # standard deviation 0.1


def test_edges_are_where_the_luminance_steps():
    step = np.zeros((1, 8, 8, 3))
    step[:, :, 4:] = [10, 20, 30]
    expected = np.zeros((8, 8))
    expected[:, 3:5] = 4 * (0.299 * 10 + 0.587 * 20 + 0.114 * 30)
    assert scores.edge_maps(step)[0] == pytest.approx(expected)
    assert scores.edge_maps(step.transpose(0, 2, 1, 3))[0] == pytest.approx(expected.T)
    assert (scores.edge_maps(np.full((1, 8, 8, 3), 77, np.uint8)) == 0).all()
    beside = np.concatenate([step, np.zeros_like(step), step])
    assert scores.edge_maps(beside) == pytest.approx(np.stack([expected, 0 * expected, expected]))


def test_the_picture_as_a_map_is_its_distance_from_the_baseline(pictures):
    shown = scores.picture_maps(pictures, np.full((SIDE, SIDE, 3), 255))
    assert shown == pytest.approx((255.0 - pictures).sum(axis=-1))
    assert (scores.picture_maps(pictures, pictures) == 0).all()


def test_controls_hold_every_control(pictures):
    found = scores.controls(pictures, BLACK, seed=4, grid=3)
    assert list(found) == ["random", "blurred random", "edges", "picture"]
    assert (found["random"] == scores.random_maps(5, SIDE, SIDE, 3, 4)).all()
    assert (found["blurred random"] == scores.blurred_random_maps(5, SIDE, SIDE, 3, 4)).all()
    assert (found["edges"] == scores.edge_maps(pictures)).all()
    assert (found["picture"] == scores.picture_maps(pictures, BLACK)).all()


# --- agreement --------------------------------------------------------------------------------------------
def test_rank_correlation_is_that_of_scipy_with_ties_too():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 6, (2, 7, 9, 11)).astype(float)
    second[3] = rng.normal(size=(9, 11)) ** 9
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(first, second, strict=True)]
    assert scores.rank_correlation(first, second) == pytest.approx(expected, abs=1e-12)


def test_a_constant_map_has_no_rank_correlation():
    varied = np.random.default_rng(0).random((4, 5, 5))
    flat = np.stack([np.zeros((5, 5)), np.full((5, 5), 0.1), np.full((5, 5), -3.0), varied[3]])
    flat[1] += np.random.default_rng(1).uniform(-1e-9, 1e-9, (5, 5))  # rounding is no opinion
    for pair in ((varied, flat), (flat, varied)):
        found = scores.rank_correlation(*pair)
        assert np.isnan(found[:3]).all() and found[3] == pytest.approx(1)
    with pytest.raises(DataError, match="do not match"):
        scores.rank_correlation(varied, varied[:3])


def test_agreement_holds_every_pair_and_its_median():
    rng = np.random.default_rng(0)
    maps = {"a": rng.random((5, 6, 6)), "b": rng.random((5, 6, 6)), "dead": np.zeros((5, 6, 6))}
    maps["a"][0] = 0
    found = scores.agreement(maps)
    pair = found.per_picture["a", "b"]
    assert pair.to_numpy() == pytest.approx(scores.rank_correlation(maps["a"], maps["b"]), nan_ok=True)
    assert pair.isna().tolist() == [True, False, False, False, False]
    median = found.median()
    assert list(median.index) == list(median.columns) == list(maps)
    assert median.loc["a", "b"] == median.loc["b", "a"] == pytest.approx(np.nanmedian(pair))
    assert median.loc["a", "a"] == pytest.approx(1) and median.loc["dead"].isna().all()
    pooled = scores.agreement(maps, grid=3).per_picture["a", "b"]
    by_hand = scores.rank_correlation(*(scores.pool(maps[name], 3) for name in "ab"))
    assert pooled.to_numpy() == pytest.approx(by_hand, nan_ok=True)


# --- randomisation ----------------------------------------------------------------------------------------
def weights_as_map(model, pictures, classes):
    """The gradient of a linear network's logit: its weights, summed over the channels."""
    return np.moveaxis(kernel_of(model), -1, 0)[classes].sum(axis=-1)


@pytest.fixture(scope="module")
def noisy():
    return linear_network(np.random.default_rng(8).normal(size=(30, 30, 3, 2)))


PLAIN = np.random.default_rng(9).integers(0, 256, (4, 30, 30, 3), dtype=np.uint8)
FOUR = np.array([0, 1, 1, 0])


def test_a_map_of_the_input_alone_survives_randomisation_and_one_of_the_weights_does_not(noisy):
    def edges(model, pictures, classes):
        return scores.edge_maps(pictures)

    kept = scores.model_randomisation(noisy, PLAIN, FOUR, edges, seed=0, stages=["logits"])
    assert kept.stages == ("logits",) and kept.similarity.signed.shape == (1, 4)
    assert kept.similarity.signed == pytest.approx(1) and kept.similarity.absolute == pytest.approx(1)
    lost = scores.model_randomisation(noisy, PLAIN, FOUR, weights_as_map, seed=0, stages=["logits"])
    assert np.abs(lost.similarity.signed).max() < 0.13  # 900 places: standard deviation 0.033
    assert np.abs(lost.similarity.absolute).max() < 0.13


def test_turned_signs_show_only_in_the_signed_similarity():
    maps = np.random.default_rng(0).normal(size=(3, 10, 10))
    signs = np.where(np.random.default_rng(1).random((3, 10, 10)) < 0.5, -1, 1)
    found = scores.similarity(maps, maps * signs)
    assert found.absolute == pytest.approx(1) and np.abs(found.signed).max() < 0.3
    assert scores.similarity(maps, -maps).signed == pytest.approx(-1)


def trained_like(seed=5):
    """A tiny CustNet whose weights and running statistics are all away from their start."""
    model = custnet(CustNetConfig(input_size=32, width=0.125), seed=seed)
    rng = np.random.default_rng(seed)
    model.set_weights([w + rng.uniform(0.1, 0.2, w.shape).astype(np.float32) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("cascade", [True, False])
def test_weights_are_drawn_anew_from_the_logits_down_and_the_given_model_stays(cascade):
    model, seen = trained_like(), []
    before = [w.copy() for w in model.get_weights()]

    def spy(given, pictures, classes):
        seen.append((given is model, {layer.name: layer.get_weights() for layer in given.layers}))
        return np.random.default_rng(len(seen)).random((2, 8, 8))

    x = np.zeros((2, 32, 32, 3))
    found = scores.model_randomisation(
        model, x, np.array([0, 1]), spy, seed=7, stages=3, cascade=cascade, grid=4
    )
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))
    weighted = [layer.name for layer in reversed(model.layers) if layer.weights]
    assert found.stages[0] == weighted[0] == "logits" and found.stages[-1] == weighted[-1]
    assert [own for own, _ in seen] == [True, False, False, False]
    ends = [weighted.index(name) for name in found.stages]
    assert abs((ends[2] - ends[1]) - ends[1]) <= 1
    assert found.layers == tuple(
        end + 1 - (0 if cascade or k == 0 else ends[k - 1] + 1) for k, end in enumerate(ends)
    )
    fresh = custnet(CustNetConfig(input_size=32, width=0.125), seed=7)
    place_of = {layer.name: k for k, layer in enumerate(model.layers)}
    for stage, (_, weights) in enumerate(seen[1:]):
        start = 0 if cascade or stage == 0 else ends[stage - 1] + 1
        for place, name in enumerate(weighted):
            source = fresh if start <= place <= ends[stage] else model
            expected = source.layers[place_of[name]].get_weights()
            assert all((a == b).all() for a, b in zip(weights[name], expected, strict=True)), (stage, name)


def test_maps_at_hand_are_not_computed_again(noisy):
    calls = []

    def explain(model, pictures, classes):
        calls.append(model)
        return weights_as_map(model, pictures, classes)

    maps = weights_as_map(noisy, PLAIN, FOUR)
    settings = {"seed": 0, "stages": ["logits"]}
    given = scores.model_randomisation(noisy, PLAIN, FOUR, explain, maps=maps, **settings)
    assert len(calls) == 1
    found = scores.model_randomisation(noisy, PLAIN, FOUR, explain, **settings)
    assert (given.similarity.signed == found.similarity.signed).all()


def test_maps_may_come_in_an_object_that_holds_them(noisy):
    class Holder:
        def __init__(self, maps):
            self.maps = maps

    found = scores.compare_models(noisy, noisy, PLAIN, FOUR, lambda *args: Holder(weights_as_map(*args)))
    assert found.signed == pytest.approx(1)


def test_two_models_are_compared_by_their_maps(noisy):
    opposite = linear_network(-kernel_of(noisy))
    found = scores.compare_models(noisy, opposite, PLAIN, FOUR, weights_as_map)
    assert found.signed == pytest.approx(-1) and found.absolute == pytest.approx(1)


def test_stages_that_do_not_fit_the_network_are_refused():
    model = trained_like()
    args = model, np.zeros((2, 32, 32, 3)), np.array([0, 1]), lambda m, p, c: scores.edge_maps(p)
    for stages in (1, 99, [], ["pooled"], ["repair_exit_2", "logits"], "logits"):
        with pytest.raises(ParameterError):
            scores.model_randomisation(*args, seed=0, stages=stages)
    beyond = keras.Model(model.input, keras.layers.Dense(2, name="after")(model.output))
    with pytest.raises(ModelError, match="after"):
        scores.model_randomisation(beyond, *args[1:], seed=0)


# --- stability, sparseness --------------------------------------------------------------------------------
def test_constant_maps_and_gradients_of_a_linear_network_do_not_move(noisy):
    def fixed(model, pictures, classes):
        return np.ones((len(pictures), 6, 6))

    def gradient(model, pictures, classes):
        x = tf.constant(pictures)
        with tf.GradientTape() as tape:
            tape.watch(x)
            chosen = tf.gather(keras.Model(model.input, model.get_layer("logits").output)(x), classes, axis=1,
                               batch_dims=1)  # fmt: skip
        return tape.gradient(chosen, x).numpy().sum(axis=-1)

    for explain in (fixed, gradient):
        found = scores.max_sensitivity(noisy, PLAIN, FOUR, explain, radius=5, samples=2)
        assert found == pytest.approx(np.zeros(4), abs=1e-6)


def red(model, pictures, classes):
    return pictures[..., 0]


def test_sensitivity_of_the_picture_itself_is_the_length_of_the_noise():
    """‖ε‖ of uniform noise in ±r is about r·√(pixels / 3), and twice the radius is twice the change."""
    grey = np.full((4, 30, 30, 3), 128.0)
    one, two = (
        scores.max_sensitivity(None, grey, FOUR, red, radius=r, samples=3, seed=1) for r in (10.0, 20.0)
    )
    assert one == pytest.approx(np.full(4, 10 / np.sqrt(3) / 128), rel=0.06)
    assert two == pytest.approx(2 * one, rel=1e-4)
    pooled = scores.max_sensitivity(None, grey, FOUR, red, radius=10.0, samples=3, seed=1, grid=3)
    assert (pooled < one / 3).all()  # the mean of 100 pixels moves a tenth as much


def test_more_draws_can_only_find_a_larger_change_and_pictures_stay_pictures():
    seen = []

    def explain(model, pictures, classes):
        seen.append(pictures)
        return pictures[..., 0] + 1

    few, more = (
        scores.max_sensitivity(None, PLAIN, FOUR, explain, radius=9, samples=k, seed=2) for k in (1, 6)
    )
    assert (more >= few).all() and (more > few).any()
    assert min(x.min() for x in seen) == 0 and max(x.max() for x in seen) == 255
    assert max(np.abs(x - PLAIN).max() for x in seen) <= 9 + 1e-4


def test_a_dead_map_has_no_sensitivity_and_no_sparseness():
    dead = np.zeros((4, 30, 30))
    assert np.isnan(scores.max_sensitivity(None, PLAIN, FOUR, red, radius=1, samples=1, maps=dead)).all()
    assert np.isnan(scores.sparseness(dead)).all()


@pytest.mark.parametrize("wrong", [{"radius": 0}, {"radius": np.nan}, {"radius": 1, "samples": 0}])
def test_noise_that_is_none_is_refused(wrong):
    with pytest.raises(ParameterError):
        scores.max_sensitivity(None, PLAIN, FOUR, red, **wrong)


def test_sparseness_has_its_closed_forms():
    """Equal values 0, one value alone 1 − 1/d, the values 1 to d (d − 1)/(3·d)."""
    alone, ramp = np.zeros((4, 5)), np.random.default_rng(0).permutation(20).reshape(4, 5) + 1.0
    alone[2, 3] = -7
    found = scores.sparseness(np.stack([np.full((4, 5), 3.0), alone, ramp, -ramp]))
    assert found == pytest.approx([0, 1 - 1 / 20, 19 / 60, 19 / 60], abs=1e-12)


# --- planted truth ----------------------------------------------------------------------------------------
@pytest.fixture
def mask():
    """The left quarter of 8 × 8 pixels."""
    drawn = np.zeros((8, 8), dtype=bool)
    drawn[:, :2] = True
    return drawn


def test_pointing_and_mass_on_a_drawn_mask(mask):
    maps = np.zeros((5, 8, 8))
    maps[0, 3, 1] = 2  # one maximum, inside
    maps[1, 3, 5] = 2  # outside, with half as much inside
    maps[1, 3, 0] = 1
    maps[2, 0, [0, 3, 4, 5]] = 1  # four maxima, one inside
    maps[3, 0, 0], maps[3, 0, 7], maps[3, 7, 1] = 3, 1, -50  # what speaks against the class does not count
    maps[4] = -1  # nothing speaks for the class
    pointing, mass = scores.pointing_game(maps, mask), scores.mass_accuracy(maps, mask)
    assert pointing.score == pytest.approx([1, 0, 1 / 4, 1, 1 / 4])
    assert mass.score == pytest.approx([1, 1 / 3, 1 / 4, 3 / 4, 1 / 4])
    assert pointing.chance == pytest.approx(np.full(5, 1 / 4)) and (mass.chance == pointing.chance).all()


def test_chance_is_what_random_maps_score():
    masks = np.zeros((2000, 6, 6), dtype=bool)
    masks[:1000, :2], masks[1000:, :, 3:] = True, True
    maps = scores.random_maps(2000, 6, 6, 6, 0)
    for score in (scores.pointing_game, scores.mass_accuracy):
        found = score(maps, masks)
        for part, share in ((slice(1000), 1 / 3), (slice(1000, None), 1 / 2)):
            assert found.chance[part] == pytest.approx(np.full(1000, share))
            assert found.score[part].mean() == pytest.approx(share, abs=0.05)


def test_pooled_maps_are_scored_by_the_share_of_their_cells_inside():
    mask = np.zeros((6, 6))
    mask[:, :3] = 1
    maps = np.zeros((1, 6, 6))
    maps[0, 0, 0], maps[0, 5, 5] = 3, 1
    assert scores.mass_accuracy(maps, mask, grid=2).score == pytest.approx([3 / 4])
    assert scores.pointing_game(maps, mask, grid=2).score == pytest.approx([1])
    third = np.zeros((6, 6))
    third[:, :1] = 1
    found = scores.pointing_game(maps, third, grid=2)
    assert found.score == pytest.approx([1 / 3]) and found.chance == pytest.approx([1 / 6])


def test_masks_that_say_nothing_or_do_not_fit_are_refused(mask):
    maps = np.ones((3, 8, 8))
    for wrong in (mask[:7], np.zeros((8, 8)), np.ones((8, 8)), mask * 2.0, np.stack([mask] * 2), mask - 1.0):
        with pytest.raises(DataError, match="mask"):
            scores.pointing_game(maps, wrong)


# --- intervals --------------------------------------------------------------------------------------------
def test_intervals_are_those_of_scipy():
    values = np.random.default_rng(0).exponential(size=60)
    found = scores.with_interval(values, n_boot=20000)
    second = bootstrap((values,), np.mean, method="percentile", n_resamples=20000, rng=1)
    assert found.value == pytest.approx(values.mean()) and found.pictures == 60
    assert [found.low, found.high] == pytest.approx(list(second.confidence_interval), abs=0.01)


def test_pairing_takes_out_what_pictures_share():
    rng = np.random.default_rng(0)
    shared, own = rng.normal(size=80) * 10, rng.normal(size=(2, 80)) * 0.1
    a, b = shared + own[0] + 0.5, shared + own[1]
    found = scores.paired(a, b)
    assert found.value == pytest.approx((a - b).mean())
    assert found.low > 0.4 and found.high < 0.6
    assert scores.with_interval(a).low < scores.with_interval(b).high  # apart, nothing would be seen
    turned = scores.paired(b, a)
    assert (turned.value, turned.low) == pytest.approx((-found.value, -found.high), abs=0.01)


def test_pictures_without_a_score_are_left_out_in_pairs():
    first, second = np.array([1.0, np.nan, 3.0, 5.0]), np.array([0.0, 1.0, np.nan, 1.0])
    found = scores.paired(first, second)
    assert (found.value, found.pictures) == (2.5, 2)
    assert (found.low, found.high) == (1, 4)


def test_too_few_pictures_have_no_interval():
    one, none = scores.with_interval([3.0]), scores.with_interval([np.nan, np.nan])
    assert one.value == 3 and np.isnan([one.low, one.high]).all() and one.pictures == 1
    assert np.isnan(none[:3]).all() and none.pictures == 0
    for wrong in ([[1.0]], [1.0, np.inf]):
        with pytest.raises(DataError):
            scores.with_interval(wrong)
    with pytest.raises(DataError, match="do not match"):
        scores.paired([1.0, 2.0], [1.0])
