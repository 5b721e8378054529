"""What printed, rounded metrics allow: ranges that follow from identities, and a search over whole counts.

A printed number stands for every value that is rounded to it, so all functions take the text as printed
("96%", "0.9583", "88.00%") and answer with ranges of shares. A range says what is possible; a third number
outside it means that the printed ones do not describe one set of predictions for two classes.

The identities, with recall R, specificity S, precision P and the share π of PD among the tested: accuracy is
π·R + (1 − π)·S, F1 = 2PR/(P + R), and π/(1 − π) = P(1 − S)/((1 − P)R). Counts are searched in whole numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import pandas as pd

from pdlib.errors import ParameterError
from pdlib.metrics import Confusion

METRICS = ("accuracy", "precision", "recall", "specificity", "f1")
Range = tuple[float, float]


# --- one printed number -----------------------------------------------------------------------------------
def reach(printed: str) -> Range:
    """Smallest and largest value that may be printed like this; a text ending in % stands for hundredths.

    Both ends belong to the range: a tie may have been rounded up, to the even digit, or by what a binary float
    makes of it. ``reach("95")`` is (94.5, 95.5), ``reach("95%")`` is (0.945, 0.955).

    Raises
    ------
    ParameterError
        When ``printed`` is no text of digits; a number has lost its last zeros.
    """
    low, high = _exact(printed)
    return float(low), float(high)


def value_of(printed: str) -> float:
    """The printed number itself, per cent as a share: ``value_of("95%")`` is 0.95."""
    return float(sum(_exact(printed)) / 2)


def prints_as(value: float, printed: str) -> bool:
    """Whether ``value`` (for a text ending in %, a share) may be printed like this; see `reach`."""
    low, high = reach(printed)
    return low <= value <= high


# --- ranges from two or three printed numbers -------------------------------------------------------------
def accuracy_range(recall: str, specificity: str) -> Range:
    """Accuracies that recall and specificity allow, whichever share of the tested is PD.

    Accuracy is their mean with weights π and 1 − π, so it lies between them.
    """
    r, s = _share(recall), _share(specificity)
    return float(min(r[0], s[0])), float(max(r[1], s[1]))


def balanced_range(recall: str, specificity: str) -> Range:
    """Accuracies that recall and specificity allow with equal classes: the range of their mean.

    The mean is also the area under the ROC curve through the one known point (`metrics.one_point_auc`).
    """
    r, s = _share(recall), _share(specificity)
    return float((r[0] + s[0]) / 2), float((r[1] + s[1]) / 2)


def f1_range(precision: str, recall: str, averaged: bool = False) -> Range:
    """F1 scores that precision and recall allow.

    Parameters
    ----------
    precision, recall : str
        As printed.
    averaged : bool
        Whether all three may be means over several matrices, such as folds. The harmonic mean is concave, so
        the mean F1 is at most the F1 of the means; and from P(1 − P) + R(1 − R) ≥ 0 follows F1 ≥ P + R − 1 in
        each matrix, and so for the means.
    """
    p, r = _share(precision), _share(recall)
    low, high = (float(_harmonic(*ends)) for ends in zip(p, r, strict=True))
    return (float(max(p[0] + r[0] - 1, Fraction(0))), high) if averaged else (low, high)


def implied_prevalence(precision: str, recall: str, specificity: str) -> Range:
    """Shares of PD among the tested that precision, recall and specificity allow together.

    The share grows with the precision and falls with recall and specificity, so two corners bound it.
    """
    p, r, s = _share(precision), _share(recall), _share(specificity)
    return prevalence(p[0], r[1], s[1]), prevalence(p[1], r[0], s[0])


def prevalence(precision: float, recall: float, specificity: float) -> float:
    """Share of PD among the tested, from exact rates: π/(1 − π) = P(1 − S)/((1 − P)R)."""
    of_pd, of_hc = precision * (1 - specificity), (1 - precision) * recall
    return float(of_pd / (of_pd + of_hc))


# --- whole counts -----------------------------------------------------------------------------------------
def possible_sizes(printed: str, largest: int) -> np.ndarray:
    """Every n up to ``largest`` for which some count out of n is a share printed like this; (sizes,) int."""
    low, high = _share(printed)
    n = np.arange(1, largest + 1, dtype=np.int64)
    return n[_up(low, n) <= _down(high, n)]


def possible_matrices(n: int, **printed: str) -> pd.DataFrame:
    """Every confusion matrix of ``n`` predictions with all these printed metrics, by trying the counts.

    For each number of errors that the accuracy allows, and each division of them into FP and FN, every other
    metric rises or falls with TP, so it leaves an interval of TP; the matrices are where all intervals meet.

    Parameters
    ----------
    n : int
        Number of predictions.
    **printed : str
        Any of accuracy, precision, recall, specificity and f1, as printed. A metric that a matrix does not
        have (precision when nobody is called PD) is not printed by it.

    Returns
    -------
    DataFrame
        Columns tp, fn, fp, tn, one row per matrix; empty when there is none.

    Raises
    ------
    ParameterError
        For an unknown metric, a text that is no share, or ``n`` below 1.
    """
    if n < 1 or set(printed) - set(METRICS):
        raise ParameterError(
            f"no search for n = {n} and {', '.join(printed) or 'nothing'}",
            f"give n from 1 and any of {', '.join(METRICS)}",
        )
    shares = {metric: _share(text) for metric, text in printed.items()}
    low, high = shares.pop("accuracy", (Fraction(0), Fraction(1)))
    wrong = np.arange(_up(1 - high, n), _down(1 - low, n) + 1, dtype=np.int64)
    fp = _ranges(np.zeros_like(wrong), wrong + 1)
    wrong = np.repeat(wrong, wrong + 1)
    fn = wrong - fp
    least, most = np.zeros_like(fp), n - wrong  # of TP
    for metric, (low, high) in shares.items():
        errors = {"precision": fp, "recall": fn, "specificity": fp, "f1": wrong}[metric]
        if metric == "f1":  # 2·TP / (2·TP + FP + FN)
            first, last = _beside(errors, low, high, 2 * n)
            first, last = -(-first // 2), last // 2
        else:
            first, last = _beside(errors, low, high, n)
        if metric == "specificity":  # this is TN; TP is what remains
            first, last = n - wrong - last, n - wrong - first
        least, most = np.maximum(least, first), np.minimum(most, last)
    found = np.maximum(most - least + 1, 0)
    tp = _ranges(least, least + found)
    fn, fp = np.repeat(fn, found), np.repeat(fp, found)
    return pd.DataFrame({"tp": tp, "fn": fn, "fp": fp, "tn": n - tp - fn - fp})


def matrix_sizes(sizes: Iterable[int], **printed: str) -> np.ndarray:
    """Those of ``sizes`` for which some confusion matrix prints all these metrics; see `possible_matrices`."""
    return np.array([n for n in sizes if len(possible_matrices(int(n), **printed))], dtype=np.int64)


def smallest_matrix(largest: int, accuracy: str, **printed: str) -> Confusion | None:
    """The first of the smallest matrices that print all these metrics; None up to ``largest`` predictions."""
    for n in possible_sizes(accuracy, largest):
        found = possible_matrices(int(n), accuracy=accuracy, **printed)
        if len(found):
            return Confusion(**{cell: int(count) for cell, count in found.iloc[0].items()})
    return None


# --- inside -----------------------------------------------------------------------------------------------
def _exact(printed: str) -> tuple[Fraction, Fraction]:
    found = re.fullmatch(r"(\d+)(?:\.(\d+))?\s*(%?)", printed) if isinstance(printed, str) else None
    if not found:
        raise ParameterError(f"{printed!r} is no printed number", 'give its digits as text, such as "88.00%"')
    whole, digits, percent = found.group(1), found.group(2) or "", 100 if found.group(3) else 1
    unit = Fraction(1, 10 ** len(digits) * percent)
    value = int(whole + digits) * unit
    return value - unit / 2, value + unit / 2


def _share(printed: str) -> tuple[Fraction, Fraction]:
    """The reach of a share, cut to 0 and 1."""
    low, high = _exact(printed)
    if low > 1:
        raise ParameterError(f"{printed!r} is no share", f'write "{printed}%" if per cent is meant')
    return max(low, Fraction(0)), min(high, Fraction(1))


def _harmonic(p: Fraction, r: Fraction) -> Fraction:
    return 2 * p * r / (p + r) if p + r else Fraction(0)


def _up(share: Fraction, n):
    """Smallest whole number that is at least ``share`` · n."""
    return -(-share.numerator * n // share.denominator)


def _down(share: Fraction, n):
    """Largest whole number that is at most ``share`` · n."""
    return share.numerator * n // share.denominator


def _beside(errors: np.ndarray, low: Fraction, high: Fraction, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Least and most right ones x, at most ``n``, with low ≤ x / (x + errors) ≤ high; low is below 1."""
    first = np.maximum(_up(low / (1 - low), errors), errors == 0)  # 0 / 0 is no share
    last = _down(high / (1 - high), errors) if high < 1 else np.full_like(errors, n)
    return first, last


def _ranges(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The whole numbers from each start up to its end, the end left out, one after another."""
    sizes = ends - starts
    firsts = np.repeat(starts - np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes)
    return firsts + np.arange(sizes.sum())
