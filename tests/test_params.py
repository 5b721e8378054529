"""Parameters, chapters and profiles: what is wrong is refused by name, before a kernel starts."""

import subprocess
import sys

import pytest

from pdlib import paths
from pdlib.errors import ChapterError, ParameterError, UsageError
from pdlib.params import (
    Project,
    load_profile,
    parse_assignments,
    parse_parameters,
    read_chapter,
    read_chapters,
    resolve,
    select,
)
from tests.tinybook import write_notebook, write_profile

CELL = """from typing import Literal
seed: int = 0  # folds and weights
rate: float = 1  # learning rate
kind: Literal["paper", "sound"] = "sound"  # variant
size: int | None = None  # how many
folds: list[int] = [1, 2]  # which folds
quick: bool = True  # fewer
note: str = ""  # free text
"""


@pytest.fixture
def project(tmp_path):
    made = Project(tmp_path)
    write_notebook(made, "05_one", parameters=CELL)
    write_notebook(made, "06_two", parameters="seed: int = 3  # folds\nwidth: float = 0.5  # of the network")
    write_profile(made, all={"seed": 1}, chapters={"06": {"width": 2}}, minutes={"05": 1})
    return made


def values(project, overrides=None, selected=("05", "06"), profile="smoke"):
    return resolve(read_chapters(project), load_profile(profile, project), overrides or {}, selected)


def test_a_parameters_cell_gives_names_types_defaults_and_help():
    found = parse_parameters(CELL, "05.ipynb")
    assert list(found) == ["seed", "rate", "kind", "size", "folds", "quick", "note"]
    assert found["seed"].help == "folds and weights"
    assert found["seed"].annotation == "int"
    assert (found["rate"].default, found["size"].default, found["folds"].default) == (1.0, None, [1, 2])
    assert isinstance(found["rate"].default, float)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("seed: int = 0", "'seed' has no comment"),
        ("seed = 0  # untyped", "holds 'seed = 0  # untyped'"),
        ("seed: int  # no value", "holds 'seed: int  # no value'"),
        ("seed: complex = 0  # odd", "'seed' has the type complex"),
        ("seed: dict[str, int] = {}  # odd", "'seed' has the type dict[str, int]"),
        ("seed: int = '1'  # text", "seed = '1' (str) is not int"),
        ("seed: bool = 0  # number", "seed = 0 (int) is not bool"),
        ("seed: int = True  # truth", "seed = True (bool) is not int"),
        ("seed: int = 1 + x  # computed", "the default of 'seed' is not a plain value: 1 + x"),
        ("seed: int = 0  # a\nseed: int = 1  # b", "'seed' is declared twice"),
        ("import os", "holds 'import os'"),
        ("seed: int = (", "is not Python"),
    ],
)
def test_a_parameters_line_that_cannot_be_checked_is_refused_with_its_text(line, said):
    with pytest.raises(ParameterError) as caught:
        parse_parameters(line, "05.ipynb")
    assert said in str(caught.value)
    assert "05.ipynb" in str(caught.value)


def test_the_profile_wins_over_the_notebook_and_the_command_line_over_both(project):
    assert values(project)["05"]["seed"] == 1
    assert values(project)["06"] == {"seed": 1, "width": 2.0}
    assert values(project, {"seed": 9})["06"]["seed"] == 9
    assert values(project, {"seed": 9}, selected=["05"])["06"]["seed"] == 1


def test_a_chapters_own_value_wins_over_the_profiles_all(project):
    write_profile(project, "both", all={"seed": 1}, chapters={"05": {"seed": 2}})
    found = values(project, profile="both")
    assert (found["05"]["seed"], found["06"]["seed"]) == (2, 1)


def test_a_chapter_that_declares_profile_is_told_the_profiles_name(project):
    write_notebook(project, "07_three", parameters='profile: str = "quick"  # filled in by the runner')
    assert values(project)["07"] == {"profile": "smoke"}
    with pytest.raises(ParameterError, match="use --profile"):
        values(project, {"profile": "full"}, selected=["07"])


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("seed", "1", "seed = '1' (str) is not int"),
        ("seed", 1.0, "seed = 1.0 (float) is not int"),
        ("seed", True, "seed = True (bool) is not int"),
        ("seed", None, "seed = None (NoneType) is not int"),
        ("rate", "fast", "is not float"),
        ("rate", float("inf"), "is not float"),
        ("kind", "sond", "did you mean sound"),
        ("quick", 1, "is not bool"),
        ("note", 5, "quote text"),
        ("folds", ["a"], "is not list[int]"),
        ("folds", 1, "is not list[int]"),
        ("sed", 1, "did you mean seed"),
        ("width", 1.0, "none of 05 has a parameter 'width'"),
    ],
)
def test_a_wrong_value_or_name_on_the_command_line_is_named_with_what_is_allowed(project, name, value, said):
    with pytest.raises(ParameterError) as caught:
        values(project, {name: value}, selected=["05"])
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"all": {"sed": 1}}, "no chapter has a parameter 'sed'"),
        ({"all": {"seed": "1"}}, "seed = '1' (str) is not int"),
        ({"chapters": {"05": {"width": 1.0}}}, "chapter 05 has no parameter 'width'"),
        ({"chapters": {"15": {}}}, "there is no chapter '15'"),
        ({"minutes": {"15": 1}}, "there is no chapter '15'"),
        ({"minutes": {"05": "long"}}, "minutes of chapter 05 is 'long'"),
        ({"al": {}}, "has a part 'al'"),
        ({"all": [1]}, "all is a list"),
        ({"chapters": {"05": 3}}, "chapter 05 holds 3"),
    ],
)
def test_a_wrong_entry_of_a_profile_is_named(project, parts, said):
    write_profile(project, "odd", **parts)
    with pytest.raises(UsageError) as caught:
        values(project, profile="odd")
    assert said in str(caught.value)


def test_a_profiles_duplicate_key_is_refused_and_plain_chapter_numbers_are_understood(project):
    path = project.profiles / "odd.yaml"
    path.write_text("all: {seed: 1}\nall: {seed: 2}\n", encoding="utf-8")
    with pytest.raises(UsageError, match="not YAML"):
        load_profile("odd", project)
    path.write_text("chapters:\n  05: {seed: 4}\nminutes: {06: 0.5}\n", encoding="utf-8")
    assert values(project, profile="odd")["05"]["seed"] == 4
    assert load_profile("odd", project).minutes == {"06": 0.5}


def test_an_unknown_profile_is_refused_with_close_names(project):
    with pytest.raises(UsageError, match="did you mean smoke"):
        load_profile("smok", project)
    with pytest.raises(UsageError, match="no profile"):
        load_profile("../smoke", project)


def test_command_line_values_are_yaml_scalars_split_at_the_first_equals_sign():
    texts = [
        "recording=a=b",
        "rate=1e-3",
        "n=08",
        "folds=[1, 2]",
        "size=",
        "at=12:30",
        "day=2024-01-01",
        "yes=no",
    ]
    assert parse_assignments(texts) == {
        "recording": "a=b", "rate": 0.001, "n": 8, "folds": [1, 2], "size": None, "at": "12:30",
        "day": "2024-01-01", "yes": "no",
    }  # fmt: skip
    assert parse_assignments(['label="5"']) == {"label": "5"}
    assert parse_assignments(["quick=false"]) == {"quick": False}


@pytest.mark.parametrize(
    "text", ["seed", "=1", "a b=1", "seed=[1", "seed=*x", "seed=!!python/object:os.system x"]
)
def test_a_command_line_text_that_is_not_an_assignment_is_refused(text):
    with pytest.raises(ParameterError):
        parse_assignments([text])


def test_the_same_name_twice_on_the_command_line_is_refused():
    with pytest.raises(ParameterError, match="twice"):
        parse_assignments(["seed=1", "seed=2"])


def test_chapters_are_chosen_by_number_or_name_and_kept_in_order(project):
    chapters = read_chapters(project)
    assert select(chapters, ["6", "05_one"]) == ["05", "06"]
    assert select(chapters, None) == ["05", "06"]
    with pytest.raises(UsageError, match="no chapter '16'"):
        select(chapters, ["16"])
    with pytest.raises(UsageError, match="did you mean 05_one"):
        select(chapters, ["05_on"])


def test_a_chapter_can_need_only_chapters_before_it(project):
    write_notebook(project, "06_two", needs=["07"])
    write_notebook(project, "07_three")
    with pytest.raises(ChapterError, match="06_two.ipynb needs chapter '07'"):
        read_chapters(project)


def test_two_chapters_of_one_number_are_refused(project):
    write_notebook(project, "06_again")
    with pytest.raises(ChapterError, match="share the number 06"):
        read_chapters(project)


def test_a_folder_without_chapters_is_refused(tmp_path):
    with pytest.raises(ChapterError, match="holds no chapter"):
        read_chapters(Project(tmp_path))


def test_a_notebook_without_kernelspec_or_parameters_cell_or_json_is_refused_by_name(project):
    path = write_notebook(project, "07_three")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"python3"', '"ir"'), encoding="utf-8")
    with pytest.raises(ChapterError, match="07_three.ipynb asks for the kernel 'ir'"):
        read_chapter(path)
    path.write_text(text.replace('"tags"', '"labels"'), encoding="utf-8")
    with pytest.raises(ChapterError, match="0 cells tagged"):
        read_chapter(path)
    path.write_text(text[: len(text) // 2], encoding="utf-8")
    with pytest.raises(ChapterError, match="07_three.ipynb is not a notebook"):
        read_chapter(path)
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(ChapterError, match="07_three.ipynb is not a notebook"):
        read_chapter(path)


def test_reading_notebooks_does_not_build_a_grammar_of_web_addresses_and_still_checks_them():
    code = (
        "import sys, pdlib.run, nbformat\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'lark']\n"
        "nbformat.validate({'cells': [{'cell_type': 'none'}], 'metadata': {}, 'nbformat': 4, 'nbformat_minor': 5})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=False
    )
    assert "ValidationError" in done.stderr and "AssertionError" not in done.stderr
