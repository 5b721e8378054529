"""The bench's part on the book's overhead: both ways print the same, and the rows are whole."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from pdlib.execute import INJECTED
from pdlib.params import Project, read_chapters
from tests.bench import overhead


@pytest.mark.slow
def test_nbconvert_and_the_book_print_the_same_and_every_row_is_whole():
    part = overhead.measure(rounds=1, small=True)
    things = {row.what for row in part.rows}
    assert things == {"run the chapters", "a kernel", "import"}
    assert part.facts["printed things that are equal"] > 100
    assert 0 < part.facts["seconds of a chapter's own cells"] < min(row.median for row in part.rows[:2])
    for row in part.rows:
        assert 0 < row.low <= row.median <= row.high and row.processor > 0, row.name
    assert len(part.left_out) == 1


def test_copies_hold_the_values_in_one_cell_of_a_fixed_name_and_nothing_else_changes():
    chapter = read_chapters(Project())["01"]
    source = nbformat.read(chapter.path, as_version=4)
    made = overhead.injected(chapter.path, {"profile": "smoke"})
    assert [cell.source for cell in made.cells if cell.id != INJECTED] == [
        cell.source for cell in source.cells
    ]
    (own,) = [cell for cell in made.cells if cell.id == INJECTED]
    assert 'profile = "smoke"' in own.source
    nbformat.validate(made)


def test_a_difference_between_the_two_ways_stops_the_part(tmp_path):
    cells = [new_markdown_cell("# x"), new_code_cell("1", id="a", outputs=[new_output("stream", text="1\n")])]
    for name, text in (("a.ipynb", "1\n"), ("b.ipynb", "2\n")):
        cells[1].outputs[0]["text"] = text
        nbformat.write(new_notebook(cells=cells), tmp_path / name)
    assert overhead.check_same(tmp_path / "a.ipynb", tmp_path / "a.ipynb") == 1
    with pytest.raises(AssertionError, match="print different things"):
        overhead.check_same(tmp_path / "a.ipynb", tmp_path / "b.ipynb")


def test_own_time_is_from_a_cells_start_to_its_answer(tmp_path):
    noted = {
        "iopub.execute_input": "2026-01-01T00:00:01.500000Z",
        "shell.execute_reply": "2026-01-01T00:00:03Z",
    }
    cells = [
        new_code_cell("1", metadata={"execution": noted}),
        new_code_cell("2", metadata={"execution": noted}),
    ]
    nbformat.write(new_notebook(cells=[*cells, new_code_cell("")]), tmp_path / "a.ipynb")
    assert overhead.own_seconds(tmp_path / "a.ipynb") == 3.0
