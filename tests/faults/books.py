"""Books to hurt: a tiny one whose chapters store folds, and the real one in its smoke profile, each in its own folder.

A book is always run by the command line in a process of its own, as a reader runs it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pdlib import paths, provenance
from pdlib.params import Project
from tests.tinybook import SYNTHETIC, write_notebook, write_profile

TOKEN = "PDLIB_FAULTS"  # in the environment of every process of one book, kernels and builders too
LOG = "PDLIB_FAULTS_LOG"  # the tiny book writes a line here for each fold it computes
_DAY = re.compile(r"\b\d{4}-\d\d-\d\d(T[\d:.+-]+)?\b")
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")

_FOLDS = """
import json, os, time
import numpy as np
from pdlib import paths
from pdlib.provenance import Store

def fold(k):
    with open(os.environ["PDLIB_FAULTS_LOG"], "a") as log:
        log.write(f"{CHAPTER} {k} {seed}\\n")
    time.sleep(0.15)
    drawn = np.random.default_rng([seed, k, CHAPTER])
    return {"score": drawn.normal(size=4000), "label": drawn.integers(0, 2, 4000)}

store = Store()
found = [
    store.get("fold", {"chapter": CHAPTER, "fold": k, "seed": seed}, lambda k=k: fold(k), ["errors"])
    for k in range(3)
]
mean = float(np.mean([one["score"][one["label"] == 1].mean() for one in found]))
"""
_SHOW = """
folder = os.environ["PDLIB_PAGE_DIR"]
lines = [f"{k},{float(one['score'].mean())!r}" for k, one in enumerate(found)]
paths.write_text(os.path.join(folder, "scores.csv"), "\\n".join(["fold,mean", *lines, ""]))
paths.write_text(os.path.join(folder, "page.json"), json.dumps({"items": {}, "mean": mean}))
print(f"mean {mean!r}")
"""
_NEEDS = """
before = open(os.path.join(os.environ["PDLIB_RUN_DIR"], "pages", "01", "scores.csv"), encoding="utf-8").read()
print("chapter 01 found:", before)
"""


@dataclass(frozen=True)
class Done:
    """A command that ended: what it left with, and all it said."""

    code: int
    said: str

    @property
    def refused(self) -> bool:
        """Whether it gave up in plain words: exit code 1 or 2, a problem named, and no traceback."""
        plain = "Traceback (most recent call last)" not in self.said
        named = re.search(r"error:|failed|→", self.said) is not None
        return self.code in (1, 2) and plain and named


@dataclass
class Book:
    """A book in a folder of its own, with its store and runs inside it.

    Attributes
    ----------
    root : Path
        The checkout.
    command : sequence of str
        What stands before ``run``, ``book`` or ``status``.
    profile : str
        The profile that is run.
    env : dict
        Environment of every command.
    before : sequence of str
        A program that starts the command with fewer rights, such as ``setpriv``.
    """

    root: Path
    command: Sequence[str]
    profile: str = "smoke"
    env: dict[str, str] = field(default_factory=dict)
    before: Sequence[str] = ()
    only: str = ""

    def __post_init__(self) -> None:
        self.token = uuid.uuid4().hex
        here = {**os.environ, TOKEN: self.token, "PDLIB_RESULTS": str(self.results), LOG: str(self.log)}
        for name in ("PDLIB_RUNS", "PDLIB_DATA"):
            here.pop(name, None)
        self.env = {**here, **self.env}

    @property
    def results(self) -> Path:
        """Its store."""
        return self.root / "_build" / "results"

    @property
    def runs(self) -> Path:
        """Its folders of executed chapters."""
        return self.root / "_build" / "run"

    @property
    def folder(self) -> Path:
        """Where the chapters of its profile go."""
        return Path(self.env.get("PDLIB_RUNS") or self.runs) / f"{self.profile}-synthetic"

    @property
    def log(self) -> Path:
        """Where the tiny book's folds say that they were computed."""
        return self.root / "computed.log"

    def arguments(self, what: str = "run", *more: str) -> list[str]:
        """The whole command line of ``pdlib WHAT``."""
        own = ["--profile", self.profile, "--cohort", "synthetic"] if what in ("run", "book") else []
        own += ["--only", self.only] if self.only and what == "run" else []
        return [*self.before, *self.command, what, *own, *more]

    def start(
        self, what: str = "run", *more: str, env: Mapping[str, str | None] | None = None, **popen
    ) -> subprocess.Popen:
        """Start a command and go on; what it says goes to ``said.log`` files of its own, read by `end`."""
        merged = {**self.env, **(env or {})}
        merged = {name: value for name, value in merged.items() if value is not None}
        out = self.root.parent / f"said-{uuid.uuid4().hex[:8]}.log"
        with out.open("wb") as stream:
            process = subprocess.Popen(
                self.arguments(what, *more), cwd=self.root, env=merged, stdin=subprocess.DEVNULL,
                stdout=stream, stderr=subprocess.STDOUT, **popen,
            )  # fmt: skip
        process.said = out
        return process

    def end(self, process: subprocess.Popen, timeout: float = 1800) -> Done:
        """Wait for a command that was started."""
        code = process.wait(timeout=timeout)
        said = process.said.read_text(encoding="utf-8", errors="replace")
        process.said.unlink()
        return Done(code, said)

    def run(self, what: str = "run", *more: str, **how) -> Done:
        """Run a command to its end."""
        return self.end(self.start(what, *more, **how))

    def numbers(self) -> dict[str, object]:
        """Everything a reader sees of the executed chapters: outputs of each cell and side files, without dates."""
        seen: dict[str, object] = {}
        for copy in sorted(self.folder.glob("[0-9]*.ipynb")):
            notebook = json.loads(copy.read_text(encoding="utf-8"))
            for cell in notebook["cells"]:
                for place, output in enumerate(cell.get("outputs", [])):
                    shown = {k: v for k, v in output.items() if k not in ("execution_count", "metadata")}
                    seen[f"{copy.name} {cell['id']} {place}"] = _plain(json.dumps(shown, sort_keys=True))
        pages = self.folder / "pages"
        for path in sorted(p for p in pages.rglob("*") if p.is_file()) if pages.is_dir() else []:
            content = path.read_bytes()
            if path.suffix in (".csv", ".json", ".html", ".md", ".txt"):
                content = _plain(content.decode("utf-8", "replace")).encode()
            seen[path.relative_to(pages).as_posix()] = hashlib.sha256(content).hexdigest()
        return seen

    def stored(self) -> dict[str, str]:
        """Hash of every sound entry of the store, by its path."""
        entries = [p for p in self.results.rglob("*.npz") if not p.name.startswith(".")]
        return {
            p.relative_to(self.results).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in entries
            if p.is_file() and provenance._read_whole(p)
        }

    def computed(self) -> list[str]:
        """The folds that the tiny book computed, in order."""
        return self.log.read_text().splitlines() if self.log.is_file() else []

    def processes(self, kernels: bool = False) -> list[psutil.Process]:
        """Processes of this book that are alive; only its kernels where asked for."""
        found = []
        for process in psutil.process_iter():
            try:
                mine = process.environ().get(TOKEN) == self.token and process.status() != psutil.STATUS_ZOMBIE
                if mine and (not kernels or any("ipykernel" in part for part in process.cmdline())):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def left_running(self, patience: float = 20.0) -> list[str]:
        """Processes that are still there after ``patience`` seconds: a kernel looks for its parent once a second."""
        until = time.monotonic() + patience
        while (alive := self.processes()) and time.monotonic() < until:
            time.sleep(0.2)
        said = []
        for process in alive:
            try:
                said.append(f"{process.pid} {' '.join(process.cmdline())[:120]}")
                process.kill()
            except psutil.Error:
                continue
        return said

    def leftovers(self) -> list[str]:
        """Temporary files and folders that lie in the checkout."""
        marks = (".part-", ".work-", ".site-", ".edition-", ".html-old-")
        return sorted(
            path.relative_to(self.root).as_posix()
            for path in self.root.rglob(".*")
            if path.name.startswith(marks) or re.fullmatch(r"\.[\w-]+-[a-z0-9_]{8}\.\w+", path.name)
        )

    def forget(self, store: bool = True) -> None:
        """Back to a checkout in which nothing has been run."""
        shutil.rmtree(self.runs, ignore_errors=True)
        if store:
            shutil.rmtree(self.results, ignore_errors=True)


def _plain(text: str) -> str:
    return _ADDRESS.sub("0x", _DAY.sub("DAY", text))


def copy_of(book: Book, root: Path, **changes) -> Book:
    """The same book, with all it has stored and executed, in another folder."""
    shutil.copytree(book.root, root, symlinks=True)
    command = [str(root) if part == str(book.root) else part for part in book.command]
    path = book.env["PYTHONPATH"].replace(str(book.root), str(root))
    return Book(root, command, book.profile, env={"PYTHONPATH": path}, only=book.only, **changes)


def tiny(root: Path, site: bool = False) -> Book:
    """A book of three chapters and nine stored folds that runs in seconds; with ``site`` its pages can be built."""
    project = Project(root)
    for number, name, more, needs in (
        (1, "01_one", "", ()),
        (2, "02_two", _NEEDS, ("01",)),
        (3, "03_three", "", ()),
    ):
        code = (_FOLDS + more).replace("CHAPTER", str(number)).strip()
        write_notebook(project, name, code, _SHOW.strip(), needs=needs, title=f"{number}. Chapter")
    write_profile(project, minutes={"01": 0.1, "02": 0.1, "03": 0.1})
    write_profile(project, "other", all={"seed": 5})
    if site:
        shutil.copyfile(paths.ROOT / "_config.yml", root / "_config.yml")
        shutil.copytree(paths.BOOK / "_static", project.book / "_static")
        shutil.copyfile(paths.BOOK / "references.bib", project.book / "references.bib")
        (project.book / "intro.md").write_text("# Intro\n\nSee [one](../notebooks/01_one.ipynb).\n")
        chapters = [{"file": f"notebooks/{name}"} for name in ("01_one", "02_two", "03_three")]
        toc = {"format": "jb-book", "root": "book/intro", "chapters": chapters}
        (root / "_toc.yml").write_text(json.dumps(toc))
    return Book(
        root, [sys.executable, "-m", "tests.faults.books", str(root)], env={"PYTHONPATH": str(paths.ROOT)}
    )


def smoke(root: Path) -> Book:
    """A copy of this checkout in ``root``, run with its smoke profile."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=paths.ROOT, capture_output=True, check=True,
    ).stdout.decode()  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (paths.ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(paths.ROOT / name, root / name)
    return real(root)


def real(root: Path, only: str = "") -> Book:
    """The real book in a checkout that is there; ``only`` names the chapters that are run."""
    return Book(root, [sys.executable, "-m", "pdlib"], env={"PYTHONPATH": str(root)}, only=only)


def main(arguments: Sequence[str]) -> None:
    """The command line of the tiny book in the folder that is the first argument; its cohort is made up."""
    from pdlib import __main__, run

    run.resolve_cohort = lambda *_, **__: SYNTHETIC
    __main__.PROJECT = Project(Path(arguments[0]))
    __main__.main(list(arguments[1:]))


if __name__ == "__main__":
    main(sys.argv[1:])
