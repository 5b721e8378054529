"""The two patterns that the paper sees in slope graphs (p. 18), as numbers with a definition.

The paper describes pictures and measures nothing, so both definitions are this book's. They have no setting
that could be tuned towards one class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from pdlib.errors import ParameterError

END_SHARE = 0.1  # of the frames; what "towards the end" is taken to mean


@dataclass(frozen=True)
class Dip:
    """The deepest low between two highs: how deep, in the unit of the curve, and at which point."""

    depth: float
    index: int


def low_between_highs(curve: ArrayLike) -> Dip:
    """Deepest point of a curve below the highs on both its sides ("a low amplitude", p. 18, Figure 6).

    At each point the lower of two highs counts: the highest value before it and the highest after it. The
    depth is how far the point lies below that, so a curve that only rises, only falls, or rises once and
    falls once has a depth of zero, and a quiet start or end is no dip.

    Parameters
    ----------
    curve : array_like, shape (points,)
        Finite values, such as the energy of each frame in dB.

    Returns
    -------
    Dip

    Raises
    ------
    ParameterError
        When the curve has fewer than three points or a value that is not finite.
    """
    values = _checked(curve, 3)
    before = np.maximum.accumulate(values)
    after = np.maximum.accumulate(values[::-1])[::-1]
    depth = np.minimum(before, after) - values
    index = int(depth.argmax())
    return Dip(float(depth[index]), index)


def fall_at_end(curve: ArrayLike, share: float = END_SHARE) -> float:
    """How far a curve's end lies below its middle ("dips towards the end", p. 18, Figure 7).

    Parameters
    ----------
    curve : array_like, shape (points,)
        Finite values.
    share : float
        Part of the points that is the end; as many at the beginning are left out of the middle.

    Returns
    -------
    float
        Median of the middle minus mean of the end, in the unit of the curve; negative where the end is
        higher.

    Raises
    ------
    ParameterError
        When the share is not between 0 and 0.5 (both excluded) or leaves no middle, or a value is not finite.
    """
    if not 0 < share < 0.5:
        raise ParameterError(f"share: {share!r} is not a part that leaves a middle", "give 0.1, for instance")
    values = _checked(curve, 3)
    end = max(1, round(share * values.size))
    middle = values[end : values.size - end]
    if middle.size == 0:
        raise ParameterError(f"share: {share!r} of {values.size} points leaves no middle", "give less")
    return float(np.median(middle) - np.mean(values[-end:]))


def rank_predictions(
    values: Sequence[float] | NDArray,
    recordings: Sequence[str],
    labels: Sequence[int] | NDArray,
    *,
    model: str,
    variant: str = "none",
) -> pd.DataFrame:
    """One measure as predictions, so that `evaluate.summary` gives its AUC with an interval over speakers.

    A score is the rank of the value among all, spread over 0 to 1: the AUC is that of the value itself.
    Nothing is fitted, so the threshold of one half has no meaning, and only the AUC is to be read.

    Parameters
    ----------
    values : sequence of float, shape (recordings,)
        Higher means more like PD.
    recordings, labels : sequences
        Name and class (1 = PD) of each.
    model, variant : str
        Names for the columns of the frame.

    Returns
    -------
    DataFrame
        As `evaluate.check_predictions` wants it; protocol "none".

    Raises
    ------
    ParameterError
        When lengths differ or a value is not finite.
    """
    values = _checked(values, 1)
    if not values.size == len(recordings) == len(labels):
        raise ParameterError(
            f"values: {values.size} values, {len(recordings)} recordings and {len(labels)} labels",
            "give one of each per recording",
        )
    score = rankdata(values) / (values.size + 1)
    return pd.DataFrame(
        {
            "model": model, "variant": variant, "protocol": "none", "recording": list(recordings),
            "label": np.asarray(labels, dtype=int), "fold": 0, "seed": 0, "score": score, "threshold": 0.5,
            "predicted": (score >= 0.5).astype(int),
        }
    )  # fmt: skip


def _checked(curve: ArrayLike, least: int) -> NDArray[np.float64]:
    values = np.asarray(curve, dtype=np.float64)
    if values.ndim != 1 or values.size < least:
        raise ParameterError(
            f"curve: shape {values.shape} has too few points", f"give one curve of {least} or more"
        )
    if not np.isfinite(values).all():
        raise ParameterError(
            f"curve: {np.count_nonzero(~np.isfinite(values))} of {values.size} values are not finite",
            "leave out the frames without a value first",
        )
    return values
