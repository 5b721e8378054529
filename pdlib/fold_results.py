"""What finished folds leave: predictions, training curves and the ledger, as tables of one form for every model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pdlib.picture_sets import PictureSet
from pdlib.protocols import Fold
from pdlib.provenance import Arrays


@dataclass(frozen=True)
class FoldResult:
    """One finished fold and the arrays it left.

    ``score_<model>`` (test speakers, in the order of ``fold.test``) and ``threshold_<model>`` for each model,
    curves under names with a common prefix, ``ledger`` (JSON).
    """

    fold: Fold
    arrays: Arrays


def predictions(
    results: Sequence[FoldResult], data: PictureSet, models: Sequence[str], variant: str
) -> pd.DataFrame:
    """Predictions as one table, one row per model, recording and seed; see `evaluate.check_predictions`."""
    label = dict(zip(data.names, data.labels, strict=True))
    rows = [
        {
            "model": model,
            "variant": variant,
            "protocol": "speaker",
            "recording": name,
            "label": int(label[name]),
            "fold": result.fold.index,
            "seed": result.fold.seed,
            "score": float(score),
            "threshold": float(result.arrays[f"threshold_{model}"]),
            "predicted": int(score >= result.arrays[f"threshold_{model}"]),
        }
        for model in models
        for result in results
        for name, score in zip(result.fold.test, result.arrays[f"score_{model}"], strict=True)
    ]
    return pd.DataFrame(rows).sort_values(["model", "seed", "recording"], ignore_index=True)


def ledgers(results: Sequence[FoldResult]) -> pd.DataFrame:
    """What was fitted on whom, in every fold: the table behind the claim that no test speaker was seen."""
    return pd.DataFrame([row for result in results for row in json.loads(str(result.arrays["ledger"]))])


def curves(results: Sequence[FoldResult], prefix: str) -> pd.DataFrame:
    """Training curves in long form (fold, seed, step, curve, value) of the arrays whose names have ``prefix``."""
    frames = [
        pd.DataFrame(
            {
                "fold": result.fold.index,
                "seed": result.fold.seed,
                "step": np.arange(1, len(values) + 1),
                "curve": name.removeprefix(prefix),
                "value": values,
            }
        )
        for result in results
        for name, values in result.arrays.items()
        if name.startswith(prefix)
    ]
    return pd.concat(frames, ignore_index=True)


def weight_arrays(name: str, weights: Sequence[np.ndarray]) -> Arrays:
    """The weights of a network as named arrays that a fold can leave; `kept_weights` reads them back."""
    return {f"weights_{name}_{place:03d}": weight for place, weight in enumerate(weights)}


def kept_weights(arrays: Arrays, name: str) -> list[np.ndarray]:
    """The weights that `weight_arrays` named, in their order."""
    prefix = f"weights_{name}_"
    return [arrays[key] for key in sorted(arrays) if key.startswith(prefix)]
