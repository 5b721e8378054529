"""Bad input in the test suite: a small draw for every reader, and proof that the fuzzer sees what it looks for."""

from __future__ import annotations

import os
import pickle
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from pdlib.errors import DataError, PdlibError
from tests.fuzz import guard, hunt
from tests.fuzz.targets import PICKLE, TARGETS, Target

QUICK = {name: 12 for name in TARGETS} | {
    "chapter": 8,
    "executed": 6,
    "report": 0,
    "weights": 0,
    "weights.csv": 8,
}
SECONDS = 1.0


@pytest.fixture
def box(tmp_path):
    found = guard.Box(tmp_path.resolve() / "box")
    found.root.mkdir()
    found.clean()
    return found


def judged(act, box, **options):
    return guard.judge(act, box, seconds=SECONDS, **options)


# --- the fuzzer is not blind ------------------------------------------------------------------------------
def test_what_is_accepted_and_what_is_refused_with_a_reason_is_no_finding(box):
    def refuse(folder: Path, out: Path) -> None:
        raise DataError("x.csv is no table", "mend it")

    assert judged(lambda folder, out: None, box).outcome == "accepted"
    assert judged(refuse, box).outcome == "refused"


def _value_error(folder: Path, out: Path) -> None:
    int("many")


def _busy(folder: Path, out: Path) -> None:
    while True:
        pass


def _busy_behind_a_blanket(folder: Path, out: Path) -> None:
    try:
        _busy(folder, out)
    except Exception:  # noqa: BLE001 - as a careless reader would
        raise DataError("damaged") from None


def _greedy(folder: Path, out: Path) -> None:
    np.ones(150_000_000)  # 1.1 GiB


def _writes_beside(folder: Path, out: Path) -> None:
    (folder.parent / "beside" / "new.txt").write_text("x")


def _writes_in_the_input(folder: Path, out: Path) -> None:
    (folder / "new.txt").write_text("x")


def _replaces_a_canary_from_below_python(folder: Path, out: Path) -> None:
    import ctypes

    # the system's own call, which no audit of Python sees
    libc = ctypes.CDLL(None)
    handle = libc.open(os.fsencode(folder.parent / "canary.json"), os.O_WRONLY | os.O_TRUNC)
    libc.close(handle)


def _writes_elsewhere(folder: Path, out: Path) -> None:
    (Path(__file__).parent.parent.parent / "_build" / "fuzz-canary").unlink(missing_ok=True)


def _unpickles(folder: Path, out: Path) -> None:
    pickle.loads(PICKLE)


def _starts_a_program(folder: Path, out: Path) -> None:
    subprocess.run(["true"], check=True)


def _says_nothing(folder: Path, out: Path) -> None:
    raise PdlibError("")


def _not_a_number(folder: Path, out: Path) -> None:
    raise guard.Insane("a signal is finite")


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (_value_error, "ValueError"),
        (_busy, "still busy"),
        (_busy_behind_a_blanket, "still busy"),
        (_greedy, "MiB of memory"),
        (_writes_beside, "outside the folder"),
        (_writes_in_the_input, "outside the folder"),
        (_replaces_a_canary_from_below_python, "canary"),
        (_writes_elsewhere, "outside the folder"),
        (_unpickles, "executed"),
        (_starts_a_program, "starts a program"),
        (_says_nothing, "says nothing"),
        (_not_a_number, "a signal is finite"),
    ],
)
def test_a_planted_fault_is_a_finding(act, said, box):
    verdict = judged(act, box)
    assert verdict.outcome == "finding" and said in verdict.kind


def test_an_input_after_a_finding_starts_from_a_clean_box(box):
    judged(_writes_beside, box)
    judged(_unpickles, box)
    box.clean()
    assert judged(lambda folder, out: None, box).outcome == "accepted"


def test_a_finding_is_shrunk_to_the_smallest_input_that_shows_it(box):
    def fails_on_a(folder: Path, out: Path) -> None:
        if b"a" in (folder / "x").read_bytes():
            raise ValueError

    planted = Target(
        "planted", 1, lambda: st.binary(max_size=200).map(lambda b: b + b"\xff"),
        lambda content, folder: (folder / "x").write_bytes(content) and None, fails_on_a, lambda: b"",
    )  # fmt: skip
    tally = hunt.hunt(planted, 600, 0, box)
    assert tally.inputs == 600
    assert [(kind.split(" ")[0], content) for kind, _, content in tally.found] == [("ValueError", b"a\xff")]


def test_the_same_seed_draws_the_same_inputs(box):
    def drawn(seed: int) -> list[bytes]:
        seen: list[bytes] = []
        hunt.hunt(TARGETS["registry"], 30, seed, box, seen.append)
        return seen

    first = drawn(5)
    assert first == drawn(5) and first != drawn(6)


def test_a_worker_that_dies_is_a_finding_with_its_input(tmp_path, monkeypatch):
    from tests.fuzz import __main__ as command

    class Dead:
        returncode = -11
        starts = 0

        def __init__(self, *args, **options):
            Dead.starts += 1
            (tmp_path / "registry.input").write_bytes(b"deadly")

        def poll(self):
            return self.returncode

    monkeypatch.setattr(command.subprocess, "Popen", Dead)
    worker = command._Worker("registry", 8, 0, tmp_path, tmp_path / "found")
    began = time.monotonic()
    while not worker.done():
        assert time.monotonic() - began < 10
    assert Dead.starts == 4 and len(worker.tally["found"]) == 4
    assert {path.read_bytes() for path in (tmp_path / "found").rglob("input")} == {b"deadly"}


# --- a small draw -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [name for name, count in QUICK.items() if count])
def test_a_reader_takes_or_refuses_bad_input(name, box, monkeypatch):
    monkeypatch.delenv("PDLIB_DATA", raising=False)
    target = TARGETS[name]
    hunt.attempt(target, target.warm(), box, lambda content: None, seconds=600)
    tally = hunt.hunt(target, QUICK[name], 11, box, shrink=False)
    assert tally.found == []
    assert tally.inputs == tally.accepted + tally.refused == QUICK[name]


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "report"])
def test_a_valid_input_is_accepted(name, box, monkeypatch):
    if name == "weights":
        pytest.skip("builds a backbone, and tests/test_weights.py reads one")
    monkeypatch.delenv("PDLIB_DATA", raising=False)
    target = TARGETS[name]
    hunt.attempt(target, target.warm(), box, lambda content: None, seconds=600)
    assert hunt.attempt(target, target.warm(), box, lambda content: None) == guard.Verdict("accepted")
