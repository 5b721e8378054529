"""Peak memory of the heavy steps at the size of the ``full`` profile, and what each further fold adds to it.

Every step runs in a process of its own, on 81 synthetic voices, with the functions the chapters call. A network is
trained for one epoch: how often a picture is seen changes the time of a fold and not its memory. Of each fold one
picture is explained: a path of integrated gradients goes through the network in batches, whatever their number.
On an idle machine all steps take some five minutes.

    python -m tests.bench.memory              all steps, as a table
    python -m tests.bench.memory STEP SIZE    one step ("full" or "small"), as one line of JSON
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.bench import resident
from tests.bench.timing import Part

LIMIT_GIB = 6
WEIGHTS = "imagenet-else-untrained"
Look = Callable[..., None]


def custnetgc(small: bool, store, look: Look) -> None:
    """All folds of one seed of the chain of chapter 10."""
    from pdlib.boosting import BoostConfig
    from pdlib.custnetgc import Plan, cross_validate
    from pdlib.networks import CustNetConfig
    from pdlib.picture_sets import slope_pictures

    size = 32 if small else 96
    plan = Plan(
        network=CustNetConfig(size, width=0.125 if small else 0.5),
        boosting=BoostConfig(iterations=10 if small else 200),
        epochs=1,
        n_splits=2 if small else 5,
        cross_fits=2 if small else 3,
    )
    data = slope_pictures(_voices(small), variant="paper", size=size, store=store)
    look()
    kept = cross_validate(data, plan, seeds=[0], store=store, each=look)
    del kept


def transfer(small: bool, store, look: Look) -> None:
    """All folds of one seed of the fine-tuned MobileNetV2 of chapter 12."""
    from pdlib import transfer as models
    from pdlib.picture_sets import spectrogram_pictures

    size = 32 if small else 224
    data = spectrogram_pictures(_voices(small), variant="paper", size=size, store=store)
    recipes = models.notebook_recipes(
        size, weights="untrained" if small else WEIGHTS, head_epochs=1, finetune_epochs=1, cnn_epochs=1
    )
    look()
    kept = models.cross_validate(
        data, recipes["mobilenet_finetuned"], seeds=[0], n_splits=2 if small else 5, cross_fits=2 if small else 3,
        store=store, each=look,
    )  # fmt: skip
    del kept


def explained(small: bool, store, look: Look) -> None:
    """The maps of chapter 14, integrated gradients with most steps among them, of one picture in each fold."""
    from pdlib import explained as maps
    from pdlib import transfer as models
    from pdlib.picture_sets import spectrogram_pictures

    size = 32 if small else 224
    data = spectrogram_pictures(_voices(small), variant="sound", size=size, store=store)
    recipe = models.notebook_recipes(
        size, weights="untrained" if small else WEIGHTS, head_epochs=1, finetune_epochs=1, cnn_epochs=1
    )["mobilenet_finetuned"]
    folds = models.cross_validate(
        data, recipe, seeds=[0], n_splits=2 if small else 5, cross_fits=2, store=store
    )
    steps = 8 if small else 256
    ways = {
        "Grad-CAM": maps.Way("grad_cam"),
        "IG": maps.Way(
            "integrated_gradients", {"steps": steps // 8, "max_steps": steps, "baseline": "black"}
        ),
        "IG, smoothed": maps.Way("smooth_grad", {"samples": 4 if small else 16}),
    }
    subject = maps.transfer_subject(data, recipe, folds)
    look()
    for result in folds:
        maps.explain_all(subject, ways, side=7, names=result.fold.test[:1], store=store)
        look()


def leakage(small: bool, store, look: Look) -> None:
    """Rungs of the ladder of chapter 16, each one that makes its own heat maps."""
    from pdlib import leakage as ladder
    from pdlib.boosting import BoostConfig
    from pdlib.custnetgc import Plan
    from pdlib.networks import CustNetConfig, Learner
    from pdlib.picture_sets import slope_pictures
    from pdlib.weights import load_backbone

    size = 32 if small else 64
    plan = Plan(
        network=CustNetConfig(size, width=0.125 if small else 0.25),
        boosting=BoostConfig(iterations=10 if small else 100),
        epochs=1,
    )
    data = slope_pictures(_voices(small), variant="paper", size=size, store=store)
    learner = Learner(plan.network)
    teacher, chain = ladder.NetworkTeacher(plan, learner, store), ladder.ChainScorer(plan, learner, store)
    frozen = ladder.FrozenScorer(
        load_backbone("mobilenet_v2", size, "untrained" if small else WEIGHTS), store
    )
    look()
    rungs = ladder.LADDER[:2] if small else (*ladder.LADDER, *ladder.ALONE)
    ladder.run_ladder(
        data, teacher, [chain, frozen], rungs=rungs, seeds=[0], labels="true",
        n_splits=2 if small else 5, cross_fits=2 if small else 3, each=look,
    )  # fmt: skip


STEPS = {step.__name__: step for step in (custnetgc, transfer, explained, leakage)}
#: How often a chapter of the ``full`` profile does in one process what a step is looked at after.
REPEATS = {
    "custnetgc": 2 * 3 * 5,  # variants, seeds, folds
    "transfer": 4 * 2 * 3 * 5,  # models as well
    "explained": 6 * 5,  # models, folds
    "leakage": 2 * 5 * 8,  # true and shuffled labels, seeds, rungs
}
UNITS = {"custnetgc": "fold", "transfer": "fold", "explained": "fold", "leakage": "rung"}


def _voices(small: bool):
    from pdlib.cohort import load_cohort

    return load_cohort("synthetic", size=12 if small else 81, seed=0)


def looked_at(name: str, small: bool) -> dict:
    """Resident memory of this process, MiB: after the step's start, after each fold, and at most."""
    from pdlib.provenance import Store

    seen: list[float] = []

    def look(*_: object) -> None:
        seen.append(resident.now())

    with tempfile.TemporaryDirectory() as folder:
        STEPS[name](small, Store(Path(folder)), look)
    return {"step": name, "seen": seen, "peak": resident.peak()}


def row(found: dict) -> dict:
    """A line of the table: peak, what a further fold adds (least squares, but for the first), both together."""
    after = np.array(found["seen"][2:] if len(found["seen"]) > 3 else found["seen"][1:])
    places = np.arange(len(after))
    growth = float(np.polyfit(places, after, 1)[0]) if len(after) > 1 else 0.0
    left = REPEATS[found["step"]] - (len(found["seen"]) - 1)
    return {
        "step": found["step"],
        "one is a": UNITS[found["step"]],
        "seen": len(found["seen"]) - 1,
        "peak (MiB)": round(found["peak"]),
        "further one (MiB)": round(growth, 1),
        "in the full profile": REPEATS[found["step"]],
        "peak by then (MiB)": round(found["peak"] + max(0.0, growth) * max(0, left)),
    }


def measure(rounds: int, small: bool) -> Part:
    """Peak memory by step; ``rounds`` is not used, for memory needs no repeats."""
    chosen = ("custnetgc", "leakage") if small else tuple(STEPS)
    size = "small" if small else "full"
    rows = [row(resident.of_its_own("tests.bench.memory", [name, size])) for name in chosen]
    return Part(
        title="Memory of the full profile",
        rows=[],
        facts={
            "limit (GiB)": LIMIT_GIB,
            "most, with all folds in one process (GiB)": round(max(r["peak by then (MiB)"] for r in rows) / 1024, 2),
        },
        tables={"Resident memory by step": rows},
    )  # fmt: skip


def main() -> None:
    """The command; see the module."""
    if len(sys.argv) == 3:
        print(json.dumps(looked_at(sys.argv[1], sys.argv[2] == "small")))
        return
    for each in measure(1, small="--small" in sys.argv).tables["Resident memory by step"]:
        print(json.dumps(each))


if __name__ == "__main__":
    main()
