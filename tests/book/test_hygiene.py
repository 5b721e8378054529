"""What must never be committed: hosts of package registries, machine paths, recordings, large files."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest

from pdlib import paths, provenance
from pdlib.provenance import distributions_of

LARGEST = 3_000_000
SOUND = {".wav", ".mp3", ".flac", ".ogg", ".m4a", ".aiff", ".au"}
# joined here, so that this file holds none of them
REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"), ("pythonhosted", "org"), ("registry", "npmjs", "org"), ("conda", "anaconda", "org"),
        ("crates", "io"), ("proxy", "golang", "org"),
    )
]  # fmt: skip
INDEX_OPTIONS = ["--" + word for word in ("index-url", "extra-index-url", "find-links", "trusted-host")]
MACHINE = re.compile(
    "|".join(
        r"(?<![\w.-])/" + place + r"/[\w.-]" for place in ("root", "work", "home", "Users", "tmp", "private")
    )
)
# words that name such a place without being a path of this machine
NOT_A_PATH = {"home/jovyan"}


def committed():
    """Files git tracks, or would with `git add`, that exist."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=paths.ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found = [paths.ROOT / name for name in sorted(set(listed.split("\0"))) if name]
    return [path for path in found if path.is_file()]


@pytest.fixture(scope="module")
def files():
    found = committed()
    assert len(found) > 20, "git lists hardly any file: this is not the book's checkout"
    return found


@pytest.fixture(scope="module")
def texts(files):
    """Text of every committed text file but the bundled MathJax, by its name."""
    read = {}
    for path in files:
        name = path.relative_to(paths.ROOT).as_posix()
        if "/mathjax/" in name:
            continue
        try:
            read[name] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return read


def test_no_file_names_the_host_of_a_package_registry(texts):
    found = [(name, host) for name, text in texts.items() for host in REGISTRIES if host in text]
    assert found == []


def test_the_lock_holds_hashes_and_no_index_option(texts):
    lock = texts["requirements.lock"]
    assert [option for option in INDEX_OPTIONS if option in lock] == []
    assert "://" not in lock
    pins = re.findall(r"^([A-Za-z0-9._-]+)==\S+(.*(?:\n    .*)*)", lock, re.MULTILINE)
    assert len(pins) > 100
    assert [name for name, rest in pins if "--hash=sha256:" not in rest] == []


def test_no_file_holds_a_path_of_one_machine(texts):
    found = []
    for name, text in texts.items():
        for number, line in enumerate(text.splitlines(), 1):
            for match in MACHINE.finditer(line):
                if not any(word in line for word in NOT_A_PATH):
                    found.append(f"{name}:{number}: {line.strip()[max(0, match.start() - 20) :][:80]}")
    assert found == []


def test_no_recording_is_committed_outside_a_folder_called_synthetic(files):
    sound = [path.relative_to(paths.ROOT) for path in files if path.suffix.lower() in SOUND]
    assert [path.as_posix() for path in sound if "synthetic" not in path.parts[:-1]] == []


def test_no_workbook_with_peoples_ages_is_committed(files):
    assert [path.name for path in files if path.suffix.lower() in (".xlsx", ".xls", ".zip")] == []


def test_no_committed_file_is_larger_than_three_megabytes(files):
    large = {path.relative_to(paths.ROOT).as_posix(): path.stat().st_size for path in files}
    assert {name: size for name, size in large.items() if size > LARGEST} == {}


def test_no_executed_chapter_of_the_edition_holds_an_error_or_plays_a_real_voice():
    problems = []
    for path in sorted(paths.EDITION.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        if notebook.metadata["pdlib"]["cohort"]["kind"] != "real":
            problems.append(f"{path.name} is not of the real cohort")
        for number, cell in enumerate(notebook.cells, 1):
            for output in cell.get("outputs", []):
                if output.output_type == "error":
                    problems.append(f"{path.name}, cell {number}: {output.ename}")
    assert problems == []


def test_the_top_level_holds_what_the_layout_fixes_and_nothing_else(files):
    top = {path.relative_to(paths.ROOT).parts[0] for path in files}
    fixed = {
        "README.md", "LICENSE", "LICENSE-text", "CITATION.cff", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile",
        "pyproject.toml", "environment.yml", "requirements.lock", ".binder", ".ci", ".gitignore",
        "_config.yml", "_toc.yml", "book", "notebooks", "pdlib", "data", "tests",
    }  # fmt: skip
    assert top == fixed


def _named(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_library_pdlib_imports_is_a_dependency_it_names():
    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {_named(re.match(r"[A-Za-z0-9._-]+", line)[0]) for line in project["dependencies"]}
    missing = set()
    for path in sorted((paths.ROOT / "pdlib").glob("*.py")):
        for package in provenance.imported_modules(path.read_text(encoding="utf-8"))[1]:
            candidates = {_named(name) for name in distributions_of(package) or [package]}
            if not candidates & named:
                missing.add(f"{path.name} imports {package} ({', '.join(sorted(candidates))})")
    assert sorted(missing) == []


def lint_imports(folder):
    """What import-linter says to the modules in a folder with the book's pyproject.toml."""
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([program, "--no-cache", "--no-logo"], cwd=folder, capture_output=True, text=True)


def test_no_module_imports_one_that_comes_later_on_the_way_from_recording_to_page(tmp_path):
    said = lint_imports(paths.ROOT)
    assert said.returncode == 0 and "1 kept, 0 broken" in said.stdout, said.stdout + said.stderr
    shutil.copytree(paths.ROOT / "pdlib", tmp_path / "pdlib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(paths.ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    with (tmp_path / "pdlib" / "features.py").open("a", encoding="utf-8") as file:
        file.write("\n\ndef later():\n    import pdlib.publish\n")
    said = lint_imports(tmp_path)
    assert said.returncode == 1 and "pdlib.features is not allowed to import pdlib.publish" in said.stdout


def test_the_map_of_the_package_is_the_order_that_is_enforced():
    config = tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = config["tool"]["importlinter"]["contracts"]
    text = (paths.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    part = text.split("## The package\n")[1].split("\n## ")[0]
    rows = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in part.splitlines() if line.startswith("| `")]
    assert rows == [layer.split(" : ") for layer in reversed(contract["layers"])]


def test_only_networks_and_explain_import_tensorflow_when_they_are_imported():
    early = []
    for path in sorted((paths.ROOT / "pdlib").glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] in ("tensorflow", "keras", "tf_keras_vis") for name in names):
                early.append(path.stem)
    assert set(early) <= {"networks", "explain"}


@pytest.mark.parametrize("module", ["pdlib.__main__", "pdlib.run", "pdlib.publish", "pdlib.figures"])
def test_the_command_line_and_the_runner_start_without_tensorflow(module):
    code = f"import sys, {module}; print([n for n in ('tensorflow', 'keras') if n in sys.modules])"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "[]"


def test_the_bundled_mathjax_comes_with_its_licence():
    folder = paths.BOOK / "_static" / "mathjax"
    assert "Apache License" in (folder / "LICENSE").read_text(encoding="utf-8")
    assert "MathJax" in (folder / "README.md").read_text(encoding="utf-8")


def test_every_json_and_notebook_file_is_whole(files):
    for path in files:
        if path.suffix in (".json", ".ipynb"):
            json.loads(Path(path).read_text(encoding="utf-8"))
