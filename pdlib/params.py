"""Chapters, their typed parameters, and profiles: what a run is asked for, checked before a kernel starts.

A chapter is ``notebooks/NN_name.ipynb`` with one code cell tagged ``parameters`` that holds one typed,
commented line per parameter, such as ``seed: int = 0  # folds and weights``. A profile is a file of
values for several chapters. A value comes from the notebook, then the profile, then the command line; the
last one given wins.
"""

from __future__ import annotations

import ast
import difflib
import io
import json
import os
import re
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import nbformat
import yaml
from pydantic import Field, TypeAdapter, ValidationError

from pdlib import paths
from pdlib.errors import ChapterError, DataError, ParameterError, UsageError
from pdlib.reading import read_text

_SCALARS = {"int": int, "float": Annotated[float, Field(allow_inf_nan=False)], "str": str, "bool": bool}
_ALLOWED = "int, float, str, bool, Literal[...], list[int], list[str], and any of these | None"
_LONGEST = 100_000  # characters of a profile, a value or a parameters cell; YAML is read slowly
_LARGEST = 4 * 2**20  # bytes of a notebook without outputs; the largest of the book has 0.1 MB
_MOST_MINUTES = 1e6
_DEEPEST = 40  # levels of a parameters cell's syntax
_SHOWN = 200  # characters of a value in a message
_NAME = re.compile(r"(\d{2})_[a-z0-9_]+\.ipynb")


@dataclass(frozen=True)
class Project:
    """Where one book's sources and outputs lie.

    Parameters
    ----------
    root : Path
        Folder that holds ``notebooks/``, ``book/``, ``_config.yml`` and ``_toc.yml``; by default the book.
    """

    root: Path = paths.ROOT

    @property
    def notebooks(self) -> Path:
        """Folder of the source notebooks."""
        return self.root / "notebooks"

    @property
    def profiles(self) -> Path:
        """Folder of the profiles."""
        return self.notebooks / "profiles"

    @property
    def book(self) -> Path:
        """Folder of the pages that are not notebooks."""
        return self.root / "book"

    @property
    def edition(self) -> Path:
        """Folder of the executed chapters of the current edition."""
        return self.book / "edition"

    @property
    def build(self) -> Path:
        """Folder of everything that can be deleted."""
        return self.root / "_build"

    @property
    def runs(self) -> Path:
        """Folder of executed chapters; ``PDLIB_RUNS`` moves it."""
        moved = os.environ.get("PDLIB_RUNS")
        return Path(moved) if moved else self.build / "run"

    @property
    def html(self) -> Path:
        """Folder of the built site."""
        return self.build / "html"

    def shown(self, path: Path) -> str:
        """``path`` relative to the root where it lies inside it, else whole."""
        path = Path(path)
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: its name, annotation as written, type, default and comment."""

    name: str
    annotation: str
    type: Any
    default: Any
    help: str


@dataclass(frozen=True)
class Chapter:
    """One source notebook: number ``"05"``, file, title, parameters, and the chapters it needs before it."""

    number: str
    path: Path
    title: str
    parameters: Mapping[str, Parameter]
    needs: tuple[str, ...]
    source: str
    code: tuple[str, ...]

    @property
    def name(self) -> str:
        """The file's name without its ending, such as ``05_lmhp``."""
        return self.path.stem


@dataclass(frozen=True)
class Profile:
    """Values for several chapters: ``all`` for each that declares the name, ``chapters`` for one each.

    ``minutes`` holds the expected time of a chapter by number.
    """

    name: str
    about: str
    all: Mapping[str, Any]
    chapters: Mapping[str, Mapping[str, Any]]
    minutes: Mapping[str, float]


# ── one parameters cell ────────────────────────────────────────────────────────────────────────────────
def close_matches(name: str, known: Iterable[str]) -> str:
    """The way out of a misspelt name: what is close, and all that is there."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    there = f"there is: {', '.join(known)}" if known else "there is none"
    return f"did you mean {' or '.join(close)}? ({there})" if close else there


def parse_parameters(source: str, where: str) -> dict[str, Parameter]:
    """Read a parameters cell without running it.

    Parameters
    ----------
    source : str
        Text of the cell. Besides the parameters it may import from ``typing`` and hold comment lines.
    where : str
        The notebook's name, for errors.

    Raises
    ------
    ParameterError
        When a line is not ``name: type = literal  # comment``, or type or default are not allowed.
    """
    if len(source) > _LONGEST:
        raise ParameterError(
            f"{where}: the parameters cell has {len(source):,} characters", f"at most {_LONGEST:,} are read"
        )
    try:
        tree = ast.parse(source)
        comments = _comments(source)
    except SyntaxError as error:
        raise ParameterError(
            f"{where}: the parameters cell is not Python (line {error.lineno}: {error.msg})"
        ) from error
    except (
        ValueError,
        RecursionError,
        MemoryError,
        tokenize.TokenError,
    ) as error:  # zero bytes, surrogates, nests
        raise ParameterError(
            f"{where}: the parameters cell is not Python ({error or 'nested too deeply'})"
        ) from error
    if _depth(tree) > _DEEPEST:
        raise ParameterError(f"{where}: the parameters cell is nested too deeply", "write plain values")
    found: dict[str, Parameter] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module in ("typing", "__future__"):
            continue
        line = source.splitlines()[node.lineno - 1].strip()
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value):
            raise ParameterError(
                f"{where}: the parameters cell holds {line!r}",
                "write every parameter as `name: type = value  # what it does`",
            )
        name, annotation = node.target.id, ast.unparse(node.annotation)
        if name in found:
            raise ParameterError(
                f"{where}: parameter {name!r} is declared twice", "keep one of the two lines"
            )
        help_text = comments.get(node.end_lineno or node.lineno, "")
        if not help_text:
            raise ParameterError(f"{where}: parameter {name!r} has no comment", "say what it does after `#`")
        try:
            default = ast.literal_eval(node.value)
        except (ValueError, TypeError, RecursionError, MemoryError) as error:
            raise ParameterError(
                f"{where}: the default of {name!r} is not a plain value: {ast.get_source_segment(source, node.value)}",
                "write a number, text, True, False, None or a list of these",
            ) from error
        kind = _type_of(node.annotation, f"{where}: parameter {name!r}")
        parameter = Parameter(name, annotation, kind, default, help_text)
        found[name] = Parameter(name, annotation, kind, checked(parameter, default, where), help_text)
    return found


def _depth(tree: ast.AST) -> int:
    """Levels of a syntax tree; counted one by one, for what Python has parsed may be too deep to walk down into."""
    level, depth = [tree], 0
    while level and depth <= _DEEPEST:
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        depth += 1
    return depth


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ").rstrip() for t in tokens if t.type == tokenize.COMMENT}


def _plain(value: object) -> bool:
    """Whether a value may stand in a Literal: a number, a truth, or a text that a file can hold."""
    if isinstance(value, str):
        return not any("\ud800" <= letter <= "\udfff" for letter in value)
    return isinstance(value, int | bool)


def _type_of(node: ast.expr, where: str) -> Any:
    """The Python type an annotation stands for; only the few forms a command line can fill are known."""
    if isinstance(node, ast.Name) and node.id in _SCALARS:
        return _SCALARS[node.id]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        if isinstance(node.right, ast.Constant) and node.right.value is None:
            return _type_of(node.left, where) | None
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        if node.value.id == "list" and isinstance(node.slice, ast.Name) and node.slice.id in ("int", "str"):
            return list[_SCALARS[node.slice.id]]  # type: ignore[misc]
        if node.value.id == "Literal":
            items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            if items and all(isinstance(i, ast.Constant) and _plain(i.value) for i in items):
                return Literal[tuple(i.value for i in items)]  # type: ignore[misc, union-attr]
    raise ParameterError(f"{where} has the type {ast.unparse(node)}", f"allowed are {_ALLOWED}")


def checked(parameter: Parameter, value: Any, where: str) -> Any:
    """``value`` if it is strictly of the parameter's type; an int is taken for a float, no more.

    Raises
    ------
    ParameterError
        Naming the parameter, the value and what is allowed.
    """
    try:
        return TypeAdapter(parameter.type).validate_python(value, strict=True)
    except ValidationError as error:
        kind, said = parameter.annotation, _short(value)
        way_out = f"{parameter.name} ({parameter.help}) takes {kind}"
        if isinstance(value, str) and kind.startswith("Literal"):
            allowed = [a for a in _literal_values(parameter.type) if isinstance(a, str)]
            way_out = close_matches(value, allowed)
        elif "str" in kind and not isinstance(value, str | list):
            way_out += f"; quote text that looks like something else: -p '{parameter.name}=\"{said}\"'"
        raise ParameterError(
            f"{where}: {parameter.name} = {said} ({type(value).__name__}) is not {kind}", way_out
        ) from error


def _short(value: Any) -> str:
    """A value as it is written, cut off where it is long."""
    try:
        said = repr(value)
    except ValueError:  # a whole number of thousands of digits
        return f"a {type(value).__name__} of very many digits"
    return said if len(said) <= _SHOWN else f"{said[:_SHOWN]}…"


def _literal_values(kind: Any) -> list[Any]:
    values: list[Any] = []
    for part in getattr(kind, "__args__", ()):
        values += _literal_values(part) if hasattr(part, "__args__") else [part]
    return values


# ── chapters ───────────────────────────────────────────────────────────────────────────────────────────
def read_chapter(path: Path) -> Chapter:
    """Read one source notebook.

    Raises
    ------
    ChapterError
        When the file is not a notebook, has no Python kernel, or not exactly one cell tagged ``parameters``.
    ParameterError
        When its parameters cell is not as `parse_parameters` wants it.
    """
    name = path.name
    match = _NAME.fullmatch(name)
    if not match:
        raise ChapterError(
            f"{name} is not a chapter's file name", "call it NN_name.ipynb, such as 05_lmhp.ipynb"
        )
    notebook = _notebook(path)
    kernel = notebook.metadata.get("kernelspec", {})
    if kernel.get("name") != "python3":
        raise ChapterError(
            f"{name} asks for the kernel {kernel.get('name', 'of no name')!r}",
            "a chapter names the kernelspec python3; open and save it with the Python 3 kernel",
        )
    cells = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1 or cells[0].cell_type != "code":
        raise ChapterError(
            f"{name} has {len(cells)} cells tagged 'parameters'",
            "tag exactly one code cell, even if it declares nothing",
        )
    own = notebook.metadata.get("pdlib", {})
    needs = own.get("needs", []) if isinstance(own, dict) else own
    if not (isinstance(needs, list) and all(isinstance(n, str) for n in needs)):
        raise ChapterError(
            f"{name}: metadata.pdlib.needs is {_short(needs)}", 'write a list of numbers such as ["08"]'
        )
    return Chapter(
        number=match[1],
        path=path,
        title=_title(notebook) or path.stem,
        parameters=parse_parameters(cells[0].source, name),
        needs=tuple(needs),
        source="\x1e".join(
            f"{c.cell_type}\x1f{' '.join(c.metadata.get('tags', []))}\x1f{c.source}" for c in notebook.cells
        ),
        code=tuple(c.source for c in notebook.cells if c.cell_type == "code"),
    )


def _notebook(path: Path) -> Any:
    try:
        if path.stat().st_size > _LARGEST:
            raise ChapterError(f"{path.name} is too large for a chapter without outputs", "clear its outputs")
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        # Python's JSON takes a lone surrogate, which no file and no kernel does.
        json.dumps(notebook, ensure_ascii=False).encode("utf-8")
    except OSError as error:
        raise ChapterError(f"{path.name} cannot be read: {error.strerror}") from error
    except ChapterError:
        raise
    except Exception as error:  # nbformat and its schemas raise whatever they stumble over
        said = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise ChapterError(f"{path.name} is not a notebook: {said}") from error
    return notebook


def _title(notebook: Any) -> str:
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for line in cell.source.splitlines():
                if line.startswith("# "):
                    return line[2:].strip()
    return ""


def read_chapters(project: Project) -> dict[str, Chapter]:
    """All source notebooks by number, in order.

    Raises
    ------
    ChapterError
        When there is none, two share a number, or one needs a chapter that is not before it.
    """
    found: dict[str, Chapter] = {}
    for path in sorted(project.notebooks.glob("*.ipynb")):
        chapter = read_chapter(path)
        if chapter.number in found:
            other = found[chapter.number].path.name
            raise ChapterError(
                f"{other} and {path.name} share the number {chapter.number}", "renumber one of them"
            )
        found[chapter.number] = chapter
    if not found:
        raise ChapterError(
            f"{project.shown(project.notebooks)} holds no chapter",
            "a chapter is a file NN_name.ipynb in that folder",
        )
    for chapter in found.values():
        for need in chapter.needs:
            if need not in found or need >= chapter.number:
                raise ChapterError(
                    f"{chapter.path.name} needs chapter {need!r}",
                    f"it can need only these: {', '.join(n for n in found if n < chapter.number) or 'none'}",
                )
    return found


def select(chapters: Mapping[str, Chapter], only: Sequence[str] | None) -> list[str]:
    """The asked chapters' numbers in order; ``only`` takes numbers (``5``, ``05``) and names (``05_lmhp``).

    Raises
    ------
    UsageError
        When one does not exist.
    """
    if not only:
        return list(chapters)
    names = {c.name: number for number, c in chapters.items()}
    chosen = set()
    for asked in only:
        number = names.get(asked.removesuffix(".ipynb"), asked.zfill(2) if asked.isdigit() else asked)
        if number not in chapters:
            raise UsageError(f"there is no chapter {asked!r}", close_matches(number, [*chapters, *names]))
        chosen.add(number)
    return [number for number in chapters if number in chosen]


# ── values written as text ─────────────────────────────────────────────────────────────────────────────
class _Loader(yaml.SafeLoader):
    """YAML with the plain scalars of its version 1.2 core schema: no dates, no 1:30 as 90; 1e-3 a number.

    Tags of anything else are refused, and so are aliases: a few lines of them stand for more than a memory holds.
    """

    yaml_implicit_resolvers: dict = {}
    yaml_constructors: dict = {
        f"tag:yaml.org,2002:{tag}": yaml.SafeLoader.yaml_constructors[f"tag:yaml.org,2002:{tag}"]
        for tag in ("null", "str", "seq")
    } | {None: yaml.SafeLoader.yaml_constructors[None]}

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "aliases are not read: write the value out", mark)
        return super().compose_node(parent, index)


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|None|)$"), None)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), None
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), None)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"),
    None,
)


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode, deep: bool = True) -> dict:
    found: dict = {}
    for name, value in node.value:
        key = loader.construct_object(name, deep=True)
        if isinstance(key, list | dict):
            raise yaml.constructor.ConstructorError(
                None, None, "a name is a list or mapping", name.start_mark
            )
        if key in found:
            raise yaml.constructor.ConstructorError(
                None, None, f"{_short(key)} is given twice", node.start_mark
            )
        found[key] = loader.construct_object(value, deep=True)
    return found


def _truth(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> bool:
    text = loader.construct_scalar(node).lower()
    if text not in ("true", "false"):
        raise ValueError(f"{_short(text)} is neither true nor false")
    return text == "true"


_Loader.add_constructor("tag:yaml.org,2002:bool", _truth)
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(loader.construct_scalar(node), 10))
_Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(loader.construct_scalar(node)))
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def _read_yaml(text: str) -> Any:
    """The value of a YAML text; a ValueError of one line where it cannot be read."""
    if len(text) > _LONGEST:
        raise ValueError(f"it has {len(text):,} characters, and at most {_LONGEST:,} are read")
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader with fewer scalars
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(str(error).splitlines()[-1].strip()) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Read ``name=value`` texts; the value is what follows the first ``=``, read as a YAML scalar or list.

    Raises
    ------
    ParameterError
        When there is no ``=``, a name comes twice, or the value is not YAML.
    """
    found: dict[str, Any] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name.isidentifier():
            raise ParameterError(f"-p {_short(text)} is not an assignment", "write -p name=value")
        if name in found:
            raise ParameterError(f"-p gives {name!r} twice", "give it once")
        try:
            found[name] = _read_yaml(value)
        except ValueError as error:
            raise ParameterError(
                f"-p {_short(text)}: the value cannot be read",
                f"quote text with special signs: -p '{name}=\"...\"'",
            ) from error
    return found


# ── profiles ───────────────────────────────────────────────────────────────────────────────────────────
def load_profile(name: str, project: Project) -> Profile:
    """Read ``notebooks/profiles/<name>.yaml``.

    Raises
    ------
    UsageError
        When it does not exist, is not YAML, or has other parts than about, all, chapters and minutes.
    """
    known = sorted(path.stem for path in project.profiles.glob("*.yaml"))
    if name not in known:
        raise UsageError(f"there is no profile {name!r}", close_matches(name, known))
    path = project.profiles / f"{name}.yaml"
    shown = project.shown(path)
    try:
        content = _read_yaml(read_text(path, "write it anew, or take it from the repository"))
    except ValueError as error:
        raise UsageError(f"{shown} is not YAML: {error}") from error
    except DataError as error:
        raise UsageError(error.problem, error.way_out) from error
    parts = {"about": str, "all": dict, "chapters": dict, "minutes": dict}
    if not isinstance(content, dict):
        raise UsageError(f"{shown} holds no parts", f"its parts are {', '.join(parts)}")
    for part, value in content.items():
        if part not in parts:
            raise UsageError(f"{shown} has a part {part!r}", close_matches(str(part), parts))
        if value is not None and not isinstance(value, parts[part]):
            raise UsageError(f"{shown}: {part} is a {type(value).__name__}, not a {parts[part].__name__}")
    chapters = {_number(key): value or {} for key, value in (content.get("chapters") or {}).items()}
    minutes = {_number(key): value for key, value in (content.get("minutes") or {}).items()}
    for number, values in chapters.items():
        if not isinstance(values, dict):
            raise UsageError(
                f"{shown}: chapter {number} holds {_short(values)}", "write name: value lines under it"
            )
    for number, value in minutes.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST_MINUTES:
            raise UsageError(
                f"{shown}: minutes of chapter {number} is {_short(value)}", "write a number of minutes"
            )
    return Profile(name, str(content.get("about") or ""), content.get("all") or {}, chapters, minutes)


def _number(key: object) -> str:
    return f"{key:02d}" if isinstance(key, int) and not isinstance(key, bool) else str(key)


def resolve(
    chapters: Mapping[str, Chapter], profile: Profile, overrides: Mapping[str, Any], selected: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Every chapter's parameter values: the notebook's, then the profile's, then the overrides.

    A parameter called ``profile`` is filled with the profile's name and cannot be given otherwise.

    Parameters
    ----------
    chapters : mapping of str to Chapter
        All chapters; the profile is checked against all of them, whichever are selected.
    profile : Profile
        Its ``all`` values go to every chapter that declares the name.
    overrides : mapping
        Values of the command line; each goes to every selected chapter that declares the name.
    selected : sequence of str
        Numbers of the chapters the overrides are for.

    Raises
    ------
    ParameterError
        For a name no chapter declares, or a value of the wrong type.
    UsageError
        For a chapter of the profile that does not exist.
    """
    where = f"profile {profile.name!r}"
    _check_names(chapters, profile, overrides, selected)
    resolved: dict[str, dict[str, Any]] = {}
    for number, chapter in chapters.items():
        values = {name: parameter.default for name, parameter in chapter.parameters.items()}
        layers = [(where, profile.all), (f"{where}, chapter {number}", profile.chapters.get(number, {}))]
        if number in selected:
            layers.append(("-p", overrides))
        layers.append((where, {"profile": profile.name}))
        for layer, given in layers:
            for name, value in given.items():
                if name in values:
                    values[name] = checked(chapter.parameters[name], value, f"{layer} → {chapter.path.name}")
        resolved[number] = values
    return resolved


def _check_names(
    chapters: Mapping[str, Chapter], profile: Profile, overrides: Mapping[str, Any], selected: Sequence[str]
) -> None:
    where = f"profile {profile.name!r}"
    declared = {name for chapter in chapters.values() for name in chapter.parameters}
    for name in profile.all:
        if name not in declared:
            raise ParameterError(
                f"{where}: no chapter has a parameter {name!r}", close_matches(str(name), declared)
            )
    for part, numbers in (("chapters", profile.chapters), ("minutes", profile.minutes)):
        for number in numbers:
            if number not in chapters:
                raise UsageError(
                    f"{where}, {part}: there is no chapter {number!r}", close_matches(number, chapters)
                )
    for number, values in profile.chapters.items():
        own = chapters[number].parameters
        for name in values:
            if name not in own:
                raise ParameterError(
                    f"{where}: chapter {number} has no parameter {name!r}", close_matches(str(name), own)
                )
    asked = {name for number in selected for name in chapters[number].parameters}
    for name in overrides:
        if name == "profile":
            raise ParameterError("-p profile: the profile is not set as a parameter", "use --profile")
        if name not in asked:
            which = "no chapter" if len(selected) == len(chapters) else f"none of {', '.join(selected)}"
            raise ParameterError(f"-p {name}: {which} has a parameter {name!r}", close_matches(name, asked))
