"""Cross-validated networks explained and the explanations scored, every picture by the network that did not see it.

A `Subject` is a model with the networks of its folds. `explain_all` asks these networks in several `Way`s;
`areas`, `randomisation`, `sensitivity` and `localisation` score the answers beside controls; `compare` says
which of two ways is better. What costs time is kept in the store under everything it depends on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from pdlib import custnetgc, networks, scores, transfer
from pdlib.errors import ParameterError
from pdlib.explain import BASELINES, attribute, baseline_pictures, grad_cam, mean_baseline
from pdlib.fold_results import FoldResult, kept_weights
from pdlib.maps import check_choice, opened
from pdlib.networks import TrainedNet, keras
from pdlib.picture_sets import PictureSet
from pdlib.protocols import Fold
from pdlib.provenance import Arrays, Store
from pdlib.scores import Estimate

MODULES = ("explained",)
#: As a setting of a `Way` or a fill: the mean picture of the training speakers of the fold.
TRAINING_MEAN = "training mean"
#: Which fitted network of the chain of chapter 8 each model explains; CatBoost has no gradient.
CHAIN_PARTS = {"custnet_plain": "teacher", "custnet_overlay": "net"}
PREDICTED_AT_A_TIME = 64
#: Maps are kept no finer than this: one speaker's finer map of a spectrogram would be like the spectrogram.
FINEST = 16


# ── what is explained ──────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Way:
    """One way to explain: a method of `explain.METHODS` with its settings.

    Parameters
    ----------
    method : str
    options : mapping
        Settings of the method; `TRAINING_MEAN` as a value stands for the mean picture of the fold's training
        speakers.
    """

    method: str
    options: Mapping[str, object] = field(default_factory=dict)

    def maps(
        self, model: keras.Model, pictures: NDArray, classes: NDArray, mean: NDArray[np.float32]
    ) -> object:
        """`explain.attribute` in this way, with ``mean`` where the options say `TRAINING_MEAN`."""
        options = {
            name: mean if isinstance(value, str) and value == TRAINING_MEAN else value
            for name, value in self.options.items()
        }
        return attribute(model, pictures, classes, self.method, **options)


@dataclass(frozen=True, eq=False)
class Subject:
    """A model under one seed of the ``speaker`` protocol, with the networks of its folds.

    Attributes
    ----------
    model : str
        Name in predictions and tables.
    data : PictureSet
        The pictures as the networks are given them.
    folds : tuple of Fold
        Each speaker is tested in one at most.
    identity : mapping
        All that makes the networks, for the keys of stored results.
    network : callable
        From the place of a fold in ``folds`` to its network.
    """

    model: str
    data: PictureSet
    folds: tuple[Fold, ...]
    identity: Mapping[str, object]
    network: Callable[[int], keras.Model]

    def __post_init__(self) -> None:
        tested = [name for fold in self.folds for name in fold.test]
        if not tested or len(set(tested)) < len(tested):
            raise ParameterError(
                f"the folds of {self.model} test {'a speaker twice' if tested else 'nobody'}",
                "give folds of one seed",
            )

    def each(self) -> Iterator[tuple[Fold, keras.Model]]:
        """Every fold with its network; one graph takes the weights of each in turn, so it is compiled once."""
        graph = self.network(0)
        for place, fold in enumerate(self.folds):
            if place:
                graph.set_weights(self.network(place).get_weights())
            yield fold, graph
        networks.free()

    @cached_property
    def cells(self) -> int:
        """Cells per side of the networks' last maps, the grid that class activation maps come in."""
        return int(self.network(0).get_layer("last_conv").output.shape[1])

    def rows(self, names: Sequence[str]) -> list[int]:
        """Rows of these speakers in the pictures."""
        where = {name: row for row, name in enumerate(self.data.names)}
        return [where[name] for name in names]

    def mean(self, fold: Fold) -> NDArray[np.float32]:
        """Mean picture of the training speakers of a fold, shape (size, size, 3)."""
        return mean_baseline(self.data.pictures[self.rows(fold.train)])

    def fill(self, name: str) -> NDArray[np.float32]:
        """A baseline for each picture, shape (n, size, size, 3): one of `explain.BASELINES` or `TRAINING_MEAN`."""
        check_choice("fill", name, (*BASELINES, TRAINING_MEAN))
        if name != TRAINING_MEAN:
            return baseline_pictures(self.data.pictures, name)
        filled = np.zeros(self.data.pictures.shape, dtype=np.float32)
        for fold in self.folds:
            filled[self.rows(fold.test)] = self.mean(fold)
        return filled


def transfer_subject(data: PictureSet, recipe: transfer.Recipe, results: Sequence[FoldResult]) -> Subject:
    """A model of `pdlib.transfer` as a `Subject`; ``results`` are its folds of one seed."""
    kept = [kept_weights(result.arrays, "net") for result in results]
    return Subject(
        recipe.model,
        data,
        tuple(result.fold for result in results),
        {"recipe": recipe.identity, "weights": kept},
        lambda place: transfer.fold_network(results[place], recipe),
    )


def chain_subject(
    data: PictureSet, plan: custnetgc.Plan, results: Sequence[FoldResult], model: str
) -> Subject:
    """A network of the CustNetGC chain as a `Subject`; ``results`` are its folds of one seed.

    Parameters
    ----------
    data : PictureSet
        Slope graphs without heat maps.
    plan : Plan
        What ``results`` were made with.
    model : {"custnet_plain", "custnet_overlay"}
        The overlay network is given pictures with the heat map that its fold's teacher lays over them.

    Raises
    ------
    ParameterError
        For another model: what CatBoost decides has no gradient by the picture.
    """
    check_choice("model", model, tuple(CHAIN_PARTS))

    def network(part: str, place: int) -> keras.Model:
        net = TrainedNet(kept_weights(results[place].arrays, part), config=plan.network)
        built = plan.network.build()
        built.set_weights(net.weights)
        return built

    if model == "custnet_overlay":
        teachers = Subject(
            "teacher", data, tuple(r.fold for r in results), {}, lambda place: network("teacher", place)
        )
        data = _overlaid(teachers, plan.strength)
    part = CHAIN_PARTS[model]
    return Subject(
        model,
        data,
        tuple(result.fold for result in results),
        {"plan": plan, "weights": [kept_weights(result.arrays, part) for result in results]},
        lambda place: network(part, place),
    )


def _overlaid(teachers: Subject, strength: float) -> PictureSet:
    heat = np.zeros(teachers.data.pictures.shape[:3], dtype=np.float32)
    for fold, model in teachers.each():
        rows = teachers.rows(fold.test)
        pictures = teachers.data.pictures[rows]
        heat[rows] = grad_cam(model, pictures, _predicted(model, pictures)).maps
    return teachers.data.overlaid(heat, strength)


def _logits(model: keras.Model, pictures: NDArray) -> NDArray[np.float32]:
    return opened(model).logits(pictures.astype(np.float32), PREDICTED_AT_A_TIME)


def _predicted(model: keras.Model, pictures: NDArray) -> NDArray[np.int64]:
    return _logits(model, pictures).argmax(axis=1)


def shuffled_within_folds(data: PictureSet, folds: Sequence[Fold], seed: int) -> PictureSet:
    """The pictures with the labels of each fold's test speakers dealt out anew among them.

    So every fold trains on as many of each class as before, and the folds need not be drawn anew.
    """
    where = {name: row for row, name in enumerate(data.names)}
    labels, rng = np.array(data.labels), np.random.default_rng(seed)
    for fold in folds:
        rows = [where[name] for name in fold.test]
        labels[rows] = rng.permutation(labels[rows])
    return replace(data, labels=labels)


# ── the explanations ───────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Explained:
    """Maps of some pictures in several ways; rows in the order of ``names``.

    Attributes
    ----------
    names : tuple of str
    classes : int array, shape (n,)
        The explained class of each picture.
    maps : dict of str to float64 array, shape (n, side, side)
        By way, pooled.
    dead : dict of str to bool array, shape (n,)
        Where the map was zero everywhere.
    gap, steps : dict of str to array, shape (n,)
        Completeness gap and steps used, of the ways that have them.
    """

    names: tuple[str, ...]
    classes: NDArray[np.int64]
    maps: dict[str, NDArray[np.float64]]
    dead: dict[str, NDArray[np.bool_]]
    gap: dict[str, NDArray[np.float64]]
    steps: dict[str, NDArray[np.int64]]

    def take(self, names: Sequence[str]) -> Explained:
        """The same of these speakers, in this order."""
        where = {name: row for row, name in enumerate(self.names)}
        rows = [where[name] for name in names]
        parts = ({way: values[rows] for way, values in part.items()} for part in self._parts())
        return Explained(tuple(names), self.classes[rows], *parts)

    def _parts(self) -> tuple[dict, ...]:
        return self.maps, self.dead, self.gap, self.steps


def explain_all(
    subject: Subject,
    ways: Mapping[str, Way],
    *,
    side: int,
    names: Sequence[str] | None = None,
    classes: ArrayLike | None = None,
    store: Store | None = None,
) -> Explained:
    """Maps of pictures by the networks that did not see their speakers.

    Parameters
    ----------
    subject : Subject
    ways : mapping of str to Way
    side : int
        Maps are pooled to this many cells per side.
    names : sequence of str, optional
        Whose pictures; all unless given.
    classes : int array, shape (n,), optional
        The class to explain in each of them; the one with the larger logit unless given.
    store : Store, optional
    """
    names = tuple(subject.data.names if names is None else names)
    asked = None if classes is None else np.asarray(classes, dtype=np.int64)
    if asked is not None and asked.shape != (len(names),):
        raise ParameterError(
            f"classes of shape {asked.shape} for {len(names)} pictures", "give one class for each picture"
        )

    def run() -> Arrays:
        kept: Arrays = {"classes": np.zeros(len(names), dtype=np.int64) if asked is None else asked.copy()}
        for fold, model, rows in _parts_of(subject, names):
            pictures, mean = subject.data.pictures[subject.rows([names[r] for r in rows])], subject.mean(fold)
            if asked is None:
                kept["classes"][rows] = _predicted(model, pictures)
            for way, how in ways.items():
                _put(
                    kept, way, rows, len(names), side, how.maps(model, pictures, kept["classes"][rows], mean)
                )
        return kept

    inputs = _key(subject, ways=ways, names=names, classes=asked, side=side)
    kept = (store or Store()).get("explained-maps", inputs, run, MODULES)
    parts = (
        {way: kept[f"{part}_{way}"] for way in ways if f"{part}_{way}" in kept}
        for part in ("maps", "dead", "gap", "steps")
    )
    return Explained(names, kept["classes"], *parts)


def _parts_of(
    subject: Subject, names: Sequence[str]
) -> Iterator[tuple[Fold, keras.Model, NDArray[np.int64]]]:
    """Folds that test some of ``names``, with their network and the places of those in ``names``."""
    untested = set(names).difference(*(fold.test for fold in subject.folds))
    if untested:
        raise ParameterError(
            f"no fold of {subject.model} tests {sorted(untested)[0]}", "explain speakers that a fold tests"
        )
    for fold, model in subject.each():
        tested = set(fold.test)
        rows = np.flatnonzero([name in tested for name in names])
        if rows.size:
            yield fold, model, rows


def _put(kept: Arrays, way: str, rows: NDArray, n: int, side: int, found: object) -> None:
    values = {"maps": scores.pool(found.maps, side), "dead": found.dead}
    if found.gap is not None:
        values |= {"gap": found.gap, "steps": np.array(found.settings["steps_used"])}
    for part, value in values.items():
        kept.setdefault(f"{part}_{way}", np.zeros((n, *value.shape[1:]), dtype=value.dtype))[rows] = value


def _key(subject: Subject, **inputs: object) -> dict[str, object]:
    fixed = {"data": subject.data, "folds": subject.folds, "network": subject.identity}
    return {**fixed, "arithmetic": networks.arithmetic(), **inputs}


# ── scores ─────────────────────────────────────────────────────────────────────────────────────────────
def areas(
    subject: Subject,
    found: Explained,
    *,
    fills: Sequence[str],
    grid: int,
    steps: int,
    seed: int,
    store: Store | None = None,
) -> pd.DataFrame:
    """Areas of deletion and insertion of every way and of the four controls.

    Parameters
    ----------
    subject : Subject
    found : Explained
        Of all pictures or some.
    fills : sequence of str
        What a covered cell shows, one after another: of `explain.BASELINES`, or `TRAINING_MEAN`.
    grid, steps : int
        See `scores.deletion`; the output is the logit.
    seed : int
        Draws the random maps and the order of equal cells.
    store : Store, optional

    Returns
    -------
    DataFrame
        Columns fill, score ("deletion", "insertion"), map, recording, value.
    """
    kinds = {"deletion": scores.deletion, "insertion": scores.insertion}

    def run() -> Arrays:
        kept: Arrays = {}
        pictures = subject.data.pictures[subject.rows(found.names)]
        blanks = {fill: subject.fill(fill)[subject.rows(found.names)] for fill in fills}
        maps = {fill: _beside_controls(found, pictures, blanks[fill], grid, seed) for fill in fills}
        for fold, model, rows in _parts_of(subject, found.names):
            predict = partial(_logits, model)
            for fill in fills:
                blank = subject.mean(fold) if fill == TRAINING_MEAN else blanks[fill][rows]
                for kind, score in kinds.items():
                    curves = score(
                        predict, pictures[rows], found.classes[rows],
                        {name: each[rows] for name, each in maps[fill].items()},
                        baseline=blank, grid=grid, steps=steps, seed=seed,
                    )  # fmt: skip
                    for name, curve in curves.items():
                        key = f"{fill}|{kind}|{name}"
                        kept.setdefault(key, np.zeros(len(found.names)))[rows] = curve.areas
        return kept

    inputs = _key(subject, found=found, fills=list(fills), grid=grid, steps=steps, seed=seed)
    kept = (store or Store()).get("explained-areas", inputs, run, MODULES)
    return _long(kept, found.names, ("fill", "score", "map"))


def side_of(grid: int) -> int:
    """Cells per side at which maps are kept for scores on this grid: its largest multiple up to `FINEST`.

    Pooled once more they are then what pooling the whole map would give.
    """
    return grid * max(1, FINEST // grid)


def _beside_controls(
    found: Explained, pictures: NDArray, blank: NDArray, grid: int, seed: int
) -> dict[str, NDArray]:
    """The maps of every way and of the controls, the latter pooled so that little is kept."""
    side = next(iter(found.maps.values())).shape[1]
    if side % grid:
        raise ParameterError(
            f"maps of {side} cells a side do not divide into a grid of {grid}", "keep them at side_of(grid)"
        )
    pooled = {
        name: scores.pool(each, side)
        for name, each in scores.controls(pictures, blank, seed=seed, grid=grid).items()
    }
    return {**found.maps, **pooled}


def randomisation(
    subject: Subject,
    ways: Mapping[str, Way],
    names: Sequence[str],
    classes: ArrayLike,
    *,
    grid: int,
    seed: int,
    stages: int | Sequence[str] = 4,
    store: Store | None = None,
) -> pd.DataFrame:
    """How much of each way's maps is left when the weights are drawn anew from the logits down.

    Parameters
    ----------
    subject, ways
        See `explain_all`.
    names, classes
        Pictures, and the class explained in each before and after.
    grid, seed, stages
        See `scores.model_randomisation`.
    store : Store, optional

    Returns
    -------
    DataFrame
        Columns layers (drawn anew), kind ("signed", "absolute"), map, recording, value (rank correlation).
    """
    classes = np.asarray(classes, dtype=np.int64)

    def run() -> Arrays:
        kept: Arrays = {}
        for fold, model, rows in _parts_of(subject, names):
            pictures, mean = subject.data.pictures[subject.rows([names[r] for r in rows])], subject.mean(fold)

            # all ways at once, one below the other: then the changed network is compiled once for all
            def stacked(net, x, asked, mean=mean):
                return np.concatenate([way.maps(net, x, asked, mean).maps for way in ways.values()])

            found = scores.model_randomisation(
                model, pictures, classes[rows], stacked, seed=seed, stages=stages, grid=grid
            )
            for kind, values in found.similarity._asdict().items():
                by_way = values.reshape(len(values), len(ways), len(rows))
                for layers, at_stage in zip(found.layers, by_way, strict=True):
                    for way, value in zip(ways, at_stage, strict=True):
                        key = f"{layers}|{kind}|{way}"
                        kept.setdefault(key, np.zeros(len(names)))[rows] = value
        return kept

    inputs = _key(subject, ways=ways, names=list(names), classes=classes, grid=grid, seed=seed, stages=stages)
    kept = (store or Store()).get("explained-randomisation", inputs, run, MODULES)
    frame = _long(kept, names, ("layers", "kind", "map"))
    return frame.astype({"layers": int})


def sensitivity(
    subject: Subject,
    ways: Mapping[str, Way],
    names: Sequence[str],
    classes: ArrayLike,
    *,
    grid: int,
    radius: float,
    samples: int,
    seed: int,
    store: Store | None = None,
) -> pd.DataFrame:
    """Max-sensitivity of every way, and of the two controls that look at the picture.

    Parameters
    ----------
    subject, ways, names, classes
        See `randomisation`.
    grid, radius, samples, seed
        See `scores.max_sensitivity`.
    store : Store, optional

    Returns
    -------
    DataFrame
        Columns map, recording, value. The two random maps do not look at the picture: theirs is 0.
    """
    classes = np.asarray(classes, dtype=np.int64)
    looks = {
        "edges": lambda _net, x, _asked: scores.edge_maps(x),
        "picture": lambda _net, x, _asked: scores.picture_maps(x, np.zeros(x.shape[1:])),
    }

    def run() -> Arrays:
        kept: Arrays = {}
        for fold, model, rows in _parts_of(subject, names):
            pictures, mean = subject.data.pictures[subject.rows([names[r] for r in rows])], subject.mean(fold)
            asked = {
                way: lambda net, x, classes, how=how, mean=mean: how.maps(net, x, classes, mean)
                for way, how in ways.items()
            }
            for name, explain in {**asked, **looks}.items():
                kept.setdefault(name, np.zeros(len(names)))[rows] = scores.max_sensitivity(
                    model, pictures, classes[rows], explain,
                    radius=radius, samples=samples, seed=seed, grid=grid,
                )  # fmt: skip
        return kept

    inputs = _key(
        subject, ways=ways, names=list(names), classes=classes, grid=grid, radius=radius, samples=samples,
        seed=seed,
    )  # fmt: skip
    kept = (store or Store()).get("explained-sensitivity", inputs, run, MODULES)
    return _long(kept, names, ("map",))


def localisation(
    subject: Subject, found: Explained, masks: NDArray, *, grid: int, seed: int, fill: str = "black"
) -> pd.DataFrame:
    """Pointing game and mass accuracy of every way and of the four controls on planted truth.

    Parameters
    ----------
    subject : Subject
    found : Explained
    masks : array, shape (n, size, size) or (size, size)
        The planted region of each of ``found.names``.
    grid : int
        Maps and masks are pooled to this many cells per side, at most as many as the maps have.
    seed : int
        Draws the random maps.
    fill : str
        Baseline of the control "picture".

    Returns
    -------
    DataFrame
        Columns score ("pointing game", "mass accuracy"), map, recording, value, chance (share of the picture).
    """
    rows = subject.rows(found.names)
    pictures = subject.data.pictures[rows]
    maps = _beside_controls(found, pictures, subject.fill(fill)[rows], grid, seed)
    inside = np.broadcast_to(np.asarray(masks, dtype=float), pictures.shape[:3])
    side = next(iter(found.maps.values())).shape[1]
    shares = scores.pool(inside, side)
    frames = []
    for score, judge in {
        "pointing game": scores.pointing_game,
        "mass accuracy": scores.mass_accuracy,
    }.items():
        for name, each in maps.items():
            value, chance = judge(each, shares, grid=grid)
            frames.append(
                pd.DataFrame(
                    {"score": score, "map": name, "recording": found.names, "value": value, "chance": chance}
                )
            )
    return pd.concat(frames, ignore_index=True)


def _long(kept: Arrays, names: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """Arrays named "a|b|c" as one table with a row per array and picture."""
    parts = [
        pd.DataFrame(
            dict(zip(columns, key.split("|"), strict=True)) | {"recording": list(names), "value": values}
        )
        for key, values in kept.items()
    ]
    return pd.concat(parts, ignore_index=True)


# ── which is better ────────────────────────────────────────────────────────────────────────────────────
class Comparison(NamedTuple):
    """Two ways compared by one score; see `compare`.

    Attributes
    ----------
    first, second : Estimate
        Means of the two.
    difference : Estimate
        Of the pairs, second minus first.
    other, control : (str, Estimate)
        The best of the other ways and of the controls by their means, chosen after the fact; the name is empty
        where there is none.
    beat : tuple of bool
        Whether the first, and the second, is better than every control, each with an interval that leaves 0 out.
    verdict : str
    """

    first: Estimate
    second: Estimate
    difference: Estimate
    other: tuple[str, Estimate]
    control: tuple[str, Estimate]
    beat: tuple[bool, bool]
    verdict: str


def compare(
    values: Mapping[str, NDArray],
    first: str,
    second: str,
    controls: Sequence[str],
    *,
    better: str,
    n_boot: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Which of two ways has the better score, and whether either is worth anything.

    Parameters
    ----------
    values : mapping of str to array, shape (n,)
        The score of each way and control, NaN where it does not exist.
    first, second : str
        The two ways.
    controls : sequence of str
        Names of ``values`` that are controls; all must be beaten, each in pairs, with the 95 % interval beyond 0.
        Empty for a score that no control has.
    better : {"high", "low"}
    n_boot, seed
        See `scores.with_interval`.

    Returns
    -------
    Comparison
        Its verdict is "neither beats its controls", "<first> better", "<second> better", "no difference
        shown", or "not measured" where there are fewer than two pairs.
    """
    check_choice("better", better, ("high", "low"))
    sign = 1 if better == "high" else -1

    def mean(name: str) -> Estimate:
        return scores.with_interval(values[name], n_boot, seed)

    def best(names: list[str]) -> tuple[str, Estimate]:
        means = {name: mean(name) for name in names}
        known = [name for name in names if not np.isnan(means[name].value)]
        if not known:
            return "", Estimate(np.nan, np.nan, np.nan, 0)
        chosen = max(known, key=lambda name: sign * means[name].value)
        return chosen, means[chosen]

    def beats(name: str) -> bool:
        pairs = [
            scores.paired(sign * values[name], sign * values[control], n_boot, seed) for control in controls
        ]
        return bool(pairs) and all(pair.low > 0 for pair in pairs)

    difference = scores.paired(values[second], values[first], n_boot, seed)
    low, high = sorted((sign * difference.low, sign * difference.high))
    beat = (beats(first), beats(second))
    if difference.pictures < 2:
        verdict = "not measured"
    elif controls and not any(beat):
        verdict = "neither beats its controls"
    elif low > 0:
        verdict = f"{second} better"
    elif high < 0:
        verdict = f"{first} better"
    else:
        verdict = "no difference shown"
    others = [name for name in values if name not in (first, second, *controls)]
    return Comparison(
        mean(first), mean(second), difference, best(others), best(list(controls)), beat, verdict
    )
