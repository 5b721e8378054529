"""One process at a time where two would spoil each other's work; a lock ends with its process, however that ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pdlib import paths
from pdlib.errors import BusyError, WriteError

try:
    import fcntl
except ImportError:  # Windows knows no flock: there, two runs at once are the user's to avoid
    fcntl = None


@contextmanager
def held(file: Path, doing: str, *, reading: bool = False) -> Iterator[None]:
    """Hold the lock ``file`` while the block runs.

    The lock is the operating system's and goes with the process, so a lock file that lies around locks nothing. The
    file says who holds it, for the message of whoever comes second.

    Parameters
    ----------
    file : Path
        The lock file; made where it is missing, and left there.
    doing : str
        What the holder does, such as "runs the chapters of".
    reading : bool
        Share the lock with others that only read. Where there is no folder, or none that can be written to, nobody
        else is at work, so nothing is locked then.

    Raises
    ------
    BusyError
        When another process holds it; the message names that process.
    WriteError
        When the lock file cannot be made.
    """
    try:
        with paths.writing_errors(file):
            if not reading:
                file.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    except WriteError:
        if not reading:
            raise
        yield
        return
    try:
        _take(handle, file, doing, reading)
        yield
    finally:
        os.close(handle)


def _take(handle: int, file: Path, doing: str, reading: bool) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if reading else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError as error:
        said = os.pread(handle, 200, 0).decode("utf-8", "replace").strip()
        raise BusyError(
            f"{said or 'another process is at work in'} {paths.shown(file.parent)}",
            "let it end, or end it; what it finished is kept, and the same command then goes on from there",
        ) from error
    with paths.writing_errors(file):
        os.truncate(handle, 0)
        text = f"process {os.getpid()} {doing} (since {datetime.now():%H:%M:%S})"
        os.pwrite(handle, text.encode(), 0)
