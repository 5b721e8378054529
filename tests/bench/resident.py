"""What memory a process holds: now, and at most; as Linux counts it, elsewhere as the system tells it.

The peak that ``getrusage`` gives a child starts at what its parent held, so it is not asked on Linux.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import psutil

from pdlib import paths

MIB = 2**20
_STATUS = Path("/proc/self/status")


def _field(name: str) -> float | None:
    """A line of the process's status in MiB, None where there is no such line."""
    if not _STATUS.is_file():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / MIB
    return None


def now() -> float:
    """Resident memory, MiB."""
    return psutil.Process().memory_info().rss / MIB


def own() -> float:
    """Resident memory without pages of files, which the system takes back as soon as others need them; MiB."""
    found = _field("RssAnon")
    return now() if found is None else found


def peak() -> float:
    """Most resident memory so far, MiB."""
    found = _field("VmHWM")
    if found is not None:
        return found
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


class Watch:
    """Most of `own` memory while the block runs, looked at every ``every`` seconds.

    Attributes
    ----------
    before, most : float
        MiB when the block began, and at most.
    """

    def __init__(self, every: float = 0.02) -> None:
        self.every = every
        self.before = self.most = 0.0
        self._end = threading.Event()

    def __enter__(self) -> Watch:
        self.before = self.most = own()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self.most = max(self.most, own())

    def _look(self) -> None:
        while not self._end.wait(self.every):
            self.most = max(self.most, own())


def of_its_own(module: str, arguments: Sequence[object]) -> dict:
    """Run ``python -m module arguments`` and read the JSON of its last line: a process starts with clean memory."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])
