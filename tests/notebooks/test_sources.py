"""Source notebooks: clean, typed, short, listed, and runnable by every profile."""

import ast
import re

import nbformat
import pytest

from pdlib import paths
from pdlib.params import Project, load_profile, read_chapter, read_chapters, resolve
from pdlib.publish import toc_files

LONGEST_CELL = 40
LONGEST_FUNCTION = 25
PROFILES = ("smoke", "quick", "full")
FOUND = sorted(paths.NOTEBOOKS.glob("*.ipynb"))
# a book without chapters must fail, not pass for want of cases
CHAPTERS = [pytest.param(path, id=path.stem) for path in FOUND] or [pytest.param(None, id="no-chapter")]


@pytest.fixture(params=CHAPTERS)
def path(request):
    assert request.param is not None, "notebooks/ holds no chapter NN_name.ipynb"
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def plain(source):
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines())


def test_a_source_has_no_outputs_and_no_execution_counts(notebook):
    assert [
        cell.id for cell in code_cells(notebook) if cell.outputs or cell.execution_count is not None
    ] == []


def test_a_source_is_a_valid_notebook_with_unique_cell_ids(path, notebook):
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor >= 5) == (4, True)
    raw = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    ids = [cell.get("id", "") for cell in raw.cells]
    assert all(ids) and len(set(ids)) == len(ids)


def test_a_source_names_the_kernel_python3_and_has_one_typed_parameters_cell(path, notebook):
    chapter = read_chapter(path)
    assert notebook.metadata.kernelspec.name == "python3"
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert "seed" in chapter.parameters or "cohort" not in chapter.parameters


def test_a_source_starts_with_its_numbered_title_and_a_card(path, notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    title, _, card = first.source.partition("\n")
    assert re.match(rf"# {int(path.name[:2])}\. \S", title), title
    assert len(card.strip()) > 40, "the first cell has no card under its title"


def test_no_cell_is_longer_than_a_screen(notebook):
    long = {cell.id: len(cell.source.splitlines()) for cell in code_cells(notebook)}
    assert {name: lines for name, lines in long.items() if lines > LONGEST_CELL} == {}


def test_no_function_in_a_notebook_is_longer_than_a_screen(notebook):
    long = []
    for cell in code_cells(notebook):
        for node in ast.walk(ast.parse(plain(cell.source))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                if node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION:
                    long.append(f"{cell.id}: {node.name}")
    assert long == []


def test_no_cell_depends_on_the_working_folder_or_installs_something(notebook):
    bad = re.compile(
        r"""os\.chdir|%cd\b|!pip|%pip|!conda|(?<![\w.])open\(\s*["'][^/]|read_csv\(\s*["'](?!https?:)"""
    )
    assert [cell.id for cell in code_cells(notebook) if bad.search(cell.source)] == []


def test_a_source_carries_no_metadata_of_one_run(notebook):
    assert "papermill" not in notebook.metadata
    assert set(notebook.metadata.get("pdlib", {})) <= {"needs"}
    assert [cell.id for cell in notebook.cells if {"papermill", "execution"} & set(cell.metadata)] == []


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_fits_the_chapters_and_says_what_it_is_for(profile):
    project = Project()
    chapters = read_chapters(project)
    found = load_profile(profile, project)
    assert found.about
    assert set(found.minutes) == set(chapters), "a profile expects a time for every chapter"
    values = resolve(chapters, found, {}, list(chapters))
    assert all(v.get("individuals", "synthetic") != "real" for v in values.values())


def test_the_smoke_profile_is_synthetic_so_that_it_runs_anywhere():
    assert load_profile("smoke", Project()).all["cohort"] == "synthetic"


def test_the_table_of_contents_lists_every_chapter_in_order():
    listed = [name for name in toc_files(Project()) if name.startswith("notebooks/")]
    assert listed == [f"notebooks/{chapter.name}" for chapter in read_chapters(Project()).values()]
