import numpy as np
import pytest

from pdlib.errors import DataError, LeakageError
from pdlib.protocols import Fold, Ledger, assert_disjoint, speaker_folds

NAMES = [f"HC-{i:02d}" for i in range(1, 42)] + [f"PD-{i:02d}" for i in range(1, 41)]
LABELS = [0] * 41 + [1] * 40


def test_every_speaker_is_tested_exactly_once_and_classes_stay_balanced():
    folds = speaker_folds(NAMES, LABELS, 5, seed=3)
    assert sorted(name for fold in folds for name in fold.test) == sorted(NAMES)
    for fold in folds:
        assert set(fold.train) | set(fold.test) == set(NAMES)
        assert abs(sum(name.startswith("PD") for name in fold.test) - 8) <= 1


def test_the_same_seed_gives_the_same_folds_and_another_seed_others():
    assert speaker_folds(NAMES, LABELS, 5, 1) == speaker_folds(NAMES, LABELS, 5, 1)
    assert speaker_folds(NAMES, LABELS, 5, 1) != speaker_folds(NAMES, LABELS, 5, 2)


@pytest.mark.parametrize("labels, splits", [([0] * 10, 2), ([0] * 8 + [1] * 2, 5), ([0, 1] * 5, 1)])
def test_too_few_speakers_of_a_class_are_refused(labels, splits):
    with pytest.raises(DataError, match="speakers of each class"):
        speaker_folds([f"s{i}" for i in range(len(labels))], labels, splits)


def test_a_fold_with_a_speaker_on_both_sides_cannot_be_made():
    with pytest.raises(LeakageError, match="HC-02"):
        Fold(0, 0, ("HC-01", "HC-02"), ("HC-02", "PD-01"))
    with pytest.raises(LeakageError, match="twice"):
        assert_disjoint(["a", "a"], ["b"])
    with pytest.raises(LeakageError):
        speaker_folds(["a"] * 10, [0, 1] * 5, 2)


@pytest.fixture
def ledger():
    return Ledger(Fold(0, 0, ("a", "b", "c", "d"), ("x", "y")))


def test_fitting_on_a_test_speaker_raises(ledger):
    ledger.fitted("scaler", ["a", "b"])
    with pytest.raises(LeakageError, match="teacher of fold 0 was fitted on test speakers x"):
        ledger.fitted("teacher", ["a", "x"])


def test_fitting_on_a_speaker_outside_the_fold_raises(ledger):
    with pytest.raises(LeakageError, match="outside the fold: z"):
        ledger.fitted("teacher", ["a", "z"])


def test_a_heat_map_from_a_teacher_that_saw_the_picture_raises(ledger):
    ledger.fitted("teacher without part 0", ["a", "b"])
    ledger.applied("teacher without part 0", ["c", "d"])
    with pytest.raises(LeakageError, match="as if unseen"):
        ledger.applied("teacher without part 0", ["b", "c"])
    ledger.applied("teacher without part 0", ["a", "b"], unseen=False)


def test_applying_what_was_never_fitted_raises(ledger):
    with pytest.raises(LeakageError, match="before it was fitted"):
        ledger.applied("teacher", ["x"])


def test_the_table_counts_test_speakers(ledger):
    ledger.fitted("CustNet", ["a", "b", "c"])
    ledger.applied("CustNet", ["x", "y"])
    assert [(row["act"], row["speakers"], row["of them tested"]) for row in ledger.table()] == [
        ("fitted", 3, 0),
        ("applied", 2, 2),
    ]


def test_labels_may_be_any_integer_array():
    assert speaker_folds(NAMES, np.array(LABELS, dtype=np.int8), 5, 0) == speaker_folds(NAMES, LABELS, 5, 0)
