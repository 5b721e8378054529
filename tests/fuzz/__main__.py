"""Feed bad input to everything that reads what a user hands over: ``python -m tests.fuzz --help``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from pdlib import paths
from tests.fuzz import guard

INPUTS = 20_000
WORKERS = 2
STUCK = 6 * guard.SECONDS  # of the processor on one input, after which a worker counts as hung in a library
WAITING = 600.0  # seconds of the clock on one input, after which it counts as waiting for what never comes
FINDINGS = paths.BUILD / "fuzz"


def shares(count: int, names: list[str]) -> dict[str, int]:
    """How many of ``count`` inputs each target gets: by its share, and at least one."""
    from tests.fuzz.targets import TARGETS

    whole = sum(TARGETS[name].share for name in names)
    given = {name: max(1, count * TARGETS[name].share // whole) for name in names}
    given[names[0]] += max(0, count - sum(given.values()))
    return given


class _Worker:
    """One process on one target, taken up again after each input that ended it."""

    def __init__(self, name: str, count: int, seed: int, folder: Path, findings: Path) -> None:
        self.name, self.left, self.seed, self.folder, self.findings = name, count, seed, folder, findings
        self.tally = {"target": name, "inputs": 0, "accepted": 0, "refused": 0, "found": []}
        self.deaths = 0
        self.since, self.spent = 0, 0.0
        self._start()

    def _start(self) -> None:
        self.current, self.answer = self.folder / f"{self.name}.input", self.folder / f"{self.name}.json"
        self.current.unlink(missing_ok=True)
        job = {
            "target": self.name, "count": self.left, "seed": self.seed + 7919 * self.deaths,
            "current": str(self.current), "answer": str(self.answer), "findings": str(self.findings),
        }  # fmt: skip
        env = os.environ | {
            "PYTHONHASHSEED": "0", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2", "PYTHONFAULTHANDLER": "1",
        }  # fmt: skip
        env.pop("PDLIB_DATA", None)
        env.pop("PDLIB_WEIGHTS", None)
        self.log = (self.folder / f"{self.name}.log").open("ab")
        command = [sys.executable, "-m", "tests.fuzz.hunt", json.dumps(job)]
        self.process = subprocess.Popen(command, cwd=paths.ROOT, env=env, stdout=self.log, stderr=self.log)

    def done(self) -> bool:
        """Look after the process; True once the target has had its inputs."""
        if self.process.poll() is None:
            stuck = self._stuck()
            if stuck:
                self.process.kill()
                self.process.wait()
            return self._died(stuck) if stuck else False
        self.log.close()
        if self.process.returncode == 0 and self.answer.is_file():
            said = json.loads(self.answer.read_text(encoding="utf-8"))
            for name in ("inputs", "accepted", "refused"):
                self.tally[name] += said[name]
            self.tally["found"] += said["found"]
            return True
        return self._died(f"the process died ({self.process.returncode})")

    def _stuck(self) -> str:
        """What the process has been at for too long with its present input; empty while it gets on."""
        try:
            times = psutil.Process(self.process.pid).cpu_times()
            since = self.current.stat().st_mtime_ns
        except (OSError, psutil.Error):
            return ""
        spent = times.user + times.system
        if since != self.since:
            self.since, self.spent = since, spent
        if spent - self.spent > STUCK:
            return f"still busy after {STUCK:.0f} s of processor time, in a library"
        return f"waits for more than {WAITING:.0f} s" if time.time() - since / 1e9 > WAITING else ""

    def _died(self, kind: str) -> bool:
        self.log.close()
        said = (self.folder / f"{self.name}.log").read_text(encoding="utf-8", errors="replace")[-4000:]
        if not self.current.is_file():
            raise SystemExit(f"the worker of {self.name} does not start:\n{said}")
        content = self.current.read_bytes()
        path = self.findings / f"{self.name}-{guard.short_hash(content)}"
        path.mkdir(parents=True, exist_ok=True)
        (path / "input").write_bytes(content)
        (path / "why.txt").write_text(f"{self.name}: {kind}\n\n{said}\n", encoding="utf-8")
        self.tally["found"].append((kind, str(path)))
        self.tally["inputs"] += 1
        self.deaths += 1
        self.left = max(1, self.left // 2)
        if self.deaths > 3:
            return True
        self._start()
        return False


def fuzz(
    count: int, seed: int, names: list[str], findings: Path = FINDINGS, workers: int = WORKERS
) -> list[dict]:
    """Feed the targets with ``count`` inputs in all; one tally per target, in order."""
    from tests.fuzz.targets import TARGETS

    waiting = sorted(shares(count, names).items(), key=lambda pair: -TARGETS[pair[0]].cost * pair[1])
    running: list[_Worker] = []
    tallies: dict[str, dict] = {}
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    name, share = waiting.pop(0)
                    running.append(_Worker(name, share, seed, Path(folder), findings))
                for worker in list(running):
                    if worker.done():
                        running.remove(worker)
                        tallies[worker.name] = worker.tally
                        print(_line(worker.tally), flush=True)
                time.sleep(0.1)
        finally:
            for worker in running:
                worker.process.kill()
    return [tallies[name] for name in names]


def _line(tally: dict) -> str:
    said = f"{tally['target']:14}{tally['inputs']:7} inputs{tally['accepted']:7} accepted{tally['refused']:7} refused"
    return (
        said
        + f"{len(tally['found']):4} findings"
        + "".join(f"\n    {kind}\n      {path}" for kind, path in tally["found"])
    )


def section(tallies: list[dict], seed: int) -> dict:
    """What `tests.bench.record` keeps of one run."""
    rows = [
        {"reader": t["target"], "inputs": t["inputs"], "accepted": t["accepted"], "refused": t["refused"],
         "findings": len(t["found"])} for t in tallies
    ]  # fmt: skip
    facts = {
        "inputs": sum(row["inputs"] for row in rows), "findings": sum(row["findings"] for row in rows), "seed": seed,
        "seconds of processor time allowed per input": guard.SECONDS, "MiB allowed above the start": guard.MEBIBYTES,
    }  # fmt: skip
    return {"title": "Bad input", "rows": rows, "facts": facts}


def main() -> int:
    """The command; leaves with 1 when something was found."""
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=INPUTS, help=f"in all; {INPUTS} unless told otherwise")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(TARGETS), metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--record", action="store_true", help="write the counts to data/robustness.json")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="judge this one input of --only TARGET")
    asked = parser.parse_args()
    names = asked.only or list(TARGETS)
    if asked.replay:
        return _replay(names[0], asked.replay)
    tallies = fuzz(asked.inputs, asked.seed, names)
    content = section(tallies, asked.seed)
    print(f"{content['facts']['inputs']} inputs, {content['facts']['findings']} findings")
    if asked.record:
        from tests.bench.record import record

        record("robustness.json", "fuzz", content)
    return 1 if content["facts"]["findings"] else 0


def _replay(name: str, path: Path) -> int:
    from tests.fuzz.hunt import attempt
    from tests.fuzz.targets import TARGETS

    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        box = guard.Box(Path(folder).resolve() / "box")
        box.root.mkdir()
        attempt(TARGETS[name], TARGETS[name].warm(), box, lambda content: None, seconds=600)
        verdict = attempt(TARGETS[name], path.read_bytes(), box, lambda content: None)
    print(verdict.outcome, verdict.kind, verdict.detail, sep="\n")
    return verdict.outcome == "finding"


if __name__ == "__main__":
    sys.exit(main())
