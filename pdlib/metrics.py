"""The paper's metrics, equations 25–32 (p. 30–33), as printed and right; curves, thresholds and calibration.

Label 1 is PD (the positive class), 0 is HC. A score is the model's probability of PD, and a recording is
called PD when its score is at least the threshold. What does not exist is NaN, never 0, because a 0 would be
read as a bad result where there is none: precision without a recording called PD, recall without PD speakers,
specificity without HC speakers, AUC without both classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from pdlib.errors import ParameterError


# --- the confusion matrix and the metrics counted from it -------------------------------------------------
@dataclass(frozen=True)
class Confusion:
    """Counts of true PD called PD (tp) and HC (fn), and of true HC called PD (fp) and HC (tn).

    The counts may be arrays of one shape (bootstrap replicates); every metric then returns that shape.
    """

    tp: int | np.ndarray
    fn: int | np.ndarray
    fp: int | np.ndarray
    tn: int | np.ndarray

    def __post_init__(self) -> None:
        if any(np.any(np.asarray(count) < 0) for count in astuple(self)):
            raise ParameterError(
                f"a confusion matrix counts from 0 upwards, got {self}", "give the four counts"
            )

    @property
    def total(self) -> int | np.ndarray:
        """Number of predictions."""
        return self.tp + self.fn + self.fp + self.tn

    def table(self) -> pd.DataFrame:
        """Rows: true class, columns: predicted class — the layout stated on p. 34 of the paper."""
        index = pd.Index(["PD", "HC"], name="true")
        return pd.DataFrame(
            [[self.tp, self.fn], [self.fp, self.tn]], index, pd.Index(["PD", "HC"], name="predicted")
        )


def confusion(labels: Sequence[int], predicted: Sequence[int]) -> Confusion:
    """Count the four outcomes of ``labels`` against ``predicted``, both of shape (n,) with values 0 and 1.

    Raises
    ------
    ParameterError
        When the lengths differ or a value is neither 0 nor 1.
    """
    labels, predicted = _binary("labels", labels), _binary("predicted", predicted)
    if labels.shape != predicted.shape:
        raise ParameterError(
            f"{labels.size} labels but {predicted.size} predictions", "give one prediction per label"
        )
    cell = np.bincount(2 * labels + predicted, minlength=4)
    return Confusion(tp=int(cell[3]), fn=int(cell[2]), fp=int(cell[1]), tn=int(cell[0]))


def accuracy(c: Confusion) -> float:
    """Share of right predictions, (TP + TN) / N; eq. 25 (p. 30) put right. NaN without predictions."""
    return ratio(c.tp + c.tn, c.total)


def precision(c: Confusion) -> float:
    """Share of PD among those called PD, TP / (TP + FP); eq. 26 (p. 30). NaN when nobody is called PD."""
    return ratio(c.tp, c.tp + c.fp)


def specificity(c: Confusion) -> float:
    """Share of HC called HC, TN / (TN + FP); eq. 27 (p. 30). NaN without HC speakers."""
    return ratio(c.tn, c.tn + c.fp)


def recall(c: Confusion) -> float:
    """Share of PD called PD (sensitivity, TPR), TP / (TP + FN); eq. 28 (p. 31). NaN without PD speakers."""
    return ratio(c.tp, c.tp + c.fn)


def f1(c: Confusion) -> float:
    """Harmonic mean of precision and recall as 2·TP / (2·TP + FP + FN); eq. 29 (p. 31).

    This form is 0 when there are PD speakers and none is found; NaN only without any PD, true or called.
    """
    return ratio(2 * c.tp, 2 * c.tp + c.fp + c.fn)


def false_positive_rate(c: Confusion) -> float:
    """Share of HC called PD, FP / (FP + TN) = 1 − specificity; eq. 32 (p. 31). NaN without HC speakers."""
    return ratio(c.fp, c.fp + c.tn)


def one_point_auc(c: Confusion) -> float:
    """Area under the ROC curve through (0, 0), the one point of ``c`` and (1, 1): (recall + specificity) / 2.

    All that eq. 31 (p. 31) can give when only a confusion matrix is known: the sum of two trapezoids.
    """
    return auc_as_printed(0, recall(c), false_positive_rate(c)) + auc_as_printed(recall(c), 1, specificity(c))


# --- the same, as the paper prints them -------------------------------------------------------------------
def accuracy_as_printed(c: Confusion) -> float:
    """Eq. 25 (p. 30) to the letter, (TP + FN) / N: the share of PD speakers, whatever the model says."""
    return ratio(c.tp + c.fn, c.total)


def accuracy_algorithm_4_as_printed(c: Confusion) -> float:
    """Algorithm 4 (p. 32), first line, N / correct with correct = TP + TN: a reciprocal, never below 1."""
    return ratio(c.total, c.tp + c.tn)


def precision_as_printed(c: Confusion) -> float:
    """Eq. 26 (p. 30), TP / (TP + FP); printed right."""
    return ratio(c.tp, c.tp + c.fp)


def specificity_as_printed(c: Confusion) -> float:
    """Eq. 27 (p. 30), TN / (TN + FP); printed right."""
    return ratio(c.tn, c.tn + c.fp)


def recall_as_printed(c: Confusion) -> float:
    """Eq. 28 (p. 31), TP / (TP + FN); printed right."""
    return ratio(c.tp, c.tp + c.fn)


def f1_as_printed(c: Confusion) -> float:
    """Eq. 29 (p. 31), 2·P·R / (P + R); right but undefined when no PD speaker is found, where F1 is 0."""
    p, r = precision_as_printed(c), recall_as_printed(c)
    return ratio(2 * p * r, p + r)


def roc_as_printed(c: Confusion) -> tuple[float, float]:
    """Eq. 30 (p. 31), (FPR, TPR): a single point, not a curve; a curve needs the scores (`roc_curve`)."""
    return ratio(c.fp, c.fp + c.tn), ratio(c.tp, c.tp + c.fn)


def auc_as_printed(b1: float, b2: float, h: float) -> float:
    """Eq. 31 (p. 31), (b1 + b2)·h / 2: one trapezoid; an area under a curve is a sum of them (`auc`)."""
    return (b1 + b2) * h / 2


def false_positive_rate_as_printed(c: Confusion) -> float:
    """Eq. 32 (p. 31), FP / (FP + TN): right, but the text calls this rate a number of recordings."""
    return ratio(c.fp, c.fp + c.tn)


def confusion_layout_as_printed(c: Confusion) -> np.ndarray:
    """Algorithm 4's matrix (p. 32), [[TP, FP], [TN, FN]]: no row or column of it is one class (p. 34)."""
    return np.array([[c.tp, c.fp], [c.tn, c.fn]])


def printed_against_right(c: Confusion) -> pd.DataFrame:
    """The equations of section 4.2 on one matrix: columns equation, page, quantity, as_printed, right."""
    rows = [
        ("25", 30, "accuracy", accuracy_as_printed(c), accuracy(c)),
        ("Algorithm 4", 32, "accuracy", accuracy_algorithm_4_as_printed(c), accuracy(c)),
        ("26", 30, "precision", precision_as_printed(c), precision(c)),
        ("27", 30, "specificity", specificity_as_printed(c), specificity(c)),
        ("28", 31, "recall", recall_as_printed(c), recall(c)),
        ("29", 31, "f1", f1_as_printed(c), f1(c)),
        ("31", 31, "one-point AUC", auc_as_printed(recall(c), 1, specificity(c)), one_point_auc(c)),
        ("32", 31, "false positive rate", false_positive_rate_as_printed(c), false_positive_rate(c)),
    ]
    return pd.DataFrame(rows, columns=["equation", "page", "quantity", "as_printed", "right"])


# --- scores: curves, areas, thresholds, calibration -------------------------------------------------------
def roc_curve(labels: Sequence[int], scores: Sequence[float]) -> pd.DataFrame:
    """ROC curve, one row per distinct score, from "nobody is PD" (threshold +inf) to "everybody is".

    Returns columns threshold, false_positive_rate, recall; the right form of eq. 30 (p. 31). A rate is NaN
    without its class.
    """
    counts, thresholds = _counts_by_threshold(labels, scores)
    return pd.DataFrame(
        {
            "threshold": thresholds,
            "false_positive_rate": false_positive_rate(counts),
            "recall": recall(counts),
        }
    )


def auc(labels: Sequence[int], scores: Sequence[float]) -> float:
    """Area under `roc_curve`, the sum of its trapezoids (eq. 31, p. 31, summed); NaN without both classes.

    Equal to the chance that a PD speaker scores above an HC speaker, ties half (Hanley & McNeil 1982).
    """
    curve = roc_curve(labels, scores)
    x, y = curve["false_positive_rate"].to_numpy(), curve["recall"].to_numpy()
    return float(np.sum(auc_as_printed(y[:-1], y[1:], np.diff(x))))


def precision_recall_curve(labels: Sequence[int], scores: Sequence[float]) -> pd.DataFrame:
    """Precision and recall at each distinct score, highest first; columns threshold, precision, recall.

    The first row (threshold +inf, nobody called PD) has no precision: NaN, not the 1 often drawn there.
    """
    counts, thresholds = _counts_by_threshold(labels, scores)
    return pd.DataFrame({"threshold": thresholds, "precision": precision(counts), "recall": recall(counts)})


def choose_threshold(labels: Sequence[int], scores: Sequence[float], rule: str = "youden") -> float:
    """Threshold to call PD at, chosen on **training** labels and scores, both of shape (n,).

    ``youden`` maximises recall + specificity − 1 (Youden 1950), ``accuracy`` the accuracy, ``half`` is always
    0.5. Candidates are the middles between neighbouring scores, so a threshold always splits the training
    speakers; of equally good ones the nearest to 0.5 wins. Scores that are all equal give 0.5.

    Raises
    ------
    ParameterError
        For an unknown rule, or when ``labels`` hold one class only.
    """
    goals: dict[str, Callable[[Confusion], float]] = {
        "youden": lambda c: recall(c) + specificity(c) - 1, "accuracy": accuracy, "half": accuracy,
    }  # fmt: skip
    if rule not in goals:
        raise ParameterError(f"unknown threshold rule {rule!r}", f"choose one of {', '.join(goals)}")
    counts, thresholds = _counts_by_threshold(labels, scores)
    if not (np.any(labels) and not np.all(labels)):
        raise ParameterError(
            "a threshold cannot be chosen from one class", "give training speakers of both classes"
        )
    seen = thresholds[1:]
    if rule == "half" or seen.size == 1:
        return 0.5
    candidates = (seen[:-1] + seen[1:]) / 2
    # the last threshold that is still at least the candidate decides who is called PD
    place = np.searchsorted(-thresholds, -candidates, side="right") - 1
    goal = np.round(goals[rule](counts)[place], 12)
    best = candidates[goal == goal.max()]
    return float(best[np.argmin(np.abs(best - 0.5))])


def brier(labels: Sequence[int], scores: Sequence[float]) -> float:
    """Mean squared distance of score and label, 0 best, 0.25 for a constant 0.5 (Brier 1950)."""
    labels, scores = _scored(labels, scores)
    return float(np.mean((scores - labels) ** 2))


def calibration_curve(
    labels: Sequence[int], scores: Sequence[float], bins: int = 10, strategy: str = "uniform"
) -> pd.DataFrame:
    """Reliability table: how often PD is true among recordings scored alike.

    ``uniform`` bins have equal width on [0, 1], ``quantile`` bins equal numbers. Returns one row per filled
    bin: low, high (bounds), n, mean_score, observed (share of PD), observed_low and observed_high (its 95 %
    Wilson interval).
    """
    labels, scores = _scored(labels, scores)
    if strategy not in ("uniform", "quantile") or bins < 1:
        raise ParameterError(
            f"no calibration with strategy {strategy!r} and {bins} bins", "use uniform or quantile"
        )
    places = np.linspace(0, 1, bins + 1)
    edges = places if strategy == "uniform" else np.unique(np.quantile(scores, places))
    edges = edges if edges.size > 1 else np.array([edges[0], edges[0]])
    index = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, edges.size - 2)
    grouped = pd.DataFrame({"bin": index, "score": scores, "label": labels}).groupby("bin")
    n, mean, observed = grouped.size(), grouped["score"].mean(), grouped["label"].mean()
    z = 1.959963984540054
    centre, spread = observed + z**2 / (2 * n), z * np.sqrt(observed * (1 - observed) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    table = {
        "low": edges[n.index],
        "high": edges[n.index + 1],
        "n": n,
        "mean_score": mean,
        "observed": observed,
    }
    table |= {"observed_low": (centre - spread) / scale, "observed_high": (centre + spread) / scale}
    return pd.DataFrame(table).reset_index(drop=True)


def expected_calibration_error(labels: Sequence[int], scores: Sequence[float], bins: int = 10) -> float:
    """Mean distance of mean score and share of PD in equal-width bins, weighted by size (Naeini 2015)."""
    curve = calibration_curve(labels, scores, bins)
    return float(np.average((curve["mean_score"] - curve["observed"]).abs(), weights=curve["n"]))


def calibration_line(labels: Sequence[int], scores: Sequence[float]) -> dict[str, float]:
    """Calibration in the large and calibration slope (Cox 1958); 0 and 1 for a well calibrated model.

    ``in_the_large`` is the intercept of a logistic model with logit(score) as offset, ``slope`` the factor on
    logit(score) in one fitted freely. Scores are kept 1e-6 away from 0 and 1. Both are NaN where the maximum
    likelihood does not exist: one class only, or classes the score separates without overlap (slope).
    """
    labels, scores = _scored(labels, scores)
    log_odds = logit(np.clip(scores, 1e-6, 1 - 1e-6))
    ones = np.ones((labels.size, 1))
    return {
        "in_the_large": _logistic(ones, labels, log_odds)[0],
        "slope": _logistic(np.column_stack([ones, log_odds]), labels, 0.0)[1],
    }


# --- inside -----------------------------------------------------------------------------------------------
def ratio(top, bottom):
    """``top / bottom``, NaN where ``bottom`` is 0 (see the module's docstring for what that means)."""
    top, bottom = np.asarray(top, dtype=float), np.asarray(bottom, dtype=float)
    result = np.full(np.broadcast_shapes(top.shape, bottom.shape), np.nan)
    np.divide(top, bottom, out=result, where=bottom != 0)
    return result if result.ndim else float(result)


def _binary(name: str, values: Sequence[int]) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0 or not np.isin(array, (0, 1)).all():
        raise ParameterError(
            f"{name} must be a non-empty row of 0 (HC) and 1 (PD)", "give one label per recording"
        )
    return array.astype(int)


def _scored(labels: Sequence[int], scores: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    labels, scores = _binary("labels", labels), np.asarray(scores, dtype=float)
    if scores.shape != labels.shape or not np.isfinite(scores).all() or scores.min() < 0 or scores.max() > 1:
        raise ParameterError(
            "scores must be probabilities in [0, 1], one per label", "give the model's P(PD)"
        )
    return labels, scores


def _counts_by_threshold(labels: Sequence[int], scores: Sequence[float]) -> tuple[Confusion, np.ndarray]:
    """Confusion at +inf and at each distinct score, falling; arrays of the same length."""
    labels, scores = _scored(labels, scores)
    values, place = np.unique(scores, return_inverse=True)
    tp, fp = (
        np.append(0, np.cumsum(np.bincount(place, weights=of_class)[::-1])).astype(int)
        for of_class in (labels, 1 - labels)
    )
    thresholds = np.append(np.inf, values[::-1])
    return Confusion(tp, labels.sum() - tp, fp, (1 - labels).sum() - fp), thresholds


def _logistic(design: np.ndarray, labels: np.ndarray, offset: np.ndarray | float) -> np.ndarray:
    """Maximum likelihood logistic coefficients by Newton's method; NaN when there is no finite maximum."""
    coefficients = np.zeros(design.shape[1])
    for _ in range(100):
        p = expit(design @ coefficients + offset)
        hessian = design.T @ (design * (p * (1 - p))[:, None])
        if np.linalg.cond(hessian) > 1e12:
            break
        step = np.linalg.solve(hessian, design.T @ (labels - p))
        coefficients += step
        if np.abs(step).max() < 1e-10:
            return coefficients
    return np.full(design.shape[1], np.nan)
