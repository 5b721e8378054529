"""API pages from docstrings: what every module offers, read from its source without importing it.

A page of the book names its modules in a comment, ``<!-- modules: data cohort -->``; when the site is staged, the
comment gives way to their public names with signature, docstring and a link to the code. ``others`` stands for all
modules that no page names, so a new module cannot be left out.
"""

from __future__ import annotations

import ast
import copy
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pdlib import paths
from pdlib.errors import PublishError

SOURCES = paths.ROOT / "pdlib"
MODULES = re.compile(r"^<!-- modules: ([\w ]+) -->$", re.MULTILINE)
OVERVIEW = "<!-- modules in their order -->"
LONGEST_VALUE = 60  # characters of a constant's value that are shown
_RULE = re.compile(r"^#\s*[-─=]")
_REFERENCE = re.compile(r"(?<![`:\w])`([^`<>\n]+)`(?![`_])")
_MARKED = re.compile(r"(``[^`\n]+``|:py:obj:`[^`\n]+`)(?=(\w?))")
_OWN_TYPE = re.compile(r"\bpdlib\.\w+\.(\w+)")
_RAISES = re.compile(r"^:raises ([\w., ]+):", re.MULTILINE)


@dataclass(frozen=True)
class Named:
    """One public name of a module.

    Attributes
    ----------
    name : str
        Within its module, such as ``Clip.duration``.
    kind : str
        Sphinx's word for it: function, class, exception, method, property, data or type.
    signature : str
        Parameters and what is returned; types of the book with their full names.
    options : tuple of str
        Further options of Sphinx's directive.
    doc : str
        Its docstring, or the comment of a constant.
    line : int
        Where it stands in the source.
    """

    name: str
    kind: str
    signature: str
    options: tuple[str, ...]
    doc: str
    line: int


@dataclass(frozen=True)
class Module:
    """One module: its name without the package, its docstring, its source and its public names in their order."""

    name: str
    doc: str
    source: str
    names: tuple[Named, ...]

    @property
    def summary(self) -> str:
        """First paragraph of the docstring."""
        return " ".join(self.doc.partition("\n\n")[0].split())


def read_module(path: Path) -> Module:
    """Read the public names of one source file.

    Raises
    ------
    PublishError
        When the module has no docstring.
    """
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    doc = ast.get_docstring(tree)
    if not doc:
        raise PublishError(f"{path.name} has no docstring", "say in its first line what the module is for")
    types = _Types(path.stem, tree)
    lines = source.splitlines()
    return Module(path.stem, doc, source, tuple(_public(tree, types, lines)))


def read_modules(folder: Path = SOURCES) -> dict[str, Module]:
    """Every module of the package by its name."""
    found = (path for path in sorted(folder.glob("*.py")) if path.stem != "__init__")
    return {path.stem: read_module(path) for path in found}


def pages(book: Path, listed: Sequence[str], modules: Sequence[str]) -> dict[Path, list[str]]:
    """The modules of each API page, in the order of the table of contents.

    Raises
    ------
    PublishError
        When a page names a module that does not exist, or two pages name the same one.
    """
    named: dict[Path, list[str]] = {}
    for name in listed:
        page = book.parent / f"{name}.md"
        found = MODULES.search(page.read_text(encoding="utf-8")) if page.is_file() else None
        if found:
            named[page] = found[1].split()
    given = [name for names in named.values() for name in names]
    wrong = sorted({n for n in given if n not in {*modules, "others"} or given.count(n) > 1})
    if wrong:
        raise PublishError(
            f"the API pages name modules that are not there, or name them twice: {', '.join(wrong)}",
            "mend the comment `<!-- modules: … -->` of a page in book/",
        )
    others = [name for name in modules if name not in given]
    return {
        page: [one for name in names for one in (others if name == "others" else [name])]
        for page, names in named.items()
    }


def fill(book: Path, listed: Sequence[str], folder: Path = SOURCES) -> None:
    """Write the API pages of a staged book, and a page with the code of each module for them to link to.

    Parameters
    ----------
    book : Path
        Staged folder of pages; changed in place.
    listed : sequence of str
        Pages of the table of contents, without endings.
    """
    modules = read_modules(folder)
    placed = pages(book, listed, list(modules))
    if not placed:
        return
    known = {f"pdlib.{module.name}": "module" for module in modules.values()}
    for module in modules.values():
        known |= {f"pdlib.{module.name}.{one.name}": one.kind for one in module.names}
    for page, names in placed.items():
        text = page.read_text(encoding="utf-8")
        written = "\n\n".join(module_text(modules[name], known) for name in names)
        page.write_text(MODULES.sub(lambda _, written=written: written, text), encoding="utf-8")
    for page in {book.parent / f"{name}.md" for name in listed} - set(placed):
        if page.is_file() and OVERVIEW in (text := page.read_text(encoding="utf-8")):
            page.write_text(text.replace(OVERVIEW, _overview(placed, modules, known)), encoding="utf-8")
    code = book / "_static" / "pdlib"
    code.mkdir(parents=True, exist_ok=True)
    for module in modules.values():
        (code / f"{module.name}.html").write_text(code_page(module), encoding="utf-8")


def _overview(placed: dict[Path, list[str]], modules: dict[str, Module], known: Mapping[str, str]) -> str:
    blocks = []
    for page, names in placed.items():
        heading = page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        said = {name: _literal(modules[name].summary, name, "", known) for name in names}
        rows = [f"- :py:mod:`{name} <pdlib.{name}>` — {said[name]}" for name in names]
        blocks.append(f"## {heading}\n\n" + _rst("\n".join(rows)))
    return "\n\n".join(blocks)


# ── reading the source ─────────────────────────────────────────────────────────────────────────────────
class _Types(ast.NodeTransformer):
    """Gives the book's own types in an annotation their full names, so that they become links."""

    def __init__(self, module: str, tree: ast.Module) -> None:
        self.full: dict[str, str] = {}
        self.options: dict[str, ast.expr] = {}  # of the command line: the type alone matters here
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pdlib":
                for alias in node.names:
                    self.full[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                self.full[node.name] = f"pdlib.{module}.{node.name}"
            for name, value, _ in _assigned(node):
                if _is_annotated(value):
                    self.options[name] = value

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self.options:
            return self.visit(copy.deepcopy(self.options[node.id]))
        return ast.Name(self.full.get(node.id, node.id))

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        return self.visit(node.slice.elts[0]) if _is_annotated(node) else self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return node

    def said(self, annotation: ast.expr | None) -> str:
        return ast.unparse(self.visit(copy.deepcopy(annotation))) if annotation is not None else ""

    def signature(self, function: ast.FunctionDef, method: bool = False) -> str:
        given = copy.deepcopy(function.args)
        every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        for one in filter(None, every):
            one.annotation = self.visit(one.annotation) if one.annotation else None
        given.defaults = [_default(one) for one in given.defaults]
        given.kw_defaults = [one and _default(one) for one in given.kw_defaults]
        if method:
            del (given.posonlyargs or given.args)[0]
        returned = f" -> {self.said(function.returns)}" if function.returns else ""
        return f"({ast.unparse(given)}){returned}"

    def fields(self, node: ast.ClassDef) -> str:
        """The signature that ``dataclass`` or ``NamedTuple`` makes of annotated fields."""
        parts = []
        for one in node.body:
            if isinstance(one, ast.AnnAssign) and not one.target.id.startswith("_"):
                default = "" if one.value is None else f" = {ast.unparse(_default(one.value))}"
                parts.append(f"{one.target.id}: {self.said(one.annotation)}{default}")
        return f"({', '.join(parts)})"


def _default(value: ast.expr) -> ast.expr:
    """A default as it is shown: what is made anew, or put together from other names, as an ellipsis."""
    made = isinstance(value, ast.Call) and ast.unparse(value.func) == "field"
    joined = any(isinstance(node, ast.Starred) for node in ast.walk(value))
    return ast.Constant(...) if made or joined else value


def _is_annotated(value: ast.AST | None) -> bool:
    return isinstance(value, ast.Subscript) and ast.unparse(value.value) == "Annotated"


def _assigned(node: ast.stmt) -> Iterator[tuple[str, ast.expr | None, int]]:
    """Names that a statement gives a value, each with its own where that can be told."""
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id, node.value, node.lineno
    for target in node.targets if isinstance(node, ast.Assign) else ():
        if isinstance(target, ast.Name):
            yield target.id, node.value, node.lineno
        elif isinstance(target, ast.Tuple):
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [None] * len(target.elts)
            for one, value in zip(target.elts, values, strict=True):
                yield one.id, value, node.lineno


def _is_type(name: str, value: ast.expr | None) -> bool:
    return not name.startswith("_") and not name.isupper() and isinstance(value, ast.Subscript | ast.BinOp)


def _public(tree: ast.Module, types: _Types, lines: list[str]) -> Iterator[Named]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield _function(node, types)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _class(node, types)
        for name, value, line in _assigned(node):
            if name.startswith("_"):
                continue
            if _is_type(name, value):
                doc = f"``{ast.unparse(value)}``\n\n{_comment(lines, node)}".strip()
                yield Named(name, "type", "", (), doc, line)
            else:
                shown = " ".join(ast.unparse(value).split()) if value is not None else ""
                option = f":value: {shown}" if shown and len(shown) <= LONGEST_VALUE else ""
                yield Named(name, "data", "", (option,) * bool(option), _comment(lines, node), line)


def _function(node: ast.FunctionDef, types: _Types, owner: str = "") -> Named:
    wrapped = {ast.unparse(one).split(".")[-1] for one in node.decorator_list}
    name, doc = f"{owner}{node.name}", ast.get_docstring(node) or ""
    if wrapped & {"property", "cached_property"}:
        return Named(name, "property", "", (f":type: {types.said(node.returns)}",), doc, node.lineno)
    options = tuple(f":{one}:" for one in ("classmethod", "staticmethod", "abstractmethod") if one in wrapped)
    method = bool(owner) and "staticmethod" not in wrapped
    kind = "method" if owner else "function"
    return Named(name, kind, types.signature(node, method), options, doc, node.lineno)


def _class(node: ast.ClassDef, types: _Types) -> Iterator[Named]:
    bases = {ast.unparse(base) for base in node.bases}
    methods = [one for one in node.body if isinstance(one, ast.FunctionDef)]
    made = next((one for one in methods if one.name == "__init__"), None)
    signature = types.fields(node)
    if made is not None:
        signature = types.signature(made, method=True).partition(" -> ")[0]
    kind = "exception" if any(base.endswith(("Error", "Exception")) for base in bases) else "class"
    doc = ast.get_docstring(node) or ""
    yield Named(node.name, kind, "" if signature == "()" else signature, (), doc, node.lineno)
    for one in methods:
        if not one.name.startswith("_"):
            yield _function(one, types, f"{node.name}.")


def _comment(lines: list[str], node: ast.stmt) -> str:
    """The comment that follows a constant on its last lines, or stands right above it."""
    after = [re.search(r"(?<=\s)# (.+)$", line) for line in lines[node.lineno - 1 : node.end_lineno]]
    if found := [one[1] for one in after if one]:
        return _as_text(" ".join(found))
    above: list[str] = []
    for line in reversed(lines[: node.lineno - 1]):
        if not line.startswith("# ") or _RULE.match(line):
            break
        above.insert(0, line[2:])
    return _as_text(" ".join(above))


def _as_text(comment: str) -> str:
    """A comment as reStructuredText: ``p. 9`` at its start is no item of a list."""
    return re.sub(r"^(\w+)(?=[.)] )", r"\1\\", comment)


# ── writing the pages ──────────────────────────────────────────────────────────────────────────────────
def module_text(module: Module, known: Mapping[str, str]) -> str:
    """One module as a section in MyST Markdown: its docstring and each of its public names.

    Parameters
    ----------
    known : mapping of str to str
        What links may lead to: full names that have an entry somewhere, such as ``pdlib.data.fetch``, with their kind.
    """
    parts = [f".. py:module:: pdlib.{module.name}", _docstring(module.doc, module.name, "", known)]
    parts.append(_code_link(module.name, 1))
    classes = {name for name, kind in known.items() if kind in ("class", "exception")}
    made_in = {name.rpartition(".")[2]: name for name in classes}

    def shown(
        text: str,
    ) -> str:  # a class imported from where it was itself imported leads to where it is made
        return _OWN_TYPE.sub(lambda m: m[0] if m[0] in classes else made_in.get(m[1], m[1]), text)

    for one in module.names:
        owner, _, _ = one.name.rpartition(".")
        body = [
            *map(shown, one.options),
            "",
            *_docstring(one.doc, module.name, owner or one.name, known).splitlines(),
        ]
        if one.kind not in ("data", "type"):
            body += ["", *_code_link(module.name, one.line).splitlines()]
        indented = "\n".join(f"   {line}".rstrip() for line in body)
        parts.append(f".. py:{one.kind}:: {one.name}{shown(one.signature)}\n{indented}")
    return f"## {module.name}\n\n" + _rst("\n\n".join(parts))


def _rst(text: str) -> str:
    return f"````{{eval-rst}}\n{text}\n````"


def _code_link(module: str, line: int) -> str:
    where = f"pdlib/{module}.py" + (f", line {line}" if line > 1 else "")
    link = f'<p class="pd-code-link"><a href="../_static/pdlib/{module}.html#L-{line}">{where}</a></p>'
    return f".. raw:: html\n\n   {link}"


def _docstring(doc: str, module: str, owner: str, known: Mapping[str, str]) -> str:
    """A NumPy docstring as reStructuredText, its names in backticks as links where there is something to link to."""
    from sphinx.ext.napoleon import Config, NumpyDocstring

    settings = Config(
        napoleon_use_param=False,
        napoleon_use_rtype=False,
        napoleon_custom_sections=[("Attributes", "params_style")],
    )
    return _literal(_raises(str(NumpyDocstring(doc, settings)), module, known), module, owner, known)


def _raises(text: str, module: str, known: Mapping[str, str]) -> str:
    """Each error in its own field, with its full name."""

    def one_each(found: re.Match) -> str:
        names = [name.strip() for name in found[1].split(",")]
        end = text.find("\n", found.end())
        said = text[found.end() : end if end >= 0 else None]
        full = [
            _full(name, module, "", known) or _full(f"errors.{name}", module, "", known) or name
            for name in names
        ]
        fields = [f":raises ~{name}:" if name.startswith("pdlib.") else f":raises {name}:" for name in full]
        return f"{said}\n".join(fields)

    return _RAISES.sub(one_each, text)


def _full(text: str, module: str, owner: str, known: Mapping[str, str]) -> str | None:
    places = (f"pdlib.{module}.{owner}.", f"pdlib.{module}.", "pdlib.", "")
    return next((place + text for place in places if place + text in known), None)


def _literal(text: str, module: str, owner: str, known: Mapping[str, str]) -> str:
    """Single backticks become a link, or code where there is nothing to link to."""

    def one(found: re.Match) -> str:
        full = _full(found[1].rstrip("()"), module, owner, known)
        return f":py:obj:`{found[1]} <{full}>`" if full else f"``{found[1]}``"

    def apart(found: re.Match) -> str:  # reStructuredText ends inline markup only at the end of a word
        return found[1] + ("\\ " if found[2] else "")

    return _MARKED.sub(apart, _REFERENCE.sub(one, text))


def code_page(module: Module) -> str:
    """The code of a module as a page of its own, in the colours of the site; each line has the anchor ``L-n``."""
    from sphinx.highlighting import PygmentsBridge

    code = PygmentsBridge("html").highlight_block(module.source, "python", linespans="L")
    name = html.escape(f"pdlib/{module.name}.py")
    return f"""<!DOCTYPE html>
<html lang="en" data-theme="light">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<link rel="stylesheet" href="../pygments.css">
<style>
body {{ margin: 0 auto; max-width: 60rem; padding: 1rem; font-family: sans-serif; }}
html[data-theme="dark"] body {{ background: #14181e; color: #ced6dd; }}
html[data-theme="dark"] a {{ color: #7fb8ff; }}
pre {{ line-height: 1.35; overflow-wrap: anywhere; white-space: pre-wrap; }}
pre span[id] {{ scroll-margin-top: 30vh; }}
pre span:target {{ outline: 2px solid; outline-offset: 2px; }}
</style>
<script>
const chosen = localStorage.getItem("theme");
const dark = chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
document.documentElement.dataset.theme = dark ? "dark" : "light";
</script>
</head>
<body>
<main>
<h1>{name}</h1>
<p><a href="../../book/api.html">All modules</a></p>
{code}
</main>
</body>
</html>
"""
