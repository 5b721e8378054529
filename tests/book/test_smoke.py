"""The whole book at its smallest: every chapter in the smoke profile, and the strict site made of them."""

import io
import json
import re

import nbformat
import pytest
from rich.console import Console

from pdlib import paths, publish, run

pytestmark = pytest.mark.slow


def test_every_chapter_runs_in_the_smoke_profile_without_an_error_or_a_warning_on_its_page(executed):
    noisy = []
    for copy in sorted(executed.glob("*.ipynb")):
        for number, cell in enumerate(nbformat.read(copy, as_version=4).cells, 1):
            for output in cell.get("outputs", []):
                if output.output_type == "error" or output.get("name") == "stderr":
                    noisy.append(f"{copy.name}, cell {number}: {str(output.get('text', output))[:300]}")
    assert noisy == []


def test_no_page_shows_the_address_of_an_object(executed):
    shown_text = {
        f"{copy.name}, {cell.id}": str(output.get("data", output.get("text", "")))
        for copy in executed.glob("*.ipynb")
        for cell in nbformat.read(copy, as_version=4).cells
        for output in cell.get("outputs", [])
    }
    assert [where for where, text in shown_text.items() if re.search(r" at 0x[0-9a-f]{6}", text)] == []


def test_no_executed_chapter_holds_a_path_of_the_machine(book, executed):
    places = (str(book.root), str(paths.ROOT))
    texts = {copy.name: copy.read_text(encoding="utf-8") for copy in executed.glob("*.ipynb")}
    assert [name for name, text in texts.items() if any(place in text for place in places)] == []


def test_a_second_run_finds_everything_up_to_date(book, executed, monkeypatch):
    monkeypatch.setenv("PDLIB_RUNS", str(executed.parent))
    report = run.run("smoke", project=book, console=Console(file=io.StringIO()))
    assert {outcome.state for outcome in report.outcomes} == {"up to date"}


def test_the_strict_build_gives_every_page_of_the_table_of_contents(book, site):
    assert [page for page in publish.toc_files(book) if not (site / f"{page}.html").is_file()] == []


def test_every_statement_of_the_front_page_leads_to_its_evidence_in_one_click(site):
    page = (site / "book" / "intro.html").read_text(encoding="utf-8")
    box = re.search(r'<div class="pd-holds admonition">(.*?)</div>', page, re.DOTALL)[1]
    statements = box.split("<li>")[1:]
    assert len(statements) == 9
    for statement in statements:
        path, anchor = re.findall(r'href="\.\./(notebooks/[^"#]+)#([^"]+)"', statement)[-1]
        assert f'id="{anchor}"' in (site / path).read_text(encoding="utf-8")


def numbers_in(text):
    """Every number a text like "Figures 15, 16 and 22–25" names."""
    found = set()
    for low, high in re.findall(r"(\d+)(?:\s*[–-]\s*(\d+))?", text):
        found |= set(range(int(low), int(high or low) + 1))
    return found


def shown(executed):
    """What the pages of a run show: one account per figure, table and number."""
    accounts = [json.loads(path.read_text(encoding="utf-8")) for path in executed.glob("pages/*/page.json")]
    return [item for account in accounts for item in account["items"].values()]


def test_every_figure_and_every_table_of_the_paper_has_a_counterpart(executed):
    named = [item["number"] for item in shown(executed) if item["number"]]
    figures = set().union(*(numbers_in(name) for name in named if name.startswith("Figure")))
    tables = set().union(*(numbers_in(name) for name in named if name.startswith("Table")))
    assert set(range(1, 31)) - figures == set()
    assert set(range(1, 6)) - tables == set()


def test_every_equation_and_algorithm_of_the_paper_is_treated_in_a_chapter(executed):
    text = "\n".join(
        cell.source for copy in executed.glob("*.ipynb") for cell in nbformat.read(copy, as_version=4).cells
    )
    equations = set().union(
        *(numbers_in(found) for found in re.findall(r"(?i)\b(?:eq\.|equations?) ([\d–\-, and]*\d)", text))
    )
    algorithms = set().union(
        *(numbers_in(found) for found in re.findall(r"Algorithms? ([\d–\-, and]*\d)", text))
    )
    assert set(range(1, 33)) - equations == set()
    assert {1, 2, 3, 4} - algorithms == set()


def test_everything_a_synthetic_run_takes_from_voices_says_so_and_no_single_real_voice_is_shown(executed):
    items = shown(executed)
    assert {item["synthetic"] for item in items if item["source"] != "paper"} == {True}
    assert not any(item.get("shows_individuals") for item in items)
