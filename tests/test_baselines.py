import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from pdlib.baselines import acoustic_table, classifier, cross_validate_table
from pdlib.errors import DataError, UsageError

NAMES = pd.Index(
    [f"HC-{i:02d}" for i in range(1, 31)] + [f"PD-{i:02d}" for i in range(1, 31)], name="recording"
)
LABELS = np.repeat([0, 1], 30)


def table(shift, columns=1, seed=0):
    values = np.random.default_rng(seed).normal(size=(60, columns))
    values[:, 0] += shift * LABELS
    return pd.DataFrame(values, index=NAMES)


@pytest.mark.parametrize("kind", ["logistic", "forest"])
def test_a_planted_difference_is_found_and_its_size_is_right(store, kind):
    frame = cross_validate_table(table(3.0), LABELS, model="planted", kind=kind, seeds=range(2), store=store)
    auc = frame.groupby("seed").apply(
        lambda part: roc_auc_score(part["label"], part["score"]), include_groups=False
    )
    assert (auc > 0.93).all()  # two normals three deviations apart: 0.983


def test_noise_with_more_columns_than_speakers_stays_at_chance(store):
    frame = cross_validate_table(table(0.0, columns=200), LABELS, model="noise", seeds=range(3), store=store)
    auc = frame.groupby("seed").apply(
        lambda part: roc_auc_score(part["label"], part["score"]), include_groups=False
    )
    assert abs(auc.mean() - 0.5) < 0.15


def test_missing_values_are_filled_inside_the_training_speakers(store):
    holed = table(3.0, columns=2)
    holed.iloc[::7, 1] = np.nan
    frame = cross_validate_table(holed, LABELS, model="holed", seeds=[0], store=store)
    assert frame["score"].notna().all()


def test_scores_do_not_depend_on_the_order_of_speakers_within_a_repeat(store):
    first = cross_validate_table(table(1.0), LABELS, model="m", seeds=[0], store=store)
    again = cross_validate_table(table(1.0), LABELS, model="m", seeds=[0], store=store)
    pd.testing.assert_frame_equal(first, again)


def test_a_table_without_columns_or_with_other_rows_is_refused(store):
    with pytest.raises(DataError):
        cross_validate_table(table(0.0)[[]], LABELS, model="m", store=store)
    with pytest.raises(DataError):
        cross_validate_table(table(0.0), LABELS[:-1], model="m", store=store)
    with pytest.raises(UsageError, match="logistic, forest"):
        classifier("svm", 0)


def test_acoustic_table_has_one_row_per_recording(small_cohort, store):
    frame = acoustic_table(small_cohort, store=store)
    assert list(frame.index) == small_cohort.names
    assert frame.shape[1] >= 20 and frame.notna().any().all()
