"""The kinds of fault: each hurts a book, runs it again, and says whether the numbers are equal, refused, or lost."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from pdlib import claims, paths, provenance, run
from pdlib.errors import PdlibError
from pdlib.params import Project
from pdlib.provenance import Store
from tests.faults.books import Book, Done, copy_of, tiny

EQUAL, REFUSED, LOST, SKIPPED = "equal", "refused", "LOST", "skipped"
_SPREAD = 48  # places of a file that are hurt where not every byte is


@dataclass(frozen=True)
class Trial:
    """One fault: its kind, what was done, what became of it (a word above), and the first thing that was wrong."""

    kind: str
    what: str
    became: str
    problem: str = ""


@dataclass
class Lab:
    """What the kinds share.

    Attributes
    ----------
    folder : Path
        For books and mounts.
    make : callable
        Makes an untouched book in a folder it is given.
    kills : int
        How many signals in all.
    span : float
        Seconds within which a signal comes after the start.
    seed : int
        Draws moments and places.
    small : bool
        Fewer places: for the test suite.
    """

    folder: Path
    make: Callable[[Path], Book]
    kills: int
    span: float
    seed: int
    small: bool = False
    say: Callable[[str], None] = print

    def __post_init__(self) -> None:
        self._reference: Book | None = None
        self._wanted: dict[str, object] = {}

    def rng(self, name: str) -> random.Random:
        """Draws of one kind of fault, the same whatever other kinds are asked for."""
        return random.Random(f"{self.seed} {name}")

    @property
    def reference(self) -> Book:
        """The book, run once without a disturbance."""
        if self._reference is None:
            book = self.make(self.folder / "reference")
            began = time.monotonic()
            done = book.run()
            if done.code:
                raise RuntimeError(f"the undisturbed run failed:\n{done.said}")
            self.say(f"undisturbed run: {time.monotonic() - began:.0f} s")
            self._wanted = book.numbers()
            self._reference = book
        return self._reference

    @property
    def wanted(self) -> dict[str, object]:
        """The undisturbed numbers."""
        _ = self.reference
        return self._wanted

    def fresh(self, name: str, done: bool = False, **changes) -> Book:
        """A book of its own: untouched, or with everything stored and executed as by the undisturbed run."""
        root = self.folder / name
        shutil.rmtree(root, ignore_errors=True)
        if done:
            return copy_of(self.reference, root, **changes)
        book = self.make(root)
        for key, value in changes.items():
            setattr(book, key, value)
        return book

    def differs(self, book: Book) -> str:
        """The first thing that is not as in the undisturbed run; empty when nothing is."""
        return difference(self.wanted, book.numbers())

    def heals(
        self,
        kind: str,
        what: str,
        book: Book,
        kept: Mapping[str, str],
        *,
        env: Mapping[str, str | None] | None = None,
    ) -> Trial:
        """Run the book again and judge: numbers, what was stored before, processes and temporary files."""
        done = book.run(env=env)
        problem = self.faulty(book, done, kept)
        return Trial(kind, what, LOST if problem else EQUAL, problem)

    def faulty(self, book: Book, done: Done, kept: Mapping[str, str]) -> str:
        """What is wrong after a run that should have ended well."""
        if done.code:
            return f"left with {done.code}: {done.said[-1500:]}"
        if problem := self.differs(book):
            return problem
        if lost := lost_of(kept, book):
            return lost
        if running := book.left_running():
            return f"still running: {running[0]}"
        if left := book.leftovers():
            return f"left behind: {', '.join(left[:3])}"
        return ""


def difference(wanted: Mapping[str, object], got: Mapping[str, object]) -> str:
    """The first place where two readers would see different things."""
    for name in sorted({*wanted, *got}):
        if wanted.get(name) != got.get(name):
            return f"{name}: {str(wanted.get(name))[:300]} became {str(got.get(name))[:300]}"
    return ""


def lost_of(kept: Mapping[str, str], book: Book) -> str:
    """The first entry of the store that is gone or was written anew."""
    now = book.stored()
    gone = [name for name, was in kept.items() if now.get(name) != was]
    return f"{len(gone)} stored results lost, such as {gone[0]}" if gone else ""


def refusal(kind: str, what: str, book: Book, done: Done, words: str = "") -> Trial:
    """A run that had to give up: in plain words (with ``words`` among them), and with no process left."""
    flat = " ".join(done.said.split())
    problem = ""
    if not done.refused or words not in flat:
        problem = f"left with {done.code}, without saying {words!r}: {done.said[-1500:]}"
    elif running := book.left_running():
        problem = f"still running: {running[0]}"
    return Trial(kind, what, LOST if problem else REFUSED, problem)


# ── signals ────────────────────────────────────────────────────────────────────────────────────────────
_SIGNALS = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}
_DEFAULT = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""


def signals(lab: Lab) -> Iterator[Trial]:
    """The main process gets SIGKILL, SIGTERM, SIGINT or SIGHUP at a random moment, again and again."""
    rng, book = lab.rng("signals"), lab.fresh("signals")
    book.before = [sys.executable, "-c", _DEFAULT]  # the suite may run where Ctrl-C is ignored
    ends, sent = 0, 0
    while sent < lab.kills:
        kept = book.stored()
        number = rng.choices(list(_SIGNALS), [4, 4, 1, 1])[0]
        process = book.start()
        if _moment(rng, book, process, lab.span):
            process.send_signal(number)
            sent += 1
            done = book.end(process, 120)
            yield _after_signal(lab, book, number, done, kept, sent)
            continue
        done = book.end(process)
        problem = lab.faulty(book, done, kept)
        ends += 1
        yield Trial("run to its end", f"after {sent} signals", LOST if problem else EQUAL, problem)
        book.forget(store=True)
    kept = book.stored()
    trial = lab.heals("run to its end", f"after {sent} signals", book, kept)
    yield trial


def _moment(rng: random.Random, book: Book, process: subprocess.Popen, span: float) -> bool:
    """Wait for a random moment after the start or after the next chapters; False if the run ends first."""
    there, wanted = len(_copies(book)), rng.choice((0, 0, 1, 2))
    while process.poll() is None and len(_copies(book)) < there + wanted:
        time.sleep(0.1)
    try:
        process.wait(rng.uniform(0.1, span))
    except subprocess.TimeoutExpired:
        return True
    return False


def _copies(book: Book) -> list[Path]:
    return sorted(book.folder.glob("[0-9]*.ipynb"))


def _after_signal(lab: Lab, book: Book, number: int, done: Done, kept: Mapping[str, str], sent: int) -> Trial:
    name = signal.Signals(number).name
    problem = ""
    if lost := lost_of(kept, book):
        problem = lost
    elif "Traceback (most recent call last)" in done.said and _began(done):
        problem = f"a traceback: {done.said[-1500:]}"
    elif _began(done) and done.code not in (_SIGNALS[number], 0) and not (_over(done) and done.code == -number):
        problem = f"left with {done.code}: {done.said[-800:]}"
    elif running := book.left_running():
        problem = f"still running: {running[0]}"
    else:
        problem = _half_read(lab, book)
    if not problem and number != signal.SIGKILL and _began(done) and (left := book.leftovers()):
        problem = f"left behind: {', '.join(left[:3])}"
    return Trial(name, f"{sent}", LOST if problem else EQUAL, problem)


def _began(done: Done) -> bool:
    """Whether the chapters were begun: before, Python itself is still loading and answers in its own way."""
    return "expected" in done.said


def _over(done: Done) -> bool:
    """Whether the run had said what became of it: after that Python puts its own handlers away, one by one."""
    return re.search(r"\d (done|up to date|failed|left out)[^\n]* · \d", done.said) is not None


def _half_read(lab: Lab, book: Book) -> str:
    """A chapter that counts as whole although a reader would see something else in it."""
    seen = book.numbers()
    for copy in sorted(book.folder.glob("[0-9]*.ipynb")):
        number = copy.name[:2]
        if not run.is_whole(copy, book.folder / "pages" / number):
            continue
        own = {k: v for k, v in seen.items() if k.startswith((copy.name, f"{number}/"))}
        want = {k: v for k, v in lab.wanted.items() if k.startswith((copy.name, f"{number}/"))}
        if problem := difference(want, own):
            return f"half-written and taken for whole: {problem}"
    return ""


def kernel(lab: Lab) -> Iterator[Trial]:
    """A kernel is killed while its chapter runs."""
    rng = lab.rng("kernel")
    for turn in range(1 if lab.small else 6):
        book = lab.fresh("kernel")
        process = book.start()
        until = time.monotonic() + 240
        while not (alive := book.processes(kernels=True)) and process.poll() is None:
            assert time.monotonic() < until, "no kernel started"
            time.sleep(0.05)
        # the suite's one turn kills early, for a chapter of a tiny book is soon at its end
        time.sleep(rng.uniform(0.3, 2.5) if not lab.small else 0.2)
        alive = book.processes(kernels=True) or alive
        try:
            rng.choice(alive).kill()
        except psutil.NoSuchProcess:
            pass
        done = book.end(process)
        if done.code:
            words = (
                "the process died" if "the process died" in " ".join(done.said.split()) else "did not start"
            )
            yield refusal("kernel killed", f"turn {turn}", book, done, words)
        yield lab.heals("kernel killed", f"turn {turn}, the run after it", book, book.stored())


# ── places that cannot be written ──────────────────────────────────────────────────────────────────────
@contextmanager
def mounted(place: Path, size: str, mode: str = "rw") -> Iterator[bool]:
    """A small file system at ``place``; False where this process may not mount."""
    place.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},{mode}", "tmpfs", str(place)], capture_output=True
    )
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", str(place)], check=True)


def _remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def full(lab: Lab) -> Iterator[Trial]:
    """The disk of the store, of the executed chapters or of everything is full, or files may not grow."""
    kinds = ("results",) if lab.small else ("results", "run", "")
    sizes = {
        "results": ("150k",) if lab.small else ("40k", "100k", "150k"),
        "run": ("12k", "24k", "40k"),
        "": ("40k", "160k"),
    }
    for inside in kinds:
        for size in sizes[inside]:
            book = lab.fresh("full")
            place = book.root / "_build" / inside
            with mounted(place, size) as there:
                if not there:
                    yield Trial(
                        "disk full", inside or "all", SKIPPED, "this process may not mount a file system"
                    )
                    continue
                done = book.run()
                kept = book.stored()
                what = f"{place.name}, {size}"
                yield refusal("disk full", what, book, done, "the disk is full")
                _remount(place, "size=400m")
                yield lab.heals("disk full", f"{what}, the run after it", book, kept)
    book = lab.fresh("limited")
    limit = 20_000  # below the 35 kB of a stored fold

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = book.run(preexec_fn=bounded)
    yield refusal("disk full", "files of at most 20 kB", book, done, "larger than this process may write")
    yield lab.heals("disk full", "files of at most 20 kB, the run after it", book, book.stored())


def weak() -> list[str] | None:
    """What starts a command that permission bits bind, root or not; None where that cannot be had."""
    if os.geteuid():
        return []
    caps = "-dac_override,-dac_read_search"
    command = ["setpriv", f"--bounding-set={caps}", f"--inh-caps={caps}"]
    if shutil.which("setpriv") and subprocess.run([*command, "true"], capture_output=True).returncode == 0:
        return command
    return None


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take away the right to write in ``folder`` and everything below it."""
    below = [folder, *(p for p in folder.rglob("*") if p.is_dir())]
    for place in below:
        place.chmod(0o555)
    try:
        yield
    finally:
        for place in below:
            place.chmod(0o755)


def unwritable(lab: Lab) -> Iterator[Trial]:
    """Store, executed chapters or the whole build folder may be read, not written."""
    before = weak()
    if before is None:
        yield Trial("read-only", "all", SKIPPED, "root cannot give up its rights here")
        return
    for inside in ("run",) if lab.small else ("results", "run", ""):
        book = lab.fresh("read-only", before=before)
        place = book.root / "_build" / inside
        place.mkdir(parents=True)
        with read_only(place):
            yield refusal(
                "read-only", f"{inside or '_build'}", book, book.run(), "no permission to write there"
            )
        yield lab.heals("read-only", f"{inside or '_build'}, the run after it", book, book.stored())
    # a store that only serves: everything is read from it, nothing is lost
    book = lab.fresh("served", done=True, before=before)
    shutil.rmtree(book.runs)
    kept, computed = book.stored(), len(book.computed())
    with read_only(book.results):
        trial = lab.heals("read-only", "results, with all results in it", book, kept)
    if trial.became == EQUAL and len(book.computed()) != computed:
        trial = Trial(trial.kind, trial.what, LOST, "a stored fold was computed again")
    yield trial
    if not lab.small:
        book = lab.fresh("frozen")
        with mounted(book.runs, "1m", "ro") as there:
            if there:
                yield refusal("read-only", "run, mounted so", book, book.run(), "read-only")


# ── files that rot ─────────────────────────────────────────────────────────────────────────────────────
def rotten(content: bytes, rng: random.Random, spread: int | None = None) -> Iterator[tuple[str, bytes]]:
    """A file's content with a byte changed, cut short, grown, emptied; at every place, or at ``spread`` random ones."""
    size = len(content)
    at = range(size) if spread is None else sorted(rng.sample(range(size), min(spread, size)))
    for place in at:
        for mask in (0x01, 0x80, rng.randrange(1, 256)):
            changed = bytearray(content)
            changed[place] ^= mask
            yield f"byte {place} ^ {mask:#x}", bytes(changed)
    lengths = range(size) if spread is None else sorted(rng.sample(range(size), min(spread, size)))
    for length in lengths:
        yield f"cut to {length}", content[:length]
    yield "empty", b""
    yield "grown", content + b"\0" * 7
    yield "zeros from the middle", content[: size // 2] + b"\0" * (size - size // 2)
    yield "another file's bytes", rng.randbytes(size)


def store_bytes(lab: Lab) -> Iterator[Trial]:
    """Every byte of a stored result: what is read back is what was stored, or nothing is."""
    rng = lab.rng("store bytes")
    arrays = {
        "score": np.random.default_rng(0).normal(size=40),
        "label": np.arange(12) % 2,
        "names": np.array(["HC-01", "PD-02"]),
        "one": np.array(0.25),
    }
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        store.get("step", {"seed": 1}, lambda: arrays, ["errors"])
        (entry,) = store.folder.rglob("*.npz")
        good, parts = entry.read_bytes(), provenance.key_parts("step", {"seed": 1}, ["errors"])
        equal = missing = 0
        for what, content in rotten(good, rng, _SPREAD if lab.small else None):
            entry.write_bytes(content)
            try:
                found = provenance._read(entry, parts)
            except Exception as error:
                yield Trial("store, bytes", what, LOST, f"{type(error).__name__}: {error}")
                continue
            if found is None:
                missing += 1
            elif _same_arrays(found, arrays):
                equal += 1
            else:
                yield Trial("store, bytes", what, LOST, "other numbers were read")
        yield from [Trial("store, bytes", "read as it was", EQUAL)] * equal
        yield from [Trial("store, bytes", "taken for missing", EQUAL)] * missing
        # another result under this one's name
        store.get("step", {"seed": 2}, lambda: {"score": np.zeros(3)}, ["errors"])
        (other,) = (p for p in store.folder.rglob("*.npz") if p != entry)
        entry.write_bytes(other.read_bytes())
        swapped = provenance._read(entry, parts)
        yield Trial("store, bytes", "swapped with another", EQUAL if swapped is None else LOST)


def _same_arrays(found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> bool:
    return found.keys() == wanted.keys() and all(
        found[name].dtype == wanted[name].dtype and np.array_equal(found[name], wanted[name])
        for name in wanted
    )


def store_entries(lab: Lab) -> Iterator[Trial]:
    """Stored results of a finished book rot, each in its own way; the chapters are run again."""
    rng = lab.rng("store entries")
    for turn in range(1 if lab.small else 4):
        book = lab.fresh("rotten-store", done=True)
        entries = sorted(book.results.rglob("*.npz"))
        hurt = rng.sample(entries, min(len(entries) - 1, 6 if lab.small else 12))
        for entry in hurt:
            ways = list(rotten(entry.read_bytes(), rng, 3))
            entry.write_bytes(rng.choice(ways)[1])
        one, other = rng.sample([e for e in entries if e not in hurt] * 2, 2)
        if one != other:
            content = one.read_bytes()
            one.write_bytes(other.read_bytes())
            other.write_bytes(content)
        kept = {n: h for n, h in book.stored().items() if book.results / n not in (*hurt, one, other)}
        shutil.rmtree(book.runs)
        yield lab.heals("store, whole run", f"{len(hurt)} entries, turn {turn}", book, kept)
    book = lab.fresh("blocked-store", done=True)
    entry = sorted(book.results.rglob("*.npz"))[0]
    entry.unlink()
    entry.mkdir()
    shutil.rmtree(book.runs)
    yield refusal(
        "store, whole run",
        "a folder in an entry's place",
        book,
        book.run(),
        "a folder of that name is in the way",
    )
    entry.rmdir()
    yield lab.heals("store, whole run", "a folder in an entry's place, removed", book, book.stored())


def copies(lab: Lab) -> Iterator[Trial]:
    """Executed notebooks and side files rot: they are run again, or show what they showed."""
    rng, book = lab.rng("copies"), lab.fresh("rotten-copies", done=True)
    files = sorted(book.folder.glob("[0-9]*.ipynb"))[: 1 if lab.small else 3]
    files += sorted((book.folder / "pages").rglob("*.csv"))[: 1 if lab.small else 3]
    for path in files:
        good, number = path.read_bytes(), path.parent.name if path.suffix == ".csv" else path.name[:2]
        copy = next(book.folder.glob(f"{number}*.ipynb"))
        pages = book.folder / "pages" / number
        counts = {"taken for damaged": 0, "shows what it showed": 0}
        for what, content in rotten(good, rng, _SPREAD if lab.small else 400):
            path.write_bytes(content)
            try:
                whole, record = run.is_whole(copy, pages), run.read_record(copy)
                found = whole and _meaning(copy)
            except Exception as error:
                yield Trial(
                    "executed copies, bytes", f"{path.name} {what}", LOST, f"{type(error).__name__}: {error}"
                )
                continue
            if not whole:
                counts["taken for damaged"] += 1
            elif path.suffix == ".csv" or found != json.loads(good) or not record:
                yield Trial(
                    "executed copies, bytes", f"{path.name} {what}", LOST, "damaged and taken for whole"
                )
            else:
                counts["shows what it showed"] += 1
        path.write_bytes(good)
        for what, count in counts.items():
            yield from [Trial("executed copies, bytes", f"{path.name} {what}", EQUAL)] * count
    kept = book.stored()
    for copy in sorted(book.folder.glob("[0-9]*.ipynb"))[:3]:
        copy.write_bytes(rng.choice(list(rotten(copy.read_bytes(), rng, 3)))[1])
    yield lab.heals("executed copies, whole run", "every copy", book, kept)
    copies_ = sorted(book.folder.glob("[0-9]*.ipynb"))
    copies_[0].write_bytes(copies_[1].read_bytes())
    for side in sorted((book.folder / "pages").rglob("*.csv"))[:2]:
        side.write_bytes(side.read_bytes()[:-3])
    shutil.rmtree(book.folder / "pages" / copies_[-1].name[:2])
    (book.folder / "pages" / copies_[-1].name[:2]).write_text("a file where a folder was")
    yield lab.heals("executed copies, whole run", "swapped, cut, a file in a folder's place", book, kept)
    if not lab.small:
        copies_[0].unlink()
        copies_[0].mkdir()
        yield refusal(
            "executed copies, whole run", "a folder in a copy's place", book, book.run(), "is in the way"
        )
        copies_[0].rmdir()
        yield lab.heals("executed copies, whole run", "a folder in a copy's place, removed", book, kept)


def _meaning(copy: Path) -> object:
    return json.loads(copy.read_text(encoding="utf-8"))


def predictions(lab: Lab) -> Iterator[Trial]:
    """Committed predictions and values rot: the audit and ``recompute.py`` give the same, or refuse."""
    rng = lab.rng("predictions")
    root = lab.folder / "committed"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(paths.DATA, root / "data", ignore=shutil.ignore_patterns("raw"))
    shutil.copytree(paths.NOTEBOOKS, root / "notebooks")
    project = Project(root)
    stored = root / "data" / "predictions"
    script = [sys.executable, str(stored / "recompute.py")]
    wanted = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    targets = [
        root / "data" / "reproduced.csv",
        *sorted(stored.glob("chapter_*.csv")),
        stored / "settings.json",
    ]
    for path in targets:
        good, refused = path.read_bytes(), 0
        for what, content in rotten(good, rng, 6 if lab.small else 100):
            path.write_bytes(content)
            if content != good and not claims.changed_since_recorded(project.root / "data"):
                yield Trial(
                    "committed files", f"{path.name} {what}", LOST, "changed, and taken for what a run wrote"
                )
                continue
            refused += 1
            if refused > 3:  # the whole audit is slow, and asks the same question
                continue
            try:
                found = claims.audit(project).problems
                if not found:
                    yield Trial(
                        "committed files", f"{path.name} {what}", LOST, "the audit finds nothing wrong"
                    )
            except PdlibError:
                pass
            except Exception as error:
                yield Trial(
                    "committed files", f"{path.name} {what}", LOST, f"{type(error).__name__}: {error}"
                )
        yield from [Trial("committed files", f"{path.name}, by the audit", REFUSED)] * refused
        path.write_bytes(good)
    path = stored / "chapter_10.csv"
    good = path.read_bytes()
    for what, content in rotten(good, rng, 2 if lab.small else 12):
        path.write_bytes(content)
        done = subprocess.run(script, capture_output=True, text=True)
        plain = done.returncode == 1 and "Traceback" not in done.stderr and "SHA256SUMS" in done.stderr
        became = EQUAL if done.returncode == 0 and done.stdout == wanted else REFUSED if plain else LOST
        yield Trial(
            "committed files", f"recompute.py, {what}", became, "" if became != LOST else done.stderr[-400:]
        )
    path.write_bytes(good)


# ── two at once ────────────────────────────────────────────────────────────────────────────────────────
def together(lab: Lab) -> Iterator[Trial]:
    """Two commands in one checkout at the same time."""
    book = lab.fresh("two")
    first = book.start()
    time.sleep(0.3 if lab.small else 1.0)
    second = book.start()
    _wait_for(lambda: book.processes(kernels=True) or first.poll() is not None)
    looks = [] if lab.small else [book.run("status"), book.run("why", "01")]
    ends = [book.end(first), book.end(second)]
    yield from _one_waits(lab, "two runs", book, ends)
    for look in looks:
        plain = look.code == 0 and "Traceback" not in look.said
        yield Trial(
            "two at once",
            "status and why while a run is at work",
            EQUAL if plain else LOST,
            "" if plain else look.said,
        )
    yield lab.heals("two at once", "two runs, the run after them", book, book.stored())
    if lab.small:
        return
    book = lab.fresh("two-profiles")
    if (book.root / "notebooks" / "profiles" / "other.yaml").is_file():
        one = book.start()
        other = subprocess.Popen(
            [*book.command, "run", "--profile", "other", "--cohort", "synthetic"], cwd=book.root, env=book.env,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        done, code = book.end(one), other.wait()
        problem = f"the other profile left with {code}" if code else lab.faulty(book, done, {})
        yield Trial("two at once", "two profiles", LOST if problem else EQUAL, problem)


def _wait_for(true: Callable[[], object], patience: float = 240) -> None:
    until = time.monotonic() + patience
    while not true():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)


def _one_waits(lab: Lab, what: str, book: Book, ends: list[Done]) -> Iterator[Trial]:
    """Of two commands one does the work; the other refuses with its name, or came when all was done."""
    for place, done in enumerate(ends):
        if done.code:
            named = "process " in done.said and "runs the chapters" in " ".join(done.said.split())
            problem = "" if done.refused and named else f"left with {done.code}: {done.said[-1500:]}"
            yield Trial("two at once", f"{what}, number {place + 1}", LOST if problem else REFUSED, problem)
        else:
            problem = lab.differs(book)
            yield Trial("two at once", f"{what}, number {place + 1}", LOST if problem else EQUAL, problem)
    if all(done.code for done in ends):
        yield Trial("two at once", what, LOST, "neither did the work")


# ── surroundings ───────────────────────────────────────────────────────────────────────────────────────
_JUMPS = """
import os, time
_true, _ns = time.time, time.time_ns
_shift = {shift}
def _time():
    return _true() + _shift
def _time_ns():
    return _ns() + int(_shift * 1e9)
time.time, time.time_ns = _time, _time_ns
"""


def clock(lab: Lab) -> Iterator[Trial]:
    """The clock jumps a year, or files carry times of the future or the past."""
    year = 365 * 86400
    for shift in (-year,) if lab.small else (-year, year, 86400 * 365 * 40):
        book = lab.fresh("clock")
        place = book.root.parent / "clock-site"
        place.mkdir(exist_ok=True)
        (place / "sitecustomize.py").write_text(_JUMPS.format(shift=shift))
        env = {"PYTHONPATH": os.pathsep.join([str(place), book.env["PYTHONPATH"]])}
        yield lab.heals("clock", f"{shift / year:+.0f} years", book, {}, env=env)
        yield _nothing_again(lab, book, f"{shift / year:+.0f} years and back")
    for when in (time.time() + year,) if lab.small else (time.time() + year, 0, time.time() - 10 * year):
        book = lab.fresh("times", done=True)
        for path in (p for p in book.root.rglob("*") if p.is_file()):
            os.utime(path, (when, when))
        yield _nothing_again(lab, book, f"files {(when - time.time()) / year:+.0f} years old")


def _nothing_again(lab: Lab, book: Book, what: str) -> Trial:
    """A second run of a finished book finds all of it up to date."""
    computed, done = len(book.computed()), book.run()
    problem = lab.faulty(book, done, {})
    if not problem and "all up to date" not in done.said:
        problem = f"chapters ran again: {done.said[-500:]}"
    if not problem and len(book.computed()) != computed:
        problem = "a stored fold was computed again"
    return Trial("clock", what, LOST if problem else EQUAL, problem)


def locale(lab: Lab) -> Iterator[Trial]:
    """Locales without umlauts, and a terminal that knows ASCII only."""
    off = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    cases = [{"LC_ALL": "C", **off, "PYTHONIOENCODING": "ascii"}]
    if not lab.small:
        there = subprocess.run(["locale", "-a"], capture_output=True, text=True).stdout.split()
        cases += [
            {"LC_ALL": "C"},
            {"LC_ALL": "POSIX", **off},
            {"LC_ALL": "C.utf8"},
            {"LC_ALL": "xx_YY.nonsense", **off},
        ]
        cases += [{"LC_ALL": name, **off} for name in there if name.startswith(("tr_TR", "de_DE", "ja_JP"))]
        cases += [{"LC_ALL": "C", **off}]
    for env in cases:
        book = lab.fresh("locale")
        what = " ".join(f"{name}={value}" for name, value in env.items())
        yield lab.heals("locale", what, book, {}, env=env)
        look = book.run("status", env=env)
        plain = look.code == 0 and "Traceback" not in look.said
        yield Trial("locale", f"status, {what}", EQUAL if plain else LOST, "" if plain else look.said[-800:])


PLACES = (
    "a b",
    "Übung für Ärzte ß",
    'it\'s "quoted"',
    "{seed} [x] %s $HOME",
    "tab\tand #1 & ; !",
    "語り",
    "-p",
)


def place(lab: Lab) -> Iterator[Trial]:
    """Checkouts in folders with spaces, umlauts, quotes, braces and signs that mean something to a shell."""
    for name in (" ".join(PLACES[1:4]),) if lab.small else PLACES:
        book = lab.fresh(name)
        yield lab.heals("path", name, book, {})
        shutil.rmtree(book.root)
    if not lab.small:
        book = lab.fresh("Übung")
        env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        yield refusal(
            "path", "Übung where the locale is ASCII", book, book.run(env=env), "cannot spell the name"
        )


def home(lab: Lab) -> Iterator[Trial]:
    """No home, one that is not there, one without write access, and no folder for temporary files."""
    before = weak()
    closed = lab.folder / "closed"
    closed.mkdir(exist_ok=True)
    closed.chmod(0o555)
    unset = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"))
    cases: list[dict[str, str | None]] = [unset | {"HOME": str(closed), "TMPDIR": str(closed)}]
    if not lab.small:
        cases += [unset, unset | {"HOME": "/nonexistent"}, unset | {"HOME": ""}, {"TMPDIR": "/nonexistent"}]
    for env in cases:
        if before is None:
            yield Trial("home", str(env), SKIPPED, "root cannot give up its rights here")
            continue
        book = lab.fresh("home", before=before)
        what = " ".join(f"{name}={value}" for name, value in env.items() if "XDG" not in name).replace(
            str(closed), "closed"
        )
        yield lab.heals("home", what, book, {}, env=env)
    closed.chmod(0o755)


def stale(lab: Lab) -> Iterator[Trial]:
    """What dead processes leave: work folders with strange names or with the id of a living process, locks, parts."""
    book = lab.fresh("stale")
    for name in (".work-", ".work-abc", f".work-{os.getpid()}", ".work-1", ".work-99999999", ".work-x y"):
        (book.folder / name / "pages").mkdir(parents=True)
        (book.folder / name / "01_one.ipynb").write_text("{")
    (book.folder / ".lock").write_text("process 1 runs the chapters (since 00:00:00)")
    (book.results / "fold").mkdir(parents=True)
    for folder in (book.results / "fold", book.folder):
        (folder / f"{paths.PART}abc-12345678.npz").write_bytes(b"PK\x03\x04")
    yield lab.heals("left behind", "work folders, a lock, parts", book, {})


def site(lab: Lab) -> Iterator[Trial]:
    """Pages are built while something goes wrong; the earlier site stays, or the new one is whole."""
    if lab.small:
        return
    rng = lab.rng("site")
    book = tiny(lab.folder / "site", site=True)
    done = book.run("book")
    if done.code:
        yield Trial("site", "undisturbed", LOST, done.said[-1500:])
        return
    wanted = _pages(book)
    book.before = [sys.executable, "-c", _DEFAULT]
    for turn in range(min(8, lab.kills)):
        number = rng.choice([signal.SIGKILL, signal.SIGTERM])
        process = book.start("book")
        try:
            process.wait(rng.uniform(1, 14))
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        book.end(process, 120)
        running = book.left_running()
        again = book.run("book")
        problem = f"still running: {running[0]}" if running else ""
        problem = problem or (again.said[-1500:] if again.code else difference(wanted, _pages(book)))
        problem = problem or ", ".join(book.leftovers())
        yield Trial(
            "site", f"{signal.Signals(number).name}, turn {turn}", LOST if problem else EQUAL, problem
        )
    book.before = ()
    # killed between the two moves that put a new site in place
    aside = book.root / "_build" / ".html-old-1"
    os.replace(book.root / "_build" / "html", aside)
    done = book.run("archive")
    problem = done.said[-800:] if done.code else difference(wanted, _pages(book))
    yield Trial("site", "killed between two moves, then packed", LOST if problem else EQUAL, problem)
    first, second = book.start("book"), book.start("book")
    ends = [book.end(first), book.end(second)]
    bad = [d.said[-1500:] for d in ends if d.code and not (d.refused and "process " in d.said)]
    problem = (
        bad[0] if bad else "neither built" if all(d.code for d in ends) else difference(wanted, _pages(book))
    )
    yield Trial("site", "two at once", LOST if problem else EQUAL, problem)
    kept = _pages(book)
    html = book.root / "_build" / "html"
    size = sum(path.stat().st_size for path in html.rglob("*") if path.is_file()) // 1024
    os.replace(book.root / "_build" / "run", book.root / "run")
    os.replace(book.root / "_build" / "html", book.root / "html")
    shutil.rmtree(book.root / "_build")
    for more in (1_000, size):  # the first does not hold the staged pages, the second not the built ones
        with mounted(book.root / "_build", f"{size + 1_000 + more}k") as there:
            if not there:
                yield Trial("site", "disk full", SKIPPED, "this process may not mount a file system")
                continue
            shutil.copytree(book.root / "html", book.root / "_build" / "html")
            book.env["PDLIB_RUNS"] = str(book.root / "run")
            yield refusal("site", f"disk full, {more} kB left", book, book.run("book"))
            changed = difference(kept, _pages(book))
            yield Trial(
                "site", f"disk full, {more} kB left: the earlier site", LOST if changed else EQUAL, changed
            )
            _remount(book.root / "_build", "size=400m")
            done = book.run("book")
            problem = done.said[-800:] if done.code else difference(wanted, _pages(book))
            yield Trial("site", "disk full, the build after it", LOST if problem else EQUAL, problem)


def _pages(book: Book) -> dict[str, object]:
    """Text of every page of the built site, without dates."""
    from tests.faults.books import _plain

    html = book.root / "_build" / "html"
    return {
        path.relative_to(html).as_posix(): _plain(path.read_text(encoding="utf-8"))
        for path in sorted(html.rglob("*.html"))
    }


KINDS: dict[str, Callable[[Lab], Iterator[Trial]]] = {
    "signals": signals,
    "kernel": kernel,
    "full": full,
    "read-only": unwritable,
    "store-bytes": store_bytes,
    "store": store_entries,
    "copies": copies,
    "committed": predictions,
    "two": together,
    "clock": clock,
    "locale": locale,
    "path": place,
    "home": home,
    "stale": stale,
    "site": site,
}
