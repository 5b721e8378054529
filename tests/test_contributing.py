"""The contribution guide and the changelog: what they tell a reader to do works, and they keep their form."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap

import nbformat
import pytest
import yaml
from rich.console import Console

from pdlib import claims, paths, publish, run
from pdlib.params import Project
from tests.notebooks.test_sources import LONGEST_CELL
from tests.test_publish import make_project

GUIDE = (paths.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CHANGELOG = (paths.ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def section(title):
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", GUIDE, re.MULTILINE | re.DOTALL)[1]


def blocks(title, language):
    """Code blocks of one language in a section, without the indentation of the list they stand in."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", section(title), re.MULTILINE | re.DOTALL)
    return [textwrap.dedent("".join(f"{line}\n" if line.strip() else "\n" for line in text.splitlines())) if indent
            else text for indent, text in found]  # fmt: skip


def changed(text, lines):
    """``text`` with the lines of a diff taken out and put in; the place must be there once."""
    old = "".join(line[1:] for line in lines if line[0] in " -")
    new = "".join(line[1:] for line in lines if line[0] in " +")
    assert text.count(old) == 1, f"the guide changes lines that stand {text.count(old)} times:\n{old}"
    return text.replace(old, new)


def apply(root, diff):
    """Do what one diff of the guide says; in a notebook, in the one cell that holds its lines."""
    head, *lines = diff.splitlines(keepends=True)
    path = root / head.removeprefix("--- ").strip()
    if path.suffix != ".ipynb":
        path.write_text(changed(path.read_text(encoding="utf-8"), lines), encoding="utf-8")
        return
    notebook = nbformat.read(path, as_version=4)
    old = "".join(line[1:] for line in lines if line[0] in " -")
    (cell,) = [cell for cell in notebook.cells if old in f"{cell.source}\n"]
    cell.source = changed(f"{cell.source}\n", lines).rstrip("\n")
    nbformat.write(notebook, path)


@pytest.fixture
def copy(tmp_path):
    """The book's sources in a folder of their own."""
    ignore = shutil.ignore_patterns("raw", "edition", "__pycache__", ".ipynb_checkpoints", "mathjax")
    for name in ("pdlib", "notebooks", "book", "data", "tests"):
        shutil.copytree(paths.ROOT / name, tmp_path / name, ignore=ignore)
    for name in ("_toc.yml", "_config.yml", "pyproject.toml", "requirements.lock"):
        shutil.copyfile(paths.ROOT / name, tmp_path / name)
    return tmp_path


def python(root, *arguments):
    env = {**os.environ, "PYTHONPATH": str(root), "PDLIB_RESULTS": str(root / "results")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=root, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def write_chapter(root):
    (script,) = blocks("Add a chapter", "python")
    name = re.match(r"# (\S+)\n", script)[1]
    (root / "_build").mkdir(exist_ok=True)
    (root / name).write_text(script, encoding="utf-8")
    python(root, name)


# ── a chapter ──────────────────────────────────────────────────────────────────────────────────────────
def test_the_example_chapter_keeps_the_rules_for_chapters(copy):
    write_chapter(copy)
    (diff,) = blocks("Add a chapter", "diff")
    apply(copy, diff)
    minutes = re.search(r'`("19": 0\.2)`', section("Add a chapter"))[1]
    for profile in (copy / "notebooks" / "profiles").glob("*.yaml"):
        *first, last = profile.read_text(encoding="utf-8").rstrip().splitlines()
        profile.write_text("\n".join([*first, last.replace("}", f", {minutes}}}")]) + "\n", encoding="utf-8")
    (check,) = [line for line in blocks("Add a chapter", "bash")[0].splitlines() if "pytest" in line]
    said = python(copy, *check.split()[1:], "-q", "-p", "no:cacheprovider")
    assert re.search(r"\b\d\d passed", said) and "failed" not in said, said
    python(copy, "-m", "pytest", "-q", "tests/notebooks/test_sources.py", "-k", "profile or contents")


@pytest.mark.slow
def test_the_example_chapter_runs_and_gets_a_page(tmp_path):
    project = make_project(tmp_path)
    for old in project.notebooks.glob("*.ipynb"):
        old.unlink()
    write_chapter_of(project)
    toc = yaml.safe_load((tmp_path / "_toc.yml").read_text(encoding="utf-8"))
    toc["parts"][0]["chapters"] = [{"file": "notebooks/19_loudness"}]
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    values = {"about": "t", "all": {"cohort": "synthetic", "synthetic_size": 12, "profile": "smoke"}}
    (project.profiles / "smoke.yaml").write_text(json.dumps(values), encoding="utf-8")
    console = Console(file=io.StringIO())
    report = run.run("smoke", project=project, only=["19"], console=console)
    assert report.ok, console.file.getvalue()
    page = publish.publish_run(project, report.folder, console).parent / "notebooks" / "19_loudness.html"
    text = page.read_text(encoding="utf-8")
    assert 'id="pd-19-levels"' in text
    said = " ".join(re.sub(r"<[^>]+>", " ", text).split())
    assert re.search(r"PD minus HC is [+−]\d+\.\d SYNTHETIC dB", said), said[said.find("PD minus HC") :][:80]


def write_chapter_of(project):
    (project.root / "pdlib").symlink_to(paths.ROOT / "pdlib")
    write_chapter(project.root)


# ── a model ────────────────────────────────────────────────────────────────────────────────────────────
def test_the_example_model_finds_a_planted_difference_under_the_honest_protocol(copy):
    diffs = blocks("Add a model", "diff")
    assert len(diffs) == 6
    for diff in diffs:
        apply(copy, diff)
    said = python(
        copy, "-m", "pytest", "tests/test_baselines.py", "-k", "planted", "-p", "no:cacheprovider", "-vv"
    )
    assert "test_a_planted_difference_is_found_and_its_size_is_right[bayes] PASSED" in said
    ruff = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--no-cache",
        "pdlib/baselines.py",
        "notebooks/10_results.ipynb",
    ]
    assert subprocess.run(ruff, cwd=copy, check=False).returncode == 0


def test_the_example_model_is_scored_and_named_in_the_chapter_of_results(copy):
    for diff in blocks("Add a model", "diff"):
        apply(copy, diff)
    cells = {cell.id: cell.source for cell in nbformat.read(copy / "notebooks" / "10_results.ipynb", 4).cells}
    assert 'kind="bayes"' in cells["ch10-09"] and cells["ch10-09"].index("bayes") < cells["ch10-09"].index(
        "predicted"
    )
    assert '"bayes": "acoustic markers, naive Bayes"' in cells["ch10-13"]
    assert max(len(cells[name].splitlines()) for name in ("ch10-09", "ch10-13")) <= LONGEST_CELL


# ── a claim ────────────────────────────────────────────────────────────────────────────────────────────
def audited(root):
    return claims.audit(Project(root)).problems


def test_the_example_claim_passes_the_audit_and_a_wrong_one_is_refused(copy):
    (row,) = blocks("Add or change a claim", "text")
    ledger, stored = copy / "data" / "claims.csv", copy / "data" / "reproduced.csv"
    before, measured = ledger.read_text(encoding="utf-8"), stored.read_text(encoding="utf-8")
    assert audited(copy) == ()
    ledger.write_text(before + row, encoding="utf-8")
    # what `audit --record` takes over from a run: the value of the same evidence
    (same,) = [line for line in measured.splitlines() if line.startswith("num-p1-pd,")]
    stored.write_text(measured + same.replace("num-p1-pd", row.partition(",")[0]) + "\n", encoding="utf-8")
    claims.write_sums(copy / "data")
    assert audited(copy) == ()
    ledger.write_text(before + row.replace(",40,speakers", ",41,speakers"), encoding="utf-8")
    (problem,) = audited(copy)
    assert problem.startswith("num-p9-pd") and "41" in problem
    ledger.write_text(before + row.replace("n-pd", "no-such-key"), encoding="utf-8")
    assert any("no-such-key" in problem for problem in audited(copy))


# ── form ───────────────────────────────────────────────────────────────────────────────────────────────
def test_the_guide_can_be_read_in_ten_minutes():
    """At two hundred words a minute, code left out."""
    prose = re.sub(r"^( *)```.*?^\1```$", "", GUIDE, flags=re.MULTILINE | re.DOTALL)
    assert len(prose.split()) < 1500


def test_every_command_and_path_the_guide_names_is_there():
    named = set(re.findall(r"`((?:pdlib|tests|data|notebooks|book)/[\w./-]+)`", GUIDE))
    made = {"notebooks/NN_name.ipynb"}
    assert [name for name in sorted(named - made) if not (paths.ROOT / name).exists()] == []
    from pdlib.__main__ import app

    commands = {command.callback.__name__ for command in app.registered_commands}
    assert set(re.findall(r"python -m pdlib (\w+)", GUIDE)) <= commands


def test_links_of_the_guide_and_the_changelog_hold_on_the_site_and_in_the_repository():
    """The site includes both from ``book/``; only links into that folder lead to a page there."""
    for text in (GUIDE, CHANGELOG):
        for target in re.findall(r"\]\(([^)]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            if target.startswith("https:"):
                continue
            assert target.startswith("book/") and (paths.ROOT / target).is_file(), target


def test_the_changelog_keeps_its_form():
    """One heading per version, newest first, dated or unreleased; below it a list or the six kinds of change."""
    lines = CHANGELOG.splitlines()
    assert lines[0] == "# Changelog"
    heads = [line for line in lines if line.startswith("## ")]
    form = re.compile(
        r"## \[?(?:(\d+)\.(\d+)\.(\d+)|Unreleased)\]?(?: (?:\(unreleased\)|- \d{4}-\d{2}-\d{2}))?$"
    )
    assert heads and [head for head in heads if not form.match(head)] == []
    versions = [tuple(map(int, found.groups())) for found in map(form.match, heads) if found[1]]
    assert versions == sorted(set(versions), reverse=True)
    assert [head for head in heads[1:] if "nreleased" in head] == [], "only the newest may be unreleased"
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert {line.removeprefix("### ") for line in lines if line.startswith("### ")} <= kinds
    body = [line for line in lines[1:] if line.strip() and not line.startswith("#")]
    assert body and [line for line in body if not line.startswith(("- ", "  "))] == []


def test_the_newest_version_of_the_changelog_is_that_of_the_code():
    from pdlib import __version__

    newest = re.search(r"^## \[?(\d+\.\d+\.\d+)", CHANGELOG, re.MULTILINE)[1]
    assert newest == __version__
