"""CustNetGC as one honest pipeline: teacher → Grad-CAM overlay → CustNet → CatBoost (paper, section 3.3).

The paper makes its heat maps before it splits the recordings (p. 29). Here the whole chain is fitted anew
inside the training speakers of every fold (protocol ``speaker``):

1. The training speakers are cross-fitted: a teacher that did not see a picture makes its heat map.
2. A teacher fitted on all training speakers makes the heat maps of the test pictures.
3. Every heat map is for the class the teacher *predicts*; no label is read to make one.
4. CustNet is fitted on the overlaid training pictures, CatBoost on CustNet's pooled features of them.
5. Decision thresholds come from cross-fitted scores of the training speakers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from pdlib import networks, parallel
from pdlib.boosting import BoostConfig, Boosted, boost
from pdlib.cams import grad_cam
from pdlib.fold_results import FoldResult, kept_weights, weight_arrays
from pdlib.metrics import choose_threshold
from pdlib.networks import CustNetConfig, Learner, TrainedNet
from pdlib.picture_sets import PictureSet
from pdlib.protocols import Fold, Ledger, speaker_folds
from pdlib.provenance import Arrays, Store

MODULES = ("custnetgc",)
MODELS = ("custnet_plain", "custnet_overlay", "custnetgc")


@dataclass(frozen=True)
class Plan:
    """Settings of one run; the paper prints none of them, so all are ours, fixed before any result."""

    network: CustNetConfig = field(default_factory=CustNetConfig)
    boosting: BoostConfig = field(default_factory=BoostConfig)
    epochs: int = 12
    batch_size: int = 8
    learning_rate: float = 1e-3
    strength: float = 0.4
    n_splits: int = 5
    cross_fits: int = 3


# ── one fold ───────────────────────────────────────────────────────────────────────────────────────────
class _Chain:
    """The fitted steps of one fold; every fit and every use goes through the fold's ledger."""

    def __init__(self, learner: Learner, plan: Plan, ledger: Ledger, seed: int) -> None:
        self.learner, self.plan, self.ledger, self.seed = learner, plan, ledger, seed

    def fit_net(
        self, what: str, data: PictureSet, salt: int, validation: PictureSet | None = None
    ) -> TrainedNet:
        self.ledger.fitted(what, data.names)
        return self.learner.fit(
            data.pictures,
            data.labels,
            seed=self.seed * 1000 + salt,
            epochs=self.plan.epochs,
            batch_size=self.plan.batch_size,
            learning_rate=self.plan.learning_rate,
            validation=None if validation is None else (validation.pictures, validation.labels),
        )

    def score(self, what: str, net: TrainedNet, data: PictureSet) -> np.ndarray:
        self.ledger.applied(what, data.names)
        return self.learner.predict(net, data.pictures)[:, 1]

    def heatmaps(self, what: str, net: TrainedNet, data: PictureSet) -> np.ndarray:
        """Grad-CAM maps (n, size, size) for the class the network predicts; no label is read."""
        self.ledger.applied(what, data.names)
        predicted = self.learner.predict(net, data.pictures).argmax(axis=1)
        return grad_cam(self.learner.model(net), data.pictures, predicted).maps

    def boosted(
        self, what: str, net_name: str, net: TrainedNet, train: PictureSet, test: PictureSet
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """CatBoost on the pooled features of ``train``; scores of ``test`` and the curves per iteration."""
        self.ledger.applied(net_name, train.names, unseen=False)
        self.ledger.applied(net_name, test.names)
        self.ledger.fitted(what, train.names)
        test_features = self.learner.pooled(net, test.pictures)
        fitted = boost(
            self.learner.pooled(net, train.pictures),
            train.labels,
            self.plan.boosting,
            seed=self.seed,
            validation=(test_features, test.labels),
        )
        self.ledger.applied(what, test.names)
        return fitted.score(test_features), fitted.history


@dataclass(frozen=True)
class FittedChain:
    """The chain that scored the test speakers of one fold, ready for pictures that nobody has seen."""

    learner: Learner
    teacher: TrainedNet
    net: TrainedNet
    booster: Boosted
    strength: float

    @classmethod
    def of(cls, result: FoldResult, data: PictureSet, plan: Plan, learner: Learner) -> FittedChain:
        """Put together from a finished fold; the trees are fitted again, to the same features."""
        train = data.take(result.fold.train)
        teacher, net = (
            TrainedNet(kept_weights(result.arrays, part), config=plan.network) for part in ("teacher", "net")
        )
        booster = boost(result.arrays["pooled_train"], train.labels, plan.boosting, seed=result.fold.seed)
        return cls(learner, teacher, net, booster, plan.strength)

    def overlaid(self, data: PictureSet) -> PictureSet:
        """The pictures with the teacher's heat map of the class it predicts."""
        predicted = self.learner.predict(self.teacher, data.pictures).argmax(axis=1)
        maps = grad_cam(self.learner.model(self.teacher), data.pictures, predicted).maps
        return data.overlaid(maps, self.strength)

    def scores(self, data: PictureSet) -> dict[str, np.ndarray]:
        """Probability of PD by each of the three `MODELS`."""
        laid = self.overlaid(data)
        return {
            "custnet_plain": self.learner.predict(self.teacher, data.pictures)[:, 1],
            "custnet_overlay": self.learner.predict(self.net, laid.pictures)[:, 1],
            "custnetgc": self.booster.score(self.learner.pooled(self.net, laid.pictures)),
        }


def run_fold(data: PictureSet, fold: Fold, plan: Plan, learner: Learner, seed: int) -> Arrays:
    """Fit the whole chain inside ``fold.train`` and score ``fold.test``.

    The test pictures' labels are read for one thing only: the validation curves of Figures 11, 12 and 17–19.
    No choice depends on them; epochs and iterations are fixed in ``plan``.

    Returns
    -------
    dict of arrays
        ``score_<model>`` and ``threshold_<model>`` for the three `MODELS`, ``heatmaps`` of the test speakers
        (float16), ``net_*`` and ``boost_*`` curves, ``ledger`` (JSON), and what `FittedChain` is made of:
        ``pooled_train`` and the weights of the teacher and of CustNet.
    """
    ledger = Ledger(fold)
    chain = _Chain(learner, plan, ledger, seed)
    train, test = data.take(fold.train), data.take(fold.test)
    parts = speaker_folds(train.names, train.labels, plan.cross_fits, seed=seed)

    # 1. cross-fitted teachers: heat maps and scores of training pictures by teachers that did not see them
    order = {name: row for row, name in enumerate(train.names)}
    maps = np.zeros(train.pictures.shape[:3], dtype=np.float32)
    inner = {model: np.full(len(train), np.nan) for model in MODELS}
    for part in parts:
        what, held = f"teacher without part {part.index}", train.take(part.test)
        net = chain.fit_net(what, train.take(part.train), salt=part.index)
        rows = [order[name] for name in part.test]
        maps[rows] = chain.heatmaps(what, net, held)
        inner["custnet_plain"][rows] = chain.score(what, net, held)
    laid_train = train.overlaid(maps, plan.strength)

    # 2. the teacher of the test pictures
    teacher = chain.fit_net("teacher", train, salt=100)
    test_maps = chain.heatmaps("teacher", teacher, test)
    laid_test = test.overlaid(test_maps, plan.strength)
    scores = {"custnet_plain": chain.score("teacher", teacher, test)}

    # 3. cross-fitted scores of the training speakers, for the thresholds alone
    for part in parts:
        what, rows = f"CustNet without part {part.index}", [order[name] for name in part.test]
        own, held = laid_train.take(part.train), laid_train.take(part.test)
        net = chain.fit_net(what, own, salt=200 + part.index)
        inner["custnet_overlay"][rows] = chain.score(what, net, held)
        inner["custnetgc"][rows], _ = chain.boosted(
            f"CatBoost without part {part.index}", what, net, own, held
        )

    # 4. the network and the booster that score the test speakers
    net = chain.fit_net("CustNet", laid_train, salt=300, validation=laid_test)
    scores["custnet_overlay"] = chain.score("CustNet", net, laid_test)
    scores["custnetgc"], curves = chain.boosted("CatBoost", "CustNet", net, laid_train, laid_test)

    result: Arrays = {
        "heatmaps": test_maps.astype(np.float16),
        "ledger": np.array(json.dumps(ledger.table())),
        "pooled_train": learner.pooled(net, laid_train.pictures),
        **weight_arrays("teacher", teacher.weights),
        **weight_arrays("net", net.weights),
    }
    for model in MODELS:
        result[f"score_{model}"] = scores[model]
        result[f"threshold_{model}"] = np.array(choose_threshold(train.labels, inner[model]))
    result |= {f"net_{name}": values for name, values in net.history.items()}
    result |= {f"boost_{name}": values for name, values in curves.items()}
    return result


# ── all folds ──────────────────────────────────────────────────────────────────────────────────────────
def stored_fold(
    data: PictureSet, fold: Fold, plan: Plan, *, store: Store | None = None, learner: Learner | None = None
) -> FoldResult:
    """`run_fold` with the fold's own seed, read back from the store where the very same fold is kept."""
    return next(_stored_folds(data, [fold], plan, store or Store(), learner or Learner(plan.network)))


def _stored_folds(
    data: PictureSet, folds: Sequence[Fold], plan: Plan, store: Store, learner: Learner
) -> Iterator[FoldResult]:
    inputs = [
        {"data": data, "fold": fold, "plan": plan, "arithmetic": networks.arithmetic()} for fold in folds
    ]

    def run(places: Iterator[int]) -> Iterator[tuple[int, Arrays]]:
        return parallel.each(
            partial(_fold, data, plan, learner),
            ((place, folds[place]) for place in places),
            modules=MODULES,
            name=lambda place: f"fold {folds[place].index} of seed {folds[place].seed}",
            same=networks.arithmetic,
            after=networks.free,
        )

    for fold, arrays in zip(folds, store.get_all("custnetgc-fold", inputs, run, MODULES), strict=True):
        yield FoldResult(fold, arrays)


def _fold(data: PictureSet, plan: Plan, learner: Learner, fold: Fold) -> Arrays:
    return run_fold(data, fold, plan, learner, fold.seed)


def cross_validate(
    data: PictureSet,
    plan: Plan,
    *,
    seeds: Sequence[int],
    store: Store | None = None,
    each: Callable[[FoldResult], None] | None = None,
) -> list[FoldResult]:
    """Every fold of every seed under the ``speaker`` protocol; finished folds are read back from the store.

    Folds may be computed elsewhere, see `parallel`; they come out the same.

    Parameters
    ----------
    data : PictureSet
        Slope graphs of all speakers.
    plan : Plan
        Settings.
    seeds : sequence of int
        Each gives its own folds and weights.
    store : Store, optional
        Where finished folds are kept: an interrupted run goes on at the fold where it stopped.
    each : callable, optional
        Called after each fold, for a progress line.
    """
    store = store or Store()
    folds = [fold for seed in seeds for fold in speaker_folds(data.names, data.labels, plan.n_splits, seed)]
    results = []
    for result in _stored_folds(data, folds, plan, store, Learner(plan.network)):
        results.append(result)
        if each is not None:
            each(result)
    networks.free()
    return results
