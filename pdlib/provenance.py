"""What a result depends on, and a store that never serves a stale one.

A result's key is the hash of everything that could change it: the content of its inputs, the syntax trees
(without comments and docstrings) of the pdlib modules that make it, and the versions of every library those
modules reach. A change of wording costs nothing; a change of anything else makes a new key.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import importlib.metadata
import json
import re
import sys
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from pdlib import paths
from pdlib.errors import UsageError

Arrays = dict[str, np.ndarray]


# ── content ────────────────────────────────────────────────────────────────────────────────────────────
def fingerprint(value: object) -> str:
    """Hash of a value's content (64 hex digits): numbers, text, arrays, frames, dataclasses, and nests of them.

    Raises
    ------
    TypeError
        For anything whose content cannot be read off (an open file, a fitted model).
    """
    digest = hashlib.sha256()
    for piece in _pieces(value):
        digest.update(piece)
        digest.update(b"\x1f")
    return digest.hexdigest()


def _pieces(value: object) -> Iterable[bytes]:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        yield f"{type(value).__name__}:{value!r}".encode()
    elif isinstance(value, bytes):
        yield b"bytes:" + value
    elif isinstance(value, Path):
        yield f"path:{value.as_posix()}".encode()
    elif isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            yield from _pieces(value.tolist())
        else:
            yield f"array:{value.dtype.str}:{value.shape}".encode()
            yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, pd.Series | pd.DataFrame):
        frame = value.to_frame() if isinstance(value, pd.Series) else value
        yield b"frame:" + json.dumps([str(c) for c in frame.columns]).encode()
        yield from _pieces(frame.index.to_numpy())
        for column in range(frame.shape[1]):
            yield from _pieces(frame.iloc[:, column].to_numpy())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield f"dataclass:{type(value).__name__}".encode()
        for field in dataclasses.fields(value):
            yield field.name.encode()
            yield from _pieces(getattr(value, field.name))
    elif isinstance(value, Mapping):
        yield f"mapping:{len(value)}".encode()
        for key in sorted(value, key=str):
            yield str(key).encode()
            yield from _pieces(value[key])
    elif isinstance(value, list | tuple):
        yield f"sequence:{len(value)}".encode()
        for item in value:
            yield from _pieces(item)
    else:
        raise TypeError(
            f"the content of a {type(value).__name__} cannot be fingerprinted; pass what it was made from"
        )


# ── code ───────────────────────────────────────────────────────────────────────────────────────────────
def _module_file(name: str) -> Path:
    return paths.ROOT / "pdlib" / f"{name.removeprefix('pdlib.')}.py"


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    return tree


def syntax_hash(source: str) -> str:
    """Hash of Python source that a change of comments, docstrings or layout leaves alone."""
    return hashlib.sha256(ast.dump(_without_docstrings(ast.parse(source))).encode()).hexdigest()


def imported_modules(source: str) -> tuple[set[str], set[str]]:
    """Names imported anywhere in ``source``: the pdlib modules (short names) and the other top-level packages."""
    ours: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            head, _, rest = name.partition(".")
            if head != "pdlib":
                others.add(head)
            elif rest and _module_file(rest.split(".")[0]).is_file():
                ours.add(rest.split(".")[0])
    return ours, others - set(sys.stdlib_module_names)


def module_closure(*modules: str) -> list[str]:
    """The named pdlib modules and every pdlib module they import, directly or not, sorted."""
    waiting = [name.removeprefix("pdlib.") for name in modules]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        if not _module_file(name).is_file():
            raise UsageError(
                f"pdlib has no module {name!r}", "name a file of the pdlib folder without its ending"
            )
        seen.add(name)
        waiting.extend(_parsed(name).ours)
    return sorted(seen)


@dataclasses.dataclass(frozen=True)
class _Parsed:
    """One module as it is on disk: the hash of its syntax tree and what it imports."""

    syntax: str
    ours: frozenset[str]
    others: frozenset[str]


def _parsed(name: str) -> _Parsed:
    file = _module_file(name)
    found = file.stat()
    return _parsed_at(file, found.st_mtime_ns, found.st_size)


@cache
def _parsed_at(file: Path, changed: int, size: int) -> _Parsed:
    # Every stored result asks for the code of its modules; parsing them anew took half a second each time.
    source = file.read_text(encoding="utf-8")
    ours, others = imported_modules(source)
    return _Parsed(syntax_hash(source), frozenset(ours), frozenset(others))


def code_parts(*modules: str) -> dict[str, str]:
    """Syntax hash of every module in the closure of ``modules``, by name."""
    return {name: _parsed(name).syntax for name in module_closure(*modules)}


def code_fingerprint(*modules: str) -> str:
    """One hash over the syntax trees of ``modules`` and all pdlib modules they import."""
    return fingerprint(code_parts(*modules))


# ── libraries ──────────────────────────────────────────────────────────────────────────────────────────
@lru_cache(maxsize=1)
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


@cache
def distributions_of(package: str) -> tuple[str, ...]:
    """Names of the installed distributions that hold a top-level package or extension module."""
    known = _distributions().get(package)
    # a lone extension module is listed under its whole file name by Python 3.11
    return tuple(known or ()) or tuple(
        found.name for found in importlib.metadata.distributions() if _holds(found, package)
    )


def _holds(distribution: importlib.metadata.Distribution, package: str) -> bool:
    # its list of files as text, for as paths the lists of all distributions took every kernel a third of a second
    listed = distribution.read_text("RECORD")
    if listed is None:
        files = distribution.files or ()
        return any(len(file.parts) == 1 and file.name.split(".")[0] == package for file in files)
    return re.search(rf"^{re.escape(package)}(\.[^/,]*)?,", listed, re.MULTILINE) is not None


def _installed() -> tuple[int, ...]:
    """When something was last installed or removed in the folders that libraries are imported from."""
    return tuple(Path(folder).stat().st_mtime_ns for folder in sys.path if _has_libraries(folder))


@cache
def _has_libraries(folder: str) -> bool:
    # not the working folder, which changes all the time
    return bool(folder) and any(Path(folder).glob("*.dist-info"))


@cache
def _release(distribution: str, installed: tuple[int, ...]) -> tuple[str, tuple[str, ...]] | None:
    """Version of a distribution and the names of those it needs; None where it is not installed."""
    # every stored result asks for the versions of some dozens of libraries, and so does every figure
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
    needed = importlib.metadata.requires(distribution) or []
    names = [re.match(r"[A-Za-z0-9._-]+", line).group(0) for line in needed if "extra ==" not in line]
    return version, tuple(re.sub(r"[-_.]+", "-", name).lower() for name in names)


def versions(*modules: str) -> dict[str, str]:
    """Versions of Python and of every library that ``modules`` import, with all these need in turn."""
    waiting = [
        re.sub(r"[-_.]+", "-", distribution).lower()
        for name in module_closure(*modules)
        for package in _parsed(name).others
        for distribution in distributions_of(package)
    ]
    found: dict[str, str] = {}
    installed, seen = _installed(), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        release = _release(name, installed)
        if release is None:
            continue  # needed only on another platform or Python version
        found[name], needed = release
        waiting.extend(needed)
    return {"python": ".".join(map(str, sys.version_info[:2])), **dict(sorted(found.items()))}


def lock_hash() -> str:
    """First 12 hex digits of the sha256 of requirements.lock."""
    return hashlib.sha256((paths.ROOT / "requirements.lock").read_bytes()).hexdigest()[:12]


def stamp(modules: Sequence[str], cohort: object, *, profile: str, seed: int) -> dict:
    """What stands under a figure: profile, seed, cohort, and the hashes of data, code and lock, with versions."""
    shown = ("python", "numpy", "scipy", "librosa", "tensorflow", "keras", "scikit-learn", "catboost")
    all_versions = versions(*modules)
    return {
        "profile": profile,
        "seed": seed,
        "cohort": cohort.kind,
        "data_hash": cohort.fingerprint[:12],
        "code_hash": code_fingerprint(*modules)[:12],
        "lock_hash": lock_hash(),
        "versions": {name: all_versions[name] for name in shown if name in all_versions},
        "date": datetime.now(UTC).date().isoformat(),
    }


# ── keys and the store ─────────────────────────────────────────────────────────────────────────────────
def key_parts(step: str, inputs: Mapping[str, object], modules: Sequence[str]) -> dict:
    """Everything a result depends on, one hash or version per name."""
    return {
        "step": step,
        "inputs": {name: fingerprint(value) for name, value in inputs.items()},
        "code": code_parts(*modules),
        "versions": versions(*modules),
    }


def differences(old: Mapping, new: Mapping, prefix: str = "") -> list[str]:
    """Names that differ between two nests of key parts, such as ``inputs.seed`` or ``versions.numpy``."""
    changed = []
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            changed += differences(before, after, f"{prefix}{name}.")
        elif before != after:
            changed.append(f"{prefix}{name}")
    return changed


class Store:
    """Results on disk under a key of everything they depend on; the folder can be deleted at any time.

    Parameters
    ----------
    folder : Path, optional
        Where results lie; by default `paths.results_dir`.

    Attributes
    ----------
    computed, loaded : int
        How many results this store has computed and read back, for the reader to see.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = Path(folder) if folder else paths.results_dir()
        self.computed = 0
        self.loaded = 0

    def get(
        self, step: str, inputs: Mapping[str, object], compute: Callable[[], Arrays], modules: Sequence[str]
    ) -> Arrays:
        """The result of ``compute`` for these ``inputs``, from disk when the very same key was stored before.

        Parameters
        ----------
        step : str
            Name of the step; a folder of the store.
        inputs : mapping
            Every value ``compute`` reads, seeds included; their content makes the key.
        compute : callable
            Returns a dict of arrays without Python objects.
        modules : sequence of str
            The pdlib modules whose code makes the result; what they import is added.

        Raises
        ------
        WriteError
            When the result cannot be kept; results stored before stay.
        """
        parts = key_parts(step, inputs, modules)
        target = self.folder / step / f"{fingerprint(parts)[:40]}.npz"
        stored = _read(target, parts)
        if stored is not None:
            self.loaded += 1
            return stored
        with paths.writing_errors(target):
            target.parent.mkdir(
                parents=True, exist_ok=True
            )  # an unwritable folder is refused before the work
        result = {name: np.asarray(value) for name, value in compute().items()}
        _check(step, result)
        with paths.atomic_path(target) as part:
            np.savez_compressed(part, **result, **{_META: np.array(json.dumps(parts))})
        self.computed += 1
        return result

    def explain(self, step: str, inputs: Mapping[str, object], modules: Sequence[str]) -> list[str]:
        """Why ``get`` would compute: the parts that differ from the latest stored result; empty when it would load."""
        parts = key_parts(step, inputs, modules)
        if (self.folder / step / f"{fingerprint(parts)[:40]}.npz").is_file():
            return []
        stored = sorted((self.folder / step).glob("*.npz"), key=lambda path: path.stat().st_mtime)
        if not stored:
            return ["nothing stored yet"]
        with np.load(stored[-1], allow_pickle=False) as latest:
            return differences(json.loads(str(latest[_META])), parts)


_META = "__key_parts__"


def _read(target: Path, parts: Mapping) -> Arrays | None:
    try:
        with np.load(target, allow_pickle=False) as stored:
            if json.loads(str(stored[_META])) != parts:
                return None
            return {name: stored[name] for name in stored.files if name != _META}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        # a damaged file is worth no more than a missing one: it is computed again and replaced
        return None


def _check(step: str, result: Arrays) -> None:
    for name, value in result.items():
        if value.dtype.hasobject:
            raise TypeError(
                f"step {step!r} gives {name!r} as Python objects; the store keeps plain arrays only"
            )
