"""CatBoost on the features a network pools (paper p. 29, "Integrated with CatBoost"; Figures 11 and 12).

The printed algorithm cannot be run: it says neither what the trees are fed with nor with which settings, and
its loops have no residuals. Gradient-boosted trees on the pooled features are the reading chosen here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdlib.errors import ModelError, ParameterError

if TYPE_CHECKING:
    from catboost import CatBoostClassifier

#: CatBoost's names of the curves, and ours, which are those of the network's history.
_CURVES = (("learn", ""), ("validation", "val_"))
_METRICS = (("Logloss", "loss"), ("Accuracy", "accuracy"))


@dataclass(frozen=True)
class BoostConfig:
    """Settings of the boosted trees; the paper gives none.

    Parameters
    ----------
    iterations : int
        Number of trees, 1 to 10 000.
    depth : int
        Depth of each tree, 1 to 16.
    learning_rate : float
        Shrinkage of each tree, above 0, at most 1.

    Raises
    ------
    ParameterError
        When a value is out of range.
    """

    iterations: int = 200
    depth: int = 4
    learning_rate: float = 0.05

    def __post_init__(self) -> None:
        for name, most in (("iterations", 10_000), ("depth", 16)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= most:
                raise ParameterError(
                    f"{name} = {value!r} is not valid", f"give a whole number from 1 to {most}"
                )
        if not 0 < self.learning_rate <= 1:
            raise ParameterError(
                f"learning_rate = {self.learning_rate!r} is not valid", "give a number above 0, at most 1"
            )


@dataclass(frozen=True)
class Boosted:
    """Fitted trees and how they got there.

    Attributes
    ----------
    model : catboost.CatBoostClassifier
    history : dict of arrays, shape (iterations,)
        ``loss`` (Logloss) and ``accuracy`` on the training data after each tree; ``val_loss`` and
        ``val_accuracy`` where validation data were given.
    n_features : int
    """

    model: CatBoostClassifier
    history: dict[str, NDArray[np.float64]]
    n_features: int

    def score(self, features: NDArray | pd.DataFrame) -> NDArray[np.float64]:
        """Probability of class 1 (PD), shape (n,)."""
        return self.model.predict_proba(_matrix(features, self.n_features))[:, 1]

    def staged_scores(self, features: NDArray | pd.DataFrame) -> NDArray[np.float64]:
        """Probability of class 1 (PD) after each tree, shape (iterations, n)."""
        stages = self.model.staged_predict_proba(_matrix(features, self.n_features))
        return np.stack([stage[:, 1] for stage in stages])


def _matrix(features: NDArray | pd.DataFrame, columns: int | None = None) -> NDArray[np.float64]:
    """Features as a float matrix (n, columns), checked. Column names are dropped: no tree sees a name."""
    try:
        x = np.asarray(features, dtype=float)
    except (TypeError, ValueError) as error:
        raise ModelError("the features are not all numbers", "give numeric columns only") from error
    if x.ndim != 2 or 0 in x.shape or (columns is not None and x.shape[1] != columns):
        wanted = "one column per feature" if columns is None else f"{columns} columns"
        raise ModelError(
            f"features of shape {x.shape} cannot be boosted", f"give one row per recording and {wanted}"
        )
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        raise ModelError(
            f"feature {column} of row {row} is {x[row, column]}", "fill or drop missing values first"
        )
    return x


def _labels(labels: NDArray, rows: int) -> NDArray[np.int64]:
    y = np.asarray(labels)
    if y.shape != (rows,) or y.dtype.kind not in "iub" or not np.isin(y, (0, 1)).all():
        raise ModelError(
            f"labels of type {y.dtype} and shape {y.shape} do not fit {rows} rows",
            "give one label per row, 1 for PD and 0 for HC",
        )
    return y.astype(np.int64)


def boost(
    features: NDArray | pd.DataFrame,
    labels: NDArray,
    config: BoostConfig,
    seed: int,
    validation: tuple[NDArray | pd.DataFrame, NDArray] | None = None,
) -> Boosted:
    """Fit gradient-boosted trees to features (p. 29); equal arguments give equal trees.

    Parameters
    ----------
    features : array or frame, shape (n, columns)
    labels : int array, shape (n,)
        1 for PD, 0 for HC; both must occur.
    config : BoostConfig
    seed : int
    validation : (features, labels), optional
        Followed in the history; never used to stop early or to choose the number of trees.

    Returns
    -------
    Boosted

    Raises
    ------
    ModelError
        When there is one class only, every feature is constant, a value is not finite, or shapes differ.

    References
    ----------
    Prokhorenkova et al. 2018, NeurIPS: CatBoost: unbiased boosting with categorical features.
    """
    from catboost import CatBoostClassifier

    x = _matrix(features)
    y = _labels(labels, len(x))
    if np.unique(y).size < 2:
        raise ModelError(
            f"all {len(y)} training labels are {y[0]}", "boosting needs recordings of both classes"
        )
    if (x == x[0]).all():
        raise ModelError(
            f"all {x.shape[1]} features are constant over the {len(x)} training recordings",
            "check the network they were pooled from: it may be untrained or dead",
        )
    followed = None
    if validation is not None:
        held_out = _matrix(validation[0], x.shape[1])
        followed = (held_out, _labels(validation[1], len(held_out)))
    model = CatBoostClassifier(
        iterations=int(config.iterations),
        depth=int(config.depth),
        learning_rate=float(config.learning_rate),
        loss_function="Logloss",
        custom_metric=["Accuracy"],
        random_seed=int(seed) % 2**32,
        thread_count=1,
        allow_writing_files=False,
        # Given data to follow, CatBoost would keep the trees that score best on them: selection on the test.
        use_best_model=False,
        verbose=False,
    )
    model.fit(x, y, eval_set=followed)
    curves = model.get_evals_result()
    history = {
        f"{prefix}{ours}": np.array(curves[part][theirs])
        for part, prefix in _CURVES
        if part in curves
        for theirs, ours in _METRICS
    }
    return Boosted(model, history, x.shape[1])


def staged_scores(boosted: Boosted, features: NDArray | pd.DataFrame) -> NDArray[np.float64]:
    """Probability of class 1 (PD) after each tree, shape (iterations, n): the steps behind Figure 11."""
    return boosted.staged_scores(features)
