"""What predictions are worth: metrics with intervals over speakers, differences, permutation tests; as CSV.

The metrics themselves are in `pdlib.metrics` and can be had from here too. Predictions have one row per
recording and seed, of one or several models; their columns are `COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from pdlib.errors import DataError, ParameterError
from pdlib.metrics import (
    Confusion,
    accuracy,
    accuracy_algorithm_4_as_printed,
    accuracy_as_printed,
    auc,
    auc_as_printed,
    brier,
    calibration_curve,
    calibration_line,
    choose_threshold,
    confusion,
    confusion_layout_as_printed,
    expected_calibration_error,
    f1,
    f1_as_printed,
    false_positive_rate,
    false_positive_rate_as_printed,
    one_point_auc,
    precision,
    precision_as_printed,
    precision_recall_curve,
    printed_against_right,
    ratio,
    recall,
    recall_as_printed,
    roc_as_printed,
    roc_curve,
    specificity,
    specificity_as_printed,
)
from pdlib.paths import shown, write_text
from pdlib.reading import read_table

__all__ = [
    # from pdlib.metrics
    "Confusion", "accuracy", "accuracy_algorithm_4_as_printed", "accuracy_as_printed", "auc",
    "auc_as_printed", "brier", "calibration_curve", "calibration_line", "choose_threshold", "confusion",
    "confusion_layout_as_printed", "expected_calibration_error", "f1", "f1_as_printed",
    "false_positive_rate", "false_positive_rate_as_printed", "one_point_auc", "precision",
    "precision_as_printed", "precision_recall_curve", "printed_against_right", "recall",
    "recall_as_printed", "roc_as_printed", "roc_curve", "specificity", "specificity_as_printed",
    # from here
    "COLUMNS", "METRICS", "summary", "by_group", "summary_by", "paired_difference", "permutation_p",
    "holm", "swap_classes", "gallery", "roc_band", "mean_band", "check_predictions", "write_predictions",
    "read_predictions",
]  # fmt: skip

COLUMNS = {
    "model": "str", "variant": "str", "protocol": "str", "recording": "str", "label": "int64",
    "fold": "int64", "seed": "int64", "score": "float64", "threshold": "float64", "predicted": "int64",
}  # fmt: skip
KEY = ["model", "variant", "protocol", "recording", "seed"]
METRICS = ("accuracy", "auc", "precision", "recall", "specificity", "f1", "brier")


# --- predictions: summaries with intervals over speakers --------------------------------------------------
def summary(
    predictions: pd.DataFrame,
    metrics: Sequence[str] = METRICS,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Metrics of one model with percentile bootstrap intervals over speakers (Efron & Tibshirani 1993).

    A replicate draws as many PD and as many HC speakers as there are, with replacement; all seeds of a drawn
    speaker come along; each metric is computed per seed and averaged over seeds.

    Returns columns metric, value, low, high, speakers, seeds and undefined (share of replicates in which the
    metric does not exist for some seed; they are left out of the interval). ``value`` is NaN when the metric
    does not exist for some seed.

    Raises
    ------
    DataError
        When the rows break the schema, mix models, variants or protocols, or a seed misses a recording.
    """
    table = _Table.of(predictions)
    weights = _resamples(table.labels, n_boot, seed)
    rows = []
    for metric in _known(metrics):
        replicates = table.replicates(metric, *weights)
        low, high = _interval(replicates, level)
        undefined = float(np.mean(np.isnan(replicates)))
        rows.append(
            (metric, table.value(metric), low, high, table.labels.size, table.scores.shape[1], undefined)
        )
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high", "speakers", "seeds", "undefined"])


def by_group(
    predictions: pd.DataFrame, columns: Sequence[str] = ("model", "variant", "protocol"), **options
) -> pd.DataFrame:
    """`summary` of each model, variant and protocol (or other ``columns`` of the predictions), in a frame."""
    predictions = check_predictions(predictions)
    parts = []
    for names, part in predictions.groupby(list(columns), sort=False):
        table = summary(part, **options)
        for place, (column, name) in enumerate(zip(columns, names, strict=True)):
            table.insert(place, column, name)
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def summary_by(predictions: pd.DataFrame, groups: pd.Series, **options) -> pd.DataFrame:
    """`summary` within groups of speakers, such as sex; ``groups`` is indexed by recording name.

    Raises
    ------
    DataError
        When a predicted recording has no group.
    """
    names = predictions["recording"].map(groups)
    if names.isna().any():
        missing = sorted(predictions.loc[names.isna(), "recording"].unique())
        raise DataError(f"no group for {', '.join(missing[:5])}", "give a group for every recording")
    parts = [
        summary(predictions[names == name], **options).assign(group=name)
        for name in sorted(names.unique(), key=str)
    ]
    table = pd.concat(parts, ignore_index=True)
    return table[["group", *table.columns.drop("group")]]


def paired_difference(
    a: pd.DataFrame, b: pd.DataFrame, metric: str, n_boot: int = 2000, seed: int = 0, level: float = 0.95
) -> pd.Series:
    """Metric of ``a`` minus metric of ``b`` on the same speakers, with its bootstrap interval.

    Both models get the same drawn speakers in each replicate, so what the speakers share cancels.
    Returns a Series: metric, value, low, high, a, b, speakers.
    """
    first, second = _Table.of(a), _Table.of(b)
    if not first.recordings.equals(second.recordings) or not np.array_equal(first.labels, second.labels):
        raise DataError(
            "the two models were tested on different recordings", "compare them on the same speakers"
        )
    _known([metric])
    weights = _resamples(first.labels, n_boot, seed)
    low, high = _interval(first.replicates(metric, *weights) - second.replicates(metric, *weights), level)
    values = first.value(metric), second.value(metric)
    return pd.Series(
        {"metric": metric, "value": values[0] - values[1], "low": low, "high": high,
         "a": values[0], "b": values[1], "speakers": first.labels.size}
    )  # fmt: skip


def permutation_p(predictions: pd.DataFrame, metric: str = "auc", n: int = 2000, seed: int = 0) -> float:
    """Chance of a metric at least this good if labels and predictions were unrelated.

    Labels are shuffled over speakers, predictions kept; (1 + shuffles as good) / (1 + n), so never 0
    (Phipson & Smyth 2010). A shuffle in which the metric does not exist counts as as good. For brier lower is
    better. NaN when the metric itself does not exist.
    """
    table = _Table.of(predictions)
    _known([metric])
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(np.tile(table.labels.astype(np.int8), (n, 1)), axis=1)
    null = table.replicates(metric, shuffled, 1 - shuffled)
    observed, sign = table.value(metric), -1 if metric == "brier" else 1
    # rounding lets a shuffle that equals the observed value count as such
    worse = np.round(sign * null, 12) < np.round(sign * observed, 12)
    return float("nan") if np.isnan(observed) else float((1 + np.sum(~worse)) / (1 + n))


def holm(p: ArrayLike) -> np.ndarray:
    """Holm's adjusted p-values (Holm 1979), in the order of ``p``; NaN stays NaN and counts for nothing."""
    p = np.asarray(p, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = np.minimum(1, (order.size - np.arange(order.size)) * p[order])
    adjusted[order] = np.maximum.accumulate(steps)
    return adjusted


def swap_classes(predictions: pd.DataFrame) -> pd.DataFrame:
    """The same predictions with HC as the positive class: label, score, threshold, decision turned."""
    frame = check_predictions(predictions)
    turned = frame.assign(
        label=1 - frame["label"],
        score=1 - frame["score"],
        # score < threshold becomes 1 − score > 1 − threshold; the next float makes that ≥
        threshold=np.nextafter(1 - frame["threshold"], np.inf),
        predicted=1 - frame["predicted"],
    )
    return check_predictions(turned)


def gallery(predictions: pd.DataFrame, per_class: int = 5) -> pd.DataFrame:
    """Recordings to show as examples, chosen by rule and not by hand: evenly spaced through each class.

    Of the recordings of a class, in the order of their score and at equal scores of their name, those at the
    quantiles (i − ½) / ``per_class``, i = 1 … ``per_class``: the first that has at least this share of the
    class at or below it. With five these are 10, 30, 50, 70 and 90 %, so the best and the worst case are never
    picked, and the median of each class is there when ``per_class`` is odd.

    Parameters
    ----------
    predictions : DataFrame
        Of one model and one seed; see `check_predictions`.
    per_class : int
        Recordings of each class, at most as many as the smaller class has.

    Returns
    -------
    DataFrame
        Columns quantile, recording, label, fold, score, threshold, predicted, right (bool); HC first, then PD,
        by rising score.

    Raises
    ------
    DataError
        When the rows break the schema or mix models, variants, protocols or seeds.
    ParameterError
        When ``per_class`` is not a whole number from 1 to the size of the smaller class.
    """
    frame = check_predictions(predictions)
    for column in ("model", "variant", "protocol", "seed"):
        if (found := frame[column].unique()).size > 1:
            raise DataError(
                f"predictions mix {column}s: {', '.join(map(str, found))}",
                "show the examples of one at a time",
            )
    whole = isinstance(per_class, int | np.integer) and not isinstance(per_class, bool)
    if not whole or per_class < 1:
        raise ParameterError(f"per_class = {per_class!r} is not valid", "give a whole number, at least 1")
    parts = []
    for label, name in enumerate(("HC", "PD")):
        part = frame[frame["label"] == label].sort_values(["score", "recording"])
        if len(part) < per_class:
            raise ParameterError(
                f"per_class = {per_class}, and there are {len(part)} recordings of {name}", "ask for fewer"
            )
        odd = 2 * np.arange(per_class) + 1
        # in whole numbers, so that no quantile is rounded over the border of two recordings
        rows = -(-odd * len(part) // (2 * per_class)) - 1
        parts.append(part.iloc[rows].assign(quantile=odd / (2 * per_class)))
    chosen = pd.concat(parts, ignore_index=True)
    chosen["right"] = chosen["predicted"] == chosen["label"]
    return chosen[["quantile", "recording", "label", "fold", "score", "threshold", "predicted", "right"]]


def roc_band(
    predictions: pd.DataFrame, n_boot: int = 500, seed: int = 0, level: float = 0.95, points: int = 101
) -> pd.DataFrame:
    """Mean ROC curve over seeds with a pointwise bootstrap band over speakers.

    Returns columns false_positive_rate (``points`` equal steps), recall, low, high. Raises `DataError`
    without both classes.
    """
    table = _Table.of(predictions)
    if not 0 < table.labels.mean() < 1:
        raise DataError("a ROC curve needs speakers of both classes", "choose predictions with PD and HC")
    grid = np.linspace(0, 1, points)
    pos, neg = (
        np.vstack([own, drawn.astype(float)])
        for own, drawn in zip(
            (table.labels, 1 - table.labels), _resamples(table.labels, n_boot, seed), strict=True
        )
    )
    curves = np.zeros((n_boot + 1, points))
    for scores in table.scores.T:
        order = np.argsort(-scores, kind="stable")
        last = np.append(np.flatnonzero(np.diff(scores[order])), order.size - 1)  # tied scores step together
        tpr, fpr = (
            np.cumsum(w[:, order], axis=1)[:, last] / w.sum(axis=1, keepdims=True) for w in (pos, neg)
        )
        curves += [np.interp(grid, np.r_[0, x], np.r_[0, y]) for x, y in zip(fpr, tpr, strict=True)]
    curves /= table.scores.shape[1]
    low, high = _interval(curves[1:], level)
    return pd.DataFrame({"false_positive_rate": grid, "recall": curves[0], "low": low, "high": high})


def mean_band(
    values: np.ndarray, n_boot: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean curve of ``values`` (speakers, points) and its bootstrap band over speakers: mean, low, high.

    NaN marks what a speaker does not have (no voice there); a point nobody has stays NaN.
    """
    values = np.atleast_2d(np.asarray(values, dtype=float))
    n = len(values)
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_boot)
    weights = np.vstack([np.ones(n), drawn])
    means = ratio(weights @ np.nan_to_num(values), weights @ np.isfinite(values))
    return means[0], *_interval(means[1:], level)


# --- predictions as CSV -----------------------------------------------------------------------------------
def check_predictions(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy of ``frame`` with the columns of `COLUMNS` in order and type, if it keeps the schema.

    Raises
    ------
    DataError
        For a missing or unknown column, a wrong type, a missing value, an empty name, a label or prediction
        other than 0 and 1, a score outside [0, 1], a prediction that is not score ≥ threshold, a recording
        with two labels, or two rows for one recording, seed, model, variant and protocol.
    """
    missing, unknown = set(COLUMNS) - set(frame.columns), set(frame.columns) - set(COLUMNS)
    if missing or unknown or frame.columns.duplicated().any():
        raise DataError(
            f"predictions lack the columns {sorted(missing)} and have unknown ones {sorted(unknown)}",
            f"the columns are {', '.join(COLUMNS)}",
        )
    if frame.empty:
        raise DataError("predictions without a row", "run the model that should have made them")
    frame = frame[list(COLUMNS)].reset_index(drop=True)
    for column, kind in COLUMNS.items():
        frame[column] = _typed(frame[column], kind)
    bad = {
        "label is neither 0 nor 1": ~frame["label"].isin([0, 1]),
        "predicted is neither 0 nor 1": ~frame["predicted"].isin([0, 1]),
        "score lies outside [0, 1]": ~frame["score"].between(0, 1),
        "predicted is not score ≥ threshold": frame["predicted"] != (frame["score"] >= frame["threshold"]),
        "recording, seed, model, variant and protocol occur twice": frame.duplicated(KEY),
        "recording has two labels": frame.groupby("recording")["label"].transform("nunique") > 1,
    }
    for problem, rows in bad.items():
        if rows.any():
            row = frame.loc[rows.idxmax()]
            raise DataError(
                f"predictions: {problem}, first in {row.to_dict()}", "correct the rows that were given"
            )
    return frame


def write_predictions(frame: pd.DataFrame, path: Path | str) -> Path:
    """Write predictions as CSV: fixed column order, floats that read back equal, LF, whole or not at all."""
    return write_text(path, check_predictions(frame).to_csv(index=False, lineterminator="\n"))


def read_predictions(path: Path | str) -> pd.DataFrame:
    """Read what `write_predictions` wrote, bit for bit; `DataError` names the file that is anything else."""
    text = read_table(path, "run the model again")
    try:
        return check_predictions(text)
    except DataError as error:
        raise DataError(f"{shown(path)}: {error.problem}", error.way_out) from error


# --- inside -----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Table:
    """Predictions of one model as arrays: labels (speakers,), scores and predicted (speakers, seeds)."""

    recordings: pd.Index
    labels: np.ndarray
    scores: np.ndarray
    predicted: np.ndarray

    @classmethod
    def of(cls, predictions: pd.DataFrame) -> _Table:
        frame = check_predictions(predictions)
        for column in ("model", "variant", "protocol"):
            if (names := frame[column].unique()).size > 1:
                raise DataError(
                    f"predictions mix {column}s: {', '.join(names)}",
                    "summarise one at a time, or use by_group",
                )
        scores = frame.pivot(index="recording", columns="seed", values="score")
        if scores.isna().to_numpy().any():
            name, seed = scores.stack(future_stack=True)[lambda s: s.isna()].index[0]
            raise DataError(
                f"seed {seed} has no prediction for {name}", "finish the run before summing it up"
            )
        predicted = frame.pivot(index="recording", columns="seed", values="predicted")
        labels = frame.groupby("recording")["label"].first().loc[scores.index].to_numpy()
        return cls(scores.index, labels, scores.to_numpy(), predicted.to_numpy())

    def metric(self, name: str, pos: np.ndarray, neg: np.ndarray) -> np.ndarray:
        """Metric for each speaker's weights as PD and HC, (replicates, speakers) → (replicates, seeds)."""
        if name == "brier":
            return (pos @ (1 - self.scores) ** 2 + neg @ self.scores**2) / (pos + neg).sum(
                axis=1, keepdims=True
            )
        if name == "auc":
            pairs = pos.sum(axis=1) * neg.sum(axis=1)
            return np.stack([ratio(_wins(s, pos, neg), pairs) for s in self.scores.T], axis=1)
        called, not_called = self.predicted, 1 - self.predicted
        counts = Confusion(tp=pos @ called, fn=pos @ not_called, fp=neg @ called, tn=neg @ not_called)
        return _COUNTED[name](counts)

    def replicates(self, name: str, pos: np.ndarray, neg: np.ndarray) -> np.ndarray:
        """`metric` averaged over seeds, (replicates,), with no more than `_WEIGHTS` weights in work at a time."""
        rows = max(1, _WEIGHTS // self.labels.size)
        parts = [slice(first, first + rows) for first in range(0, len(pos), rows)]
        return np.concatenate(
            [
                self.metric(name, pos[part].astype(float), neg[part].astype(float)).mean(axis=1)
                for part in parts
            ]
        )

    def value(self, name: str) -> float:
        """Metric on the speakers as they are, averaged over seeds."""
        return float(self.metric(name, self.labels[None], 1 - self.labels[None]).mean())


_WEIGHTS = 2**20  # of speakers in replicates, worked on at a time: 8 MB; 5000 replicates of 81 are fewer


def _wins(scores: np.ndarray, pos: np.ndarray, neg: np.ndarray) -> np.ndarray:
    """Pairs of PD and HC in which the PD scores higher, ties half, by replicate: exact, in halves of whole numbers."""
    order = np.argsort(scores, kind="stable")
    first = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])
    own, other = (np.add.reduceat(weights[:, order], first, axis=1) for weights in (pos, neg))
    return np.sum(own * (np.cumsum(other, axis=1) - other / 2), axis=1)


_COUNTED: dict[str, Callable[[Confusion], np.ndarray]] = {
    "accuracy": accuracy, "precision": precision, "recall": recall, "specificity": specificity, "f1": f1,
    "false_positive_rate": false_positive_rate,
}  # fmt: skip


def _known(metrics: Sequence[str]) -> Sequence[str]:
    names = [*_COUNTED, "auc", "brier"]
    for metric in metrics:
        if metric not in names:
            raise ParameterError(f"unknown metric {metric!r}", f"choose from {', '.join(names)}")
    return metrics


def _resamples(labels: np.ndarray, n_boot: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each speaker is drawn, as PD and as HC: (n_boot, speakers) each, classes drawn apart."""
    rng = np.random.default_rng(seed)
    most = np.min_scalar_type(labels.size)  # no speaker is drawn more often than there are speakers
    weights = np.zeros((2, n_boot, labels.size), dtype=most)
    for label in (1, 0):
        own = np.flatnonzero(labels == label)
        if own.size:
            weights[1 - label][:, own] = rng.multinomial(
                own.size, np.full(own.size, 1 / own.size), size=n_boot
            )
    return weights[0], weights[1]


def _interval(replicates: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval along the first axis over the replicates that exist; NaN where none does."""
    exists = np.isfinite(replicates).any(axis=0)
    filled = np.where(exists, replicates, 0.0)
    low, high = np.nanquantile(filled, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.where(exists, low, np.nan)[()], np.where(exists, high, np.nan)[()]


def _typed(column: pd.Series, kind: str) -> pd.Series:
    """Column as ``kind``, from that type or from the text of a CSV; no rounding and no missing value."""
    problem = f"predictions: column {column.name!r} must hold {kind}"
    if column.isna().any():
        raise DataError(f"{problem}, a value is missing", "predict every recording")
    if kind == "str":
        if not column.map(lambda value: isinstance(value, str) and bool(value)).all():
            raise DataError(
                f"{problem}, without empty ones", "name every model, variant, protocol and recording"
            )
        return column.astype(object)
    try:
        typed = (
            column.map(int if kind == "int64" else float) if column.dtype == object else column.astype(kind)
        )
        typed = typed.astype(kind)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{problem}: {error}", "correct the column") from error
    if not np.isfinite(typed).all() or (column.dtype != object and (typed != column).any()):
        raise DataError(f"{problem}, finite and exact", "correct the column")
    return typed
