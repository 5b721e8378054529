"""One input under watch: what became of it, and whether it did anything that reading a file must not do.

A box is a folder of its own: ``in`` holds the input and is the working folder, ``out`` is where a target may write, and
around them lie canaries. Watched are the listing of the box before and after, every file that Python opens to write,
programs started and pickles opened, the processor's time, and the peak of the memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pdlib.errors import PdlibError

SECONDS = 5.0  # of the processor, per input
MEBIBYTES = 1024  # above what the process held before
SPARE = 3 * 2**30  # bytes of address space beyond this; only so that a bomb does not take the machine along
LONGEST_REFUSAL = 10_000  # characters; a reader shall see what is wrong
TRIPPED = "tripped"  # what a payload makes beside ``in`` when it is executed


class Hang(BaseException):
    """The processor's time of one input is used up."""


class Insane(Exception):
    """An accepted input gave a result that cannot be."""


@dataclass(frozen=True)
class Verdict:
    """What became of one input: accepted, refused, or a finding with its kind (one line) and what was seen."""

    outcome: str
    kind: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Box:
    """The folders of one worker; see the module."""

    root: Path

    @property
    def inside(self) -> Path:
        """Where the input lies."""
        return self.root / "in"

    @property
    def out(self) -> Path:
        """Where a target may write."""
        return self.root / "out"

    def clean(self) -> None:
        """Make both folders empty and the canaries whole."""
        if not (self.root / "canary.json").is_file():
            (self.root / "beside").mkdir(parents=True, exist_ok=True)
            # what a path that leads out of the folder would most likely hit
            for name in ("canary.json", "beside/canary.json", "beside/x.json"):
                (self.root / name).write_text('{"whole": true}\n')
        for folder in (self.inside, self.out):
            for path in folder.iterdir() if folder.is_dir() else ():
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            folder.mkdir(exist_ok=True)
        self.out.joinpath("tmp").mkdir()

    def listing(self) -> dict[str, tuple[int, int, int]]:
        """Every path of the box but those below ``out``, with kind, size and time of change."""
        found = {}
        waiting = [self.root]
        while waiting:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    stat = entry.stat(follow_symlinks=False)
                    folder = entry.is_dir(follow_symlinks=False)
                    # a folder's own time changes with what is in it, which is listed anyway
                    found[entry.path] = (
                        stat.st_mode, 0 if folder else stat.st_size, 0 if folder else stat.st_mtime_ns
                    )  # fmt: skip
                    if folder and entry.path != str(self.out):
                        waiting.append(entry.path)
        return found


# ── what Python is told to do ──────────────────────────────────────────────────────────────────────────
_STARTS = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn")
_REACHES = ("socket.connect", "socket.sendto", "urllib.Request")
_CHANGES = {  # event: which of its arguments are paths that change
    "os.rename": (0, 1), "os.remove": (0,), "os.rmdir": (0,), "os.mkdir": (0,), "os.link": (1,),
    "os.symlink": (1,), "os.chmod": (0,), "os.truncate": (0,), "os.utime": (0,), "shutil.rmtree": (0,),
}  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_seen: list[str] | None = None  # None while nothing is watched
_allowed: tuple[str, ...] = ()


def _hook(event: str, args: tuple) -> None:
    if _seen is None:
        return
    if event == "open":
        path, _, flags = args
        if isinstance(flags, int) and flags & _WRITING:
            _note_path("writes", path)
    elif event in _CHANGES:
        for place in _CHANGES[event]:
            _note_path(event, args[place])
    elif event in _STARTS:
        _seen.append(f"starts a program: {event}")
    elif event in _REACHES:
        _seen.append(f"reaches for the network: {event}")
    elif event == "pickle.find_class":
        _seen.append("opens a pickle")


def _note_path(what: str, path: object) -> None:
    if isinstance(path, int) or path is None:  # a handle that was opened before, and was looked at then
        return
    place = os.path.abspath(os.fsdecode(path))
    if not place.startswith(_allowed):
        _seen.append(f"{what} outside the folder")


_hooked = False


@contextlib.contextmanager
def _watched(box: Box, writes_in: bool) -> Iterator[list[str]]:
    global _seen, _allowed, _hooked
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    allowed = [box.out, *([box.inside] if writes_in else [])]
    _allowed = tuple(f"{os.path.abspath(path)}{end}" for path in allowed for end in ("/",)) + (
        "/dev/null", "/proc/self/", *(os.path.abspath(path) for path in allowed),
    )  # fmt: skip
    _seen = seen = []
    try:
        yield seen
    finally:
        _seen = None


# ── time and memory ────────────────────────────────────────────────────────────────────────────────────
def _status(name: str) -> int:
    """A size of /proc/self/status in KiB."""
    with open("/proc/self/status", encoding="ascii") as lines:
        return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


def _forget_peak() -> bool:
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        return False
    return True


def _peak_over(before: int, forgot: bool) -> float:
    """MiB of the peak above ``before`` (KiB resident at the start)."""
    peak = _status("VmHWM") if forgot else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (peak - before) / 1024


@contextlib.contextmanager
def _limited_time(seconds: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGPROF, ring)
    # rings again and again: the first may be lost in a library that swallows everything
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def limit_memory() -> None:
    """Bound the address space of this process; call once, after all imports."""
    most = _status("VmSize") * 1024 + SPARE
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


# ── the verdict ────────────────────────────────────────────────────────────────────────────────────────
def judge(
    act: Callable[[Path, Path], object], box: Box, *, writes_in: bool = False, seconds: float = SECONDS
) -> Verdict:
    """Let ``act(in, out)`` work on what lies in the box, and say what became of it.

    ``act`` returns where it accepts the input, raises `PdlibError` where it refuses it, and `Insane` where the result
    cannot be. Anything else is a finding.
    """
    before, forgot = box.listing(), _forget_peak()
    held, spent = _status("VmRSS"), time.process_time()
    problem, detail, outcome = "", "", "accepted"
    tempdir, tempfile.tempdir = tempfile.tempdir, str(box.out / "tmp")
    folder = os.getcwd()
    os.chdir(box.inside)
    try:
        with (
            _watched(box, writes_in) as seen,
            _limited_time(seconds),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            act(box.inside, box.out)
    except PdlibError as error:
        outcome = "refused"
        problem, detail = _refusal_faults(error)
    except Hang as error:
        problem, detail = f"still busy after {seconds:g} s of processor time", _trace(error)
    except MemoryError as error:
        problem, detail = f"MemoryError in {_place(error)}", _trace(error)
    except Insane as error:
        problem, detail = f"accepted, but {error}", _trace(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        problem, detail = f"{type(error).__name__} in {_place(error)}", _trace(error)
    finally:
        os.chdir(folder)
        tempfile.tempdir = tempdir
    took, peak = time.process_time() - spent, _peak_over(held, forgot)
    if not problem:
        problem = _side_effects(box, before, seen, writes_in)
    if not problem and took > seconds:
        problem, detail = f"more than {seconds:g} s of processor time", f"{took:.1f} s"
    if not problem and peak > MEBIBYTES:
        problem, detail = f"more than {MEBIBYTES} MiB of memory", f"{peak:.0f} MiB"
    return Verdict("finding", problem, detail) if problem else Verdict(outcome)


def _refusal_faults(error: PdlibError) -> tuple[str, str]:
    said = str(error)
    if not error.problem.strip():
        return "a refusal that says nothing", _trace(error)
    if len(said) > LONGEST_REFUSAL:
        return f"a refusal of more than {LONGEST_REFUSAL} characters in {_place(error)}", said[:500]
    try:
        said.encode("utf-8")
    except UnicodeEncodeError:
        return f"a refusal that cannot be printed, in {_place(error)}", ascii(said)[:500]
    return "", ""


def _side_effects(box: Box, before: dict, seen: list[str], writes_in: bool) -> str:
    after = box.listing()
    if writes_in:
        before, after = (
            {k: v for k, v in all_.items() if not k.startswith(f"{box.inside}/")} for all_ in (before, after)
        )
    if str(box.root / TRIPPED) in after:
        shutil.rmtree(box.root / TRIPPED, ignore_errors=True)
        with contextlib.suppress(OSError):
            (box.root / TRIPPED).unlink()
        return "code from the input was executed"
    if seen:
        return seen[0]
    changed = sorted({*before.items()} ^ {*after.items()})
    return f"changes files outside the folder: {os.path.relpath(changed[0][0], box.root)}" if changed else ""


def _place(error: BaseException) -> str:
    """Function of pdlib that let the error through, and the innermost frame."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/pdlib/" in f.filename or "/predictions/" in f.filename]
    last = frames[-1] if frames else None
    own = f"{Path(ours[-1].filename).stem}.{ours[-1].name}" if ours else "?"
    inner = (
        "" if last is None or (ours and last is ours[-1]) else f" ({Path(last.filename).stem}.{last.name})"
    )
    return own + inner


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error, limit=-12))[-6000:]


def short_hash(content: bytes) -> str:
    """Eight hex digits that name an input."""
    return hashlib.sha256(content).hexdigest()[:8]
