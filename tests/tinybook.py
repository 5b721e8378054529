"""A book of a few tiny notebooks in a temporary folder, for tests of running and publishing."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from pdlib.params import Project
from pdlib.run import CohortInfo

SYNTHETIC = CohortInfo("synthetic", "synthetic", "two made-up voices", "0" * 64)
REAL = CohortInfo("real", "real", "two real voices", "1" * 64)
PARAMETERS = 'cohort: str = "auto"  # which recordings\nseed: int = 0  # folds and weights'


def write_notebook(
    project: Project, name: str, *cells: str, parameters: str = PARAMETERS, needs=(), title=""
) -> Path:
    """Write a clean chapter; a cell that starts with ``md:`` is text."""
    built = [new_markdown_cell(f"# {title or name}\n\nWhat it asks.", id="title")]
    built.append(new_code_cell(parameters, id="parameters", metadata={"tags": ["parameters"]}))
    for index, text in enumerate(cells):
        kind = new_markdown_cell if text.startswith("md:") else new_code_cell
        built.append(kind(text.removeprefix("md:"), id=f"cell-{index}"))
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    if needs:
        metadata["pdlib"] = {"needs": list(needs)}
    path = project.notebooks / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=built, metadata=metadata), path)
    return path


def write_profile(project: Project, name: str = "smoke", **parts) -> None:
    """Write a profile; JSON is YAML."""
    project.profiles.mkdir(parents=True, exist_ok=True)
    content = {"about": "for tests", **parts}
    (project.profiles / f"{name}.yaml").write_text(json.dumps(content), encoding="utf-8")
