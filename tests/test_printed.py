"""What printed metrics allow, against every small confusion matrix and against matrices made for the ends."""

import itertools
import math
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from fractions import Fraction

import numpy as np
import pytest

from pdlib import metrics, printed
from pdlib.errors import ParameterError
from pdlib.metrics import Confusion

SMALL = [
    Confusion(tp, fn, fp, n - tp - fn - fp)
    for n in range(1, 13)
    for tp, fn, fp in itertools.product(range(n + 1), repeat=3)
    if tp + fn + fp <= n
]
RATES = {
    "accuracy": lambda c: (c.tp + c.tn, c.total), "precision": lambda c: (c.tp, c.tp + c.fp),
    "recall": lambda c: (c.tp, c.tp + c.fn), "specificity": lambda c: (c.tn, c.tn + c.fp),
    "f1": lambda c: (2 * c.tp, 2 * c.tp + c.fp + c.fn),
}  # fmt: skip


def rate(c, metric):
    """The metric as an exact fraction, None where it does not exist."""
    top, bottom = RATES[metric](c)
    return Fraction(top, bottom) if bottom else None


def as_printed(value, digits, rounding=ROUND_HALF_UP):
    """A share as per cent with so many digits, rounded exactly."""
    exact = Decimal(100 * value.numerator) / Decimal(value.denominator)
    return f"{exact.quantize(Decimal(1).scaleb(-digits), rounding=rounding)}%"


def matrix_with(precision, recall, specificity):
    """The smallest confusion matrix that has exactly these rates, each a fraction strictly between 0 and 1."""
    tp = Fraction(1)
    fn, fp = tp * (1 - recall) / recall, tp * (1 - precision) / precision
    tn = fp * specificity / (1 - specificity)
    scale = math.lcm(*(x.denominator for x in (tp, fn, fp, tn)))
    return Confusion(*(int(x * scale) for x in (tp, fn, fp, tn)))


def ends(text):
    low, high = printed.reach(text)
    return Fraction(low).limit_denominator(10**6), Fraction(high).limit_denominator(10**6)


def every_printing(c, names, digits):
    """The texts of the metrics ``names`` of one matrix under both usual roundings; nothing if one is missing."""
    values = [rate(c, name) for name in names]
    if None in values:
        return []
    return itertools.product(
        *({as_printed(v, digits, way) for way in (ROUND_HALF_UP, ROUND_HALF_EVEN)} for v in values)
    )


# ── one printed number ─────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("95", 94.5, 95.5), ("0.9906", 0.99055, 0.99065), ("95%", 0.945, 0.955), ("88.00 %", 0.87995, 0.88005)],
)
def test_a_printed_number_reaches_half_its_last_digit_to_either_side(text, low, high):
    assert printed.reach(text) == (low, high)


def test_the_value_of_a_printed_number_is_itself_and_of_a_per_cent_the_share():
    assert printed.value_of("0.9906") == 0.9906 and printed.value_of("88.00%") == 0.88


def test_a_final_zero_is_a_digit_that_was_known():
    assert np.ptp(printed.reach("88.00%")) < np.ptp(printed.reach("88.0%")) < np.ptp(printed.reach("88%"))


@pytest.mark.parametrize("text", ["12%", "13%"])
def test_a_tie_may_be_printed_either_way(text):
    assert printed.prints_as(1 / 8, text)  # 12.5 %: up gives 13, to even 12


def test_what_lies_beyond_a_tie_is_not_printed_like_it():
    assert not printed.prints_as(0.1251, "12%") and not printed.prints_as(0.1249, "13%")


@pytest.mark.parametrize("rounding", [ROUND_HALF_UP, ROUND_HALF_EVEN])
def test_every_small_share_prints_as_its_own_rounding(rounding):
    for n in range(1, 201):
        for k in range(n + 1):
            assert printed.prints_as(k / n, as_printed(Fraction(k, n), 0, rounding)), (k, n)


@pytest.mark.parametrize("bad", [0.95, 95, "", "about 95%", "-1", "95.%", ".", None])
def test_what_is_no_printed_number_is_refused(bad):
    with pytest.raises(ParameterError):
        printed.reach(bad)


def test_a_per_cent_without_its_sign_is_refused_as_a_share():
    with pytest.raises(ParameterError, match="95%"):
        printed.accuracy_range("95", "94")


# ── no matrix breaks a range ───────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("digits", [0, 1])
def test_no_small_matrix_has_an_accuracy_outside_the_range_of_its_printed_recall_and_specificity(digits):
    tried = 0
    for c in SMALL:
        for texts in every_printing(c, ("recall", "specificity"), digits):
            low, high = printed.accuracy_range(*texts)
            assert low <= float(rate(c, "accuracy")) <= high, (c, texts)
            tried += 1
    assert tried > 1000


def test_no_small_matrix_with_equal_classes_leaves_the_balanced_range_and_its_one_point_area_is_in_it():
    for c in SMALL:
        for texts in every_printing(c, ("recall", "specificity"), 0):
            low, high = printed.balanced_range(*texts)
            assert low - 1e-12 <= metrics.one_point_auc(c) <= high + 1e-12
            if c.tp + c.fn == c.fp + c.tn:
                assert low <= float(rate(c, "accuracy")) <= high, (c, texts)


@pytest.mark.parametrize("digits", [0, 1])
def test_no_small_matrix_has_an_f1_outside_the_range_of_its_printed_precision_and_recall(digits):
    for c in SMALL:
        for texts in every_printing(c, ("precision", "recall"), digits):
            low, high = printed.f1_range(*texts)
            assert low <= float(rate(c, "f1")) <= high, (c, texts)


@pytest.mark.parametrize("digits", [0, 1])
def test_no_small_matrix_has_a_prevalence_outside_the_implied_range(digits):
    for c in SMALL:
        for texts in every_printing(c, ("precision", "recall", "specificity"), digits):
            low, high = printed.implied_prevalence(*texts)
            assert low - 1e-12 <= (c.tp + c.fn) / c.total <= high + 1e-12, (c, texts)


def test_no_mean_over_two_small_matrices_leaves_the_range_of_averaged_f1():
    rng = np.random.default_rng(0)
    there = [c for c in SMALL if rate(c, "precision") is not None and rate(c, "recall") is not None]
    lower = 0
    for one, two in rng.integers(len(there), size=(4000, 2)):
        mean = {m: (rate(there[one], m) + rate(there[two], m)) / 2 for m in ("precision", "recall", "f1")}
        texts = as_printed(mean["precision"], 1), as_printed(mean["recall"], 1)
        low, high = printed.f1_range(*texts, averaged=True)
        assert low <= float(mean["f1"]) <= high
        lower += float(mean["f1"]) < printed.f1_range(*texts)[0]
    assert lower > 100  # so the range of one matrix would have been the wrong one


# ── and every end is reached ───────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "texts", [("96%", "95%", "94%"), ("0.59", "0.85", "0.40"), ("92.33%", "89.44%", "89.33%")]
)
def test_the_ends_of_f1_and_prevalence_are_reached_by_matrices_that_print_the_rates(texts):
    p, r, s = (ends(text) for text in texts)
    for place in (0, 1):
        c = matrix_with(p[place], r[place], s[place])
        assert float(rate(c, "f1")) == pytest.approx(printed.f1_range(*texts[:2])[place], abs=1e-12)
        c = matrix_with(p[place], r[1 - place], s[1 - place])
        share = (c.tp + c.fn) / c.total
        assert share == pytest.approx(printed.implied_prevalence(*texts)[place], abs=1e-12)
        for name, text in zip(("precision", "recall", "specificity"), texts, strict=True):
            assert printed.prints_as(float(rate(c, name)), text)


@pytest.mark.parametrize("texts", [("95%", "94%"), ("0.85", "0.40"), ("74.45%", "74.22%")])
@pytest.mark.parametrize("place", [0, 1])
def test_the_ends_of_accuracy_are_approached_when_nearly_all_are_of_one_class(texts, place):
    rates = [ends(text)[place] for text in texts]
    outer = (min, max)[place](rates)
    many, few = (10**6, 1) if outer == rates[0] else (1, 10**6)
    (right_pd, pd), (right_hc, hc) = (
        (x.numerator * k, x.denominator * k) for x, k in zip(rates, (many, few), strict=True)
    )
    accuracy = (right_pd + right_hc) / (pd + hc)
    assert accuracy == pytest.approx(printed.accuracy_range(*texts)[place], abs=1e-3)


def test_the_lower_end_of_averaged_f1_is_approached_by_a_perfect_and_a_useless_fold():
    perfect, useless = Confusion(10, 0, 0, 10), Confusion(1, 9999, 0, 10)
    mean = np.mean(
        [[metrics.precision(c), metrics.recall(c), metrics.f1(c)] for c in (perfect, useless)], axis=0
    )
    assert mean[0] == 1 and printed.prints_as(mean[1], "50.0%")
    low, high = printed.f1_range("100.0%", "50.0%", averaged=True)
    assert low <= mean[2] < low + 0.002 < high
    assert mean[2] < printed.f1_range("100.0%", "50.0%")[0]


def test_prevalence_of_exact_rates_is_that_of_the_matrix_they_come_from():
    c = Confusion(tp=57, fn=3, fp=2, tn=38)
    assert printed.prevalence(
        metrics.precision(c), metrics.recall(c), metrics.specificity(c)
    ) == pytest.approx(0.6)


# ── whole counts ───────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("text", ["0.9906", "0.9902", "63%", "0.5"])
def test_possible_sizes_are_those_for_which_python_or_exact_rounding_prints_a_count_so(text):
    digits = len(text.rstrip("%").partition(".")[2])
    scale = 1 if text.endswith("%") else 100
    found = []
    for n in range(1, 161):
        shares = [Fraction(k, n) for k in range(n + 1)]
        texts = {
            as_printed(x / scale, digits, way).rstrip("%")
            for x in shares
            for way in (ROUND_HALF_UP, ROUND_HALF_EVEN)
        }
        texts |= {f"{float(x) * (100 / scale):.{digits}f}" for x in shares}
        if text.rstrip("%") in texts:
            found.append(n)
    assert printed.possible_sizes(text, 160).tolist() == found


def test_the_printed_accuracies_need_more_recordings_than_there_are_and_162_is_no_way_out():
    assert printed.possible_sizes("0.9906", 400)[0] == 106 and printed.possible_sizes("0.9902", 400)[0] == 102
    assert not {81, 162} & {*printed.possible_sizes("0.9906", 200), *printed.possible_sizes("0.9902", 200)}


def test_possible_matrices_are_exactly_those_that_trying_all_of_them_finds():
    rng = np.random.default_rng(1)
    for n in (1, 2, 5, 9, 12):
        matrices = [c for c in SMALL if c.total == n]
        for _ in range(40):
            like = matrices[rng.integers(len(matrices))]
            names = [m for m in printed.METRICS if rng.random() < 0.6 and rate(like, m) is not None]
            texts = {m: as_printed(rate(like, m), int(rng.integers(3))) for m in names}
            reaches = {m: ends(text) for m, text in texts.items()}
            wanted = {
                (c.tp, c.fn, c.fp, c.tn) for c in matrices
                if all(rate(c, m) is not None and low <= rate(c, m) <= high for m, (low, high) in reaches.items())
            }  # fmt: skip
            found = printed.possible_matrices(n, **texts)
            assert set(found.itertuples(index=False, name=None)) == wanted and len(found) == len(wanted)
            assert (like.tp, like.fn, like.fp, like.tn) in wanted


def test_rates_of_one_and_zero_leave_only_the_matrices_that_have_them():
    perfect = printed.possible_matrices(7, precision="100%", recall="100%", specificity="100%")
    assert len(perfect) == 6 and (perfect[["fn", "fp"]] == 0).all(axis=None)
    assert (perfect[["tp", "tn"]] > 0).all(axis=None)  # a class nobody has gives no rate
    hopeless = printed.possible_matrices(7, recall="0%", f1="0.0")
    assert (hopeless["tp"] == 0).all() and (hopeless["fn"] > 0).all()


def test_without_a_metric_every_matrix_is_possible():
    assert len(printed.possible_matrices(9)) == math.comb(12, 3)


def test_a_row_that_was_counted_is_found_and_a_changed_digit_is_not():
    row = {"accuracy": "0.63", "precision": "0.59", "recall": "0.85", "specificity": "0.40", "f1": "0.69"}
    found = printed.possible_matrices(40, **row)
    assert (17, 3, 12, 8) in set(found.itertuples(index=False, name=None))
    assert printed.possible_matrices(40, **row | {"f1": "0.75"}).empty


def test_no_matrix_prints_the_last_row_of_tables_3_to_5():
    row = {"accuracy": "99%", "precision": "96%", "recall": "95%", "specificity": "94%", "f1": "90%"}
    assert printed.matrix_sizes((81, 162, *range(1, 60)), **row).size == 0
    without = {m: row[m] for m in ("precision", "recall", "specificity")}
    assert printed.matrix_sizes((81, 162), **without).tolist() == [162]  # so the search can find something


def test_the_smallest_matrix_is_the_first_that_trying_sizes_in_turn_finds():
    texts = {"accuracy": "0.9753", "precision": "0.9524", "f1": "0.9756"}  # of the matrix of p. 33
    found = printed.smallest_matrix(200, **texts)
    assert len(printed.possible_matrices(162, **texts))
    assert found.total == printed.matrix_sizes(range(1, 201), **texts)[0] <= 162
    assert all(printed.prints_as(getattr(metrics, m)(found), text) for m, text in texts.items())
    assert printed.smallest_matrix(100, accuracy="0.9906", precision="0.9583", f1="0.8459") is None


@pytest.mark.parametrize(("n", "texts"), [(0, {}), (81, {"auc": "0.90"}), (81, {"accuracy": "99"})])
def test_a_search_for_nothing_that_exists_is_refused(n, texts):
    with pytest.raises(ParameterError):
        printed.possible_matrices(n, **texts)
