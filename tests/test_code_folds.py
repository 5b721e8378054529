"""Code can be folded by readers: open where a cell is not tagged, closed where it is, named where it is a solution."""

import re
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from pdlib import paths
from pdlib.code_folds import HIDE, SHOW

KERNEL = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    root = tmp_path_factory.mktemp("folds")
    (root / "conf.py").write_text('extensions = ["myst_nb", "pdlib.code_folds"]\nnb_execution_mode = "off"\n')

    def cell(source, **metadata):
        outputs = [new_output("stream", text=f"said by {source}\n")]
        return new_code_cell(source, outputs=outputs, execution_count=1, metadata=metadata)

    cells = [
        new_markdown_cell("# Title\n\n```python\nin_the_text = 1\n```"),
        cell("plain = 1"),
        cell("hidden = 1", tags=["hide-input"]),
        cell("gone = 1", tags=["remove-input"]),
        cell(
            "answer = 1",
            tags=["solution", "hide-cell"],
            mystnb={"code_prompt_show": "Show the solution's code"},
        ),
    ]
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), root / "index.ipynb")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "-n", "-q", str(root), str(root / "_out")]
    done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return (root / "_out" / "index.html").read_text()


def folds(page):
    """Whether it is open, its two labels, and the names in it, of each fold."""
    found = []
    for attributes, inside in re.findall(r"<details([^>]*)>(.*?)</details>", page, re.DOTALL):
        labels = re.findall(r'<p class="(?:collapsed|expanded) admonition-title">([^<]*)</p>', inside)
        names = re.findall(r'<span class="n">(\w+)</span>', inside)
        found.append((attributes.rstrip().endswith("open"), labels, names, "said by" in inside))
    return found


def test_code_that_nothing_hides_is_in_an_open_fold_and_its_output_is_not(page):
    assert (True, [SHOW, HIDE], ["plain"], False) in folds(page)


def test_hidden_code_keeps_its_one_closed_fold_and_removed_code_gets_none(page):
    assert [(opened, names) for opened, _, names, _ in folds(page)] == [
        (True, ["plain"]), (False, ["hidden"]), (False, ["answer"]),
    ]  # fmt: skip
    assert "said by gone" in page


def test_a_solution_says_so_on_its_fold_and_hides_what_it_prints(page):
    opened, labels, _, printed = folds(page)[-1]
    assert (opened, labels[0].replace("&#x27;", "'"), printed) == (False, "Show the solution's code", True)
