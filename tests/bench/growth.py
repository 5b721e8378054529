"""How time and memory grow with the number of recordings: synthetic cohorts through the book's own functions.

Each stage of each size runs in a process of its own, part by part (`pdlib.chunks`), and what is done is noted after
every part: an interrupted measurement goes on at the next one. A stage that would take longer than its share of
processor time stops, and its row gives the recordings that it got to. On an idle machine the whole takes about half
an hour, nearly all of it at the largest size.

    python -m tests.bench.growth              the curve and what a million recordings would take, as JSON
    python -m tests.bench.growth STAGE N FOLDER    one stage, which the measurement calls
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from pdlib import chunks, paths
from pdlib.provenance import Arrays, Store, code_fingerprint
from pdlib.recordings import Cohort
from tests.bench import resident
from tests.bench.timing import Part

SIZES, SMALL_SIZES = (100, 1_000, 10_000), (20, 40, 80)
BUDGET_S, SMALL_BUDGET_S = 150.0, 0.3  # processor time of a stage at one size
SMALL_CHUNK = 5
PICTURE, WIDTH = 64, 0.25  # of the slope graphs and of CustNet: those of the profile quick
SPECTROGRAM = 224  # that of the profile full
N_BOOT = 2000
MILLION = 1_000_000
CORES = 100
#: Assumed for the cost of a million recordings, in any currency; put your own in its place.
PRICE_PER_HOUR = 0.05
SEED = 0

Piece = tuple[int, Callable[[], object]]  # recordings in it, and the work


# ── stages ─────────────────────────────────────────────────────────────────────────────────────────────
def voices(n: int, folder: Path) -> Iterator[Piece]:
    """Voices spoken one by one, and hashed; in all other stages they are spoken again when they are asked for."""
    from pdlib.synthetic import synthetic_cohort

    def speak() -> None:
        cohort = synthetic_cohort(n, SEED)
        with paths.atomic_path(folder / f"cohort-{n}") as part:
            part.write_bytes(pickle.dumps(cohort))

    yield n, speak


def l_mhp(n: int, folder: Path) -> Iterator[Piece]:
    """The mean L-mHP spectrogram of each class, as in chapter 5."""
    yield from _by_part(n, folder, "growth-l-mhp", _summed_l_mhp, ("features", "preprocessing"))


def slope_curves(n: int, folder: Path) -> Iterator[Piece]:
    """Slope and energy over time, and their means, as in chapter 6."""
    yield from _by_part(n, folder, "growth-slopes", _mean_slopes, ("features", "preprocessing"))


def slope_graphs(n: int, folder: Path) -> Iterator[Piece]:
    """Slope graphs, the pictures of chapter 10."""
    from pdlib.picture_sets import slope_pictures

    for part in chunks.parts(_cohort(n, folder)):
        yield (
            len(part),
            lambda part=part: slope_pictures(part, variant="paper", size=PICTURE, store=_store(folder, n)),
        )


def spectrograms(n: int, folder: Path) -> Iterator[Piece]:
    """Spectrogram pictures, those of chapter 12."""
    from pdlib.picture_sets import spectrogram_pictures

    for part in chunks.parts(_cohort(n, folder)):
        yield (
            len(part),
            lambda part=part: spectrogram_pictures(
                part, variant="sound", size=SPECTROGRAM, store=_store(folder, n)
            ),
        )


def picture_sets(n: int, folder: Path) -> Iterator[Piece]:
    """The slope graphs of the whole cohort as one array, read back from the store, and four fifths taken from it."""
    from pdlib.picture_sets import slope_pictures

    def put_together() -> None:
        cohort = _cohort(n, folder)
        data = slope_pictures(cohort, variant="paper", size=PICTURE, store=_store(folder, n))
        data.take(cohort.names[: n * 4 // 5])

    yield n, put_together


def acoustic_table(n: int, folder: Path) -> Iterator[Piece]:
    """The table of acoustic markers, with Praat's among them."""
    from pdlib import baselines

    for part in chunks.parts(_cohort(n, folder)):
        yield len(part), lambda part=part: baselines.acoustic_table(part, store=_store(folder, n))


def table_models(n: int, folder: Path) -> Iterator[Piece]:
    """Age, and as many markers as the acoustic table has: one repeat of five folds each."""
    from pdlib.baselines import cross_validate_table

    cohort = _cohort(n, folder)
    # Numbers in the place of markers, for that stage may have stopped early: a fit takes what its shape takes.
    draw = np.random.default_rng(SEED)
    markers = pd.DataFrame(draw.normal(size=(n, 48)) + 0.3 * cohort.labels[:, None], index=cohort.names)
    tables = {"age": cohort.covariates("age"), "acoustic": markers.rename(columns=str)}

    def fit() -> None:
        for name, table in tables.items():
            cross_validate_table(table, cohort.labels, model=name, seeds=[SEED], store=_store(folder, n))

    yield n, fit


def evaluation(n: int, folder: Path) -> Iterator[Piece]:
    """All metrics of one model with their intervals, and the permutation test."""
    from pdlib import evaluate

    cohort = _cohort(n, folder)
    score = np.clip(np.random.default_rng(SEED).normal(0.4 + 0.2 * cohort.labels, 0.2), 0, 1)
    frame = pd.DataFrame(
        {
            "model": "drawn", "variant": "none", "protocol": "speaker", "recording": cohort.names,
            "label": cohort.labels, "fold": 0, "seed": SEED, "score": score, "threshold": 0.5,
            "predicted": (score >= 0.5).astype(int),
        }
    )  # fmt: skip

    def summed_up() -> None:
        evaluate.summary(frame, n_boot=N_BOOT)
        evaluate.permutation_p(frame, n=N_BOOT)

    yield n, summed_up


def training(n: int, folder: Path) -> Iterator[Piece]:
    """CustNet, one pass over the slope graphs: part after part, each from the weights that the last one left."""
    from pdlib.networks import CustNetConfig, Learner

    learner, weights = Learner(CustNetConfig(PICTURE, width=WIDTH)), [None]
    for part, pictures in _slope_parts(n, folder):
        # the classes stand one after the other in a cohort, so a part is dealt labels of both
        labels = np.arange(len(part)) % 2

        def fit(pictures=pictures, labels=labels) -> None:
            weights[0] = learner.fit(pictures(), labels, seed=SEED, epochs=1, start=weights[0]).weights

        yield len(part), fit


def prediction(n: int, folder: Path) -> Iterator[Piece]:
    """CustNet's probabilities for the slope graphs."""
    from pdlib.networks import CustNetConfig, Learner, TrainedNet

    config = CustNetConfig(PICTURE, width=WIDTH)
    learner = Learner(config)
    net = TrainedNet(learner.start(SEED), config=config)
    for part, pictures in _slope_parts(n, folder):
        yield len(part), lambda pictures=pictures: learner.predict(net, pictures())


STAGES = {
    stage.__name__: stage
    for stage in (
        voices, l_mhp, slope_curves, slope_graphs, picture_sets, spectrograms, acoustic_table, table_models,
        evaluation, training, prediction,
    )
}  # fmt: skip
#: Without TensorFlow, whose import alone takes what a small run may.
SMALL_STAGES = (
    "voices", "l_mhp", "slope_curves", "slope_graphs", "acoustic_table", "table_models", "evaluation",
)  # fmt: skip
#: How often a study does it: 20 repeats of the table models, a network of 20 passes in each of five folds with 4/5 of
#: the recordings; all else once.
TIMES = {"table_models": 20, "training": 20 * 5 * 4 / 5}


def _cohort(n: int, folder: Path) -> Cohort:
    return pickle.loads((folder / f"cohort-{n}").read_bytes())  # which the first stage has just written


def _store(folder: Path, n: int) -> Store:
    return Store(folder / f"store-{n}")  # one for each size: they share recordings


def _by_part(
    n: int, folder: Path, step: str, work: Callable[[Cohort], Arrays], modules: Sequence[str]
) -> Iterator[Piece]:
    for part in chunks.parts(_cohort(n, folder)):
        yield (
            len(part),
            lambda part=part: _store(folder, n).get(
                step, {"cohort": part.fingerprint}, lambda: work(part), modules
            ),
        )


def _summed_l_mhp(part: Cohort) -> Arrays:
    from pdlib import features
    from pdlib.preprocessing import preprocess

    total: Arrays = {}
    for name, signal in part.signals().items():
        found = features.l_mhp(preprocess(signal.samples, signal.sample_rate, "paper"))
        total[name[:2]] = total.get(name[:2], 0) + found
    return total


def _mean_slopes(part: Cohort) -> Arrays:
    from pdlib import features
    from pdlib.preprocessing import preprocess

    return {
        "means": np.array(
            [
                features.slope_curves(preprocess(signal.samples, signal.sample_rate, "paper")).mean()
                for signal in part.signals().values()
            ]
        )
    }


def _slope_parts(n: int, folder: Path) -> Iterator[tuple[Cohort, Callable[[], np.ndarray]]]:
    from pdlib.picture_sets import slope_pictures

    for part in chunks.parts(_cohort(n, folder)):
        # read back from the store: drawing them is another stage
        yield (
            part,
            lambda part=part: (
                slope_pictures(part, variant="paper", size=PICTURE, store=_store(folder, n)).pictures
            ),
        )


# ── one stage ──────────────────────────────────────────────────────────────────────────────────────────
def run_stage(name: str, n: int, folder: Path, budget: float) -> dict:
    """Do one stage at one size, or what is left of it, and note what it took.

    Returns
    -------
    dict
        ``stage``, ``asked`` and ``recordings`` (asked for, and got to), ``seconds`` and ``processor`` (wall and
        processor time), ``peak`` (MiB resident at most), ``held`` (MiB of its own at most, beyond what the process
        began with).
    """
    note = folder / f"{name}-{n}.json"
    found = json.loads(note.read_text()) if note.is_file() else None
    found = found or {"stage": name, "asked": n, "parts": 0, "recordings": 0, "seconds": 0.0, "processor": 0.0,
                      "peak": 0.0, "held": 0.0}  # fmt: skip
    with resident.Watch() as watch:
        for place, (count, work) in enumerate(STAGES[name](n, folder)):
            if place < found["parts"]:
                continue
            if found["recordings"] and found["processor"] >= budget:
                break
            started, spent = time.perf_counter(), time.process_time()
            work()
            found["seconds"] += time.perf_counter() - started
            found["processor"] += time.process_time() - spent
            found["recordings"] += count
            found["parts"] = place + 1
            found["peak"] = max(found["peak"], resident.peak())
            found["held"] = max(found["held"], watch.most - watch.before)
            paths.write_text(note, json.dumps(found))
    return found


def _disk(folder: Path, n: int) -> dict[str, float]:
    """Bytes per recording of what the store of one size holds, by step."""
    return {
        step.name: sum(file.stat().st_size for file in step.glob("*.npz"))
        for step in sorted((folder / f"store-{n}").iterdir())
        if step.is_dir()
    }


# ── the curve and what follows from it ─────────────────────────────────────────────────────────────────
def exponent(recordings: Sequence[float], seconds: Sequence[float]) -> float:
    """Slope of log time against log recordings, by least squares: 1 where time is in proportion."""
    return float(np.polyfit(np.log(recordings), np.log(seconds), 1)[0])


def per_further(recordings: Sequence[float], mib: Sequence[float]) -> float:
    """Bytes of memory that a further recording takes, by the last two sizes: smaller ones fill what is fixed."""
    return float((mib[-1] - mib[-2]) * resident.MIB / (recordings[-1] - recordings[-2]))


def tabulated(found: Sequence[dict], sizes: Sequence[int], disk: dict[str, float], cores: int) -> Part:
    """The part of the bench from what the stages left.

    Parameters
    ----------
    found : sequence of dict
        See `run_stage`; every stage at every size.
    sizes : sequence of int
    disk : dict
        Bytes per recording that the store holds, by step.
    cores : int
        Of this machine.
    """
    stages = list(dict.fromkeys(row["stage"] for row in found))
    of = {(row["stage"], row["asked"]): row for row in found}
    whole, by_stage, million, left_out = [], [], [], []
    for n in sizes:
        # where a stage stopped early, its time per recording stands for the rest, and a sentence says so
        scale = {stage: n / of[stage, n]["recordings"] for stage in stages}
        whole.append(
            {
                "recordings": n,
                "seconds": round(sum(of[s, n]["seconds"] * scale[s] for s in stages), 2),
                "processor seconds": round(sum(of[s, n]["processor"] * scale[s] for s in stages), 2),
                "peak MiB": round(max(of[s, n]["peak"] for s in stages)),
                "measured share": _share([of[s, n]["processor"] for s in stages], [scale[s] for s in stages]),
            }
        )
        left_out += [
            f"{_words(s)} at {n}: stopped after {of[s, n]['recordings']} recordings; the sum for {n} takes its "
            "time per recording for the others"
            for s in stages
            if scale[s] > 1
        ]
    for stage in stages:
        rows = [of[stage, n] for n in sizes]
        done = [row["recordings"] for row in rows]
        line = {"stage": _words(stage)}
        line |= {
            f"processor ms each of {n}": round(1e3 * row["processor"] / row["recordings"], 3)
            for n, row in zip(sizes, rows, strict=True)
        }
        line["exponent"] = _fitted(exponent, done, [row["processor"] for row in rows])
        line |= {f"held MiB, {n}": round(row["held"], 1) for n, row in zip(sizes, rows, strict=True)}
        line["bytes per further one"] = _fitted(per_further, done, [row["held"] for row in rows], digits=0)
        by_stage.append(line)
        last, times = rows[-1], TIMES.get(stage, 1)
        hours = last["processor"] / last["recordings"] * MILLION * times / 3600
        million.append(
            {"stage": _words(stage), "times": round(times), "processor hours": round(hours, 1),
             f"hours on {CORES} cores": round(hours / CORES, 2)}
        )  # fmt: skip
    hours = sum(row["processor hours"] for row in million)
    exponents = {line["stage"]: line["exponent"] for line in by_stage if line["exponent"] != ""}
    total = _fitted(exponent, sizes, [row["processor seconds"] for row in whole])
    on_disk = sum(disk.values()) * MILLION / 1e9
    raw = (PICTURE**2 * 3 + SPECTROGRAM**2 * 3) * MILLION / 1e9
    facts = {
        "exponent of time, all stages": total,
        "fitted from": sizes[0],
        "fitted to": sizes[-1],
        "largest exponent of a stage": max(exponents.values(), default=""),
        "bytes held per further recording, most of a stage": max(
            (line["bytes per further one"] for line in by_stage if line["bytes per further one"] != ""),
            default="",
        ),
        "processor-hours for a million": round(hours),
        f"hours for a million on this machine's {cores} cores": round(hours / cores),
        f"hours for a million on {CORES} cores": round(hours / CORES, 1),
        "GB on disk for a million, features and pictures": round(on_disk),
        "GB more while pictures are in use": round(raw),
        "price of a processor-hour, assumed": PRICE_PER_HOUR,
        "cost of a million at that price": round(hours * PRICE_PER_HOUR),
    }
    return Part(
        title="Growth with the number of recordings",
        rows=[],
        facts=facts,
        left_out=left_out,
        tables={
            "From recordings to scores, all stages": whole,
            "By stage": by_stage,
            "A million recordings, in proportion to the largest cohort": million,
        },
    )


def _share(seconds: Sequence[float], scale: Sequence[float]) -> float:
    """Share of the time that was measured; the rest is that of stages that stopped early, in proportion."""
    return round(sum(seconds) / sum(one * times for one, times in zip(seconds, scale, strict=True)), 3)


def _words(stage: str) -> str:
    return {"l_mhp": "L-mHP spectrograms"}.get(stage, stage.replace("_", " "))


def _fitted(
    fit: Callable, recordings: Sequence[float], values: Sequence[float], digits: int = 2
) -> float | str:
    """A fit, where all sizes differ; a stage that stopped early at two of them has no curve."""
    if len(set(recordings)) < len(recordings):
        return ""
    found = round(fit(recordings, values), digits)
    return int(found) if digits == 0 else found


def measure(rounds: int, small: bool, folder: Path | None = None) -> Part:
    """The curve; ``rounds`` is not used, for sizes repeat each other. ``folder`` keeps what is done till the end."""
    sizes, budget = (SMALL_SIZES, SMALL_BUDGET_S) if small else (SIZES, BUDGET_S)
    modules = ("baselines", "picture_sets", "evaluate", "networks", "synthetic", "chunks")
    # under the hash of the code: what other code took is not gone on with
    folder = (
        folder
        or paths.results_dir() / f"growth-{'small' if small else 'full'}-{code_fingerprint(*modules)[:12]}"
    )
    found = []
    for n in sizes:
        for name in SMALL_STAGES if small else STAGES:
            if small:  # a process of its own would take longer to start than its work
                usual, chunks.CHUNK = chunks.CHUNK, SMALL_CHUNK
                try:
                    found.append(run_stage(name, n, folder, budget))
                finally:
                    chunks.CHUNK = usual
            else:
                found.append(resident.of_its_own("tests.bench.growth", [name, n, folder]))
                print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    largest = {row["stage"]: row["recordings"] for row in found if row["asked"] == sizes[-1]}
    of_step = {
        "growth-l-mhp": "l_mhp", "growth-slopes": "slope_curves", "slope-pictures": "slope_graphs",
        "spectrogram-pictures": "spectrograms", "acoustic-table": "acoustic_table", "table-model": "table_models",
    }  # fmt: skip
    disk = {step: size / largest[of_step[step]] for step, size in _disk(folder, sizes[-1]).items()}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    part = tabulated(found, sizes, disk, cores)
    shutil.rmtree(folder)  # the next measurement begins anew
    return part


def main() -> None:
    """The command; see the module."""
    if len(sys.argv) > 1:
        name, n, folder = sys.argv[1:4]
        print(json.dumps(run_stage(name, int(n), Path(folder), BUDGET_S)))
    else:
        print(json.dumps(asdict(measure(1, small=False)), indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
