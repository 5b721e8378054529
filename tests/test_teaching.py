"""Copies for a class: no answer reaches a student, what a student made is never written over, and a copy runs."""

import json
import re

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from pdlib import teaching
from pdlib.errors import ChapterError, WriteError
from pdlib.params import Project, read_chapter
from tests.tinybook import write_notebook, write_profile

ANSWER = ":::{admonition} Solution\n:class: dropdown\nSeventeen speakers, because of the fold.\n:::"
CODE = "page_total = sum(range(seed + 11))\nassert page_total == 55"


def exercise(number, level, question="How many?", tags=("exercise",)):
    return new_markdown_cell(
        f"### Exercise {number} · {level}\n\n{question}",
        id=f"ch05-exercise-{number}",
        metadata={"tags": [*tags]},
    )


def solution(number, source=CODE, tags=("solution", "hide-cell")):
    return new_code_cell(source, id=f"ch05-solution-{number}", metadata={"tags": [*tags]})


def answer(number, source=ANSWER, tags=("solution",)):
    metadata = {"tags": [*tags]} if tags else {}
    return new_markdown_cell(source, id=f"ch05-answer-{number}", metadata=metadata)


def usual():
    return [
        new_markdown_cell("## Exercises", id="ch05-exercises"),
        exercise(1, "Read"), answer(1),
        exercise(2, "Compute", "Add them up."), solution(2), solution(3, "# more\nassert page_total > seed"), answer(2),
        exercise(3, "Research", "Find another."), answer(3, ANSWER.replace("Seventeen", "Nine")),
    ]  # fmt: skip


@pytest.fixture
def project(tmp_path):
    made = Project(tmp_path / "book")
    write_profile(made, "quick", all={"seed": 3, "label": 'a "b" = c'})
    return made


def chapter(project, cells=None, text="md:See [chapter 4](04_x.ipynb#top), [how](../book/how.md) and [a](https://a.example).",
            name="05_spectra", needs=()):  # fmt: skip
    parameters = 'seed: int = 0  # folds, weights\nlabel: str = "x"  # a word\ncohort: str = "auto"  # which'
    path = write_notebook(
        project, name, text, "1 + 1", parameters=parameters, needs=needs, title="5. Spectra"
    )
    notebook = nbformat.read(path, as_version=4)
    notebook.cells += usual() if cells is None else cells
    notebook.cells[2 + 1].update(outputs=[new_output("stream", text="2")], execution_count=1)
    nbformat.write(notebook, path)
    return read_chapter(path)


# ── one copy ───────────────────────────────────────────────────────────────────────────────────────────
def test_a_copy_keeps_the_questions_and_none_of_the_answers(project):
    copy = teaching.student_copy(chapter(project))
    sources = [cell.source for cell in copy.cells]
    assert sources[-5:] == [
        "## Exercises", "### Exercise 1 · Read\n\nHow many?", "### Exercise 2 · Compute\n\nAdd them up.",
        "# your answer", "### Exercise 3 · Research\n\nFind another.",
    ]  # fmt: skip
    whole = nbformat.writes(copy)
    for gone in ("Seventeen", "Nine", "page_total", "solution", "dropdown"):
        assert gone not in whole


def test_a_copy_is_a_valid_clean_notebook_with_the_chapters_needs_and_unique_ids(project):
    copy = teaching.student_copy(chapter(project, needs=()))
    nbformat.validate(copy)
    assert [cell.id for cell in copy.cells if cell.get("outputs") or cell.get("execution_count")] == []
    assert len({cell.id for cell in copy.cells}) == len(copy.cells)
    write_notebook(project, "04_x", "1")
    assert teaching.student_copy(chapter(project, needs=("04",))).metadata["pdlib"] == {"needs": ["04"]}


@pytest.mark.parametrize(
    "cells",
    [
        [exercise(1, "Read"), answer(1, tags=())],
        [exercise(1, "Read"), new_markdown_cell("```{dropdown} Answer\nNo.\n```", id="loose")],
        [exercise(1, "Read"), answer(1), new_code_cell(CODE, id="loose"), solution(1)],
        [exercise(1, "Read"), answer(1), new_markdown_cell(f"As said:\n\n{ANSWER}", id="loose")],
        [exercise(1, "Read"), answer(1, "Seventeen speakers, because."), new_markdown_cell(
            "![x](attachment:x)", id="loose", attachments={"x": {"text/plain": "Seventeen speakers, because."}})],
    ],
    ids=["not tagged", "dropdown", "the code again", "the text again", "in an attachment"],
)  # fmt: skip
def test_an_answer_that_would_reach_the_students_stops_the_copy(project, cells):
    with pytest.raises(ChapterError, match=r"loose|answer-1"):
        teaching.student_copy(chapter(project, cells))


def test_parameters_of_the_profile_stand_in_the_copy_and_can_be_read_again(project):
    made = chapter(project)
    copy = teaching.student_copy(made, {"seed": 3, "label": 'a "b" = c', "cohort": "auto"})
    target = project.notebooks / "06_copy.ipynb"
    nbformat.write(copy, target)
    read = read_chapter(target).parameters
    assert {name: one.default for name, one in read.items()} == {
        "seed": 3,
        "label": 'a "b" = c',
        "cohort": "auto",
    }
    assert read["seed"].help == made.parameters["seed"].help


def test_a_copy_runs_from_the_folder_it_lies_in(project, tmp_path):
    chapter(project)
    folder = tmp_path / "class"
    teaching.write_copies(project, folder)
    notebook = nbformat.read(folder / "05_spectra.ipynb", as_version=4)
    notebook.cells.append(new_code_cell("print(seed, label)"))
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(folder)}}).execute()
    assert notebook.cells[-1].outputs[0].text == '3 a "b" = c\n'


# ── a folder of copies ─────────────────────────────────────────────────────────────────────────────────
def test_links_between_chapters_stay_and_links_to_pages_lead_there_from_the_new_place(project, tmp_path):
    chapter(project)
    (project.book).mkdir()
    (project.book / "how.md").write_text("# How\n")
    inside = project.root / "deep" / "er" / "student"
    teaching.write_copies(project, inside)
    text = nbformat.read(inside / "05_spectra.ipynb", as_version=4).cells[2].source
    assert text == "See [chapter 4](04_x.ipynb#top), [how](../../../book/how.md) and [a](https://a.example)."
    assert (inside / re.search(r"\(([./]+book/how\.md)\)", text)[1]).is_file()
    teaching.write_copies(project, tmp_path / "elsewhere")
    text = nbformat.read(tmp_path / "elsewhere" / "05_spectra.ipynb", as_version=4).cells[2].source
    assert text == "See [chapter 4](04_x.ipynb#top), how and [a](https://a.example)."


def test_the_readme_says_how_to_open_the_copies_and_what_they_hold(project):
    chapter(project)
    teaching.write_copies(project, project.root / "student")
    readme = (project.root / "student" / "README.md").read_text()
    assert "jupyterlab student" in readme and "profile `quick`" in readme
    assert "| 05 | [5. Spectra](05_spectra.ipynb) | 3 (Read, Compute, Research) | – |" in readme


def test_copies_can_be_made_again_and_follow_the_chapters(project):
    chapter(project)
    folder = project.root / "student"
    teaching.write_copies(project, folder)
    chapter(project, text="md:A new text.")
    teaching.write_copies(project, folder)
    assert "A new text." in (folder / "05_spectra.ipynb").read_text()


def test_work_of_a_student_is_never_written_over_and_nothing_else_is_written_either(project):
    chapter(project)
    folder = project.root / "student"
    teaching.write_copies(project, folder)
    path = folder / "05_spectra.ipynb"
    path.write_text(path.read_text().replace("# your answer", "print(55)"))
    worked = path.read_text()
    (folder / "README.md").unlink()
    with pytest.raises(WriteError, match=r"05_spectra\.ipynb.*nothing was written"):
        teaching.write_copies(project, folder)
    assert path.read_text() == worked and not (folder / "README.md").exists()


def test_the_chapters_themselves_are_never_written_over(project):
    path = chapter(project).path
    before = path.read_bytes()
    with pytest.raises(WriteError):
        teaching.write_copies(project, project.notebooks)
    assert path.read_bytes() == before
    assert sorted(found.name for found in project.notebooks.iterdir()) == ["05_spectra.ipynb", "profiles"]


def test_an_answer_left_in_one_chapter_keeps_the_whole_folder_from_being_written(project):
    chapter(project)
    chapter(project, [exercise(1, "Read"), answer(1, tags=())], name="06_wrong")
    with pytest.raises(ChapterError, match="06_wrong"):
        teaching.write_copies(project, project.root / "student")
    assert not (project.root / "student").exists()


def test_an_interrupted_command_leaves_whole_files_and_can_be_given_again(project, monkeypatch):
    chapter(project)
    chapter(project, name="06_other")
    folder, write, calls = project.root / "student", teaching.paths.write_text, []

    def stops(target, text):
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return write(target, text)

    monkeypatch.setattr(teaching.paths, "write_text", stops)
    with pytest.raises(KeyboardInterrupt):
        teaching.write_copies(project, folder)
    assert [found.name for found in folder.iterdir()] == ["05_spectra.ipynb"]
    monkeypatch.setattr(teaching.paths, "write_text", write)
    assert len(teaching.write_copies(project, folder)) == 3


# ── exercises and solutions ────────────────────────────────────────────────────────────────────────────
def test_exercises_are_read_with_level_question_code_and_answer(project):
    notebook = nbformat.read(chapter(project).path, as_version=4)
    first, second, third = teaching.exercises(notebook, "05")
    assert (first.number, first.level, first.question, first.code) == (1, "Read", "How many?", ())
    assert second.code == (CODE, "# more\nassert page_total > seed") and second.answers == (ANSWER,)
    assert third.level == "Research"


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([exercise(1, "Guess")], "begins with"),
        ([answer(1), exercise(1, "Read")], "before the first exercise"),
    ],
)
def test_an_exercise_that_cannot_be_read_is_named_with_its_cell(project, cells, said):
    with pytest.raises(ChapterError, match=said):
        teaching.exercises(nbformat.read(chapter(project, cells).path, as_version=4), "05")


def test_the_teachers_page_holds_every_question_with_its_code_and_its_answer_unfolded(project, tmp_path):
    chapter(project)
    text = teaching.write_solutions(project, tmp_path / "solutions.md").read_text()
    assert "### Exercise 2 · Compute\n\nAdd them up.\n\n**Solution**\n\n```python\npage_total" in text
    assert "Seventeen speakers, because of the fold." in text and ":::" not in text
    (tmp_path / "solutions.md").write_text("my notes")
    with pytest.raises(WriteError, match="something else"):
        teaching.write_solutions(project, tmp_path / "solutions.md")
    assert (tmp_path / "solutions.md").read_text() == "my notes"


def test_what_was_written_is_noted_so_that_a_changed_copy_can_be_told(project):
    chapter(project)
    folder = project.root / "student"
    written = teaching.write_copies(project, folder)
    noted = json.loads((folder / teaching.MANIFEST).read_text())
    assert set(noted) == {path.name for path in written} == {"05_spectra.ipynb", "README.md"}
