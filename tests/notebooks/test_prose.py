"""Prose of chapters and pages: every number of ours is glued, every other is quoted, and all glue leads somewhere."""

import nbformat
import pytest

from pdlib import paths
from pdlib.params import Project, read_chapter, read_chapters
from tests.prose import bare_numbers, glue_faults
from tests.tinybook import write_notebook

CHAPTERS = [pytest.param(path, id=path.stem) for path in sorted(paths.NOTEBOOKS.glob("*.ipynb"))]
PAGES = [pytest.param(path, id=path.stem) for path in sorted(paths.BOOK.glob("*.md"))]


@pytest.fixture(scope="module")
def chapters():
    return read_chapters(Project())


def texts(path):
    """Markdown of a page, or of each text cell of a chapter by the cell's id."""
    if path.suffix == ".md":
        return {path.name: path.read_text(encoding="utf-8")}
    cells = nbformat.read(path, as_version=4).cells
    return {cell.id: cell.source for cell in cells if cell.cell_type == "markdown"}


# ── the book ───────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("path", [*CHAPTERS, *PAGES])
def test_no_number_is_typed_into_prose(path):
    """Glue it from a run, quote it as printed, or set what is only supposed as mathematics."""
    found = [
        f"{at}, line {line}: {number}"
        for at, text in texts(path).items()
        for line, number in bare_numbers(text)
    ]
    assert found == []


@pytest.mark.parametrize("path", [*CHAPTERS, *PAGES])
def test_all_glue_leads_to_a_number_or_words_of_a_chapter(path, chapters):
    own = path.name[:2] if path.suffix == ".ipynb" else ""
    found = [
        f"{at}: {fault}" for at, text in texts(path).items() for fault in glue_faults(text, chapters, own)
    ]
    assert found == []


def test_there_are_chapters_and_pages_to_look_at():
    assert CHAPTERS and PAGES


# ── the rule itself ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "text",
    [
        "The accuracy is 0.57 here.", "It reaches 57.3 % of them.", "It reaches 57\u00a0% of them.",
        "A gain of −0.28.", "an AUC of 0.57.", "(AUC 0.57)", "| model | 0.57 |", "from 0.44–0.70", "**0.57**",
        "95 % of the recordings", "the paper's value and 0.57 of the speakers' own", "> a block quote with 0.57",
        "$x$ is 0.57 of $y$", "Python users reach 0.57", ":::{note}\n0.57\n:::", "```{note} 0.57 in a title\ntext\n```",
        ":::{note}\n:class: dropdown\n0.57\n:::",
        "```{note}\ntext\n```\n0.57 between\n```python\n0.1\n```", "````{note}\n```python\n0.1\n```\n0.57\n````",
    ],
)  # fmt: skip
def test_a_typed_number_is_found(text):
    assert len(bare_numbers(text)) == 1 + ("–" in text)


@pytest.mark.parametrize(
    "text",
    [
        "“99.06%” (p. 1)", 'the printed "0.9906"', "a quotation “over two\nlines with 0.57 in it”", "as '0.57'",
        "{glue:text}`auc` of {cite:p}`a2020b`", "`x = 0.57`", "``x = `0.57` ``", "```python\nx = 0.57\n```",
        "   ```python\n   x = 0.57\n   ```", ":::{note}\n```\n0.57\n```\n:::", "```{math}\n0.57\n```", "~~~\n0.57\n~~~",
        "$x = 0.57$", "$$\nx = 0.57\n$$", "[text](https://a.example/0.57)", "doi:10.6084/m9.figshare.23849127",
        "section 3.3 and Section 5.1", "sections 4.1 and 4.2", "section 3.3.2", "Figure 3, eq. 1.2", "§ 3.2",
        "CC BY 4.0", "Python 3.11", "2.13.0", "95 % intervals", "95 % bootstrap intervals", "1. Read.",
        "40 PD and 41 HC on 2024-01-31", "HC-01 to HC-41", '<img width="0.5em" alt="0.57">', "(label-0.57)=\n",
    ],
)  # fmt: skip
def test_what_is_no_claim_of_ours_is_left_alone(text):
    assert bare_numbers(text) == []


def test_a_number_is_reported_with_its_line_whatever_was_taken_out_above_it():
    text = "# Title\n\n```python\nx = 0.1\n```\n\n“a 0.2\nb” and 0.3\n\n$$\n0.4\n$$\n0.5"
    assert bare_numbers(text) == [(8, "0.3"), (13, "0.5")]


CODE = 'page.number("auc", 0.5)\nfor name in ("a", "b"):\n    page.words(f"says-{name}", "text")'


@pytest.fixture
def tiny(tmp_path):
    project = Project(tmp_path)
    return {number: read_chapter(write_notebook(project, f"{number}_x", CODE)) for number in ("05", "06")}


@pytest.mark.parametrize(
    ("target", "own"),
    [
        ("auc", "05"),
        ("says-a", "05"),
        ("../notebooks/06_x.ipynb::auc:", "05"),
        ("../notebooks/05_x.ipynb::says-b:", ""),
    ],
)
def test_glue_of_what_a_chapter_defines_is_fine(tiny, target, own):
    assert glue_faults(f"It is {{glue:text}}`{target}`.", tiny, own) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{glue:text}`auk`", "chapter 05 defines no such"),
        ("{glue:text}`says`", "chapter 05 defines no such"),
        ("{glue:text}`../notebooks/06_x.ipynb::auk:`", "chapter 06 defines no such"),
        ("{glue:text}`../notebooks/06_x.ipynb::auc`", "ends in a colon"),
        ("{glue:text}`../notebooks/07_x.ipynb::auc:`", "no such chapter"),
        ("{glue:text}`06_x.ipynb::auc:`", "no such chapter"),
        ("{glue}`auc`", "puts quotation marks"),
    ],
)
def test_glue_of_nothing_is_found(tiny, text, fault):
    (found,) = glue_faults(f"It is {text}.", tiny, "05")
    assert fault in found


def test_a_page_that_is_no_chapter_has_no_keys_of_its_own(tiny):
    assert glue_faults("{glue:text}`auc`", tiny) == ["auc: no such chapter"]
