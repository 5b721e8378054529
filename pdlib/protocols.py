"""Folds over speakers, and a ledger that proves nothing was fitted on a speaker it is tested on.

`speaker` is the honest protocol: one speaker, one recording, one fold; whatever is fitted is fitted on the
training speakers of that fold, and training pictures get their heat maps from a teacher that did not see them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from sklearn.model_selection import StratifiedKFold

from pdlib.errors import DataError, LeakageError


@dataclass(frozen=True)
class Fold:
    """One split: the speakers trained on and the speakers tested on.

    Raises
    ------
    LeakageError
        When a speaker stands on both sides, or twice on one.
    """

    index: int
    seed: int
    train: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        assert_disjoint(self.train, self.test, where=f"fold {self.index} (seed {self.seed})")


def assert_disjoint(train: Iterable[str], test: Iterable[str], where: str = "this split") -> None:
    """Raise `LeakageError` naming the speakers that stand in both ``train`` and ``test``, or twice in either."""
    train, test = list(train), list(test)
    both = sorted(set(train) & set(test))
    if both:
        raise LeakageError(
            f"{where} trains and tests on {_few(both)}", "split by speaker, before anything is fitted"
        )
    for side, names in (("trains", train), ("tests", test)):
        twice = sorted(name for name, times in Counter(names).items() if times > 1)
        if twice:
            raise LeakageError(f"{where} {side} twice on {_few(twice)}", "give each speaker one row")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def speaker_folds(
    names: Sequence[str], labels: Sequence[int], n_splits: int = 5, seed: int = 0
) -> list[Fold]:
    """Stratified folds over speakers; every speaker is tested exactly once.

    Parameters
    ----------
    names : sequence of str
        One name per speaker, in the order of ``labels``.
    labels : sequence of int
        1 for PD, 0 for HC.
    n_splits : int
        Number of folds; each class must have at least that many speakers.
    seed : int
        Shuffles the speakers.

    Raises
    ------
    DataError
        When a class has fewer speakers than folds, or only one class is there.
    LeakageError
        When a name occurs twice.
    """
    names, labels = list(names), np.asarray(labels, dtype=int)
    assert_disjoint(names, [], where="the cohort")
    counts = {label: int((labels == label).sum()) for label in (0, 1)}
    if min(counts.values()) < n_splits or n_splits < 2:
        raise DataError(
            f"{n_splits} folds need at least {max(n_splits, 2)} speakers of each class; "
            f"there are {counts[0]} HC and {counts[1]} PD",
            "ask for between 2 and that many folds, or add recordings",
        )
    splitter = StratifiedKFold(n_splits=n_splits, shuffle=True, random_state=seed)
    return [
        Fold(index, seed, tuple(names[i] for i in train), tuple(names[i] for i in test))
        for index, (train, test) in enumerate(splitter.split(np.zeros(len(names)), labels))
    ]


@dataclass(frozen=True)
class Use:
    """One line of the ledger: ``what`` was fitted on, or applied to, ``speakers``."""

    act: str  # "fitted" or "applied"
    what: str
    speakers: tuple[str, ...]


@dataclass
class Ledger:
    """What was fitted on whom, and applied to whom, in one fold.

    The functions that fit and predict write into it from the very arrays they are handed, so it records what
    happened and not what was planned.
    """

    fold: Fold
    uses: list[Use] = field(default_factory=list)

    def fitted(self, what: str, speakers: Sequence[str]) -> None:
        """Record that ``what`` was fitted on ``speakers``; a test speaker among them raises `LeakageError`."""
        assert_disjoint((), speakers, where=f"{what} of fold {self.fold.index}")
        seen = sorted(set(speakers) & set(self.fold.test))
        if seen:
            raise LeakageError(
                f"{what} of fold {self.fold.index} was fitted on test speakers {_few(seen)}",
                "fit it inside the training speakers of the fold",
            )
        unknown = sorted(set(speakers) - set(self.fold.train))
        if unknown:
            raise LeakageError(
                f"{what} of fold {self.fold.index} was fitted on speakers outside the fold: {_few(unknown)}"
            )
        self.uses.append(Use("fitted", what, tuple(speakers)))

    def applied(self, what: str, speakers: Sequence[str], *, unseen: bool = True) -> None:
        """Record that ``what`` was applied to ``speakers``; with ``unseen`` none of them may be among its fitted ones.

        ``unseen=False`` is for steps that read their own training rows by design, such as the features that the
        booster is trained on; they can never reach a test speaker, because `fitted` refuses those.
        """
        fits = [use for use in self.uses if use.act == "fitted" and use.what == what]
        if not fits:
            raise LeakageError(f"{what} of fold {self.fold.index} is applied before it was fitted")
        seen = sorted(set(speakers) & {name for use in fits for name in use.speakers})
        if unseen and seen:
            raise LeakageError(
                f"{what} of fold {self.fold.index} is applied as if unseen to speakers it was fitted on: {_few(seen)}",
                "use a model fitted without them (cross-fitting)",
            )
        self.uses.append(Use("applied", what, tuple(speakers)))

    def table(self) -> list[dict]:
        """One row per use: fold, act, what, number of speakers, and how many of them are test speakers."""
        test = set(self.fold.test)
        return [
            {
                "fold": self.fold.index,
                "seed": self.fold.seed,
                "act": use.act,
                "what": use.what,
                "speakers": len(use.speakers),
                "of them tested": len(test & set(use.speakers)),
            }
            for use in self.uses
        ]
