"""Which cell made what a chapter shows: anchors in the executed pages, and the page that lists every figure.

A kernel is not told which cell it runs, so this is read off the executed chapter: the outputs of a cell hold its
figures and tables by their anchors, and its numbers and words by the keys they are glued under.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from nbformat.v4 import new_markdown_cell
from PIL import Image

from pdlib import paths
from pdlib.claims import Claim
from pdlib.errors import PublishError
from pdlib.markup import SYNTHETIC, cell_anchor, with_cell

PAPER_FIGURES = range(1, 31)
PAGE = "book/figure_index"
MOST_PIXELS = 40_000_000  # of one figure
SMALL = 480  # pixels across a picture in the index; it is drawn at half of that or less
_SHOWN = re.compile(r'<figure class="pd-(?:figure|table)" id="(pd-[\w-]+)"')
_PICTURE = re.compile(r'src="data:image/(svg\+xml|png);base64,([^"]+)"')
_SVG_SIZE = re.compile(rb'viewBox="0 0 ([\d.]+) ([\d.]+)"')
_KEY = re.compile(r"(?=.{1,120}$)[a-z0-9]+(-[a-z0-9]+)*")  # as a page takes it; never a path
_GLUED = "application/papermill.record/text/plain"


# ── cells of an executed chapter ───────────────────────────────────────────────────────────────────────
def clean(notebook: Any) -> Any:
    """The notebook as it is before a run: without outputs and without the values one run was given."""
    from pdlib.execute import INJECTED  # imported here, for papermill takes a second that few need to wait

    cells = [cell for cell in notebook.cells if INJECTED not in cell.metadata.get("tags", [])]
    source = deepcopy(notebook)
    source["cells"] = deepcopy(cells)
    for cell in source.cells:
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]  # papermill gives every cell a list of tags
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    needs = notebook.metadata.get("pdlib", {}).get("needs")
    source.metadata.pop("pdlib", None)
    if needs:
        source.metadata["pdlib"] = {"needs": needs}
    return source


def link_cells(notebook: Any, number: str, name: str) -> dict[str, str]:
    """Give every cell that shows something an anchor, and everything shown a link to its cell; changes ``notebook``.

    Numbers and words have no place of their own, so each gets a line above its cell that is seen only by who
    follows a link to it (``#pd-10-auc-paper``).

    Parameters
    ----------
    notebook : NotebookNode
        An executed chapter.
    number, name : str
        The chapter's two digits, and its file's name without ending.

    Returns
    -------
    dict of str to str
        Cell id by anchor, for figures, tables, numbers and words.
    """
    made: dict[str, str] = {}
    lines: dict[str, str] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data:
                html = _joined(data["text/html"])
                made |= dict.fromkeys(_SHOWN.findall(html), cell.id)
                data["text/html"] = with_cell(html, cell.id, f"../_static/notebooks/{name}.ipynb")
            key = output.get("metadata", {}).get("scrapbook", {}).get("name")
            if isinstance(key, str) and _KEY.fullmatch(key) and _GLUED in data:
                # glued again in a later cell, a key has the later value
                made[f"pd-{number}-{key}"] = cell.id
                lines[f"pd-{number}-{key}"] = _line(f"pd-{number}-{key}", key, _joined(data[_GLUED]), cell.id)
    cells = []
    for cell in notebook.cells:
        own = [anchor for anchor, maker in made.items() if maker == cell.id]
        if own:
            inside = "".join(lines.get(anchor, "") for anchor in own)
            html = f'<div class="pd-cell" id="{cell_anchor(cell.id)}">{inside}</div>'
            cells.append(new_markdown_cell(html, id=f"at-{cell.id}"[:64]))
        cells.append(cell)
    notebook["cells"] = cells
    return made


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def _line(anchor: str, key: str, glued: str, cell: str) -> str:
    try:
        said = ast.literal_eval(glued)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        said = glued  # no text of Python: shown as it stands
    text = " ".join(str(said).splitlines())  # a blank line would end the HTML
    return (
        f'<p class="pd-glued" id="{anchor}"><code>{escape(key)}</code>: {escape(text)} '
        f"<small>computed in the cell below, {escape(cell)}</small></p>"
    )


def note_cells(folder: Path, number: str, made: Mapping[str, str]) -> None:
    """Write the cell into the accounts that lie beside a chapter: ``<key>.json`` and ``numbers.json``."""
    numbers = folder / "numbers.json"
    known = _account(numbers) if numbers.is_file() else {}
    for anchor, cell in made.items():
        key = anchor.removeprefix(f"pd-{number}-")
        account = folder / f"{key}.json"
        if isinstance(known.get(key), dict):
            known[key]["cell"] = cell
        elif _KEY.fullmatch(key) and account.is_file():
            content = _account(account)
            _write(account, {"chapter": content.pop("chapter", number), "cell": cell} | content)
    if known:
        _write(numbers, known)


def _account(path: Path) -> dict[str, Any]:
    """A JSON file that a page left beside its chapter."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(content, ensure_ascii=False).encode("utf-8")
    except (OSError, ValueError, RecursionError) as error:
        raise PublishError(f"{path.parent.name}/{path.name} cannot be read: {error}", _AGAIN) from error
    if not isinstance(content, dict):
        raise PublishError(f"{path.parent.name}/{path.name} is not what a page writes", _AGAIN)
    return content


_AGAIN = "run the chapter again: python -m pdlib run --only NN"


def _write(path: Path, content: Any) -> None:
    paths.write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


# ── what the chapters show ─────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Staged:
    """An executed chapter as it is laid out for the builder: its file's name, title, notebook and cells by anchor."""

    number: str
    name: str
    title: str
    notebook: Any
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Ours:
    """One figure or table of a chapter, with the small picture of it (a path from ``_static``) and its size."""

    chapter: Staged
    key: str
    what: str
    number: str
    caption: str
    alt: str
    synthetic: bool
    files: tuple[str, ...]
    picture: str = ""
    size: tuple[int, int] = (0, 0)

    @property
    def anchor(self) -> str:
        """Id of the figure on its chapter's page."""
        return f"pd-{self.chapter.number}-{self.key}"

    @property
    def place(self) -> str:
        """Address of the figure, from the index page."""
        return f"../notebooks/{self.chapter.name}.html#{self.anchor}"


def shown_by(chapter: Staged, static: Path) -> list[Ours]:
    """The figures and tables of a chapter in the order of the page; small pictures are written below ``static``.

    Parameters
    ----------
    chapter : Staged
    static : Path
        Folder of static files, with the chapter's side files in ``pages/NN``.
    """
    folder = static / "pages" / chapter.number
    if not (folder / "page.json").is_file():
        return []
    items = _account(folder / "page.json").get("items")
    if not (isinstance(items, dict) and all(_is_item(key, item) for key, item in items.items())):
        raise PublishError(f"pages/{chapter.number}/page.json is not what a page writes", _AGAIN)
    pictures = _pictures(chapter.notebook)
    found = []
    for key, item in items.items():
        if item["what"] not in ("figure", "table"):
            continue
        account = _account(folder / f"{key}.json")
        if not isinstance(account.get("alt", ""), str):
            raise PublishError(f"pages/{chapter.number}/{key}.json is not what a page writes", _AGAIN)
        data = pictures.get(f"pd-{chapter.number}-{key}")
        picture, size = _small(*data, folder / key) if data else ("", (0, 0))
        found.append(
            Ours(
                chapter=chapter, key=key, what=item["what"], number=item["number"] or "",
                caption=item["caption"], alt=account.get("alt", ""), synthetic=item["synthetic"],
                files=tuple(name for name in item["files"] if name.endswith(".csv")),
                picture=f"pages/{chapter.number}/{picture}" if picture else "", size=size,
            )
        )  # fmt: skip
    return found


def _is_item(key: str, item: Any) -> bool:
    """Whether a page's account of one thing it shows is such: the key is no path, and all is there that is used."""
    if not (_KEY.fullmatch(key) and isinstance(item, dict) and isinstance(item.get("what"), str)):
        return False
    if item["what"] not in ("figure", "table"):
        return True
    texts = isinstance(item.get("number", ""), str | None) and isinstance(item.get("caption"), str)
    files = item.get("files")
    named = isinstance(files, list) and all(isinstance(f, str) and Path(f).name == f for f in files)
    return texts and named and "number" in item and isinstance(item.get("synthetic"), bool)


def _pictures(notebook: Any) -> dict[str, tuple[str, bytes]]:
    """Kind ("svg+xml" or "png") and bytes of each figure in the outputs, by its anchor."""
    found = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            html = _joined(output.get("data", {}).get("text/html", ""))
            anchor, picture = _SHOWN.search(html), _PICTURE.search(html)
            if anchor and picture:
                with contextlib.suppress(ValueError):  # no base64: there is no picture
                    found[anchor[1]] = (picture[1], base64.b64decode(picture[2]))
    return found


def _small(kind: str, data: bytes, target: Path) -> tuple[str, tuple[int, int]]:
    """Write a picture for the index beside the side files; its file's name and its size in pixels."""
    if kind == "svg+xml":
        path = target.with_name(f"{target.name}.svg")
        size = _SVG_SIZE.search(data)
        width, height = (float(size[1]), float(size[2])) if size else (4.0, 3.0)
    else:
        path = target.with_name(f"{target.name}-small.png")
        image = _drawn(data, target.name)
        width, height = image.size
        if width > SMALL:
            image = image.resize((SMALL, round(SMALL * height / width)), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        image.quantize(128, dither=Image.Dither.NONE).save(buffer, "png", optimize=True)
        data = buffer.getvalue()
    with paths.writing_errors(path):
        path.write_bytes(data)
    return path.name, (SMALL, round(SMALL * height / width))


def _drawn(data: bytes, name: str) -> Image.Image:
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise PublishError(f"the picture of {name} has {image.width} × {image.height} pixels", _AGAIN)
            drawn = image.convert("RGB")
            drawn.info.clear()  # a transparent colour would be written again, and a picture of 128 colours refuses it
            return drawn
    except PublishError:
        raise
    except Exception as error:  # Pillow raises errors of many types
        raise PublishError(f"the picture of {name} is damaged: {error}", _AGAIN) from error


def numbers_in(text: str) -> set[int]:
    """Every number that a text like "Figures 15, 16 and 22–25" names."""
    found: set[int] = set()
    for low, high in re.findall(r"\b(\d{1,3})(?:\s*[–-]\s*(\d{1,3}))?\b", text):
        found |= set(range(int(low), int(high or low) + 1))
    return found


# ── the page ───────────────────────────────────────────────────────────────────────────────────────────
def index_page(
    chapters: Iterable[Staged],
    shown: Mapping[str, list[Ours]],
    claims: Iterable[Claim] | None,
    heading: str,
) -> str:
    """The page that lists the paper's thirty figures with ours, and below them our further figures.

    Parameters
    ----------
    chapters : iterable of Staged
    shown : mapping
        What each chapter shows (`shown_by`), by number.
    claims : iterable of Claim, optional
        The ledger; its rows ``fig-1`` to ``fig-30`` are used.
    heading : str
        Title of the page.

    Returns
    -------
    str
        MyST Markdown with tables and figures in HTML.
    """
    chapters = list(chapters)
    items = [item for found in shown.values() for item in found]
    known = {claim.id: claim for claim in claims or ()}
    rows = [_row(number, items, chapters, known.get(f"fig-{number}")) for number in PAPER_FIGURES]
    synthetic = any(item.synthetic for item in items)
    parts = [
        f"# {heading}",
        _INTRODUCTION,
        _MADE_UP if synthetic else "",
        "" if claims is not None else _NO_LEDGER,
        "## The paper's figures",
        _table(rows),
        "## Further figures of this book",
        *(_gallery(chapter, shown[chapter.number]) for chapter in chapters),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_INTRODUCTION = (
    "Each figure of the paper with the one that answers it here, its numbers as a file, the cell that drew it and the "
    "notebook this cell stands in. The second column says in short what the paper shows; the verdict comes from "
    "the ledger of claims. A figure that answers to several of the paper's stands in each of their rows."
)
_MADE_UP = (
    f'<p><strong class="pd-synthetic">{SYNTHETIC}</strong> Pictures marked so come from made-up voices or signals and '
    "bear out no verdict: the verdicts are those of the edition, which stands on the recordings.</p>"
)
_NO_LEDGER = "This copy of the book has no ledger of claims, so the columns that come from it are empty."


def _table(rows: list[str]) -> str:
    heads = "".join(
        f'<th scope="col">{name}</th>' for name in ("Figure", "The paper shows", "Ours", "Verdict")
    )
    return (
        '<div class="pd-scroll" tabindex="0" role="group" aria-label="Figures of the paper">'
        f'<table class="pd-index"><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _row(number: int, items: list[Ours], chapters: list[Staged], claim: Claim | None) -> str:
    ours = [i for i in items if i.number.startswith("Figure") and number in numbers_in(i.number)]
    named = [i for i in items if claim and (i.chapter.number, i.key) == (claim.chapter, claim.key)]
    # figures before tables, and first among them what the verdict rests on
    listed = sorted([*named, *(i for i in ours if i not in named)], key=lambda i: i.what == "table")
    body = "".join(map(_card, listed))
    if not any(item.what == "figure" for item in listed):
        body = f"<p>No figure of ours.</p>{body}"
    if claim and not named:
        body += _evidence(claim, chapters)
    page, printed, judged = "", "", ""
    if claim:
        page, printed = f"<br><small>p.&nbsp;{escape(claim.page)}</small>", escape(claim.printed)
        badge = f'<span class="pd-verdict" data-verdict="{claim.verdict}">{claim.verdict}</span>'
        judged = f"<p>{badge}</p><p>{escape(claim.note)}</p>"
    return (
        f'<tr id="figure-{number}"><th scope="row">Figure&nbsp;{number}{page}</th>'
        f"<td>{printed}</td><td>{body}</td><td>{judged}</td></tr>"
    )


def _evidence(claim: Claim, chapters: list[Staged]) -> str:
    """Link to a number or sentence that a verdict rests on."""
    anchor = f"pd-{claim.chapter}-{claim.key}"
    place = next((f"../notebooks/{c.name}.html#{anchor}" for c in chapters if anchor in c.cells), "")
    return f'<p>The verdict rests on <a href="{place}">{escape(claim.key)}</a>.</p>' if place else ""


def _card(item: Ours) -> str:
    chapter, cell = item.chapter, item.chapter.cells.get(item.anchor)
    mark = f'<strong class="pd-synthetic">{SYNTHETIC}</strong> ' if item.synthetic else ""
    picture = ""
    if item.picture:
        width, height = item.size
        picture = (
            f'<a href="{item.place}"><img class="pd-small dark-light" alt="{escape(item.alt)}" loading="lazy" '
            f'width="{width}" height="{height}" src="../_static/{item.picture}"></a>'
        )
    files = [(f"../_static/pages/{chapter.number}/{name}", name) for name in item.files]
    numbers = " ".join(f'<a href="{place}" download>{name}</a>' for place, name in files)
    code = f'<a href="../_static/notebooks/{chapter.name}.ipynb" download>notebook</a>'
    if cell:
        at = f"../notebooks/{chapter.name}.html#{cell_anchor(cell)}"
        code = f'<a href="{at}">cell {escape(cell)}</a> {code}'
    return (
        f'<figure class="pd-card">{picture}<figcaption>{mark}{escape(_first_sentence(item.caption))} '
        f'<a href="{item.place}">{"Table" if item.what == "table" else "Figure"} in chapter {chapter.number}</a>'
        f"<small>Numbers: {numbers}</small><small>Code: {code}</small></figcaption></figure>"
    )


_PLACE = re.compile(r"^<!-- figure (\d\d) ([a-z0-9-]+) -->$", re.MULTILINE)


def place_figures(text: str, shown: Mapping[str, list[Ours]]) -> str:
    """A page's text with every line ``<!-- figure NN key -->`` replaced by that chapter's figure and a link to it.

    Parameters
    ----------
    text : str
        Markdown of a page that is one folder below the site's root.
    shown : mapping
        What each chapter shows (`shown_by`), by number.

    Raises
    ------
    PublishError
        When the chapter shows no such figure.
    """

    def placed(match: re.Match[str]) -> str:
        number, key = match.groups()
        item = next((i for i in shown.get(number, ()) if i.key == key and i.picture), None)
        if item is None:
            raise PublishError(
                f"a page wants figure {key!r} of chapter {number}, which shows none of this name",
                f"run the chapter again: python -m pdlib run --only {number}",
            )
        width, height = item.size
        mark = f'<strong class="pd-synthetic">{SYNTHETIC}</strong> ' if item.synthetic else ""
        return (
            f'<figure class="pd-placed"><img class="pd-image dark-light" alt="{escape(item.alt)}" width="{width}" '
            f'height="{height}" src="../_static/{item.picture}"><figcaption class="pd-caption">{mark}'
            f'{escape(item.caption)} <a href="{item.place}">Its data, code and stamp</a></figcaption></figure>'
        )

    return _PLACE.sub(placed, text)


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[^.\s]{2}[.?!]) (?=[A-Z“])", text.strip(), maxsplit=1)[0]


def _gallery(chapter: Staged, items: list[Ours]) -> str:
    cards = [_card(i) for i in items if i.what == "figure" and not i.number.startswith("Figure")]
    return f'### {chapter.title}\n\n<div class="pd-gallery">{"".join(cards)}</div>' if cards else ""
