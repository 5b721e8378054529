"""The two patterns against curves whose answer can be read off, and rank scores against a second library."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pdlib import evaluate
from pdlib.errors import ParameterError
from pdlib.patterns import fall_at_end, low_between_highs, rank_predictions


def test_a_low_between_two_highs_would_be_measured_from_the_higher_one():
    dip = low_between_highs([0, 10, 4, 8, 0])
    assert (dip.depth, dip.index) == (4.0, 2)


@pytest.mark.parametrize("curve", [[1, 2, 3], [3, 2, 1], [1, 3, 2], [5, 5, 5], [0, 1, 2, 1, -80, -80]])
def test_a_quiet_start_or_end_would_count_as_a_dip(curve):
    assert low_between_highs(curve).depth == 0


def test_the_depth_would_depend_on_direction_or_level():
    curve = np.random.default_rng(3).normal(size=200)
    depth = low_between_highs(curve).depth
    assert depth > 0
    assert low_between_highs(curve[::-1]).depth == pytest.approx(depth)
    assert low_between_highs(curve - 40).depth == pytest.approx(depth)


def test_the_depth_would_differ_from_a_search_over_all_triples():
    curve = np.random.default_rng(4).normal(size=40)
    searched = max(
        min(curve[: k + 1].max(), curve[k:].max()) - curve[k] for k in range(curve.size)
    )  # fmt: skip
    assert low_between_highs(curve).depth == pytest.approx(searched)


def test_added_zeros_at_the_end_would_not_show_as_a_fall():
    steady = np.full(100, -20.0)
    assert fall_at_end(steady) == 0
    padded = np.r_[steady[:90], np.full(10, -80.0)]
    assert fall_at_end(padded) == pytest.approx(60)


def test_a_rise_at_the_end_would_be_called_a_fall():
    assert fall_at_end(np.linspace(-30, -10, 50)) < 0


@pytest.mark.parametrize("share", [0, 0.5, -0.1, 1])
def test_a_share_without_a_middle_would_be_accepted(share):
    with pytest.raises(ParameterError, match="share"):
        fall_at_end(np.zeros(100), share)


@pytest.mark.parametrize("curve", [[1.0, np.nan, 2.0], [1.0, 2.0], [[1.0, 2.0, 3.0]]])
def test_a_curve_with_gaps_or_too_few_points_would_be_accepted(curve):
    with pytest.raises(ParameterError, match="curve"):
        low_between_highs(curve)


def test_ranks_would_change_the_auc_of_the_values():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    values = np.round(rng.normal(labels, 1.0) * 4)  # rounded, so that there are ties
    names = [f"R-{i:02d}" for i in range(40)]
    frame = rank_predictions(values, names, labels, model="values")
    got = evaluate.summary(frame, ["auc"], n_boot=50).iloc[0]["value"]
    assert got == pytest.approx(roc_auc_score(labels, values), abs=1e-12)


def test_a_missing_label_would_shift_all_that_follow():
    with pytest.raises(ParameterError, match="labels"):
        rank_predictions([1.0, 2.0], ["A", "B"], [1], model="values")
