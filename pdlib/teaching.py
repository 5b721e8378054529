"""Chapters for a class: copies without solutions for students, and the solutions as one page for the teacher.

An exercise is a text cell tagged ``exercise``; what answers it, text or code, is tagged ``solution``. A copy keeps
the exercises, holds an empty cell where a solution's code stood, and nothing of any answer: that is looked up in the
finished copy, so an answer that somebody forgot to tag stops the command rather than reaching the class.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell

from pdlib import paths
from pdlib.errors import ChapterError, WriteError
from pdlib.figure_index import clean
from pdlib.params import Chapter, Project, load_profile, read_chapters, resolve

EXERCISE, SOLUTION = "exercise", "solution"  # tags of cells
LEVELS = ("Read", "Compute", "Re-run", "Research")  # of exercises, in rising order
EMPTY_CELL = "# your answer"
MANIFEST = ".student-copies.json"  # what was written, to tell it from what a student made of it
_TELLING = 20  # characters; a shorter solution may well stand elsewhere too
_HEADING = re.compile(rf"### Exercise (\d+) · ({'|'.join(LEVELS)})\b[^\n]*")
_ANSWER = re.compile(r"\{(?:admonition|dropdown|tip|note)\}\s*(?:Solution|Answer)|\{solution", re.IGNORECASE)
_LINK = re.compile(r"(\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^)\s]+)\)")


@dataclass(frozen=True)
class Exercise:
    """One exercise of a chapter: its number, level, question, and the cells that answer it."""

    number: int
    level: str
    question: str
    code: tuple[str, ...]
    answers: tuple[str, ...]


def _has(cell: Any, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def exercises(notebook: Any, name: str) -> list[Exercise]:
    """The exercises of a chapter in their order.

    Raises
    ------
    ChapterError
        When the first line of an exercise does not give its number and level, or a solution has no exercise.
    """
    found: list[Exercise] = []
    for cell in notebook.cells:
        if _has(cell, EXERCISE):
            heading = _HEADING.match(cell.source)
            if not heading:
                raise ChapterError(
                    f"{name}, cell {cell.id}: an exercise begins with {cell.source.splitlines()[:1]}",
                    f"write `### Exercise 1 · Read`, with one of {', '.join(LEVELS)}",
                )
            question = cell.source[heading.end() :].strip()
            found.append(Exercise(int(heading[1]), heading[2], question, (), ()))
        elif _has(cell, SOLUTION):
            if not found:
                raise ChapterError(
                    f"{name}, cell {cell.id}: a solution before the first exercise",
                    "put it after the cell tagged `exercise` that it answers",
                )
            one, text = found[-1], (cell.source,)
            code, answers = (text, ()) if cell.cell_type == "code" else ((), text)
            found[-1] = Exercise(one.number, one.level, one.question, one.code + code, one.answers + answers)
    return found


def label_solutions(notebook: Any) -> None:
    """Let the fold over each solution's code say what is under it; changes ``notebook``."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and _has(cell, SOLUTION):
            prompts = {
                "code_prompt_show": "Show the solution's code",
                "code_prompt_hide": "Hide the solution's code",
            }
            cell.metadata["mystnb"] = {**cell.metadata.get("mystnb", {}), **prompts}


# ── one copy ───────────────────────────────────────────────────────────────────────────────────────────
def student_copy(
    chapter: Chapter, values: Mapping[str, Any] | None = None, links: Mapping[str, str] | None = None
) -> Any:
    """A chapter without solutions and without outputs.

    Parameters
    ----------
    chapter : Chapter
    values : mapping, optional
        Parameters that the copy has instead of the chapter's own, by name.
    links : mapping, optional
        New targets of relative links, by target; one that is empty leaves the words without a link.

    Raises
    ------
    ChapterError
        When an answer is left in the copy.
    """
    notebook = clean(nbformat.read(chapter.path, as_version=4))
    solutions = [cell.source.strip() for cell in notebook.cells if _has(cell, SOLUTION)]
    cells: list[Any] = []
    for cell in notebook.cells:
        if _has(cell, SOLUTION):
            if cell.cell_type == "code" and cells[-1:] and cells[-1].source != EMPTY_CELL:
                cells.append(new_code_cell(EMPTY_CELL, id=cell.id.replace(SOLUTION, "work")))
            continue
        if _has(cell, "parameters"):
            cell.source = _with_values(chapter, cell.source, values or {})
        elif cell.cell_type == "markdown":
            cell.source = _LINK.sub(lambda found: _relinked(found, links or {}), cell.source)
        cells.append(cell)
    notebook["cells"] = cells
    left = answers_left(notebook, solutions)
    if left:
        raise ChapterError(
            f"{chapter.path.name}: an answer would reach the students in {', '.join(left)}",
            f"tag every cell that answers an exercise `{SOLUTION}`",
        )
    nbformat.validate(notebook)
    return notebook


def answers_left(notebook: Any, solutions: list[str]) -> list[str]:
    """Ids of cells that hold a solution, or what looks like one, in text, code, attachments or outputs."""
    left = []
    for cell in notebook.cells:
        whole = json.dumps(cell, ensure_ascii=False)
        told = any(
            json.dumps(text, ensure_ascii=False)[1:-1] in whole for text in solutions if len(text) > _TELLING
        )
        if told or _has(cell, SOLUTION) or _ANSWER.search(cell.source) or cell.get("outputs"):
            left.append(cell.id)
    return left


def _with_values(chapter: Chapter, source: str, values: Mapping[str, Any]) -> str:
    """The parameters cell with other defaults."""
    lines = source.splitlines()
    for node in reversed(ast.parse(source).body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            parameter = chapter.parameters[node.target.id]
            value = values.get(parameter.name, parameter.default)
            if value != parameter.default:
                text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
                line = f"{parameter.name}: {parameter.annotation} = {text}  # {parameter.help}"
                lines[node.lineno - 1 : node.end_lineno] = [line]
    return "\n".join(lines)


def _relinked(found: re.Match[str], links: Mapping[str, str]) -> str:
    words, target = found.groups()
    place, mark, anchor = target.partition("#")
    if place not in links:
        return found[0]
    return f"{words}({links[place]}{mark}{anchor})" if links[place] else words[1:-1]


def _links(project: Project, chapter: Chapter, folder: Path) -> dict[str, str]:
    """Where the chapter's relative links lead from ``folder``; "" where the book is not on the way."""
    found = {}
    for cell in nbformat.read(chapter.path, as_version=4).cells:
        for _, target in _LINK.findall(cell.source) if cell.cell_type == "markdown" else ():
            place = target.partition("#")[0]
            if (
                not place
                or re.match(r"[a-z][a-z0-9+.-]*:|/", place)
                or place.endswith(".ipynb")
                and "/" not in place
            ):
                continue
            inside = folder.is_relative_to(project.root)
            there = Path(os.path.normpath(project.notebooks / place))
            found[place] = Path(os.path.relpath(there, folder)).as_posix() if inside else ""
    return found


# ── a folder of copies ─────────────────────────────────────────────────────────────────────────────────
def write_copies(project: Project, folder: Path, profile: str = "quick") -> list[Path]:
    """Write every chapter without solutions, and a README, to ``folder``; nothing is written if anything is wrong.

    Parameters
    ----------
    project : Project
    folder : Path
    profile : str
        Its values stand in the copies' parameter cells.

    Raises
    ------
    ChapterError
        When an answer is left in a copy.
    WriteError
        When the folder holds a file of the same name that is not exactly what this function wrote there: a
        student's work, or something else.
    """
    chapters, folder = read_chapters(project), Path(folder).resolve()
    values = resolve(chapters, load_profile(profile, project), {}, list(chapters))
    texts = {}
    for number, chapter in chapters.items():
        copy = student_copy(chapter, values[number], _links(project, chapter, folder))
        texts[chapter.path.name] = nbformat.writes(copy) + "\n"
    texts["README.md"] = _readme(project, chapters, folder, profile)
    _refuse_foreign(folder, texts)
    written = [paths.write_text(folder / name, text) for name, text in texts.items()]
    marks = {name: _mark(text.encode()) for name, text in texts.items()}
    paths.write_text(folder / MANIFEST, json.dumps(marks, indent=1) + "\n")
    return written


def _mark(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _refuse_foreign(folder: Path, texts: Mapping[str, str]) -> None:
    try:
        ours = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        ours = {}
    foreign = []
    for name, text in texts.items():
        path = folder / name
        if path.is_file():
            there = _mark(path.read_bytes())
            if there not in (ours.get(name), _mark(text.encode())):
                foreign.append(name)
        elif path.exists() or path.is_symlink():
            foreign.append(name)
    if foreign:
        raise WriteError(
            f"{paths.shown(folder)} holds {', '.join(foreign)}, which this command did not write or which somebody "
            "changed since; nothing was written",
            "give another folder with --out, or move these files away",
        )


def _readme(project: Project, chapters: Mapping[str, Chapter], folder: Path, profile: str) -> str:
    place = folder.relative_to(project.root).as_posix() if folder.is_relative_to(project.root) else "FOLDER"
    rows = []
    for number, chapter in chapters.items():
        found = exercises(nbformat.read(chapter.path, as_version=4), chapter.path.name)
        levels = ", ".join(dict.fromkeys(one.level for one in found))
        many = len(chapter.needs) > 4
        needs = f"{chapter.needs[0]} to {chapter.needs[-1]}" if many else ", ".join(chapter.needs) or "–"
        rows.append(
            f"| {number} | [{chapter.title}]({chapter.path.name}) | {len(found)} ({levels}) | {needs} |"
        )
    return _README.format(place=place, profile=profile, rows="\n".join(rows))


_README = """\
# Chapters to work in

These are the chapters of the book without the solutions of their exercises. Where a solution has code, an empty cell
with the line `# your answer` waits for yours.

## Open and run

From the book's own folder, the one that holds its `Makefile`:

```bash
make environment                          # once: builds .venv
.venv/bin/python -m pdlib fetch           # once: brings the recordings
.venv/bin/python -m jupyterlab {place}
```

The chapters import `pdlib`, the book's own package, so use the kernel of this `.venv`, not another Python. Without the
recordings they run on synthetic voices, and every figure says SYNTHETIC. Run a chapter from its first cell to its last
(Run > Run All Cells), then work on the exercises at its end. Chapter 1 tells how it all hangs together.

The parameters are those of the profile `{profile}`. A chapter that trains networks is quick where the machine already
has the results: `make book` before the class computes them once, and chapters find them again as long as you leave the
parameters alone. A chapter that needs others reads their stored results, and computes what is missing.

Words such as {{glue:text}} in the text mark numbers that the book's pages fill in; the code cell above them shows the
number here. Your work is safe: making the copies again refuses to write over a changed file.

| chapter | | exercises | needs |
|---|---|---|---|
{rows}
"""


# ── for the teacher ────────────────────────────────────────────────────────────────────────────────────
def solutions_page(project: Project) -> str:
    """All exercises with their solutions as Markdown, chapter by chapter."""
    return "\n".join(_solutions(project)) + "\n"


def _solutions(project: Project) -> Iterator[str]:
    yield (
        "# Exercises and their solutions\n\nFor teachers. The students' copies hold none of the answers. Numbers that "
        "stand here as {glue:text} are filled in on the book's pages.\n"
    )
    for chapter in read_chapters(project).values():
        yield f"## {chapter.title}\n"
        for one in exercises(nbformat.read(chapter.path, as_version=4), chapter.path.name):
            yield f"### Exercise {one.number} · {one.level}\n\n{one.question}\n\n**Solution**\n"
            yield from (f"```python\n{code.strip()}\n```\n" for code in one.code)
            yield from (f"{_unfolded(answer)}\n" for answer in one.answers)


def _unfolded(answer: str) -> str:
    """The text inside a folded admonition."""
    lines = [line for line in answer.splitlines() if not re.match(r"\s*:(::+(\{.*)?$|class:|open:)", line)]
    return "\n".join(lines).strip()


def write_solutions(project: Project, target: Path) -> Path:
    """Write `solutions_page` to a file that is not there yet.

    Raises
    ------
    WriteError
        When there is a file that holds anything else.
    """
    text = solutions_page(project)
    if target.exists() and (not target.is_file() or target.read_bytes() != text.encode()):
        raise WriteError(
            f"{target} is there already and holds something else; it was not written",
            "give another name, or move it away",
        )
    return paths.write_text(target, text)
