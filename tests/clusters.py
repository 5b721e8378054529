"""A real Dask scheduler and real worker processes on loopback, for tests of work beyond one process.

What the tests send stands here too: a worker imports the module of what it is sent, and TensorFlow takes seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pdlib import paths
from pdlib.errors import LeakageError

_START_SECONDS = 60


def where(item):
    """The item, and the process it was in."""
    time.sleep(0.2)
    return item, os.getpid()


def half(item):
    """Half the item; refuses 2."""
    if item == 2:
        raise LeakageError("two is a test speaker", "leave it out")
    return item / 2


def deadly(item):
    """The item; 1 ends the process."""
    if item == 1:
        os._exit(9)
    return item


class Cluster:
    """A scheduler and its workers, each a process started here; `close` ends them all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen] = {}
        file = folder / "scheduler.json"
        # it ends by itself where a killed test run cannot end it, and its workers with it
        settings = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--idle-timeout", "15 minutes"]
        self._start("scheduler", ["dask_scheduler", *settings, "--scheduler-file", str(file)], {}, paths.ROOT)
        until = time.monotonic() + _START_SECONDS
        while not (file.is_file() and file.stat().st_size):
            assert time.monotonic() < until and self.processes["scheduler"].poll() is None, self.said(
                "scheduler"
            )
            time.sleep(0.05)
        self.address: str = json.loads(file.read_text(encoding="utf-8"))["address"]

    def worker(
        self, name: str, env: Mapping[str, str] | None = None, root: Path = paths.ROOT
    ) -> subprocess.Popen:
        """Start a worker process of one thread, in the checkout ``root``; it comes when it is ready."""
        own = self.folder / name
        own.mkdir()
        settings = {"PDLIB_RESULTS": str(own / "results"), **(env or {})}
        command = ["dask_worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--name", name,
                   "--local-directory", str(own), "--host", "127.0.0.1", "--death-timeout", "20"]  # fmt: skip
        return self._start(name, command, settings, root)

    def _start(self, name: str, command: list[str], env: Mapping[str, str], root: Path) -> subprocess.Popen:
        kept = {k: v for k, v in os.environ.items() if k not in ("PDLIB_DASK", "PDLIB_WORKERS")}
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{command[0]}", *command[1:]],
                cwd=root, stdout=log, stderr=log, env={**kept, "PYTHONPATH": str(root), **env},
            )  # fmt: skip
        return self.processes[name]

    def said(self, name: str) -> str:
        """What a process wrote."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        """End every process."""
        for process in reversed(self.processes.values()):
            process.kill()
        for process in self.processes.values():
            process.wait(timeout=20)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A scheduler without workers on a port of its own, ended with the block."""
    with tempfile.TemporaryDirectory(prefix="dask-") as folder:
        made = Cluster(Path(folder))
        try:
            yield made
        finally:
            made.close()
