"""What a result depends on, and a store that never serves a stale one.

A result's key is the hash of everything that could change it: the content of its inputs, the syntax trees
(without comments and docstrings) of the pdlib modules that make it, and the versions of every library those
modules reach. A change of wording costs nothing; a change of anything else makes a new key.
"""

from __future__ import annotations

import ast
import dataclasses
import errno
import hashlib
import importlib.metadata
import json
import os
import re
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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


def _pieces(value: object) -> Iterable[bytes | np.ndarray]:
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
            # the array's own bytes: a copy of a large one that lies in a file would fill the memory
            yield np.ascontiguousarray(value).reshape(-1).view(np.uint8) if value.nbytes else b""
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
    # the time of the last change of status, too, for a clock that is set back or a copy that keeps its time
    return _parsed_at(file, (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino))


@cache
def _parsed_at(file: Path, state: tuple[int, ...]) -> _Parsed:
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

    def __reduce__(self) -> tuple:
        # A store belongs to its machine: what goes to a worker with one in it finds the worker's own there.
        return Store, ()

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
        found = self.get_all(step, [inputs], lambda places: ((place, compute()) for place in places), modules)
        return next(iter(found))

    def get_all(
        self,
        step: str,
        inputs: Iterable[Mapping[str, object]],
        compute: Callable[[Iterator[int]], Iterable[tuple[int, Arrays]]],
        modules: Sequence[str],
    ) -> Iterator[Arrays]:
        """The results for many ``inputs``, in their order; those not stored yet are computed, each kept at once.

        Parameters
        ----------
        step, modules
            See `get`.
        inputs : iterable of mappings
            One for each result.
        compute : callable
            Given the places in ``inputs`` of the results to be computed, gives pairs of place and result, in any
            order, such as `parallel.each`. It is asked for one result after the other, and only while there is
            something to compute; whether a place is stored is looked up when its place is taken.
        """
        common = key_parts(step, {}, modules)  # the code is read once
        every = [{**common, "inputs": {n: fingerprint(value) for n, value in one.items()}} for one in inputs]
        keys = [(self._target(step, parts), parts) for parts in every]
        loaded: dict[int, Arrays] = {}
        computed: dict[int, Arrays] = {}
        sent: set[int] = set()

        def missing() -> Iterator[int]:
            for place in range(len(keys)):
                if place >= first and place not in sent and not look_up(place):
                    sent.add(place)
                    yield place

        def look_up(place: int) -> bool:
            stored = loaded.get(place) or _read(*keys[place])
            if stored is None:
                return False
            loaded[place] = stored
            return True

        arriving: Iterator[tuple[int, Arrays]] | None = None
        for first in range(len(keys)):
            if first not in sent and not look_up(first) and arriving is None:
                _refuse_unwritable(keys[first][0])
                arriving = iter(compute(missing()))
            # a run beside this one may have stored it since it was looked for
            while first not in computed and first not in loaded:
                place, result = next(arriving)
                computed[place] = self._keep(step, *keys[place], result)
            if first in computed:
                yield computed.pop(first)
            else:
                self.loaded += 1
                yield loaded.pop(first)

    def _target(self, step: str, parts: Mapping) -> Path:
        return self.folder / step / f"{fingerprint(parts)[:40]}.npz"

    def _keep(self, step: str, target: Path, parts: Mapping, result: Arrays) -> Arrays:
        kept = {name: np.asarray(value) for name, value in result.items()}
        _check(step, kept)
        marks = {_META: np.array(json.dumps(parts)), _CONTENT: np.array(fingerprint(kept))}
        with paths.atomic_path(target) as part:
            np.savez_compressed(part, **kept, **marks)
        self.computed += 1
        return kept

    def explain(self, step: str, inputs: Mapping[str, object], modules: Sequence[str]) -> list[str]:
        """Why ``get`` would compute: the parts that differ from the latest stored result; empty when it would load."""
        parts = key_parts(step, inputs, modules)
        if self._target(step, parts).is_file():
            return []
        stored = [path for path in (self.folder / step).glob("*.npz") if not path.name.startswith(".")]
        for path in sorted(stored, key=lambda path: path.stat().st_mtime, reverse=True):
            if found := _read_whole(path):
                return differences(found[0], parts)
        return ["what is stored is damaged" if stored else "nothing stored yet"]


def _refuse_unwritable(target: Path) -> None:
    """What cannot be kept is refused before the work."""
    paths.make_folder(target.parent)
    if target.is_dir():
        with paths.writing_errors(target):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


_META = "__key_parts__"
_CONTENT = "__content__"
#: Bytes a stored file may unfold to, and how many times its own size; measured numbers pack to a half at best.
_LARGEST, _MOST_PACKED = 2**28, 50


def _read(target: Path, parts: Mapping) -> Arrays | None:
    found = _read_whole(target)
    return found[1] if found and found[0] == parts else None


def _read_whole(target: Path) -> tuple[dict, Arrays] | None:
    """Key parts and arrays of a stored file; None when it is missing, or not to the last byte what was stored.

    A zip's own sums do not do: numpy stops reading when an array is full, before its sum is compared.
    """
    try:
        _refuse_bomb(target)
        with np.load(target, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        parts, content = json.loads(str(arrays.pop(_META))), str(arrays.pop(_CONTENT))
        return (parts, arrays) if isinstance(parts, dict) and fingerprint(arrays) == content else None
    except Exception:  # zipfile, zlib and numpy each have a dozen ways to stumble over a wrong byte
        # a damaged file is worth no more than a missing one: it is computed again and replaced
        return None


def _refuse_bomb(target: Path) -> None:
    """ValueError where a stored file would unfold to more than a result ever does."""
    with zipfile.ZipFile(target) as packed:
        unfolded = sum(member.file_size for member in packed.infolist())
    if unfolded > max(_LARGEST, _MOST_PACKED * target.stat().st_size):
        raise ValueError(f"{target.name} unfolds to {unfolded:,} bytes")


def _check(step: str, result: Arrays) -> None:
    for name, value in result.items():
        if value.dtype.hasobject:
            raise TypeError(
                f"step {step!r} gives {name!r} as Python objects; the store keeps plain arrays only"
            )
