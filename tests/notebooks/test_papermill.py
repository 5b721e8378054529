"""papermill's own command line on the source notebooks, without pdlib's runner: its help, and whole runs."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from papermill.cli import papermill as command_line

from pdlib import paths
from pdlib.params import Project, load_profile, read_chapter, read_chapters, resolve

CHAPTERS = [pytest.param(path, id=path.stem) for path in sorted(paths.NOTEBOOKS.glob("*.ipynb"))]
CHEAP = ("01", "03", "06")


def papermill(*arguments, folder, **environment):
    """The command as a shell starts it."""
    command = [str(Path(sys.executable).with_name("papermill")), *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(paths.ROOT), "COLUMNS": "200", **environment}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", CHAPTERS)
def test_papermills_help_lists_every_parameter_with_its_type_value_and_comment(path, caplog):
    done = CliRunner().invoke(command_line, ["--help-notebook", str(path)])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    for parameter in read_chapter(path).parameters.values():
        assert f"{parameter.name}: {parameter.annotation} (default " in said, parameter.name
        assert " ".join(parameter.help.split()) in said, parameter.name
    assert "Unknown" not in said and caplog.records == []


@pytest.mark.slow
@pytest.mark.parametrize("number", CHEAP)
def test_a_chapter_runs_alone_from_another_folder_with_the_values_of_a_profile(number, tmp_path):
    project = Project()
    chapters = read_chapters(project)
    chapter = chapters[number]
    values = resolve(chapters, load_profile("smoke", project), {}, list(chapters))[number]
    given = [part for name, value in values.items() for part in ("-p", name, value)]
    page_dir = tmp_path / "pages"
    page_dir.mkdir()
    done = papermill(
        chapter.path, "out.ipynb", "--no-progress-bar", *given, folder=tmp_path,
        PDLIB_PAGE_DIR=str(page_dir), PDLIB_RESULTS=str(tmp_path / "results"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    cells = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
    assert [cell.id for cell in cells if cell.cell_type == "code" and cell.execution_count is None] == []
    assert list(page_dir.glob("*.csv")), "a chapter leaves the numbers of its figures"
