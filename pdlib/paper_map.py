"""The page that leads from the paper to the book: each section with its figures, tables, equations and algorithms.

It is written when the pages are laid out, from the ledger of claims and the list of the paper's sections, so that a
verdict or a place that changes is changed here too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from pdlib import paths
from pdlib.claims import ITEM_KINDS, VERDICTS, Claim
from pdlib.errors import DataError
from pdlib.figure_index import PAGE as FIGURES
from pdlib.figure_index import Staged
from pdlib.reading import read_table

PAGE = "book/paper_map"
COLUMNS = ["section", "title", "pages", "chapters"]
_NAMES = {"fig": "Figure", "tab": "Table", "eq": "Equation", "alg": "Algorithm"}


@dataclass(frozen=True)
class Section:
    """One section of the paper as it is printed, and the chapters that treat it."""

    number: str
    title: str
    pages: str
    chapters: tuple[str, ...]

    @property
    def name(self) -> str:
        """Number and title."""
        return f"{self.number} {self.title}" if self.number[0].isdigit() else self.title


def read_sections(path: Path | None = None) -> tuple[Section, ...]:
    """The paper's sections in its order.

    Raises
    ------
    DataError
        When the table is not there, or has other columns.
    """
    path = path or paths.DATA / "sections.csv"
    frame = read_table(path, "take it from the repository")
    if list(frame.columns) != COLUMNS:
        raise DataError(
            f"{paths.shown(path)} has the columns {', '.join(frame.columns)}",
            f"they are {', '.join(COLUMNS)}",
        )
    return tuple(
        Section(row.section, row.title, row.pages, tuple(row.chapters.split())) for row in frame.itertuples()
    )


def map_page(
    chapters: Iterable[Staged],
    claims: Sequence[Claim],
    sections: Sequence[Section],
    heading: str,
    index: bool = True,
) -> str:
    """The page in MyST Markdown, with tables in HTML.

    Parameters
    ----------
    chapters : iterable of Staged
    claims : sequence of Claim
        The ledger; a row such as ``eq-8`` is the claim about that whole item.
    sections : sequence of Section
    heading : str
        Title of the page.
    index : bool
        Whether the book has the index of figures, which figures are then linked to.

    Raises
    ------
    DataError
        When a claim is of a section that is not in the list.
    """
    known = {section.number for section in sections}
    lost = sorted({claim.section for claim in claims} - known)
    if lost:
        raise DataError(
            f"the ledger has claims of section {', '.join(lost)}, which data/sections.csv does not list",
            "add the section, or correct the claim",
        )
    staged = {chapter.number: chapter for chapter in chapters}
    parts = [f"# {heading}", _INTRODUCTION]
    for section in sections:
        own = [claim for claim in claims if claim.section == section.number]
        parts += [f"## {section.name}", _said(section, own, staged)]
        items = sorted((claim for claim in own if _item(claim)), key=_place_in_the_paper)
        if items:
            rows = "".join(_row(claim, staged, index) for claim in items)
            parts.append(_table(rows, f"Items of section {section.name}"))
    return "\n\n".join(parts) + "\n"


_INTRODUCTION = (
    "Lay the paper beside this page: each of its sections with the chapters that treat it, and each figure, table, "
    "equation and algorithm with what is printed, the place in this book that answers it, and the ledger's verdict. "
    "Further claims about the same item, and those about sentences and numbers, stand in "
    "[chapter 18](../notebooks/18_audit.ipynb)."
)
_NO_LEDGER_PAGE = "This copy of the book has no ledger of claims, so there is nothing to lay the map from."


def without_ledger(heading: str) -> str:
    """The page of a book whose data folder has no ledger."""
    return f"# {heading}\n\n{_NO_LEDGER_PAGE}\n"


def _item(claim: Claim) -> tuple[str, int] | None:
    """Kind and number of the item that a claim is about as a whole; "eq-6-backwards" is about a part."""
    prefix, _, number = claim.id.partition("-")
    return (prefix, int(number)) if prefix in ITEM_KINDS and number.isdigit() else None


def _place_in_the_paper(claim: Claim) -> tuple[int, str, int]:
    prefix, number = _item(claim)
    return int(claim.page.partition("-")[0]), prefix, number


def _said(section: Section, claims: Sequence[Claim], staged: Mapping[str, Staged]) -> str:
    pages = f"{'Pages' if '-' in section.pages else 'Page'} {section.pages.replace('-', '–')}"
    named = [
        f"[{staged[number].title}](../notebooks/{staged[number].name}.ipynb)"
        for number in section.chapters
        if number in staged
    ]
    text = f"{pages} of the paper. In this book: {', '.join(named) or 'nothing yet'}."
    if claims:
        counts = Counter(claim.verdict for claim in claims)
        verdicts = " · ".join(f"{verdict} {counts[verdict]}" for verdict in VERDICTS if counts[verdict])
        text += f" {len(claims)} claim{'s' if len(claims) > 1 else ''}: {verdicts}."
    return text


def _table(rows: str, name: str) -> str:
    heads = "".join(
        f'<th scope="col">{head}</th>' for head in ("Item", "The paper prints", "Here", "Verdict")
    )
    return (
        f'<div class="pd-scroll" tabindex="0" role="group" aria-label="{escape(name)}">'
        f'<table class="pd-index pd-map"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _row(claim: Claim, staged: Mapping[str, Staged], index: bool) -> str:
    prefix, number = _item(claim)
    name = f"{_NAMES[prefix]}&nbsp;{number}"
    if prefix == "fig" and index:
        name = f'<a href="{Path(FIGURES).name}.html#figure-{number}">{name}</a>'
    badge = f'<span class="pd-verdict" data-verdict="{claim.verdict}">{claim.verdict}</span>'
    page = f"<small>p.&nbsp;{claim.page.replace('-', '–')}</small>"
    return (
        f'<tr id="{prefix}-{number}"><th scope="row">{name}<br>{page}</th>'
        f"<td>{escape(claim.printed)}</td><td>{_evidence(claim, staged)}</td><td>{badge}</td></tr>"
    )


def _evidence(claim: Claim, staged: Mapping[str, Staged]) -> str:
    """Link to what the verdict rests on, or to its chapter where the page has no such place."""
    chapter = staged.get(claim.chapter)
    if chapter is None:
        return f"Chapter {int(claim.chapter)}"
    anchor = f"pd-{claim.chapter}-{claim.key}"
    place = f"../notebooks/{chapter.name}.html"
    if anchor not in chapter.cells:
        return f'<a href="{place}">{escape(chapter.title)}</a>'
    return f'<a href="{place}#{anchor}">{escape(chapter.title)}: {escape(claim.key)}</a>'
