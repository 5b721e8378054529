"""Where things live, and how a file is written whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pdlib.errors import ParameterError, WriteError

try:
    import fcntl
except ImportError:  # Windows knows no flock; what a killed process leaves there, nobody clears away
    fcntl = None

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


def shown(path: Path | str) -> str:
    """A path as the reader should see it: relative to the book where it lies inside it, else its name."""
    path = Path(path)
    try:
        return path.resolve().relative_to(ROOT).as_posix()
    except (
        ValueError,
        OSError,
        RuntimeError,
    ):  # elsewhere; or a name that no file can have, or links in a circle
        return path.name


def named(name: Path | str) -> Path:
    """The path a reader names, ``~`` filled in.

    Raises
    ------
    ParameterError
        For what cannot be the name of a file: too long, with a zero byte, or in the home of nobody.
    """
    try:
        path = Path(name).expanduser()
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass
    except (OSError, RuntimeError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        shown_name = ascii(str(name)[:200])
        raise ParameterError(
            f"{shown_name} cannot be the name of a file: {said}", "check the path"
        ) from error
    return path


def as_folder(name: Path | str) -> Path | None:
    """The folder a reader names, ``~`` filled in; None for what is no folder, nor could be the name of one."""
    try:
        folder = named(name)
        return folder if folder.is_dir() else None
    except (ParameterError, PermissionError):
        return None


_REASONS = {
    errno.ENOSPC: (
        "the disk is full",
        "free some space and run the same command again; finished work is kept",
    ),
    errno.EDQUOT: ("the disk quota is used up", "free some space and run the same command again"),
    errno.EROFS: ("the folder is read-only", "choose a folder you may write to"),
    errno.EACCES: ("no permission to write there", "choose a folder you may write to"),
    errno.EPERM: ("no permission to write there", "choose a folder you may write to"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "choose another folder"),
    errno.EISDIR: ("a folder of that name is in the way", "remove it and run the same command again"),
    errno.EFBIG: (
        "the file is larger than this process may write",
        "raise the limit (`ulimit -f`) and run again",
    ),
}
PART = ".part-"  # an unfinished file's name begins so


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


def make_folder(folder: Path | str) -> Path:
    """Make ``folder`` where it is missing, and refuse one that cannot be written to.

    Raises
    ------
    WriteError
        Before any work whose result could not be kept.
    """
    folder = Path(folder)
    with writing_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            number = errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
            raise OSError(number, os.strerror(number))
    return folder


@contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """Give a temporary path beside ``target`` that takes its place only if the block ends well.

    A process that is killed in the block leaves the temporary file; `remove_parts` finds it.

    Raises
    ------
    WriteError
        When the folder cannot be made or the file cannot be written; no half-written file is left.
    """
    target = Path(target)
    with writing_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, part = _new_part(target)
        try:
            yield part
            part.chmod(0o644)
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
            os.close(handle)


def _new_part(target: Path) -> tuple[int, Path]:
    """An empty file that is locked as long as this process holds it open, so that nobody takes it for a leftover."""
    while True:
        handle, name = tempfile.mkstemp(
            prefix=f"{PART}{target.stem}-", suffix=target.suffix, dir=target.parent
        )
        # shared: HDF5 takes a lock of its own on the file it is given to read
        if _lock(handle, shared=True) is not False and os.path.exists(name):
            return handle, Path(name)
        os.close(handle)  # `remove_parts` of another process came between the two
        Path(name).unlink(missing_ok=True)


def _lock(handle: int, *, shared: bool = False) -> bool | None:
    """Lock an open file, alone or with other readers; False when another holds it, None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def remove_parts(folder: Path | str) -> list[Path]:
    """Remove the temporary files of `atomic_path` below ``folder`` whose writers are dead; return their paths."""
    removed = []
    for part in sorted(Path(folder).rglob(f"{PART}*")):
        try:
            handle = os.open(part, os.O_RDWR)
        except OSError:
            continue
        try:
            if _lock(handle):
                part.unlink()
                removed.append(part)
        except OSError:
            continue  # gone by now, or in a folder that may only be read
        finally:
            os.close(handle)
    return removed


def write_text(target: Path | str, text: str) -> Path:
    """Write ``text`` as UTF-8 to ``target``, whole or not at all."""
    with atomic_path(target) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
    return Path(target)
