"""Models on tables: acoustic markers as a voice clinician expects, and age and sex without any voice.

They run under the same ``speaker`` protocol as the networks: scaling, imputation, model and threshold are fitted
inside the training speakers of each fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pdlib import chunks, parallel
from pdlib.cohort import Cohort
from pdlib.errors import DataError, UsageError
from pdlib.features import acoustic_features
from pdlib.metrics import choose_threshold
from pdlib.preprocessing import preprocess
from pdlib.protocols import Ledger, speaker_folds
from pdlib.provenance import Arrays, Store

MODULES = ("baselines",)
CLASSIFIERS = ("logistic", "forest")


def acoustic_table(cohort: Cohort, *, variant: str = "sound", store: Store | None = None) -> pd.DataFrame:
    """Acoustic markers of every recording (rows: recordings, columns: markers); see `features.acoustic_features`."""

    found = list(chunks.results(cohort, "acoustic-table", {"variant": variant}, _markers, MODULES, store))
    return pd.DataFrame(
        np.concatenate([part["values"] for part in found]),
        index=pd.Index(cohort.names, name="recording"),
        columns=found[0]["columns"],
    )


def _markers(part: Cohort, *, variant: str) -> Arrays:
    rows = [
        acoustic_features(preprocess(signal.samples, signal.sample_rate, variant=variant))
        for signal in part.signals().values()
    ]
    return {
        "values": np.stack([row.to_numpy(float) for row in rows]),
        "columns": np.array(rows[0].index, dtype=str),
    }


def classifier(kind: str, seed: int) -> BaseEstimator:
    """A scikit-learn pipeline: median imputation, scaling, and logistic regression or a random forest."""
    if kind == "logistic":
        model = LogisticRegression(C=1.0, max_iter=2000, random_state=seed)
    elif kind == "forest":
        model = RandomForestClassifier(n_estimators=300, min_samples_leaf=2, random_state=seed, n_jobs=1)
    else:
        raise UsageError(f"no classifier {kind!r}", f"use one of {', '.join(CLASSIFIERS)}")
    return make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), model)


def cross_validate_table(
    table: pd.DataFrame,
    labels: Sequence[int],
    *,
    model: str,
    kind: str = "logistic",
    variant: str = "none",
    n_splits: int = 5,
    seeds: Sequence[int] = range(20),
    store: Store | None = None,
) -> pd.DataFrame:
    """Predictions of a table model under the ``speaker`` protocol (columns as `fold_results.predictions`).

    Parameters
    ----------
    table : DataFrame
        One row per recording, one column per marker; the index holds the names.
    labels : sequence of int
        1 for PD, 0 for HC, in the order of the rows.
    model, variant : str
        Names the predictions carry.
    kind : {"logistic", "forest"}
        See `classifier`.
    n_splits, seeds : int, sequence of int
        Repeated k-fold over speakers; one repeat per seed.
    """
    if table.shape[1] == 0 or not len(table) == len(labels):
        raise DataError(f"a table of shape {table.shape} and {len(labels)} labels cannot be cross-validated")
    names, labels = [str(name) for name in table.index], np.asarray(labels, dtype=int)
    inputs = {"table": table, "labels": labels, "kind": kind, "n_splits": n_splits, "seeds": list(seeds)}

    def run() -> Arrays:
        repeat = partial(_repeat, names, table.to_numpy(float), labels, model, kind, n_splits)
        repeats = parallel.in_order(repeat, seeds, modules=MODULES)
        return {column: np.concatenate([one[column] for one in repeats]) for column in repeats[0]}

    kept = (store or Store()).get("table-model", inputs, run, MODULES)
    frame = pd.DataFrame(
        {
            "model": model,
            "variant": variant,
            "protocol": "speaker",
            "recording": [names[i] for i in kept["row"]],
            "label": labels[kept["row"]],
            "fold": kept["fold"],
            "seed": kept["seed"],
            "score": kept["score"],
            "threshold": kept["threshold"],
            "predicted": (kept["score"] >= kept["threshold"]).astype(int),
        }
    )
    return frame.sort_values(["model", "seed", "recording"], ignore_index=True)


def _repeat(
    names: Sequence[str], values: NDArray, labels: NDArray, model: str, kind: str, n_splits: int, seed: int
) -> Arrays:
    """Scores and thresholds of all folds of one repeat, as columns."""
    rows: dict[str, list] = {column: [] for column in ("row", "fold", "seed", "score", "threshold")}
    where = {name: row for row, name in enumerate(names)}
    for fold in speaker_folds(names, labels, n_splits, seed):
        train, test = [where[n] for n in fold.train], [where[n] for n in fold.test]
        ledger = Ledger(fold)
        ledger.fitted(model, [names[i] for i in train])
        estimator = classifier(kind, seed)
        inner = StratifiedKFold(n_splits, shuffle=True, random_state=seed)
        held_out = cross_val_predict(
            clone(estimator), values[train], labels[train], cv=inner, method="predict_proba"
        )[:, 1]
        threshold = choose_threshold(labels[train], held_out)
        estimator.fit(values[train], labels[train])
        ledger.applied(model, [names[i] for i in test])
        scores = estimator.predict_proba(values[test])[:, 1]
        for row, score in zip(test, scores, strict=True):
            for column, value in zip(rows, (row, fold.index, seed, score, threshold), strict=True):
                rows[column].append(value)
    return {column: np.array(column_values) for column, column_values in rows.items()}
