from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_selection import f_classif

from pdlib import custnetgc, evaluate, leakage
from pdlib.boosting import BoostConfig
from pdlib.custnetgc import Plan
from pdlib.errors import DataError, LeakageError, ParameterError
from pdlib.leakage import ALONE, KINDS, LADDER, SUBSET, TABLE_LADDER, Guard, Leak, Overlays, Runs, Split
from pdlib.networks import CustNetConfig, Learner
from pdlib.picture_sets import PictureSet
from pdlib.protocols import Ledger, speaker_folds
from pdlib.provenance import Store

RUNGS = {rung.name: rung for rung in (*LADDER, *ALONE)}
LEAKY = [rung for rung in RUNGS.values() if rung.kind]
SIZE = 32
TINY = Plan(
    network=CustNetConfig(input_size=SIZE, width=0.05),
    boosting=BoostConfig(iterations=5),
    epochs=1,
    batch_size=4,
    n_splits=2,
    cross_fits=2,
)


def noise(n_of_each, seed=0):
    """Pictures that say nothing about their labels."""
    rng = np.random.default_rng(seed)
    names = [f"{c}-{i:02d}" for c in ("HC", "PD") for i in range(1, n_of_each + 1)]
    pictures = rng.integers(0, 255, (2 * n_of_each, SIZE, SIZE, 3), dtype=np.uint8)
    return PictureSet(tuple(names), np.repeat([0, 1], n_of_each), pictures)


@dataclass
class Painter:
    """Stands in for the teacher: paints a white corner for PD, a black one for HC, and predicts at random."""

    asked_of: list = field(default_factory=list)

    def overlays(self, train, asked, *, seed):
        self.asked_of.append((train.names, asked.names, seed))
        laid = np.repeat(asked.pictures[:, np.newaxis], 2, axis=1)
        for label, colour in ((0, 0), (1, 255)):
            laid[:, label, :16, :16] = colour
        predicted = np.random.default_rng(seed).integers(0, 2, len(asked))
        return Overlays(predicted, laid, np.zeros((len(asked), 2, 4, 4), np.float32))


class Nearest:
    """Stands in for the second network: the label of the nearest training picture, a perfect memory."""

    models = ("nearest",)

    def scores(self, train, test, *, seed):
        known, asked = (s.pictures[:, ::4, ::4].reshape(len(s), -1).astype(float) for s in (train, test))
        apart = (known**2).sum(axis=1) - 2 * asked @ known.T
        return {"nearest": train.labels[apart.argmin(axis=1)].astype(float)}


def climbed(data, labels="shuffled", seeds=range(4), rungs=(*LADDER, *ALONE)):
    frame = leakage.run_ladder(
        data, Painter(), [Nearest()], rungs=rungs, seeds=seeds, labels=labels, n_splits=5, cross_fits=3
    )
    table = leakage.worth(frame, n_boot=200)
    return frame, table[table["metric"] == "accuracy"].set_index("rung")


# ── what each fault is worth, with a perfect memory ────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def memory():
    return climbed(noise(40))[1]


def test_on_shuffled_labels_the_honest_rung_is_at_chance(memory):
    low, high = memory.loc["speaker", ["low", "high"]]
    assert low < 0.5 < high and 0.4 < memory.loc["speaker", "value"] < 0.6


def test_on_shuffled_labels_a_memory_scores_fully_where_it_sees_the_test_pictures(memory):
    assert memory.loc["subset", "value"] == 1
    assert memory.loc["resubstitution", "value"] == 1


def test_on_shuffled_labels_a_split_by_picture_scores_as_often_as_the_twin_is_trained_on():
    data = noise(40)
    frame, table = climbed(data, rungs=[RUNGS["picture-plain"]])
    split = leakage.splits(RUNGS["picture-plain"], data.names, leakage.shuffled(data, 0).labels, 5, 0)
    twins = [len({r % 80 for r in s.test_rows} & {r % 80 for r in s.train_rows}) for s in split]
    assert 0.6 < sum(twins) / 160 < 1
    # with its twin the answer is sure, without it a guess
    right = (frame["score"] == frame["label"])[frame["seed"] == 0]
    assert right.sum() >= sum(twins)
    assert table.loc["picture-plain", "value"] == pytest.approx(0.9, abs=0.07)


def test_a_map_of_the_true_class_paints_the_label_and_one_of_the_predicted_class_does_not(memory):
    # the painted corner is a quarter of the picture; no other part of it knows the label
    assert memory.loc["class", "value"] == 1
    assert memory.loc["teacher", "value"] == 1
    assert memory.loc["speaker", "value"] < 0.6


# ── the guard ──────────────────────────────────────────────────────────────────────────────────────────
def run(rung, data, strict, teacher=None, scorers=None, n_splits=3):
    return leakage.run_rung(
        rung, data, teacher or Painter(), scorers or [Nearest()],
        n_splits=n_splits, cross_fits=2, seed=1, strict=strict,
    )  # fmt: skip


@pytest.mark.parametrize("rung", LEAKY, ids=lambda rung: rung.name)
def test_a_strict_guard_stops_each_leaky_rung_for_what_it_adds(rung):
    with pytest.raises(Leak) as caught:
        run(rung, noise(6), strict=True)
    assert caught.value.kind == rung.kind
    assert isinstance(caught.value, LeakageError)


@pytest.mark.parametrize("rung", LEAKY, ids=lambda rung: rung.name)
def test_an_open_guard_notes_what_a_strict_one_would_have_raised_and_goes_on(rung):
    with pytest.raises(Leak) as caught:
        run(rung, noise(6), strict=True)
    noted = run(rung, noise(6), strict=False)
    first = noted.violations.iloc[0]
    assert (first["kind"], first["problem"]) == (caught.value.kind, caught.value.problem)
    assert len(noted.scores) == 12 * rung.copies


def test_the_honest_rung_passes_a_strict_guard_and_an_open_one_notes_nothing():
    assert run(RUNGS["speaker"], noise(6), strict=True).violations.empty
    assert run(RUNGS["speaker"], noise(6), strict=False).violations.empty


def test_each_rung_of_the_ladder_keeps_the_faults_of_the_one_before():
    noted = [set(run(rung, noise(6), strict=False).violations["kind"]) - {"seen"} for rung in LADDER]
    assert noted == [
        set(), {"label"}, {"label", "fit"}, {"label", "fit", "split"}, {"label", "fit", "split", "picture"}
    ]  # fmt: skip
    assert set(run(SUBSET, noise(6), strict=False).violations["kind"]) == {"picture", "split", "fit", "seen"}


def test_the_ledger_of_a_leaky_rung_counts_the_test_speakers_that_were_fitted_on():
    table = run(RUNGS["teacher"], noise(6), strict=False).ledger
    teacher = table[(table["act"] == "fitted") & (table["what"] == "teacher")]
    assert (teacher["of them tested"] == 4).all() and (teacher["speakers"] == 12).all()


def test_the_label_of_a_training_speaker_may_be_read_and_that_of_a_test_speaker_not():
    guard = Guard(Split(0, 0, ("a", "b", "c"), (0, 1), (2,)))
    guard.reads_label("map", ["a", "b"])
    with pytest.raises(Leak, match="labels of 1 test speakers, c first, were read for map of fold 0"):
        guard.reads_label("map", ["b", "c"])


def test_a_split_with_twins_on_both_sides_is_refused_as_a_split_and_one_with_the_picture_itself_as_that():
    doubled = ("a", "b", "a", "b")
    with pytest.raises(Leak) as caught:
        Guard(Split(0, 0, doubled, (0, 1), (2, 3)))
    assert caught.value.kind == "split"
    with pytest.raises(Leak, match="tests on 1 of 2 pictures") as caught:
        Guard(Split(0, 0, doubled, (0, 1, 2), (2, 3)))
    assert caught.value.kind == "picture"


def test_a_guard_refuses_what_a_ledger_refuses():
    fold = speaker_folds([f"s{i}" for i in range(8)], [0, 1] * 4, 2, 0)[0]
    names = tuple(f"s{i}" for i in range(8))
    split = Split(0, 0, names, *(tuple(names.index(n) for n in side) for side in (fold.train, fold.test)))
    for ledger in (Ledger(fold), Guard(split)):
        with pytest.raises(LeakageError, match="fitted on test speakers"):
            ledger.fitted("scaler", fold.test[:1])
        with pytest.raises(LeakageError, match="before it was fitted"):
            ledger.applied("scaler", fold.test)


def test_every_kind_of_fault_has_its_words():
    assert {rung.kind for rung in (*LADDER, *ALONE, *TABLE_LADDER)} - {""} <= set(KINDS)


# ── splits, labels and sharing ─────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("rung", RUNGS.values(), ids=lambda rung: rung.name)
def test_every_picture_is_tested_once_on_every_rung(rung):
    data = noise(6)
    tested = [row for split in leakage.splits(rung, data.names, data.labels, 3, 0) for row in split.test_rows]
    assert sorted(tested) == list(range(12 * rung.copies))


def test_shuffled_labels_keep_the_sizes_of_the_classes_and_differ_from_seed_to_seed():
    data = noise(20)
    dealt = [leakage.shuffled(data, seed).labels for seed in (0, 0, 1)]
    assert all(labels.sum() == 20 for labels in dealt)
    assert np.array_equal(dealt[0], dealt[1]) and not np.array_equal(dealt[1], dealt[2])
    assert not np.array_equal(dealt[0], data.labels)


def test_a_training_picture_gets_its_map_from_a_teacher_that_did_not_see_it_up_to_the_class_rung():
    for name in ("speaker", "class"):
        teacher = Painter()
        run(RUNGS[name], noise(6), strict=False, teacher=teacher)
        assert len(teacher.asked_of) == 3 * (2 + 1)
        assert all(not set(train) & set(asked) for train, asked, _ in teacher.asked_of)
    teacher = Painter()
    run(RUNGS["teacher"], noise(6), strict=False, teacher=teacher)
    assert all(set(train) == set(asked) for train, asked, _ in teacher.asked_of)


@pytest.fixture(scope="module")
def learner():
    return Learner(TINY.network)


def real_parts(folder, learner):
    store = Store(folder)
    return leakage.NetworkTeacher(TINY, learner, store), [leakage.ChainScorer(TINY, learner, store)], store


def test_the_honest_rung_is_the_chain_of_chapter_8_score_for_score(tmp_path, learner):
    data = noise(6)
    teacher, (scorer,), _ = real_parts(tmp_path, learner)
    fold = speaker_folds(data.names, data.labels, 2, 0)[0]
    split = leakage.splits(RUNGS["speaker"], data.names, data.labels, 2, 0)[0]
    assert (split.train, split.test) == (fold.train, fold.test)
    ours = scorer.scores(*leakage._prepared(RUNGS["speaker"], data, split, teacher, Guard(split), 2), seed=0)
    theirs = custnetgc.run_fold(data, fold, TINY, learner, seed=0)
    for model in ("custnet_overlay", "custnetgc"):
        np.testing.assert_array_equal(ours[model], theirs[f"score_{model}"])


def test_networks_that_rungs_share_give_what_networks_trained_anew_give(tmp_path, learner):
    data = noise(6)
    *shared, store = real_parts(tmp_path / "shared", learner)
    together = {
        name: run(RUNGS[name], data, False, *shared, n_splits=2).scores
        for name in ("speaker", "class", "teacher", "picture")
    }
    # class has read the six teachers of speaker, picture the one of teacher
    assert (store.computed, store.loaded) == (6 + 1 + 4 * 2, 6 + 1 + 1 + 1)
    *own, store = real_parts(tmp_path / "own", learner)
    apart = run(RUNGS["picture"], data, False, *own, n_splits=2).scores
    assert store.computed == 1 + 2
    pd.testing.assert_frame_equal(together["picture"], apart)


def test_the_scores_of_the_honest_rung_do_not_depend_on_the_labels_of_its_test_speakers(tmp_path, learner):
    data = noise(6)
    split = leakage.splits(RUNGS["speaker"], data.names, data.labels, 2, 0)[0]
    flipped = data.labels.copy()
    flipped[list(split.test_rows)] = 1 - flipped[list(split.test_rows)]
    teacher, (scorer,), _ = real_parts(tmp_path, learner)
    found = {}
    for rung in ("speaker", "class"):
        for name, labels in (("as they are", data.labels), ("flipped", flipped)):
            own = PictureSet(data.names, labels, data.pictures)
            guard = Guard(split, strict=False)
            train, test = leakage._prepared(RUNGS[rung], own, split, teacher, guard, 2)
            found[rung, name] = test.pictures, scorer.scores(train, test, seed=0)["custnetgc"]
    for one, other in zip(found["speaker", "as they are"], found["speaker", "flipped"], strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(found["class", "as they are"][0], found["class", "flipped"][0])


def test_a_change_in_how_networks_are_trained_is_trained_anew_and_one_in_how_rungs_are_summed_up_is_not(
    tmp_path, learner, monkeypatch
):
    data = noise(3)
    _, (scorer,), store = real_parts(tmp_path, learner)
    first = scorer.scores(data, data, seed=0)
    monkeypatch.setattr(leakage, "worth", lambda frame: None)
    monkeypatch.setattr(leakage, "Guard", None)
    again = scorer.scores(data, data, seed=0)
    assert (store.computed, store.loaded) == (1, 1)
    np.testing.assert_array_equal(first["custnetgc"], again["custnetgc"])

    def trained_otherwise(learner, train, plan, seed):
        return learner.fit(train.pictures, train.labels, seed=seed + 1, epochs=1, batch_size=2)

    monkeypatch.setattr(leakage, "_trained", trained_otherwise)
    scorer.scores(data, data, seed=0)
    assert (store.computed, store.loaded) == (2, 1)


# ── the table of markers ───────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def markers():
    rng = np.random.default_rng(0)
    names = [f"s{i:02d}" for i in range(60)]
    return pd.DataFrame(rng.normal(size=(60, 400)), index=names), np.repeat([0, 1], 30)


@pytest.fixture(scope="module")
def table_ladder(markers, tmp_path_factory):
    frame = leakage.run_table_ladder(
        *markers, kinds=("logistic",), keep=10, seeds=range(3), labels="shuffled", n_splits=3,
        store=Store(tmp_path_factory.mktemp("tables")),
    )  # fmt: skip
    table = leakage.worth(frame, n_boot=200)
    return table[table["metric"] == "auc"].set_index("rung")


def test_choosing_columns_on_everybody_finds_a_class_difference_where_there_is_none(table_ladder):
    # Ambroise & McLachlan 2002: the selection bias; 10 of 400 columns of noise
    assert table_ladder.loc["speaker", "low"] < 0.5 < table_ladder.loc["speaker", "high"]
    assert table_ladder.loc["selection", "low"] > 0.6


@pytest.mark.parametrize("rung", [rung for rung in TABLE_LADDER if rung.kind], ids=lambda rung: rung.name)
def test_a_strict_guard_stops_each_leaky_rung_of_the_table(rung, markers, tmp_path):
    options = {"kind": "logistic", "keep": 5, "n_splits": 3, "seed": 0, "store": Store(tmp_path)}
    with pytest.raises(Leak) as caught:
        leakage.run_table_rung(rung, *markers, strict=True, **options)
    assert caught.value.kind == rung.kind
    assert not leakage.run_table_rung(rung, *markers, strict=False, **options).violations.empty


@pytest.mark.filterwarnings("error")
def test_a_column_that_is_the_same_for_everybody_counts_for_nothing_and_is_no_reason_to_warn(markers):
    values = markers[0].to_numpy().copy()
    ours = leakage._f_values(values, markers[1])
    np.testing.assert_allclose(ours, f_classif(values, markers[1])[0])
    values[:, 3] = 7
    assert leakage._f_values(values, markers[1])[3] == 0


def test_the_honest_rung_of_the_table_passes_and_a_wrong_number_of_columns_is_refused(markers, tmp_path):
    options = {"kind": "logistic", "n_splits": 3, "seed": 0, "store": Store(tmp_path), "strict": True}
    assert leakage.run_table_rung(TABLE_LADDER[0], *markers, keep=5, **options).violations.empty
    with pytest.raises(ParameterError, match="keep"):
        leakage.run_table_rung(TABLE_LADDER[0], *markers, keep=401, **options)


# ── what the rungs are worth ───────────────────────────────────────────────────────────────────────────
def scored(labels="true", seeds=3, n=40, copies=1, rung="speaker", bias=0.4, start=0):
    rng = np.random.default_rng(start)
    rows = []
    for seed in range(seeds):
        y = np.repeat([0, 1], n // 2)
        if labels == "shuffled":
            y = np.random.default_rng(seed).permutation(y)
        for copy in range(copies):
            score = np.clip(0.5 + bias * (y - 0.5) + rng.normal(0, 0.25, n), 0, 1)
            rows.append(
                pd.DataFrame(
                    {
                        "model": "m", "rung": rung, "labels": labels, "seed": seed, "copy": copy, "fold": 0,
                        "recording": [f"s{i:02d}" for i in range(n)], "label": y, "score": score,
                    }
                )
            )  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def test_on_true_labels_values_and_intervals_are_those_of_the_books_summary():
    frame = scored()
    ours = leakage.worth(frame, n_boot=4000).set_index("metric")
    predictions = frame.drop(columns=["rung", "labels", "copy"]).assign(
        variant="v", protocol="p", threshold=0.5, predicted=(frame["score"] >= 0.5).astype(int)
    )
    theirs = evaluate.summary(predictions, ("accuracy", "auc"), n_boot=4000).set_index("metric")
    for metric in ("accuracy", "auc"):
        assert ours.loc[metric, "value"] == pytest.approx(theirs.loc[metric, "value"], abs=1e-12)
        for end in ("low", "high"):
            assert ours.loc[metric, end] == pytest.approx(theirs.loc[metric, end], abs=1e-12)


def test_the_accuracy_of_doubled_pictures_is_that_of_all_pictures_together():
    frame = scored(copies=2)
    value = leakage.worth(frame, ("accuracy",), n_boot=50)["value"].iloc[0]
    assert value == pytest.approx(((frame["score"] >= 0.5) == frame["label"]).mean(), abs=1e-12)


def test_the_interval_of_shuffled_labels_covers_the_spread_over_shuffles():
    # all right in one shuffle and all wrong in the next: the speakers alone would say exactly one half
    frame = scored("shuffled", seeds=2)
    frame["score"] = np.where(frame["seed"] == 0, frame["label"], 1 - frame["label"]).astype(float)
    row = leakage.worth(frame, ("accuracy",), n_boot=500).iloc[0]
    assert (row["value"], row["low"], row["high"]) == (0.5, 0, 1)


def test_a_gain_pairs_speakers_and_is_exact_where_every_speaker_gains_the_same():
    before = scored()
    assert leakage.gain(before, before, "accuracy", n_boot=100) == (0, 0, 0)
    worst, best = (before.assign(score=abs(w - before["label"]).astype(float), rung="r") for w in (1, 0))
    assert leakage.gain(best, worst, "accuracy", n_boot=100) == (1, 1, 1)
    doubled = pd.concat([before, before.assign(copy=1)]).assign(rung="r")
    assert leakage.gain(doubled, before, "auc", n_boot=100) == (0, 0, 0)


def test_a_gain_over_other_speakers_or_labels_is_refused():
    for other in (scored(n=38), scored(seeds=2), scored("shuffled")):
        with pytest.raises(DataError):
            leakage.gain(scored(), other, "auc", n_boot=10)


def test_scores_that_mix_rungs_or_miss_a_recording_are_refused():
    with pytest.raises(DataError, match="mix"):
        Runs.of(pd.concat([scored(), scored(rung="class")]))
    with pytest.raises(DataError, match="no score"):
        Runs.of(scored().iloc[1:])
    with pytest.raises(ParameterError, match="metric"):
        leakage.worth(scored(), ("f1",), n_boot=10)


def test_the_spread_over_seeds_averages_to_the_value():
    frame = scored(copies=2)
    for metric in ("accuracy", "auc"):
        value = leakage.worth(frame, (metric,), n_boot=10)["value"].iloc[0]
        assert Runs.of(frame).by_seed(metric).mean() == pytest.approx(value)


def test_labels_other_than_true_or_shuffled_are_refused(markers):
    with pytest.raises(ParameterError):
        leakage.run_ladder(
            noise(4), Painter(), [Nearest()], seeds=[0], labels="real", n_splits=2, cross_fits=2
        )
    with pytest.raises(ParameterError):
        leakage.run_table_ladder(*markers, kinds=("logistic",), keep=2, seeds=[0], labels="x", n_splits=2)


# ── what a heat map tells of its class ─────────────────────────────────────────────────────────────────
def test_the_reader_tells_complementary_maps_apart_and_equal_ones_not():
    rng = np.random.default_rng(0)
    one = rng.random((30, 1, 4, 4)) * np.linspace(0.1, 1, 16).reshape(4, 4)
    complementary = np.concatenate([one, 1 - one], axis=1)
    assert leakage.read_class(complementary[:20], complementary[20:]).mean() > 0.9
    equal = np.concatenate([one, one], axis=1)
    assert leakage.read_class(equal[:20], equal[20:]).mean() == 0.5
