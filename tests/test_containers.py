"""Recipes of environments: Dockerfile, conda's file, pyproject and lock must ask for the same Python and libraries."""

import re
import tomllib

import pytest
import yaml

from pdlib import paths

# the Python of Debian's releases
DEBIAN = {"bookworm": "3.11", "trixie": "3.13"}


@pytest.fixture(scope="module")
def recipe():
    text = (paths.ROOT / ".binder" / "Dockerfile").read_text(encoding="utf-8")
    return re.sub(r"\\\n\s*", "", re.sub(r"(?m)^\s*#.*\n", "", text))


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def conda():
    return yaml.safe_load((paths.ROOT / "environment.yml").read_text(encoding="utf-8"))


def test_the_containers_python_is_one_the_book_runs_on(recipe, project):
    release = re.search(r"^FROM debian:(\w+)-slim$", recipe, re.MULTILINE)[1]
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", project["requires-python"]).groups()
    assert int(low) <= int(DEBIAN[release].split(".")[1]) < int(high)


def test_conda_asks_for_the_same_python_and_the_lock(conda, project):
    assert f"python {project['requires-python']}" in conda["dependencies"]
    listed = next(part["pip"] for part in conda["dependencies"] if isinstance(part, dict))
    assert listed == ["-r requirements.lock"] and conda["name"] == project["name"]


def test_makefile_accepts_the_pythons_that_pyproject_names(project):
    text = (paths.ROOT / "Makefile").read_text(encoding="utf-8")
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", project["requires-python"]).groups()
    assert f"(3, {low}) <= sys.version_info[:2] < (3, {high})" in text
    assert f"needs Python 3.{low} to 3.{int(high) - 1}" in text


def test_everything_the_recipe_copies_and_makes_is_there(recipe):
    copied = [
        name
        for line in re.findall(r"^COPY --chown=\S+ (.+)$", recipe, re.MULTILINE)
        for name in line.split()[:-1]
    ]
    assert "requirements.lock" in copied and "." in copied
    assert [name for name in copied if not (paths.ROOT / name).exists()] == []
    makefile = (paths.ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^RUN make (\w+)", recipe, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_container_runs_as_binders_user_and_starts_jupyterlab(recipe):
    assert re.search(r"^ARG NB_UID=1000$", recipe, re.MULTILINE)
    assert re.findall(r"^USER (\S+)$", recipe, re.MULTILINE)[-1] == "${NB_UID}"
    assert "ENTRYPOINT" not in recipe  # Binder gives the whole command
    assert re.search(r'^CMD \["jupyter", "lab", "--ip=0\.0\.0\.0"', recipe, re.MULTILINE)


def test_the_lock_pins_what_the_container_starts(project):
    lock = (paths.ROOT / "requirements.lock").read_text(encoding="utf-8")
    for line in project["dependencies"]:
        name = re.match(r"[A-Za-z0-9._-]+", line)[0].lower()
        assert re.search(rf"^{re.escape(name)}==", lock, re.MULTILINE | re.IGNORECASE), name


def test_nothing_a_machine_made_goes_into_the_image():
    left_out = (paths.ROOT / ".binder" / "Dockerfile.dockerignore").read_text(encoding="utf-8").split("\n")
    assert {".git", ".venv", "_build", "data/raw", "**/*.wav", "**/*.xlsx"} <= set(left_out)
