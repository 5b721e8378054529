"""Equations 25–32 and the curves behind them, against closed forms, hand-made tables and scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression

from pdlib import metrics
from pdlib.errors import ParameterError
from pdlib.metrics import Confusion

PAPER = Confusion(tp=80, fn=0, fp=4, tn=78)  # p. 33: 80 PD and 78 HC right, 4 HC called PD


def scored(n=60, start=0, ties=False):
    rng = np.random.default_rng(start)
    labels = np.arange(n) % 2
    scores = np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1)
    return labels, scores.round(1) if ties else scores


# ── the paper's own matrix ─────────────────────────────────────────────────────────────────────────────
def test_printed_accuracies_give_absurd_values_on_the_papers_matrix():
    assert PAPER.total == 162
    assert metrics.accuracy_as_printed(PAPER) == pytest.approx(0.494, abs=5e-4)  # the share of PD speakers
    assert metrics.accuracy_algorithm_4_as_printed(PAPER) == pytest.approx(1.025, abs=5e-4)
    assert metrics.accuracy(PAPER) == pytest.approx(0.9753, abs=5e-5)


def test_printed_accuracy_cannot_tell_a_perfect_model_from_one_that_is_always_wrong():
    right, wrong = Confusion(40, 0, 0, 41), Confusion(0, 40, 41, 0)
    assert metrics.accuracy_as_printed(right) == metrics.accuracy_as_printed(wrong) == 40 / 81
    assert (metrics.accuracy(right), metrics.accuracy(wrong)) == (1, 0)


def test_the_other_printed_metrics_disagree_with_what_the_paper_reports_for_the_same_matrix():
    assert metrics.precision(PAPER) == pytest.approx(80 / 84)  # printed: 0.9583
    assert metrics.recall(PAPER) == 1  # printed: 95 %
    assert metrics.specificity(PAPER) == pytest.approx(0.951, abs=5e-4)  # printed: 94 %
    assert metrics.f1(PAPER) == pytest.approx(0.976, abs=5e-4)  # printed: 0.8459 and 0.90
    assert metrics.one_point_auc(PAPER) == pytest.approx(0.976, abs=5e-4)  # printed: 0.90 and 0.89


def test_one_point_auc_is_the_mean_of_recall_and_specificity_and_one_trapezoid_is_too_little():
    table3 = Confusion(tp=95, fn=5, fp=6, tn=94)
    assert metrics.one_point_auc(table3) == pytest.approx(0.945)
    one = metrics.auc_as_printed(metrics.recall(PAPER), 1, metrics.specificity(PAPER))
    assert one == pytest.approx(78 / 82)
    assert one < metrics.one_point_auc(PAPER)


def test_algorithm_4_layout_mixes_the_classes_in_every_row_and_column():
    printed = metrics.confusion_layout_as_printed(PAPER)
    assert printed.tolist() == [[80, 4], [78, 0]]
    sums = {*printed.sum(axis=0), *printed.sum(axis=1)}
    assert not sums & {80, 82}  # no line adds up to the 80 PD or the 82 HC
    assert PAPER.table().loc["PD"].sum() == 80 and PAPER.table().loc["HC"].sum() == 82


def test_table_of_equations_marks_exactly_the_wrong_ones():
    table = metrics.printed_against_right(PAPER)
    wrong = table[~np.isclose(table["as_printed"], table["right"])]
    assert list(wrong["equation"]) == ["25", "Algorithm 4", "31"]


def test_equations_printed_right_equal_ours_on_many_matrices():
    rng = np.random.default_rng(0)
    for counts in rng.integers(1, 50, size=(50, 4)):
        c = Confusion(*(int(count) for count in counts))
        for name in ("precision", "specificity", "recall", "f1", "false_positive_rate"):
            assert getattr(metrics, f"{name}_as_printed")(c) == pytest.approx(getattr(metrics, name)(c))
        assert metrics.roc_as_printed(c) == (metrics.false_positive_rate(c), metrics.recall(c))


# ── counted metrics ────────────────────────────────────────────────────────────────────────────────────
def test_confusion_and_counted_metrics_equal_scikit_learns():
    labels, scores = scored()
    called = (scores > 0.5).astype(int)
    c = metrics.confusion(labels, called)
    assert [[c.tn, c.fp], [c.fn, c.tp]] == sk.confusion_matrix(labels, called).tolist()
    assert metrics.accuracy(c) == pytest.approx(sk.accuracy_score(labels, called))
    assert metrics.precision(c) == pytest.approx(sk.precision_score(labels, called))
    assert metrics.recall(c) == pytest.approx(sk.recall_score(labels, called))
    assert metrics.specificity(c) == pytest.approx(sk.recall_score(labels, called, pos_label=0))
    assert metrics.f1(c) == pytest.approx(sk.f1_score(labels, called))
    assert metrics.false_positive_rate(c) == pytest.approx(1 - metrics.specificity(c))


def test_undefined_metrics_are_nan_and_never_zero():
    nobody_called = Confusion(tp=0, fn=3, fp=0, tn=5)
    assert np.isnan(metrics.precision(nobody_called)) and np.isnan(metrics.f1_as_printed(nobody_called))
    assert metrics.f1(nobody_called) == 0  # PD speakers exist and none was found
    no_pd, no_hc = Confusion(0, 0, 1, 2), Confusion(1, 2, 0, 0)
    assert np.isnan(metrics.recall(no_pd)) and np.isnan(metrics.specificity(no_hc))
    assert np.isnan(metrics.false_positive_rate(no_hc)) and np.isnan(metrics.f1(Confusion(0, 0, 0, 4)))
    assert np.isnan(metrics.accuracy(Confusion(0, 0, 0, 0))) and np.isnan(metrics.auc([1, 1], [0.2, 0.9]))


def test_metrics_of_arrays_of_counts_equal_those_of_each_count():
    stack = Confusion(*np.array([[80, 0], [0, 3], [4, 0], [78, 5]]))
    assert metrics.precision(stack)[0] == metrics.precision(PAPER) and np.isnan(metrics.precision(stack)[1])


@pytest.mark.parametrize("bad", [([0, 1], [0]), ([0, 2], [0, 1]), ([], []), ([0.5, 1], [0, 1])])
def test_labels_that_are_not_zeros_and_ones_of_equal_number_are_refused(bad):
    with pytest.raises(ParameterError):
        metrics.confusion(*bad)
    with pytest.raises(ParameterError):
        Confusion(-1, 0, 0, 0)


# ── scores ─────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("ties", [False, True])
def test_roc_and_precision_recall_curves_equal_scikit_learns(ties):
    labels, scores = scored(ties=ties)
    fpr, tpr, thresholds = sk.roc_curve(labels, scores, drop_intermediate=False)
    curve = metrics.roc_curve(labels, scores)
    np.testing.assert_allclose(
        curve[["threshold", "false_positive_rate", "recall"]].T, [thresholds, fpr, tpr]
    )
    precision, recall, thresholds = sk.precision_recall_curve(labels, scores)
    ours = metrics.precision_recall_curve(labels, scores)
    assert np.isnan(ours["precision"][0]) and ours["recall"][0] == 0
    np.testing.assert_allclose(ours.iloc[1:].T, [thresholds[::-1], precision[:-1][::-1], recall[:-1][::-1]])
    assert metrics.auc(labels, scores) == pytest.approx(sk.roc_auc_score(labels, scores))


@pytest.mark.parametrize("ties", [False, True])
def test_auc_of_the_pd_class_and_of_the_hc_class_are_one_number(ties):
    # so 0.90 for PD beside 0.89 for HC (p. 33, p. 36) cannot come from one softmax
    labels, scores = scored(ties=ties)
    assert metrics.auc(labels, scores) == pytest.approx(metrics.auc(1 - labels, 1 - scores), abs=1e-12)


def test_auc_of_a_hand_made_case_counts_pairs():
    # PD 0.8 and 0.4 against HC 0.4 and 0.2: pairs won 1, ½, 1, 1
    labels, scores = [1, 0, 1, 0], [0.8, 0.4, 0.4, 0.2]
    assert metrics.auc(labels, scores) == 3.5 / 4
    assert metrics.auc([0, 1], [0.9, 0.1]) == 0


def test_scores_outside_0_to_1_or_missing_are_refused():
    for scores in ([0.1, 1.2], [np.nan, 0.5], [0.5]):
        with pytest.raises(ParameterError, match="probabilities"):
            metrics.auc([0, 1], scores)


def test_threshold_of_a_separable_case_lies_in_the_middle_of_the_gap():
    assert metrics.choose_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9]) == pytest.approx(0.4)


@pytest.mark.parametrize(("rule", "goal"), [("youden", "youden"), ("accuracy", "accuracy")])
@pytest.mark.parametrize("start", range(5))
def test_no_threshold_on_a_fine_grid_beats_the_chosen_one(rule, goal, start):
    labels, scores = scored(30, start, ties=start % 2 == 1)

    def worth(threshold):
        c = metrics.confusion(labels, scores >= threshold)
        return metrics.accuracy(c) if goal == "accuracy" else metrics.recall(c) + metrics.specificity(c)

    chosen = metrics.choose_threshold(labels, scores, rule)
    # the grid keeps between the lowest and highest score: calling everybody the same is no threshold
    grid = np.linspace(scores.min() + 1e-9, scores.max() - 1e-9, 2001)
    assert worth(chosen) >= max(worth(t) for t in grid) - 1e-12


def test_equally_good_thresholds_are_settled_towards_one_half():
    assert metrics.choose_threshold([0, 1], [0.5, 0.5]) == 0.5
    assert metrics.choose_threshold([0, 1, 0, 1], [0.1, 0.3, 0.6, 0.8]) == pytest.approx(0.7)
    assert metrics.choose_threshold([0, 1, 0, 1], [0.2, 0.4, 0.7, 0.9]) == pytest.approx(0.3)


def test_fixed_half_unknown_rules_and_single_classes():
    assert metrics.choose_threshold([0, 0, 1], [0.1, 0.2, 0.3], "half") == 0.5
    with pytest.raises(ParameterError, match="'best'"):
        metrics.choose_threshold([0, 1], [0.1, 0.2], "best")
    with pytest.raises(ParameterError, match="one class"):
        metrics.choose_threshold([1, 1], [0.1, 0.2])


# ── calibration ────────────────────────────────────────────────────────────────────────────────────────
def test_brier_equals_scikit_learns_and_a_constant_half_gives_a_quarter():
    labels, scores = scored()
    assert metrics.brier(labels, scores) == pytest.approx(sk.brier_score_loss(labels, scores))
    assert metrics.brier(labels, np.full(60, 0.5)) == 0.25


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_calibration_bins_equal_scikit_learns(strategy):
    from sklearn.calibration import calibration_curve

    labels, scores = scored(200)
    observed, mean = calibration_curve(labels, scores, n_bins=8, strategy=strategy)
    ours = metrics.calibration_curve(labels, scores, bins=8, strategy=strategy)
    np.testing.assert_allclose(ours["observed"], observed)
    np.testing.assert_allclose(ours["mean_score"], mean)
    assert ours["n"].sum() == 200 and (ours["observed_low"] <= ours["observed"]).all()


def test_wilson_interval_of_a_bin_equals_scipys():
    from scipy.stats import binomtest

    row = metrics.calibration_curve([1, 1, 1, 0, 1], [0.62, 0.65, 0.64, 0.66, 0.61]).iloc[0]
    exact = binomtest(4, 5).proportion_ci(method="wilson")
    assert (row["observed_low"], row["observed_high"]) == pytest.approx((exact.low, exact.high))


def test_expected_calibration_error_of_a_hand_made_case():
    # two bins: three at 0.2 with one PD (off by 0.1333), one at 0.9 that is HC (off by 0.9)
    value = metrics.expected_calibration_error([1, 0, 0, 0], [0.2, 0.2, 0.2, 0.9])
    assert value == pytest.approx((3 * abs(0.2 - 1 / 3) + 0.9) / 4)


def test_calibration_line_finds_the_planted_distortion_and_equals_scikit_learns_fit():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=20000)
    labels = (rng.random(20000) < 1 / (1 + np.exp(-truth))).astype(int)
    right = metrics.calibration_line(labels, 1 / (1 + np.exp(-truth)))
    assert right == pytest.approx({"in_the_large": 0, "slope": 1}, abs=0.05)
    overconfident = 1 / (1 + np.exp(-2 * truth))
    line = metrics.calibration_line(labels, overconfident)
    fit = LogisticRegression(C=np.inf, tol=1e-10).fit(2 * truth[:, None], labels)
    assert line["slope"] == pytest.approx(fit.coef_[0, 0], abs=1e-4)
    assert line["slope"] == pytest.approx(0.5, abs=0.03)
    shifted = metrics.calibration_line(labels, 1 / (1 + np.exp(-(truth - 1))))
    assert shifted["in_the_large"] == pytest.approx(1, abs=0.05)


def test_calibration_slope_of_separated_classes_and_intercept_of_one_class_do_not_exist():
    assert np.isnan(metrics.calibration_line([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])["slope"])
    assert np.isnan(metrics.calibration_line([1, 1], [0.5, 0.6])["in_the_large"])
