"""The leakage ladder: the CustNetGC pipeline with one fault of protocol added at a time, and a guard that catches each.

`LADDER` goes from the honest protocol to validation on the training pictures; the rungs of `ALONE` have one fault
each, among them `SUBSET`, a fault that public code has. Every rung runs on true labels and on labels shuffled over
the speakers: what it still scores there is the fault's work. A `Guard` checks what is fitted on whom, whose labels
are read and how the pictures are split. Strict, it raises at the first fault; open, it notes the fault and goes on,
which only the rungs named leaky may ask for.

Whatever is trained is stored under the content of what it is trained on, so rungs that need the same network
share it without a word. Its key holds the code that trains it, `_code_of`, and not this whole module: a change in how
rungs are guarded or summed up must not cost an hour of training.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.impute import SimpleImputer
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline

from pdlib import networks, parallel, pictures
from pdlib.baselines import classifier
from pdlib.boosting import boost
from pdlib.cams import grad_cam
from pdlib.custnetgc import Plan
from pdlib.errors import DataError, LeakageError, ParameterError
from pdlib.metrics import ratio
from pdlib.networks import Learner
from pdlib.picture_sets import PictureSet
from pdlib.protocols import Ledger, Use, assert_disjoint, speaker_folds
from pdlib.provenance import Arrays, Store, fingerprint, syntax_hash
from pdlib.weights import Backbone

MODULES = ("leakage",)
NETWORK_MODULES = ("networks", "boosting", "cams", "pictures")
FROZEN_MODULES = ("networks", "weights", "baselines")
#: Accuracy is counted at this threshold: one chosen inside the fold would need every network a second time.
THRESHOLD = 0.5
#: What a guard catches, and how it is said in a table.
KINDS = {
    "picture": "tested on a picture it was trained on",
    "split": "a speaker stands on both sides of the split",
    "fit": "something was fitted on a test speaker",
    "label": "a test speaker's label was read to make the input",
    "seen": "a score counted as a test comes from a model fitted on that speaker",
}


# ── the rungs ──────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Rung:
    """One protocol of the ladder.

    Attributes
    ----------
    name : str
    kind : str
        Key of `KINDS`: what the rung adds and a strict guard stops first; empty for the honest rung.
    maps : {"predicted", "true", "none"}
        Class the heat maps laid over the pictures are made for; ``none`` leaves the pictures as they are.
    prepared_on : {"fold", "all"}
        Whom the teacher, or the selection of columns, is fitted on: the training speakers or everybody.
    split : {"speaker", "picture", "none"}
        What is divided into folds; ``none`` trains and tests on everything.
    copies : int
        How often each recording is there.
    """

    name: str
    kind: str
    maps: str
    prepared_on: str
    split: str
    copies: int = 1


LADDER = (
    Rung("speaker", "", "predicted", "fold", "speaker"),
    Rung("class", "label", "true", "fold", "speaker"),
    Rung("teacher", "fit", "true", "all", "speaker"),
    Rung("picture", "split", "true", "all", "picture", copies=2),
    Rung("resubstitution", "picture", "true", "all", "none", copies=2),
)
SUBSET = Rung("subset", "picture", "none", "fold", "none")
#: One fault each, without those of the rungs below it.
ALONE = (
    Rung("teacher-predicted", "fit", "predicted", "all", "speaker"),
    Rung("picture-plain", "split", "none", "fold", "picture", copies=2),
    SUBSET,
)
TABLE_LADDER = (
    Rung("speaker", "", "none", "fold", "speaker"),
    Rung("selection", "fit", "none", "all", "speaker"),
    Rung("picture", "split", "none", "all", "picture", copies=2),
    Rung("resubstitution", "picture", "none", "all", "none", copies=2),
    Rung("picture-plain", "split", "none", "fold", "picture", copies=2),
)


@dataclass(frozen=True)
class Split:
    """Rows trained and tested on, of pictures whose speakers are ``names``; any split can be written down here.

    It is the `Guard` that refuses one. Rows are pictures: with two copies of n recordings, row and row + n show the
    same recording.
    """

    index: int
    seed: int
    names: tuple[str, ...]
    train_rows: tuple[int, ...]
    test_rows: tuple[int, ...]

    @property
    def train(self) -> tuple[str, ...]:
        """Speakers trained on, one entry per picture."""
        return tuple(self.names[row] for row in self.train_rows)

    @property
    def test(self) -> tuple[str, ...]:
        """Speakers tested on, one entry per picture."""
        return tuple(self.names[row] for row in self.test_rows)


def splits(rung: Rung, names: Sequence[str], labels: Sequence[int], n_splits: int, seed: int) -> list[Split]:
    """The folds of ``rung``; by speaker they are those of `protocols.speaker_folds`, by picture they forget who spoke.

    ``names`` and ``labels`` are those of the recordings, one each; rows count the pictures, copies included.
    """
    if rung.split == "speaker":
        row = {name: index for index, name in enumerate(names)}
        return [
            Split(f.index, seed, tuple(names), *(tuple(row[n] for n in side) for side in (f.train, f.test)))
            for f in speaker_folds(names, labels, n_splits, seed)
        ]
    doubled, everything = tuple(names) * rung.copies, tuple(range(len(names) * rung.copies))
    if rung.split == "none":
        return [Split(0, seed, doubled, everything, everything)]
    folds = StratifiedKFold(n_splits, shuffle=True, random_state=seed)
    return [
        Split(index, seed, doubled, tuple(train.tolist()), tuple(test.tolist()))
        for index, (train, test) in enumerate(folds.split(doubled, np.tile(labels, rung.copies)))
    ]


# ── the guard ──────────────────────────────────────────────────────────────────────────────────────────
class Leak(LeakageError):
    """A `LeakageError` that knows which of `KINDS` it is."""

    def __init__(self, kind: str, problem: str, way_out: str = "") -> None:
        self.kind = kind
        super().__init__(problem, way_out)


@dataclass(frozen=True)
class Violation:
    """A fault that an open guard noted: fold, kind (see `KINDS`), what did it, and the error's own words."""

    fold: int
    kind: str
    what: str
    problem: str


@dataclass
class Guard(Ledger):
    """A ledger that also checks the split and whose labels are read.

    Made with a `Split`, which it checks at once.

    Parameters
    ----------
    fold : Split
    strict : bool
        Raise `Leak` at the first fault; else note it among ``violations`` and go on.
    """

    strict: bool = True
    violations: list[Violation] = field(default_factory=list)

    def __post_init__(self) -> None:
        where = f"split {self.fold.index} (seed {self.fold.seed})"
        both = set(self.fold.train_rows) & set(self.fold.test_rows)
        self._check(
            "picture", "split", partial(_no_picture_twice, where, len(both), len(self.fold.test_rows))
        )
        sides = (dict.fromkeys(self.fold.train), dict.fromkeys(self.fold.test))
        self._check("split", "split", partial(assert_disjoint, *sides, where=where))

    def fitted(self, what: str, speakers: Sequence[str]) -> None:
        """Record a fit, see `Ledger.fitted`; a speaker may come with several pictures."""
        names = tuple(dict.fromkeys(speakers))
        if not self._check("fit", what, partial(super().fitted, what, names)):
            self.uses.append(Use("fitted", what, names))

    def applied(self, what: str, speakers: Sequence[str], *, unseen: bool = True) -> None:
        """Record a use, see `Ledger.applied`."""
        names = tuple(dict.fromkeys(speakers))
        if not self._check("seen", what, partial(super().applied, what, names, unseen=unseen)):
            self.uses.append(Use("applied", what, names))

    def reads_label(self, what: str, speakers: Sequence[str]) -> None:
        """Record that ``what`` reads the labels of ``speakers`` to make an input; a test speaker's is refused."""
        names = tuple(dict.fromkeys(speakers))
        self._check("label", what, partial(self._no_test_label, what, names))
        self.uses.append(Use("reads label", what, names))

    def _no_test_label(self, what: str, names: Sequence[str]) -> None:
        read = sorted(set(names) & set(self.fold.test))
        if read:
            raise LeakageError(
                f"labels of {len(read)} test speakers, {read[0]} first, were read for {what} of fold {self.fold.index}",
                "make the input of a test speaker without its label",
            )

    def _check(self, kind: str, what: str, check: Callable[[], None]) -> bool:
        """Whether ``check`` passes; a strict guard raises instead of saying no."""
        try:
            check()
        except LeakageError as error:
            if self.strict:
                raise Leak(kind, error.problem, error.way_out) from error
            self.violations.append(Violation(self.fold.index, kind, what, error.problem))
            return False
        return True


def _no_picture_twice(where: str, both: int, tested: int) -> None:
    if both:
        raise LeakageError(
            f"{where} tests on {both} of {tested} pictures that it trains on", "keep the test pictures apart"
        )


# ── teachers ───────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Overlays:
    """Pictures under the heat maps of either class.

    Attributes
    ----------
    predicted : int array, shape (n,)
        Class the teacher predicts.
    laid : uint8 array, shape (n, 2, size, size, 3)
        Each picture under its map for HC and under its map for PD.
    coarse : float32 array, shape (n, 2, cells, cells)
        The two maps, averaged over cells of eight by eight pixels.
    """

    predicted: NDArray
    laid: NDArray[np.uint8]
    coarse: NDArray[np.float32]

    def of(self, classes: NDArray) -> NDArray[np.uint8]:
        """The pictures under the map of ``classes``, shape (n, size, size, 3)."""
        return self.laid[np.arange(len(self.laid)), np.asarray(classes, dtype=int)]


@dataclass(frozen=True)
class Ask:
    """What a teacher is asked for: fitted on ``train`` with ``seed``, the overlays of ``asked``; ``what`` names it."""

    what: str
    train: PictureSet
    asked: PictureSet
    seed: int


class Teacher(Protocol):
    """Makes heat maps; fitted on ``train``, asked about ``asked``, whose labels it must not use."""

    def overlays(self, train: PictureSet, asked: PictureSet, *, seed: int) -> Overlays:
        """Overlays of ``asked``; ``seed`` draws the teacher."""


@dataclass
class NetworkTeacher:
    """CustNet and Grad-CAM, as in `custnetgc`; one network is trained per training set and seed, then read back."""

    plan: Plan
    learner: Learner
    store: Store

    def overlays(self, train: PictureSet, asked: PictureSet, *, seed: int) -> Overlays:
        """See `Teacher`."""
        kept = next(self.stored([Ask("teacher", train, asked, seed)]))
        return Overlays(kept["predicted"], kept["laid"], kept["coarse"])

    def stored(self, asks: Sequence[Ask]) -> Iterator[Arrays]:
        """The arrays of `Overlays` for every one of ``asks``; those not stored yet may be made elsewhere."""
        inputs = [
            {
                "train": ask.train, "asked": ask.asked.pictures, "plan": _settings(self.plan), "seed": ask.seed,
                "strength": self.plan.strength, "arithmetic": networks.arithmetic(),
                "code": _code_of(NetworkTeacher, _trained),
            }
            for ask in asks
        ]  # fmt: skip
        names = [f"{ask.what}, seed {ask.seed}" for ask in asks]
        return _computed(self.store, "ladder-teacher", inputs, self._asked, asks, names)

    def _asked(self, ask: Ask) -> Arrays:
        return self._run(ask.train, ask.asked, ask.seed)

    def _run(self, train: PictureSet, asked: PictureSet, seed: int) -> Arrays:
        net = _trained(self.learner, train, self.plan, seed)
        model, n = self.learner.model(net), len(asked)
        heat = np.stack([grad_cam(model, asked.pictures, np.full(n, label)).maps for label in (0, 1)], axis=1)
        side = heat.shape[-1]
        cells = side // 8
        kept = heat[..., : cells * 8, : cells * 8].reshape(n, 2, cells, 8, cells, 8).mean(axis=(3, 5))
        laid = [
            [pictures.overlay(picture, one, self.plan.strength) for one in both]
            for picture, both in zip(asked.pictures, heat, strict=True)
        ]
        return {
            "predicted": self.learner.predict(net, asked.pictures).argmax(axis=1),
            "laid": np.array(laid, dtype=np.uint8),
            "coarse": kept.astype(np.float32),
        }


def _computed(
    store: Store,
    step: str,
    inputs: Sequence[Mapping],
    function: Callable,
    items: Sequence,
    names: Sequence[str],
) -> Iterator[Arrays]:
    """``function`` of every item, from the store where it is there; the rest here or elsewhere, see `parallel`."""

    def run(places: Iterator[int]) -> Iterator[tuple[int, Arrays]]:
        return parallel.each(
            function,
            ((place, items[place]) for place in places),
            modules=MODULES,
            name=lambda place: names[place],
            same=networks.arithmetic,
            after=networks.free,
        )

    return store.get_all(step, inputs, run, NETWORK_MODULES)


def _code_of(*parts: type | Callable) -> str:
    """Hash of the code of these classes and functions of this module, comments and docstrings apart."""
    return syntax_hash("\n".join(inspect.getsource(part) for part in parts))


def _settings(plan: Plan) -> dict:
    return {
        "network": plan.network, "epochs": plan.epochs, "batch": plan.batch_size, "rate": plan.learning_rate,
    }  # fmt: skip


def _trained(learner: Learner, train: PictureSet, plan: Plan, seed: int) -> networks.TrainedNet:
    return learner.fit(
        train.pictures,
        train.labels,
        seed=seed,
        epochs=plan.epochs,
        batch_size=plan.batch_size,
        learning_rate=plan.learning_rate,
    )


# ── what scores the pictures ───────────────────────────────────────────────────────────────────────────
class Scorer(Protocol):
    """Fitted on ``train``, scores ``test``; ``models`` names its scores."""

    models: tuple[str, ...]

    def scores(self, train: PictureSet, test: PictureSet, *, seed: int) -> dict[str, NDArray]:
        """Probability of class 1 for the pictures of ``test``, by each of ``models``."""


@dataclass
class ChainScorer:
    """The second network of CustNetGC, and CatBoost on its pooled features."""

    plan: Plan
    learner: Learner
    store: Store
    models: tuple[str, ...] = ("custnet_overlay", "custnetgc")

    def scores(self, train: PictureSet, test: PictureSet, *, seed: int) -> dict[str, NDArray]:
        """See `Scorer`."""
        kept = next(self.stored([(train, test, seed)]))
        return {model: kept[model] for model in self.models}

    def stored(self, parts: Sequence[tuple[PictureSet, PictureSet, int]]) -> Iterator[Arrays]:
        """Scores for every (training pictures, test pictures, seed); those not stored yet may be made elsewhere."""
        inputs = [
            {
                "train": train, "test": test.pictures, "plan": _settings(self.plan), "seed": seed,
                "boosting": self.plan.boosting, "arithmetic": networks.arithmetic(),
                "code": _code_of(ChainScorer, _trained),
            }
            for train, test, seed in parts
        ]  # fmt: skip
        names = [f"the networks of fold {place} (seed {part[2]})" for place, part in enumerate(parts)]
        return _computed(self.store, "ladder-network", inputs, self._fitted, parts, names)

    def _fitted(self, part: tuple[PictureSet, PictureSet, int]) -> Arrays:
        return self._run(*part)

    def _run(self, train: PictureSet, test: PictureSet, seed: int) -> Arrays:
        # A picture that is there twice is seen in half the passes: no rung gains by training for longer.
        passes = max(1, round(self.plan.epochs * len(set(train.names)) / len(train)))
        # the seed that `custnetgc` draws its second network from
        net = _trained(self.learner, train, replace(self.plan, epochs=passes), seed * 1000 + 300)
        booster = boost(self.learner.pooled(net, train.pictures), train.labels, self.plan.boosting, seed=seed)
        return {
            "custnet_overlay": self.learner.predict(net, test.pictures)[:, 1],
            "custnetgc": booster.score(self.learner.pooled(net, test.pictures)),
        }


@dataclass
class FrozenScorer:
    """Pooled features of a frozen backbone, and logistic regression on them."""

    backbone: Backbone
    store: Store
    models: tuple[str, ...] = ("mobilenet",)
    _known: dict[bytes, NDArray] = field(default_factory=dict)

    def scores(self, train: PictureSet, test: PictureSet, *, seed: int) -> dict[str, NDArray]:
        """See `Scorer`."""
        inputs = {
            "train": train, "test": test.pictures, "backbone": self.backbone.identity, "seed": seed,
            "arithmetic": networks.arithmetic(), "code": _code_of(FrozenScorer),
        }  # fmt: skip

        def run() -> Arrays:
            fitted = classifier("logistic", seed).fit(self.features(train.pictures), train.labels)
            return {"score": fitted.predict_proba(self.features(test.pictures))[:, 1]}

        return {self.models[0]: self.store.get("ladder-frozen", inputs, run, FROZEN_MODULES)["score"]}

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Pooled features (n, channels), picture by picture, so that none depends on its neighbours in a batch."""
        keys = [image.tobytes() for image in images]
        for key, image in zip(keys, images, strict=True):
            if key not in self._known:
                self._known[key] = self.backbone.features(image[np.newaxis])[0].mean(axis=(0, 1), dtype=float)
        return np.stack([self._known[key] for key in keys])

    def forget(self) -> None:
        """Give back the memory of the features."""
        self._known.clear()


# ── one rung ───────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class RungRun:
    """What one rung leaves: scores (model, recording, copy, label, fold, score), violations, and the ledgers' rows."""

    scores: pd.DataFrame
    violations: pd.DataFrame
    ledger: pd.DataFrame


def run_rung(
    rung: Rung,
    data: PictureSet,
    teacher: Teacher,
    scorers: Sequence[Scorer],
    *,
    n_splits: int,
    cross_fits: int,
    seed: int,
    strict: bool,
) -> RungRun:
    """Every fold of one rung on the labels that ``data`` carries.

    Parameters
    ----------
    rung : Rung
        Of `LADDER` or `ALONE`.
    data : PictureSet
        Plain pictures, one per recording.
    strict : bool
        Whether the guard raises (see `Guard`). An honest rung passes either way.

    Raises
    ------
    Leak
        Under a strict guard, at the rung's first fault.
    """
    rows, guards = [], []
    for split in splits(rung, data.names, data.labels, n_splits, seed):
        guard = Guard(split, strict=strict)
        guards.append(guard)
        train, test = _prepared(rung, data, split, teacher, guard, cross_fits)
        for scorer in scorers:
            for model in scorer.models:
                guard.fitted(model, train.names)
            found = scorer.scores(train, test, seed=seed)
            for model in scorer.models:
                guard.applied(model, test.names)
                rows.append(_rows(model, split, data, found[model]))
    return _collected(rows, guards)


def _prepared(
    rung: Rung, data: PictureSet, split: Split, teacher: Teacher, guard: Guard, cross_fits: int
) -> tuple[PictureSet, PictureSet]:
    """Training and test pictures of one fold, with the heat maps that the rung lays over them."""
    asks = _asks(rung, data, split, cross_fits)
    made = (teacher.overlays(ask.train, ask.asked, seed=ask.seed) for ask in asks)
    if rung.maps == "none":
        return _taken(data, split.train_rows), _taken(data, split.test_rows)
    if rung.prepared_on == "all":
        guard.fitted("teacher", data.names)
        laid = PictureSet(data.names, data.labels, _chosen(rung, next(made), data, guard, "teacher"))
        return _taken(laid, split.train_rows), _taken(laid, split.test_rows)
    whole, *parts = asks
    train, test = whole.train, whole.asked
    guard.fitted("teacher", train.names)
    for_test = next(made)
    laid_train = np.zeros_like(train.pictures)
    order = {name: row for row, name in enumerate(train.names)}
    for ask in parts:
        guard.fitted(ask.what, ask.train.names)
        rows = [order[name] for name in ask.asked.names]
        laid_train[rows] = _chosen(rung, next(made), ask.asked, guard, ask.what)
    laid_test = _chosen(rung, for_test, test, guard, "teacher")
    return PictureSet(train.names, train.labels, laid_train), PictureSet(test.names, test.labels, laid_test)


def _asks(rung: Rung, data: PictureSet, split: Split, cross_fits: int) -> list[Ask]:
    """What the rung asks of its teacher for one fold: the test pictures' maps first, then the cross-fitted ones."""
    if rung.maps == "none":
        return []
    seed = split.seed * 1000
    if rung.prepared_on == "all":
        return [Ask("teacher", data, data, seed + 100)]
    train, test = _taken(data, split.train_rows), _taken(data, split.test_rows)
    parts = speaker_folds(train.names, train.labels, cross_fits, seed=split.seed)
    return [
        Ask("teacher", train, test, seed + 100),
        *(
            Ask(
                f"teacher without part {part.index}",
                train.take(part.train),
                train.take(part.test),
                seed + part.index,
            )
            for part in parts
        ),
    ]


def _chosen(rung: Rung, made: Overlays, asked: PictureSet, guard: Guard, what: str) -> NDArray[np.uint8]:
    """The pictures under the map of the class that the rung asks for."""
    if rung.maps == "true":
        guard.reads_label(f"heat maps by the {what}", asked.names)
    guard.applied(what, asked.names)
    return made.of(asked.labels if rung.maps == "true" else made.predicted)


def _taken(data: PictureSet, rows: Sequence[int]) -> PictureSet:
    """Pictures by row; a row beyond the last recording is a further copy."""
    place = np.asarray(rows) % len(data)
    return PictureSet(tuple(data.names[i] for i in place), data.labels[place], data.pictures[place])


def _rows(model: str, split: Split, data: PictureSet | _Table, score: NDArray) -> pd.DataFrame:
    rows = np.asarray(split.test_rows)
    return pd.DataFrame(
        {
            "model": model, "recording": split.test, "copy": rows // len(data.names),
            "label": np.asarray(data.labels)[rows % len(data.names)], "fold": split.index, "score": score,
        }
    )  # fmt: skip


def _collected(rows: Sequence[pd.DataFrame], guards: Sequence[Guard]) -> RungRun:
    noted = [asdict(violation) for guard in guards for violation in guard.violations]
    return RungRun(
        pd.concat(rows, ignore_index=True),
        pd.DataFrame(noted, columns=["fold", "kind", "what", "problem"]),
        pd.DataFrame([row for guard in guards for row in guard.table()]),
    )


# ── the ladder ─────────────────────────────────────────────────────────────────────────────────────────
def dealt(true: Sequence[int], labels: str, seed: int) -> NDArray:
    """The labels as they are (``labels`` is "true"), or dealt out anew over the speakers ("shuffled").

    Both classes keep their size. Raises `ParameterError` for another word.
    """
    if labels not in ("true", "shuffled"):
        raise ParameterError(f"labels = {labels!r} is not valid", "use true or shuffled")
    true = np.asarray(true)
    return true if labels == "true" else true[np.random.default_rng([seed, 16]).permutation(len(true))]


def shuffled(data: PictureSet, seed: int) -> PictureSet:
    """The same pictures with their labels `dealt` out anew."""
    return PictureSet(data.names, dealt(data.labels, "shuffled", seed), data.pictures)


def run_ladder(
    data: PictureSet,
    teacher: Teacher,
    scorers: Sequence[Scorer],
    *,
    rungs: Sequence[Rung] = (*LADDER, *ALONE),
    seeds: Sequence[int],
    labels: str,
    n_splits: int,
    cross_fits: int,
    each: Callable[[int, str], None] | None = None,
) -> pd.DataFrame:
    """Scores of every rung, once per seed; the honest rung under a strict guard, leaky ones under an open one.

    Parameters
    ----------
    labels : {"true", "shuffled"}
        With ``shuffled``, each seed deals the labels out anew, and all that the rung does is done with these.
    each : callable, optional
        Called with seed and rung after each rung.

    Returns
    -------
    DataFrame
        Columns labels, rung, seed, model, recording, copy, label, fold, score.
    """
    parts = []
    for seed in seeds:
        own = PictureSet(data.names, dealt(data.labels, labels, seed), data.pictures)
        if not parallel.alone():
            _ahead(rungs, own, teacher, scorers, n_splits=n_splits, cross_fits=cross_fits, seed=seed)
        for rung in rungs:
            run = run_rung(
                rung, own, teacher, scorers,
                n_splits=n_splits, cross_fits=cross_fits, seed=seed, strict=not rung.kind,
            )  # fmt: skip
            parts.append(run.scores.assign(labels=labels, rung=rung.name, seed=seed))
            if each is not None:
                each(seed, rung.name)
        networks.free()
    return pd.concat(parts, ignore_index=True)


def _ahead(
    rungs: Sequence[Rung],
    data: PictureSet,
    teacher: Teacher,
    scorers: Sequence[Scorer],
    *,
    n_splits: int,
    cross_fits: int,
    seed: int,
) -> None:
    """Train what the rungs of one seed will ask for, all folds of all rungs at once, and leave it in the store.

    The rungs then run as they always do and find it there; what two of them share is trained once.
    """
    if not isinstance(teacher, NetworkTeacher):
        return
    folds = [
        (rung, split) for rung in rungs for split in splits(rung, data.names, data.labels, n_splits, seed)
    ]
    asks = (ask for rung, split in folds for ask in _asks(rung, data, split, cross_fits))
    for _ in teacher.stored(_distinct(asks, lambda ask: [ask.train, ask.asked.pictures, ask.seed])):
        pass
    open_guards = ((rung, split, Guard(split, strict=False)) for rung, split in folds)
    prepared = [
        (*_prepared(rung, data, split, teacher, guard, cross_fits), seed)
        for rung, split, guard in open_guards
    ]
    for scorer in (one for one in scorers if isinstance(one, ChainScorer)):
        for _ in scorer.stored(_distinct(prepared, lambda part: [part[0], part[1].pictures, part[2]])):
            pass


def _distinct(items: Iterable, content: Callable) -> list:
    """The items, of those with equal content the first."""
    return list({fingerprint(content(item)): item for item in items}.values())


# ── the same faults on a table of markers ──────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class _Table:
    names: tuple[str, ...]
    labels: NDArray
    values: NDArray


def run_table_rung(
    rung: Rung,
    table: pd.DataFrame,
    labels: Sequence[int],
    *,
    kind: str,
    keep: int,
    n_splits: int,
    seed: int,
    strict: bool,
    store: Store,
) -> RungRun:
    """One rung of `TABLE_LADDER`: the ``keep`` columns that differ most between the classes, then a classifier.

    Parameters
    ----------
    table : DataFrame
        One row per recording, one column per marker; the index holds the names.
    kind : {"logistic", "forest"}
        See `baselines.classifier`; also the model's name in the scores.
    keep : int
        Columns kept, by the F value of a one-way analysis of variance.
    """
    data = _Table(tuple(map(str, table.index)), np.asarray(labels, dtype=int), table.to_numpy(float))
    if not 1 <= keep <= data.values.shape[1]:
        raise ParameterError(
            f"keep = {keep!r} is not valid", f"give a number from 1 to {data.values.shape[1]}"
        )
    parts, guards = splits(rung, data.names, data.labels, n_splits, seed), []
    for split in parts:
        guard = Guard(split, strict=strict)
        guard.fitted("selection of columns", data.names if rung.prepared_on == "all" else split.train)
        guard.fitted(kind, split.train)
        guard.applied(kind, split.test)
        guards.append(guard)
    inputs = {"data": data, "rung": rung, "splits": parts, "kind": kind, "keep": keep, "seed": seed}

    def run() -> Arrays:
        return {f"score_{split.index}": _table_scores(rung, data, split, kind, keep, seed) for split in parts}

    kept = store.get("ladder-table", inputs, run, MODULES)
    rows = [_rows(kind, split, data, kept[f"score_{split.index}"]) for split in parts]
    return _collected(rows, guards)


def _table_scores(rung: Rung, data: _Table, split: Split, kind: str, keep: int, seed: int) -> NDArray:
    train, test = (np.asarray(rows) % len(data.names) for rows in (split.train_rows, split.test_rows))
    chosen_on = np.arange(len(data.names)) if rung.prepared_on == "all" else train
    selection = make_pipeline(SimpleImputer(strategy="median"), SelectKBest(_f_values, k=keep))
    selection.fit(data.values[chosen_on], data.labels[chosen_on])
    fitted = classifier(kind, seed).fit(selection.transform(data.values[train]), data.labels[train])
    return fitted.predict_proba(selection.transform(data.values[test]))[:, 1]


def _f_values(values: NDArray, labels: NDArray) -> NDArray[np.float64]:
    """F of a one-way analysis of variance per column; 0 for a column that is the same for everybody."""
    found, varied = np.zeros(values.shape[1]), np.ptp(values, axis=0) > 0
    found[varied] = f_classif(values[:, varied], labels)[0]
    return found


def run_table_ladder(
    table: pd.DataFrame,
    true: Sequence[int],
    *,
    kinds: Sequence[str],
    keep: int,
    seeds: Sequence[int],
    labels: str,
    n_splits: int,
    store: Store | None = None,
) -> pd.DataFrame:
    """Scores of every rung of `TABLE_LADDER`, in the columns of `run_ladder`; labels are dealt out as there."""
    store, parts = store or Store(), []
    for seed in seeds:
        own = dealt(true, labels, seed)
        for kind in kinds:
            for rung in TABLE_LADDER:
                run = run_table_rung(
                    rung, table, own,
                    kind=kind, keep=keep, n_splits=n_splits, seed=seed, strict=not rung.kind, store=store,
                )  # fmt: skip
                parts.append(run.scores.assign(labels=labels, rung=rung.name, seed=seed))
    return pd.concat(parts, ignore_index=True)


# ── what the rungs are worth ───────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Runs:
    """Scores of one model on one rung: arrays (seeds, copies, speakers) of labels and scores."""

    speakers: tuple[str, ...]
    labels: NDArray
    scores: NDArray
    dealt: bool  # whether every seed has its own labels

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Runs:
        """From rows of `run_ladder` of one model, rung and kind of labels.

        Raises
        ------
        DataError
            When the rows mix several, or a recording is missing somewhere.
        """
        for column in ("model", "rung", "labels"):
            if frame[column].nunique() != 1:
                raise DataError(f"the scores mix values of {column}", "take one at a time")
        keys = ["seed", "copy", "recording"]
        ordered = frame.sort_values(keys, kind="stable")
        shape = tuple(ordered[key].nunique() for key in keys)
        if ordered.duplicated(keys).any() or len(ordered) != np.prod(shape):
            raise DataError("a recording has no score or two for some seed", "finish the run first")
        labels, scores = (ordered[column].to_numpy().reshape(shape) for column in ("label", "score"))
        speakers = tuple(ordered["recording"].iloc[: shape[2]])
        return cls(speakers, labels, scores, frame["labels"].iloc[0] == "shuffled")

    def draws(self, n_boot: int, seed: int) -> tuple[NDArray, NDArray]:
        """How often each speaker (n_boot, speakers) and each seed (n_boot, seeds) is drawn; row 0 is all as it is.

        True labels: speakers are drawn within their class and seeds stay, as in `evaluate.summary`. Shuffled
        labels are themselves a draw, so the seeds are drawn as well, and speakers without regard to class, for
        theirs changes from seed to seed.
        """
        rng, n, repeats = np.random.default_rng(seed), len(self.speakers), len(self.labels)
        weights = np.zeros((n_boot, n))
        own = self.labels[0, 0]
        groups = [np.arange(n)] if self.dealt else [np.flatnonzero(own == label) for label in (1, 0)]
        for group in (g for g in groups if g.size):
            weights[:, group] = rng.multinomial(group.size, np.full(group.size, 1 / group.size), size=n_boot)
        chosen = np.ones((n_boot, repeats))
        if self.dealt:
            chosen = rng.multinomial(repeats, np.full(repeats, 1 / repeats), size=n_boot).astype(float)
        return np.vstack([np.ones(n), weights]), np.vstack([np.ones(repeats), chosen])

    def metric(self, name: str, weights: NDArray, chosen: NDArray) -> NDArray:
        """Accuracy or AUC for each draw, averaged over copies and drawn seeds, shape (draws,)."""
        if name not in _OF_ONE:
            raise ParameterError(f"unknown metric {name!r}", f"choose from {', '.join(_OF_ONE)}")
        each = np.stack(
            [
                np.mean([_OF_ONE[name](y, s, weights) for y, s in zip(*pair, strict=True)], axis=0)
                for pair in zip(self.labels, self.scores, strict=True)
            ],
            axis=1,
        )
        return (each * chosen).sum(axis=1) / chosen.sum(axis=1)

    def by_seed(self, name: str) -> NDArray:
        """The metric of each seed, shape (seeds,)."""
        one = np.ones((1, len(self.speakers)))
        return np.concatenate([self.metric(name, one, row[np.newaxis]) for row in np.eye(len(self.labels))])


def _accuracy(labels: NDArray, scores: NDArray, weights: NDArray) -> NDArray:
    return weights @ ((scores >= THRESHOLD) == labels) / weights.sum(axis=1)


def _auc(labels: NDArray, scores: NDArray, weights: NDArray) -> NDArray:
    positive, negative = weights * labels, weights * (1 - labels)
    above = (scores[:, None] > scores) + 0.5 * (scores[:, None] == scores)
    return ratio(((positive @ above) * negative).sum(axis=1), positive.sum(axis=1) * negative.sum(axis=1))


_OF_ONE = {"accuracy": _accuracy, "auc": _auc}


def worth(
    frame: pd.DataFrame,
    metrics: Sequence[str] = ("accuracy", "auc"),
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Accuracy and AUC of every model, rung and kind of labels, with 95 % bootstrap intervals.

    Parameters
    ----------
    frame : DataFrame
        See `run_ladder`.

    Returns
    -------
    DataFrame
        Columns model, rung, labels, metric, value, low, high, seeds, copies, speakers.
    """
    rows = []
    for (model, rung, labels), part in frame.groupby(["model", "rung", "labels"], sort=False):
        runs = Runs.of(part)
        drawn = runs.draws(n_boot, seed)
        for metric in metrics:
            value, low, high = _with_interval(runs.metric(metric, *drawn), level)
            seeds, copies, speakers = runs.labels.shape
            rows.append((model, rung, labels, metric, value, low, high, seeds, copies, speakers))
    return pd.DataFrame(
        rows,
        columns=["model", "rung", "labels", "metric", "value", "low", "high", "seeds", "copies", "speakers"],
    )


def gain(
    after: pd.DataFrame,
    before: pd.DataFrame,
    metric: str,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """Metric of ``after`` minus that of ``before``, same speakers, seeds and labels, with its interval.

    Raises
    ------
    DataError
        When the two do not stand on the same speakers, seeds and labels.
    """
    first, second = Runs.of(after), Runs.of(before)
    same = (
        first.speakers == second.speakers
        and first.dealt == second.dealt
        and np.array_equal(first.labels[:, 0], second.labels[:, 0])
    )
    if not same:
        raise DataError("the two rungs have other speakers, seeds or labels", "compare the same ones")
    drawn = first.draws(n_boot, seed)
    return _with_interval(first.metric(metric, *drawn) - second.metric(metric, *drawn), level)


def _with_interval(draws: NDArray, level: float) -> tuple[float, float, float]:
    low, high = np.nanquantile(draws[1:], [(1 - level) / 2, (1 + level) / 2])
    return float(draws[0]), float(low), float(high)


# ── what a heat map tells of its class ─────────────────────────────────────────────────────────────────
def read_class(known: NDArray, asked: NDArray) -> NDArray[np.float64]:
    """How often the nearest mean map tells for which class a map was made.

    Parameters
    ----------
    known, asked : arrays, shape (n, 2, rows, columns)
        Maps for HC and PD of the same pictures, see `Overlays.coarse`. The two means are those of ``known``.

    Returns
    -------
    float array, shape (n,)
        Share of each asked picture's two maps that is told right: 0, ½ or 1. Guessing gives ½ on average.
    """
    means = known.mean(axis=0).reshape(2, -1)
    flat = asked.reshape(len(asked), 2, 1, -1)
    nearest = np.square(flat - means).sum(axis=-1).argmin(axis=-1)
    return (nearest == np.array([0, 1])).mean(axis=1)


def kinds_noted(violations: pd.DataFrame) -> list[str]:
    """The kinds among the noted faults, in the order of `KINDS`."""
    there = set(violations["kind"])
    return [kind for kind in KINDS if kind in there]
