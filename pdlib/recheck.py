"""Retrain random folds from scratch and compare: do the stored predictions come from this code and these settings?

The stored predictions let a reader compute every metric without training anything. Whether they are what the code
gives is asked here: some folds, drawn at random, are fitted again with nothing read back from a store, and their
scores are laid beside the stored ones.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pdlib import custnetgc, evaluate, fold_results, networks, paths, transfer
from pdlib.baselines import acoustic_table, cross_validate_table
from pdlib.boosting import BoostConfig
from pdlib.cohort import Cohort
from pdlib.custnetgc import Plan
from pdlib.errors import DataError, ParameterError
from pdlib.fold_results import FoldResult
from pdlib.networks import CustNetConfig, Learner
from pdlib.picture_sets import PictureSet, slope_pictures, spectrogram_pictures
from pdlib.protocols import Fold, speaker_folds
from pdlib.provenance import Store
from pdlib.transfer import Recipe, Top, Trainer, head_recipe, notebook_recipes
from pdlib.weights import load_backbone

#: Scores of one fold may differ by this much and still be called the same; rounding on one machine stays below it.
TOLERANCE = 1e-6
VERDICTS = ("identical", "within tolerance", "differs")
COLUMNS = ("model", "variant", "seed", "fold", "speakers", "largest difference", "flipped", "verdict")
CHAIN, HEADS, NETWORKS = "10", "11", "12"  # the chapters that train
TABLES = {"acoustic": None, "age": ("age",), "age_sex": ("age", "sex")}
_NOTEBOOK_MODELS = ("mobilenet_base", "mobilenet_finetuned", "mobilenet_025", "plain_cnn")
_RUN_AGAIN = "store a run's predictions together with its settings: `python -m pdlib audit --record`"


# ── settings: what a chapter's parameters become ───────────────────────────────────────────────────────
def plan_of(parameters: Mapping[str, Any], variant: str = "paper") -> Plan:
    """The settings of CustNetGC that the parameters of chapter 10 stand for.

    A ``variant`` that names its pixels, such as "paper, 244 px", is the run at the printed picture size.
    """
    p = _Parameters(CHAIN, parameters)
    kind = "printed_" if variant.endswith(" px") else ""
    return Plan(
        network=CustNetConfig(
            input_size=p[f"{kind or 'input_'}size"], width=p[f"{kind}width"], middle_blocks=p["middle_blocks"]
        ),
        boosting=BoostConfig(iterations=p["iterations"]),
        epochs=p["epochs"],
        batch_size=p["batch_size"],
        learning_rate=p["learning_rate"],
        strength=p["strength"],
        n_splits=p["n_splits"],
        cross_fits=p["cross_fits"],
    )  # fmt: skip


def recipe_of(model: str, chapter: str, parameters: Mapping[str, Any]) -> Recipe:
    """How the parameters of chapter 11 or 12 say that a network is trained."""
    p = _Parameters(chapter, parameters)
    if chapter == HEADS:
        backbone = load_backbone(model.removesuffix("_head"), p["picture_size"], p["weights"])
        return head_recipe(model, backbone, epochs=p["head_epochs"])
    epochs = {name: p[name] for name in ("head_epochs", "finetune_epochs", "cnn_epochs")}
    return notebook_recipes(p["picture_size"], weights=p["weights"], **epochs)[model]


class _Parameters(dict):
    """Parameters of one chapter; one that is not there is named."""

    def __init__(self, chapter: str, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.chapter = chapter

    def __missing__(self, name: str) -> Any:
        raise DataError(f"the settings of chapter {self.chapter} have no {name!r}", _RUN_AGAIN)


def weights_of(recipe: Recipe) -> str:
    """Hash of the pretrained weights that a training starts from; "drawn" where it starts from none."""
    return str(recipe.network.backbone.identity["weights"]) if isinstance(recipe.network, Top) else "drawn"


def weights_used(chapter: str, parameters: Mapping[str, Any], models: Iterable[str]) -> dict[str, str]:
    """`weights_of` the networks of a chapter among ``models``, for the settings stored with predictions."""
    own = sorted({model for model in models if chapter_of(model) == chapter and chapter != CHAIN})
    return {model: weights_of(recipe_of(model, chapter, parameters)) for model in own}


def chapter_of(model: str) -> str | None:
    """The chapter that trains a model; None for a model that is not rechecked."""
    if model in (*custnetgc.MODELS, *TABLES):
        return CHAIN
    if model in _NOTEBOOK_MODELS:
        return NETWORKS
    return HEADS if model.endswith("_head") else None


# ── what is stored ─────────────────────────────────────────────────────────────────────────────────────
def read(folder: Path = paths.DATA / "predictions") -> tuple[pd.DataFrame, dict[str, Any]]:
    """The stored predictions of the chapters that train, and the settings of each.

    Parameters
    ----------
    folder : Path
        Holds ``chapter_NN.csv`` and ``settings.json``, as `claims.record` writes them.

    Raises
    ------
    DataError
        When a file is missing or is not what it should be, or two chapters give one model different scores.
    """
    path = folder / "settings.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"there is no {paths.shown(path)}", _RUN_AGAIN) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{paths.shown(path)} cannot be read: {error}", _RUN_AGAIN) from error
    stored = [folder / f"chapter_{number}.csv" for number in (CHAIN, HEADS, NETWORKS)]
    frames = [evaluate.read_predictions(file) for file in stored if file.is_file()]
    if not frames:
        raise DataError(f"{paths.shown(folder)} holds no chapter_{CHAIN}.csv", _RUN_AGAIN)
    # age alone stands beside the networks of every chapter; the same rows count once
    together = pd.concat(frames, ignore_index=True).drop_duplicates(ignore_index=True)
    return evaluate.check_predictions(together), settings


def _settings(settings: Mapping[str, Any], chapter: str, part: str) -> Any:
    """One part of what is stored about a chapter: ``parameters``, ``cohort`` (its fingerprint)."""
    own = settings.get(chapter)
    if not isinstance(own, Mapping) or part not in own:
        raise DataError(f"the stored settings have no {part} of chapter {chapter}", _RUN_AGAIN)
    return own[part]


# ── which folds ────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Unit:
    """One fold of one training: the models it gives, their variant, seed of the folds and number of the fold."""

    models: tuple[str, ...]
    variant: str
    seed: int
    fold: int

    @property
    def chapter(self) -> str:
        """The chapter whose parameters say how it is trained."""
        return chapter_of(self.models[0]) or ""


def units(predictions: pd.DataFrame) -> list[Unit]:
    """The folds that can be trained again, in the order of the predictions."""
    known = predictions[
        (predictions["protocol"] == "speaker") & predictions["model"].map(lambda m: chapter_of(m) is not None)
    ]
    found: dict[tuple, list[str]] = {}
    for model, *place in (
        known[["model", "variant", "seed", "fold"]].drop_duplicates().itertuples(index=False)
    ):
        # the three models of CustNetGC are one chain
        name = "custnetgc" if model in custnetgc.MODELS else model
        found.setdefault((name, *place), []).append(model)
    return [Unit(tuple(models), *place) for (_, *place), models in found.items()]


def left_out(predictions: pd.DataFrame) -> list[str]:
    """Models, with their protocol, that nothing here trains again."""
    pairs = predictions[["model", "protocol"]].drop_duplicates().itertuples(index=False)
    return sorted(f"{m} ({p})" for m, p in pairs if p != "speaker" or chapter_of(m) is None)


def draw(predictions: pd.DataFrame, n: int, seed: int) -> list[Unit]:
    """``n`` folds at random: trainings take turns in random order, so that the cheap ones do not crowd out the rest.

    Raises
    ------
    ParameterError
        When ``n`` is not between 1 and the number of folds.
    """
    rng = np.random.default_rng(seed)
    waiting: dict[tuple, list[Unit]] = {}
    for unit in units(predictions):
        waiting.setdefault((unit.models, unit.variant), []).append(unit)
    total = sum(map(len, waiting.values()))
    if not 1 <= n <= total:
        raise ParameterError(f"{n} folds cannot be drawn", f"give a number from 1 to {total}")
    kinds = list(waiting)
    queues = [list(rng.permutation(len(waiting[kind]))) for kind in kinds]
    order = list(rng.permutation(len(kinds)))
    drawn: list[Unit] = []
    while len(drawn) < n:
        for place in order:
            if queues[place] and len(drawn) < n:
                drawn.append(waiting[kinds[place]][queues[place].pop()])
    return drawn


# ── training again ─────────────────────────────────────────────────────────────────────────────────────
def recheck(
    predictions: pd.DataFrame,
    settings: Mapping[str, Any],
    n: int,
    seed: int,
    cohort: Cohort,
    on_fold: Callable[[pd.DataFrame], None] | None = None,
) -> pd.DataFrame:
    """Train ``n`` random folds again, from the recordings to the scores, and compare with the stored ones.

    Parameters
    ----------
    predictions : DataFrame
        Stored predictions; columns as in `evaluate.COLUMNS`.
    settings : mapping
        By number of the chapter: ``parameters``, ``cohort`` (fingerprint) and, where known, ``weights`` by model.
    n, seed : int
        How many folds, and the seed they are drawn with.
    cohort : Cohort
        The recordings the predictions were made from.
    on_fold : callable, optional
        Given the rows of each fold as it is done.

    Returns
    -------
    DataFrame
        One row per model and fold, columns `COLUMNS`: the largest difference of a score or of the threshold, how
        many decisions changed, and a word of `VERDICTS`.

    Raises
    ------
    DataError
        When the predictions are of other recordings, folds or settings, so that nothing can be compared.
    """
    predictions = evaluate.check_predictions(predictions)
    drawn = draw(predictions, n, seed)
    folds = {unit: _fold(unit, predictions, settings, cohort) for unit in drawn}
    recipes = {unit: _recipe(unit, settings) for unit in drawn if unit.chapter in (HEADS, NETWORKS)}
    rows = []
    with tempfile.TemporaryDirectory(prefix="pdlib-recheck-") as empty:
        fresh = _Fresh(cohort, settings, recipes, Store(Path(empty)))
        for unit, fold in folds.items():
            rows.append(_compared(unit, _stored(unit, predictions), fresh.scores(unit, fold)))
            if on_fold is not None:
                on_fold(rows[-1])
    return pd.concat(rows, ignore_index=True)


def same(result: pd.DataFrame) -> bool:
    """Whether no fold differs by more than the tolerance."""
    return not (result["verdict"] == "differs").any()


def said(result: pd.DataFrame) -> str:
    """What `recheck` found, in one sentence for the command line."""
    counts = {verdict: int((result["verdict"] == verdict).sum()) for verdict in VERDICTS}
    found = (
        f"{len(result)} trained again: {counts['identical']} identical, {counts['within tolerance']} within "
        f"{TOLERANCE:g}, {counts['differs']} different"
    )
    if same(result):
        return found
    return (
        f"{found} (largest difference {result['largest difference'].max():.3g}, {result['flipped'].sum()} decisions "
        "changed); another processor or number of threads rounds otherwise, and training carries rounding on"
    )


def _stored(unit: Unit, predictions: pd.DataFrame) -> pd.DataFrame:
    frame = predictions[predictions["protocol"] == "speaker"]
    place = (frame["variant"] == unit.variant) & (frame["seed"] == unit.seed) & (frame["fold"] == unit.fold)
    return frame[place & frame["model"].isin(unit.models)]


def _fold(unit: Unit, predictions: pd.DataFrame, settings: Mapping[str, Any], cohort: Cohort) -> Fold:
    """The fold as the settings and the recordings give it, which must be the one that was stored."""
    fingerprint = _settings(settings, unit.chapter, "cohort")
    if fingerprint != cohort.fingerprint:
        raise DataError(
            f"the stored predictions are of recordings {fingerprint[:12]}, these are {cohort.fingerprint[:12]}",
            "give the recordings they were made from",
        )
    p = _Parameters(unit.chapter, _settings(settings, unit.chapter, "parameters"))
    large = unit.variant.endswith(" px")
    repeats = p["table_repeats" if unit.models[0] in TABLES else "printed_repeats" if large else "repeats"]
    folds = speaker_folds(cohort.names, cohort.labels, p["n_splits"], unit.seed)
    stored = _stored(unit, predictions)
    label = dict(zip(cohort.names, map(int, cohort.labels), strict=True))
    fits = (
        unit.fold < len(folds)
        and p["seed"] <= unit.seed < p["seed"] + repeats
        and all(
            set(rows["recording"]) == set(folds[unit.fold].test)
            and rows["recording"].map(label).eq(rows["label"]).all()
            for _, rows in stored.groupby("model")
        )
    )
    if not fits:
        raise DataError(
            f"the stored predictions of {unit.models[0]} ({unit.variant}, seed {unit.seed}, fold {unit.fold}) are not "
            f"of the folds that the settings of chapter {unit.chapter} give",
            _RUN_AGAIN,
        )
    return folds[unit.fold]


def _recipe(unit: Unit, settings: Mapping[str, Any]) -> Recipe:
    """How a network is trained, from the very weights that the stored predictions started from."""
    (model,) = unit.models
    recipe = recipe_of(model, unit.chapter, _settings(settings, unit.chapter, "parameters"))
    stored, here = settings[unit.chapter].get("weights", {}).get(model), weights_of(recipe)
    if stored not in (None, here):
        raise DataError(
            f"{model} started from the weights {stored}; those found here are {here}",
            "name the folder that holds them in PDLIB_WEIGHTS",
        )
    return recipe


class _Fresh:
    """Trains one fold after the other; pictures are drawn once and kept in a store that began empty."""

    def __init__(
        self, cohort: Cohort, settings: Mapping[str, Any], recipes: Mapping[Unit, Recipe], store: Store
    ) -> None:
        self.cohort, self.settings, self.recipes, self.store = cohort, settings, recipes, store

    def scores(self, unit: Unit, fold: Fold) -> pd.DataFrame:
        p = _Parameters(unit.chapter, _settings(self.settings, unit.chapter, "parameters"))
        if unit.models[0] in TABLES:
            return self._table(unit, p)
        chain = unit.chapter == CHAIN
        data, result = (self._chain if chain else self._network)(unit, fold, p)
        networks.free()
        return fold_results.predictions([FoldResult(fold, result)], data, unit.models, unit.variant)

    def _chain(self, unit: Unit, fold: Fold, p: _Parameters) -> tuple[PictureSet, dict[str, np.ndarray]]:
        plan = plan_of(p, unit.variant)
        data = slope_pictures(
            self.cohort,
            variant=unit.variant.partition(",")[0],
            size=plan.network.input_size,
            store=self.store,
        )
        return data, custnetgc.run_fold(data, fold, plan, Learner(plan.network), fold.seed)

    def _network(self, unit: Unit, fold: Fold, p: _Parameters) -> tuple[PictureSet, dict[str, np.ndarray]]:
        data = spectrogram_pictures(
            self.cohort, variant=unit.variant, size=p["picture_size"], store=self.store
        )
        trainer = Trainer(self.recipes[unit], data, self.store)
        return data, transfer.run_fold(trainer, fold, cross_fits=p["cross_fits"], seed=fold.seed)

    def _table(self, unit: Unit, p: _Parameters) -> pd.DataFrame:
        (model,) = unit.models
        names = TABLES[model]
        if names:
            table = self.cohort.covariates(*names)
        else:
            table = acoustic_table(self.cohort, variant=unit.variant, store=self.store)
        every = cross_validate_table(
            table, self.cohort.labels, model=model, variant=unit.variant, n_splits=p["n_splits"],
            seeds=[unit.seed], store=self.store,
        )  # fmt: skip
        return every[every["fold"] == unit.fold]


def _compared(unit: Unit, stored: pd.DataFrame, fresh: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for model in unit.models:
        before, after = (frame[frame["model"] == model].set_index("recording") for frame in (stored, fresh))
        after = after.loc[before.index]
        largest = float(
            (before[["score", "threshold"]] - after[["score", "threshold"]]).abs().to_numpy().max()
        )
        verdict = VERDICTS[0 if largest == 0 else 1 if largest <= TOLERANCE else 2]
        flipped = int((before["predicted"] != after["predicted"]).sum())
        place = (model, unit.variant, unit.seed, unit.fold)
        rows.append((*place, len(before), largest, flipped, verdict))
    return pd.DataFrame(rows, columns=list(COLUMNS))
