"""The map from the paper to the book: nothing of the paper is missing, and every row leads to its evidence."""

import re

import pytest
from nbformat.v4 import new_notebook

from pdlib import paper_map, paths
from pdlib.claims import REQUIRED, VERDICTS, read_claims
from pdlib.errors import DataError
from pdlib.figure_index import Staged
from pdlib.params import Project, read_chapters


@pytest.fixture(scope="module")
def claims():
    return read_claims()


@pytest.fixture(scope="module")
def staged(claims):
    """The book's chapters as if each showed everything the ledger names."""
    cells = {}
    for claim in claims:
        cells.setdefault(claim.chapter, {})[f"pd-{claim.chapter}-{claim.key}"] = "cell"
    return [
        Staged(number, one.name, one.title, new_notebook(), cells.get(number, {}))
        for number, one in read_chapters(Project()).items()
    ]


@pytest.fixture(scope="module")
def page(staged, claims):
    return paper_map.map_page(staged, claims, paper_map.read_sections(), "Map")


def rows(page):
    """Cells of each row by its anchor."""
    found = re.findall(r'<tr id="([^"]+)">(.*?)</tr>', page, re.DOTALL)
    return {anchor: re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for anchor, row in found}


@pytest.mark.parametrize(("prefix", "count"), REQUIRED.items())
def test_every_figure_table_equation_and_algorithm_of_the_paper_is_there_once(page, prefix, count):
    anchors = re.findall(rf'<tr id="{prefix}-(\d+)"', page)
    assert sorted(map(int, anchors)) == list(range(1, count + 1))


def test_each_row_says_what_is_printed_its_verdict_and_leads_to_its_evidence(page, claims):
    found, names = rows(page), {one.number: one.name for one in read_chapters(Project()).values()}
    for claim in claims:
        if claim.id not in found:
            continue
        name, printed, here, verdict = found[claim.id]
        assert claim.printed.split("<")[0] in printed
        assert f'href="../notebooks/{names[claim.chapter]}.html#pd-{claim.chapter}-{claim.key}"' in here
        assert f'data-verdict="{claim.verdict}">{claim.verdict}<' in verdict
        assert f"p.&nbsp;{claim.page.replace('-', '–')}" in name


def test_figures_lead_to_the_index_of_figures_where_the_book_has_it(page, staged, claims):
    assert 'href="figure_index.html#figure-13"' in page
    assert "figure_index" not in paper_map.map_page(
        staged, claims, paper_map.read_sections(), "Map", index=False
    )


def test_every_section_of_the_ledger_is_a_heading_with_its_pages_chapters_and_verdicts(page, claims):
    for section in paper_map.read_sections():
        text = page.partition(f"## {section.name}\n")[2].partition("\n## ")[0]
        assert re.match(r"\nPages? \d", text)
        assert len(re.findall(r"\.\./notebooks/\w+\.ipynb", text)) == len(section.chapters) > 0
        own = [claim for claim in claims if claim.section == section.number]
        counted = re.findall(rf"(?:{'|'.join(VERDICTS)}) (\d+)", text.partition("<div")[0])
        assert sum(map(int, counted)) == len(own)


def test_the_pages_of_a_section_hold_those_of_its_claims(claims):
    pages = {section.number: section.pages for section in paper_map.read_sections()}
    for claim in claims:
        low, _, high = pages[claim.section].partition("-")
        first, _, last = claim.page.partition("-")
        assert int(low) <= int(first) and int(last or first) <= int(high or low), claim.id


def test_a_place_that_a_chapter_does_not_show_becomes_a_link_to_the_chapter(staged, claims):
    bare = [Staged(one.number, one.name, one.title, one.notebook, {}) for one in staged]
    found = rows(paper_map.map_page(bare, claims, paper_map.read_sections(), "Map"))
    assert all("#" not in cells[2] for cells in found.values())
    none = rows(paper_map.map_page([], claims, paper_map.read_sections(), "Map"))
    assert {cells[2] for cells in none.values()} <= {f"Chapter {number}" for number in range(1, 19)}


def test_a_claim_of_an_unknown_section_is_named(staged, claims):
    with pytest.raises(DataError, match=r"section 5\.2"):
        paper_map.map_page(staged, claims, [s for s in paper_map.read_sections() if s.number != "5.2"], "Map")


def test_a_list_of_sections_that_is_missing_or_another_table_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        paper_map.read_sections(tmp_path / "none.csv")
    with pytest.raises(DataError, match="has the columns"):
        paper_map.read_sections(paths.DATA / "claims.csv")
