"""Every chapter can be taught: goals, time and prerequisites on its card, graded exercises, each with its answer."""

import re

import nbformat
import pytest

from pdlib import paths
from pdlib.params import read_chapter
from pdlib.teaching import EXERCISE, LEVELS, SOLUTION, exercises, student_copy

CHAPTERS = [pytest.param(path, id=path.stem) for path in sorted(paths.NOTEBOOKS.glob("*.ipynb"))]


def test_there_are_chapters_to_look_at():
    assert CHAPTERS


@pytest.fixture(params=CHAPTERS)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


@pytest.fixture
def found(path, notebook):
    return exercises(notebook, path.name)


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def row(notebook, name):
    """What stands in one row of the card."""
    match = re.search(rf"^\| \*\*{name}\*\* \|(.*)\|$", notebook.cells[0].source, re.MULTILINE)
    return match[1].strip() if match else ""


def test_the_card_says_how_long_it_takes_and_what_one_must_know_and_the_goals_stand_below(notebook):
    time = row(notebook, "Time")
    assert "every profile" in time or all(profile in time for profile in ("smoke", "quick", "full"))
    assert len(row(notebook, "Prerequisites")) > 20
    card, below, goals = notebook.cells[0].source.partition("\nGoals: ")
    assert below and card.rstrip().splitlines()[-1].startswith("| **Prerequisites**")
    assert len(goals.split()) > 8


def test_prerequisites_lead_to_earlier_chapters_that_exist(path, notebook):
    linked = re.findall(r"\]\((\d\d)_\w+\.ipynb\)", row(notebook, "Prerequisites"))
    assert all(number < path.name[:2] for number in linked)
    assert linked or path.name[:2] <= "03" or "none" in row(notebook, "Prerequisites").lower()


def test_there_are_three_exercises_or_more_numbered_and_graded_from_reading_to_research(found):
    assert len(found) >= 3
    assert [one.number for one in found] == list(range(1, len(found) + 1))
    grades = [LEVELS.index(one.level) for one in found]
    assert grades == sorted(grades)
    assert (found[0].level, found[-1].level) == ("Read", "Research")


def test_every_exercise_asks_something_and_has_one_answer_and_two_or_more_have_code(found):
    assert [one.number for one in found if len(one.question.split()) < 8] == []
    assert [one.number for one in found if len(one.answers) != 1] == []
    assert sum(bool(one.code) for one in found) >= 2


def test_the_cells_of_the_exercises_are_the_last_of_the_chapter_with_the_ids_that_tell_them_apart(
    path, notebook
):
    cells = notebook.cells
    start = [index for index, cell in enumerate(cells) if cell.source.startswith("## Exercises")]
    assert len(start) == 1
    k, wanted = 0, []
    for cell in cells[start[0] + 1 :]:
        tags = cell.metadata.get("tags", [])
        assert {EXERCISE, SOLUTION} & set(tags), f"{cell.id} is neither an exercise nor a solution"
        k += EXERCISE in tags
        kind = "exercise" if EXERCISE in tags else "answer" if cell.cell_type == "markdown" else "solution"
        wanted.append((cell.id, f"ch{path.name[:2]}-{kind}-{k}"))
    assert [ids for ids in wanted if ids[0] != ids[1]] == []


def test_solution_code_is_folded_and_comes_between_the_question_and_the_answer(notebook):
    kinds = {}
    for cell in [*tagged(notebook, EXERCISE), *tagged(notebook, SOLUTION)]:
        _, kind, number = re.fullmatch(r"(ch\d\d)-(exercise|solution|answer)-(\d+)", cell.id).groups()
        kinds.setdefault(number, {})[kind] = notebook.cells.index(cell)
        if kind == "solution":
            assert "hide-cell" in cell.metadata["tags"], cell.id
    for number, at in kinds.items():
        order = [at[kind] for kind in ("exercise", "solution", "answer") if kind in at]
        assert order == list(range(order[0], order[0] + len(order))), f"exercise {number}"


def test_every_answer_is_folded(notebook):
    answers = [cell for cell in tagged(notebook, SOLUTION) if cell.cell_type == "markdown"]
    unfolded = [
        cell.id
        for cell in answers
        if not re.fullmatch(
            r":{3,}\{admonition\} Solution\n:class: dropdown\n.+\n:{3,}\s*", cell.source, re.DOTALL
        )
    ]
    assert unfolded == []


def test_nothing_outside_the_solutions_uses_a_name_that_only_a_solution_defines(notebook):
    """A student's copy has no solutions, so what comes after must run without them."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    last = max(code.index(cell) for cell in code if SOLUTION not in cell.metadata.get("tags", []))
    first = min(code.index(cell) for cell in code if SOLUTION in cell.metadata.get("tags", []))
    assert last < first


def test_a_copy_for_students_can_be_made_and_holds_the_questions_only(path):
    copy = student_copy(read_chapter(path))
    assert len(tagged(copy, EXERCISE)) >= 3
    assert not tagged(copy, SOLUTION)
