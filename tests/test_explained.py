"""Each picture is explained by the network of its own fold, and every score is that of `scores` on its maps."""

import numpy as np
import pytest

from pdlib import custnetgc, explained, scores, transfer
from pdlib.boosting import BoostConfig
from pdlib.custnetgc import FittedChain, Plan
from pdlib.errors import ParameterError
from pdlib.explain import attribute, class_scores
from pdlib.explained import TRAINING_MEAN, Explained, Subject, Way
from pdlib.networks import CustNetConfig, Learner, keras
from pdlib.picture_sets import PictureSet
from pdlib.protocols import speaker_folds
from pdlib.provenance import Store
from pdlib.transfer import PlainCNN, Recipe

SIZE = 16
WAYS = {
    "gradient": Way("gradient"),
    "occlusion": Way("occlusion", {"grid": (4, 4)}),
    "integrated": Way("integrated_gradients", {"baseline": TRAINING_MEAN, "steps": 4}),
}


def linear(signs, plane):
    """A network whose logits are ``signs`` times the mean of the picture weighed by ``plane``, a closed form."""
    picture = keras.Input((SIZE, SIZE, 3), name="picture")
    flat = keras.layers.Flatten(name="flat")(keras.layers.Activation("linear", name="last_conv")(picture))
    logits = keras.layers.Dense(2, name="logits")(flat)
    model = keras.Model(picture, keras.layers.Activation("softmax", name="probabilities")(logits))
    weights = np.repeat(plane.reshape(-1), 3)[:, np.newaxis] * np.asarray(signs) / plane.size
    model.get_layer("logits").set_weights([weights.astype(np.float32), np.zeros(2, np.float32)])
    return model


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    names = tuple(f"S-{i:02d}" for i in range(9))
    return PictureSet(names, np.tile([0, 1, 1], 3), rng.integers(0, 256, (9, SIZE, SIZE, 3)).astype(np.uint8))


@pytest.fixture(scope="module")
def planes():
    """What the network of each fold looks at: another random plane in each."""
    return np.random.default_rng(1).normal(size=(3, SIZE, SIZE)).astype(np.float32)


@pytest.fixture(scope="module")
def subject(pictures, planes):
    folds = tuple(speaker_folds(pictures.names, pictures.labels, 3, seed=0))
    return Subject("m", pictures, folds, {"planes": planes}, lambda place: linear((-1, 1), planes[place]))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def found(subject, store):
    """Maps of all pictures for the predicted class, in all ways, at full size."""
    return explained.explain_all(subject, WAYS, side=SIZE, store=store)


def place_of(subject, name):
    return next(place for place, fold in enumerate(subject.folds) if name in fold.test)


def test_each_picture_is_explained_by_the_network_that_did_not_see_it(subject, planes, found):
    for row, name in enumerate(found.names):
        plane, sign = planes[place_of(subject, name)], 2 * found.classes[row] - 1
        np.testing.assert_allclose(
            found.maps["gradient"][row], sign * 3 * plane / plane.size, rtol=1e-4, atol=1e-7
        )


def test_the_explained_class_is_the_one_the_network_of_the_fold_predicts(subject, pictures, planes, found):
    for row, name in enumerate(found.names):
        logit = (pictures.pictures[row].sum(axis=-1) * planes[place_of(subject, name)]).sum()
        assert found.classes[row] == (logit > 0)
    assert 0 < found.classes.mean() < 1


def test_a_baseline_of_training_pictures_holds_no_test_picture(subject, pictures, planes, found):
    for row, name in enumerate(found.names):
        fold = subject.folds[place_of(subject, name)]
        mean = pictures.take(fold.train).pictures.mean(axis=0)
        change = (pictures.pictures[row] - mean).sum(axis=-1) * planes[fold.index] / SIZE**2
        sign = 2 * found.classes[row] - 1
        np.testing.assert_allclose(found.maps["integrated"][row], sign * change, rtol=1e-3, atol=1e-3)


def test_some_pictures_in_another_order_get_their_own_maps(subject, found, store):
    names = [subject.data.names[row] for row in (7, 0, 4)]
    taken = found.take(names)
    few = explained.explain_all(subject, WAYS, side=4, names=names, classes=taken.classes, store=store)
    assert few.names == taken.names == tuple(names)
    for way in WAYS:
        np.testing.assert_allclose(few.maps[way], scores.pool(taken.maps[way], 4), rtol=1e-3, atol=1e-3)
    assert set(few.gap) == set(few.steps) == set(taken.gap) == {"integrated"}
    assert taken.steps["integrated"].shape == (3,) and (taken.gap["integrated"] < 0.01).all()


def test_maps_are_read_back_until_a_network_changes(subject, planes, tmp_path):
    ways, store = {"occlusion": WAYS["occlusion"]}, Store(tmp_path)
    first = explained.explain_all(subject, ways, side=4, store=store)
    again = explained.explain_all(subject, ways, side=4, store=store)
    assert (store.computed, store.loaded) == (1, 1)
    np.testing.assert_array_equal(first.maps["occlusion"], again.maps["occlusion"])
    assert set(again.maps) == set(ways) and again.gap == {}
    other = Subject("m", subject.data, subject.folds, {"planes": planes + 1}, subject.network)
    explained.explain_all(other, ways, side=4, store=store)
    assert store.computed == 2


def test_wrong_classes_untested_speakers_and_folds_of_two_seeds_are_refused(subject, store):
    with pytest.raises(ParameterError, match="classes"):
        explained.explain_all(subject, WAYS, side=4, classes=np.ones(3), store=store)
    first = Subject("m", subject.data, subject.folds[:1], {}, subject.network)
    with pytest.raises(ParameterError, match=subject.folds[1].test[0]):
        explained.explain_all(first, WAYS, side=4, names=subject.folds[1].test[:1], store=store)
    more = speaker_folds(subject.data.names, subject.data.labels, 3, seed=1)
    with pytest.raises(ParameterError, match="one seed"):
        Subject("m", subject.data, (*subject.folds, *more), {}, subject.network)


@pytest.mark.parametrize("fill", ["black", TRAINING_MEAN])
def test_areas_are_those_of_each_fold_scored_alone(subject, pictures, found, store, fill):
    frame = explained.areas(subject, found, fills=[fill], grid=4, steps=5, seed=3, store=store)
    assert set(frame["map"]) == {*WAYS, "random", "blurred random", "edges", "picture"}
    assert len(frame) == 2 * 7 * 9 and frame["value"].notna().all()
    for place, fold in enumerate(subject.folds):
        own, test = found.take(fold.test), pictures.take(fold.test)
        blank = np.zeros((SIZE, SIZE, 3))
        if fill == TRAINING_MEAN:
            blank = pictures.take(fold.train).pictures.mean(axis=0)
        for kind, score in (("deletion", scores.deletion), ("insertion", scores.insertion)):
            alone = score(
                subject.network(place), test.pictures, own.classes, own.maps, baseline=blank, grid=4, steps=5,
                seed=3,
            )  # fmt: skip
            for way in WAYS:
                chosen = frame[(frame["score"] == kind) & (frame["map"] == way)].set_index("recording")[
                    "value"
                ]
                np.testing.assert_allclose(chosen[list(fold.test)], alone[way].areas, rtol=1e-3, atol=1e-3)


def test_the_map_that_is_the_truth_has_the_best_areas(subject, found, store):
    frame = explained.areas(subject, found, fills=["black"], grid=4, steps=16, seed=0, store=store)
    means = frame.groupby(["score", "map"])["value"].mean()
    # of a linear network occlusion is the truth: no order of the cells loses the score sooner
    assert means["deletion"].idxmin() == "occlusion" and means["insertion"].idxmax() == "occlusion"


def test_maps_that_do_not_divide_into_the_grid_are_refused(subject, found, store):
    with pytest.raises(ParameterError, match="divide"):
        explained.areas(subject, found, fills=["black"], grid=3, steps=5, seed=0, store=store)
    assert [explained.side_of(grid) for grid in (2, 4, 5, 7, 16, 20)] == [16, 16, 15, 14, 16, 20]


def test_all_ways_randomised_at_once_are_each_way_randomised_alone(subject, pictures, store):
    names, classes = subject.data.names[:5], np.ones(5, dtype=int)
    frame = explained.randomisation(
        subject, WAYS, names, classes, grid=4, seed=2, stages=["logits"], store=store
    )
    for place, fold in enumerate(subject.folds):
        chosen = [name for name in names if name in fold.test]
        if not chosen:
            continue
        mean = subject.mean(fold)
        for way, how in WAYS.items():
            alone = scores.model_randomisation(
                subject.network(place), pictures.take(chosen).pictures, np.ones(len(chosen), dtype=int),
                lambda *given, how=how, mean=mean: how.maps(*given, mean), seed=2, stages=["logits"], grid=4,
            )  # fmt: skip
            for kind, values in alone.similarity._asdict().items():
                part = frame[(frame["map"] == way) & (frame["kind"] == kind)].set_index("recording")
                assert (part["layers"] == 1).all()
                np.testing.assert_allclose(part.loc[chosen, "value"], values[0], atol=1e-6)


def test_sensitivity_is_that_of_each_way_and_controls_that_look_have_one(subject, pictures, store):
    names, classes = subject.data.names, np.ones(9, dtype=int)
    frame = explained.sensitivity(
        subject, WAYS, names, classes, grid=4, radius=20, samples=2, seed=0, store=store
    )
    by_map = frame.pivot(index="recording", columns="map", values="value")
    assert set(by_map) == {*WAYS, "edges", "picture"}
    assert (by_map["gradient"] < 1e-4).all(), "the gradient of a linear network does not move"
    assert (by_map[["integrated", "edges", "picture"]] > 1e-3).all(axis=None)


def test_localisation_gives_the_truth_one_and_a_flat_map_its_share(subject):
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[4:8] = True
    maps = {"truth": np.tile(mask.astype(float), (9, 1, 1)), "flat": np.ones((9, SIZE, SIZE))}
    given = Explained(subject.data.names, np.ones(9, dtype=int), maps, {}, {}, {})
    frame = explained.localisation(subject, given, mask, grid=8, seed=0)
    means = frame.groupby(["score", "map"])["value"].mean()
    for score in ("pointing game", "mass accuracy"):
        assert means[score, "truth"] == pytest.approx(1)
        assert means[score, "flat"] == pytest.approx(0.25)
    assert (frame["chance"] == 0.25).all()
    assert set(frame["map"]) == {"truth", "flat", "random", "blurred random", "edges", "picture"}


# ── the networks of the book as subjects ───────────────────────────────────────────────────────────────
def pictures_of(size):
    rng = np.random.default_rng(0)
    names = tuple(f"S-{i:02d}" for i in range(12))
    return PictureSet(names, np.tile([0, 1], 6), rng.integers(0, 255, (12, size, size, 3), dtype=np.uint8))


def answers(subject):
    """Probability of class 1 for every picture by the network of its fold."""
    found = np.zeros(len(subject.data))
    for fold, model in subject.each():
        x = subject.data.take(fold.test).pictures.astype(np.float32)
        found[subject.rows(fold.test)] = class_scores(
            model, x, np.ones(len(x), dtype=int), output="probabilities"
        )
    return found


def stored_answers(subject, results):
    found = np.zeros(len(subject.data))
    for result in results:
        found[subject.rows(result.fold.test)] = result.arrays[f"score_{subject.model}"]
    return found


def test_a_transfer_subject_gives_the_stored_scores(tmp_path):
    data, store = pictures_of(32), Store(tmp_path)
    recipe = Recipe("plain", PlainCNN(32), epochs=1, learning_rate=1e-3, batch_size=4)
    results = transfer.cross_validate(data, recipe, seeds=[0], n_splits=2, cross_fits=2, store=store)
    subject = explained.transfer_subject(data, recipe, results)
    np.testing.assert_allclose(answers(subject), stored_answers(subject, results), atol=1e-5)
    assert subject.cells == 4
    dealt = explained.shuffled_within_folds(data, subject.folds, seed=1)
    assert not np.array_equal(dealt.labels, data.labels)
    for fold in subject.folds:
        assert dealt.take(fold.test).labels.sum() == data.take(fold.test).labels.sum()
    other = transfer.stored_folds(dealt, recipe, subject.folds, cross_fits=2, store=store)
    twin = explained.transfer_subject(data, recipe, other)
    found = [
        explained.explain_all(each, {"gradient": WAYS["gradient"]}, side=4, classes=data.labels, store=store)
        for each in (subject, twin)
    ]
    assert not np.allclose(*(each.maps["gradient"] for each in found)), "networks are kept apart in the store"


def test_chain_subjects_give_the_stored_scores_of_their_networks(tmp_path):
    plan = Plan(
        CustNetConfig(input_size=32, width=0.05), BoostConfig(iterations=3), epochs=1, batch_size=4,
        n_splits=2, cross_fits=2,
    )  # fmt: skip
    data = pictures_of(32)
    results = custnetgc.cross_validate(data, plan, seeds=[0], store=Store(tmp_path))
    for model in ("custnet_plain", "custnet_overlay"):
        subject = explained.chain_subject(data, plan, results, model)
        np.testing.assert_allclose(answers(subject), stored_answers(subject, results), atol=1e-4)
    learner = Learner(plan.network)
    laid = FittedChain.of(results[0], data, plan, learner).overlaid(data.take(results[0].fold.test))
    np.testing.assert_array_equal(subject.data.take(results[0].fold.test).pictures, laid.pictures)
    with pytest.raises(ParameterError, match="custnetgc"):
        explained.chain_subject(data, plan, results, "custnetgc")


# ── verdicts ───────────────────────────────────────────────────────────────────────────────────────────
def values(**means):
    noise = np.random.default_rng(0).normal(0, 0.05, 40)
    return {name: mean + noise * (1 + place / 10) for place, (name, mean) in enumerate(means.items())}


@pytest.mark.parametrize(
    ("means", "better", "verdict"),
    [
        ({"first": 0.9, "second": 0.5, "control": 0.2}, "high", "first better"),
        ({"first": 0.9, "second": 0.5, "control": 0.99}, "low", "second better"),
        ({"first": 0.5, "second": 0.5, "control": 0.2}, "high", "no difference shown"),
        ({"first": 0.2, "second": 0.1, "control": 0.5}, "high", "neither beats its controls"),
    ],
)
def test_the_verdict_follows_the_pairs(means, better, verdict):
    found = explained.compare(values(**means), "first", "second", ["control"], better=better, n_boot=200)
    assert found.verdict == verdict
    assert found.difference.value == pytest.approx(means["second"] - means["first"], abs=0.02)


def test_every_control_has_to_be_beaten_and_the_best_are_named():
    given = values(first=0.9, second=0.8, third=0.95, weak=0.1, strong=0.85)
    found = explained.compare(given, "first", "second", ["weak", "strong"], better="high", n_boot=200)
    assert found.beat == (True, False)
    assert (found.other[0], found.control[0]) == ("third", "strong")


def test_scores_that_do_not_exist_give_no_verdict_and_no_controls_are_no_hurdle():
    nothing = {"first": np.full(5, np.nan), "second": np.ones(5)}
    assert explained.compare(nothing, "first", "second", [], better="low").verdict == "not measured"
    assert explained.compare(nothing, "first", "second", [], better="low").control[0] == ""
    plain = values(first=0.2, second=0.9)
    assert explained.compare(plain, "first", "second", [], better="low", n_boot=200).verdict == "first better"


def test_attribute_gets_the_options_of_a_way(subject):
    x = subject.data.pictures[:2]
    model, mean = subject.network(0), subject.mean(subject.folds[0])
    way = Way("occlusion", {"grid": (4, 4), "fill": TRAINING_MEAN})
    right = attribute(model, x, [1, 0], "occlusion", grid=(4, 4), fill=mean)
    np.testing.assert_array_equal(way.maps(model, x, np.array([1, 0]), mean).maps, right.maps)
