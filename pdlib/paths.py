"""Where things live, and how a file is written whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pdlib.errors import WriteError

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
PROFILES = NOTEBOOKS / "profiles"
BOOK = ROOT / "book"
EDITION = BOOK / "edition"
DATA = ROOT / "data"
RAW = DATA / "raw"
REGISTRY = DATA / "registry.csv"
BUILD = ROOT / "_build"
HTML = BUILD / "html"


def results_dir() -> Path:
    """Folder of stored results; ``PDLIB_RESULTS`` moves it. It can be deleted at any time."""
    return Path(os.environ.get("PDLIB_RESULTS") or BUILD / "results")


def runs_dir() -> Path:
    """Folder of executed chapters, one folder per profile and cohort; ``PDLIB_RUNS`` moves it."""
    return Path(os.environ.get("PDLIB_RUNS") or BUILD / "run")


def shown(path: Path | str) -> str:
    """A path as the reader should see it: relative to the book where it lies inside it, else its name."""
    path = Path(path)
    try:
        return path.resolve().relative_to(ROOT).as_posix()
    except ValueError:
        return path.name


_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space and run the same command again; finished work is kept"),
    errno.EDQUOT: ("the disk quota is used up", "free some space and run the same command again"),
    errno.EROFS: ("the folder is read-only", "choose a folder you may write to"),
    errno.EACCES: ("no permission to write there", "choose a folder you may write to"),
    errno.EPERM: ("no permission to write there", "choose a folder you may write to"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "choose another folder"),
}


@contextmanager
def writing_errors(target: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write ``target`` into a clear `WriteError`."""
    try:
        yield
    except OSError as error:
        reason, way_out = _REASONS.get(
            error.errno, (error.strerror or str(error), "check the folder and run the same command again")
        )
        raise WriteError(f"cannot write {target}: {reason}", way_out) from error


@contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """Give a temporary path beside ``target`` that takes its place only if the block ends well.

    Raises
    ------
    WriteError
        When the folder cannot be made or the file cannot be written; no half-written file is left.
    """
    target = Path(target)
    with writing_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
        os.close(handle)
        part = Path(name)
        try:
            yield part
            part.chmod(0o644)
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)


def write_text(target: Path | str, text: str) -> Path:
    """Write ``text`` as UTF-8 to ``target``, whole or not at all."""
    with atomic_path(target) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
    return Path(target)
