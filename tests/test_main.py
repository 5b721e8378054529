"""The command line: exit codes, messages without tracebacks, and what each command reaches."""

import json
import subprocess
import sys

import pandas as pd
import pytest

from pdlib import __main__ as cli
from pdlib import paths, run
from pdlib.claims import write_sums
from pdlib.errors import DataError, WriteError
from pdlib.params import Project
from tests.tinybook import SYNTHETIC, write_notebook, write_profile


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.delenv("PDLIB_RUNS", raising=False)
    monkeypatch.setattr(run, "resolve_cohort", lambda *_, **__: SYNTHETIC)
    made = Project(tmp_path)
    write_notebook(made, "01_one", "print(seed)")
    write_profile(made, "quick")
    monkeypatch.setattr(cli, "PROJECT", made)
    return made


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    said = capsys.readouterr()
    return left.value.code, said.out + said.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--profile", "quik"],
        ["run", "--only", "07"],
        ["run", "-p", "sed=1"],
        ["run", "-p", "seed=one"],
        ["run", "-p", "seed"],
        ["run", "--cell-timeout", "0"],
        ["run", "--no-such-option"],
        ["no-such-command"],
        ["why"],
        ["why", "07"],
    ],
)
def test_wrong_use_leaves_with_two_and_no_traceback(project, capsys, arguments):
    code, said = call(capsys, *arguments)
    assert code == 2
    assert said.strip() and "Traceback" not in said


def test_a_misspelt_name_is_answered_with_the_close_one(project, capsys):
    assert "did you mean quick" in call(capsys, "run", "--profile", "quik")[1]
    assert "did you mean seed" in call(capsys, "run", "-p", "sed=1")[1]


def test_a_run_leaves_with_zero_and_a_failed_chapter_with_one(project, capsys):
    code, said = call(capsys, "run")
    assert code == 0 and "1 done" in said and "SYNTHETIC DATA" in said
    code, said = call(capsys, "status")
    assert code == 0 and "up to date" in said
    write_notebook(project, "01_one", "1 / 0")
    code, said = call(capsys, "why", "1")
    assert code == 0 and "the notebook's source" in said
    code, said = call(capsys, "book")
    assert code == 1 and "ZeroDivisionError" in said and "no pages are built" in said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DataError("HC_AH/x.wav is missing", "fetch again"), "HC_AH/x.wav is missing"),
        (WriteError("cannot write a: the disk is full", "free some space"), "the disk is full"),
    ],
)
def test_a_failed_step_leaves_with_one_and_says_the_way_out(project, capsys, monkeypatch, error, said):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(run, "resolve_cohort", fail)
    code, out = call(capsys, "run")
    assert code == 1
    assert said in out and error.way_out in out and "Traceback" not in out


@pytest.mark.parametrize("command", [["html"], ["edition", "--check"]])
def test_without_an_edition_a_command_leaves_with_one_and_says_how_to_get_one(project, capsys, command):
    code, said = call(capsys, *command)
    assert code == 1 and "make edition" in said


def test_status_before_any_run_says_so(project, capsys):
    assert call(capsys, "status") == (0, "nothing has been executed yet; `python -m pdlib run` starts\n")


def test_ctrl_c_leaves_with_130(project, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "resolve_cohort", stop)
    code, said = call(capsys, "run")
    assert code == 130 and "goes on from there" in said


def test_an_unexpected_error_is_not_hidden(project, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(run, "resolve_cohort", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["run"])


def test_help_names_every_command_and_works_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "pdlib", "--help"], cwd=paths.ROOT, capture_output=True, text=True, check=True
    )
    for command in cli.app.registered_commands:
        assert f"  {command.callback.__name__} " in done.stdout
    for word in ("PDLIB_DATA", "PDLIB_WEIGHTS", "PDLIB_RUNS", "PDLIB_RESULTS", "PDLIB_REPOSITORY", "2 for wrong use"):
        assert word in done.stdout
    commands = done.stdout.partition("Commands:")[2].partition("Start here")[0]
    assert commands.strip() and "..." not in commands, "the summary of a command is cut off"


def test_every_command_explains_itself_with_an_example(capsys):
    names = [command.name or command.callback.__name__ for command in cli.app.registered_commands]
    assert len(names) > 8
    for name in names:
        code, said = call(capsys, name, "--help")
        assert code == 0 and f"  python -m pdlib {name}" in said, name


def test_check_leaves_with_one_for_what_is_missing_and_with_two_for_wrong_use(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "HC").mkdir()
    code, said = call(capsys, "check", str(tmp_path))
    assert code == 1 and "no folder begins with PD" in said and "HC/" in said
    assert call(capsys, "check", str(tmp_path), "--profile", "quik")[0] == 2
    assert call(capsys, "check")[0] == 2


def test_a_table_that_does_not_fit_stops_a_run_before_it_starts(project, tmp_path, capsys):
    (tmp_path / "HC").mkdir()
    (tmp_path / "speakers.csv").write_text("file,age,sex\nann.wav,50,F\n")
    for given in (["--cohort", str(tmp_path)], ["-p", f"cohort={tmp_path}"]):
        code, said = call(capsys, "run", *given)
        assert code == 1 and "line 2: 'ann.wav' has no recording" in said and "pdlib check" in said


LEDGER = (
    "id,section,page,kind,printed,unit,chapter,key,tolerance,verdict,note\n"
    "num-a,1,2,number,0.9,1,01,auc,0,differs,We measured less.\n"
    "st-b,1,3,statement,it is good,,01,auc,,cannot be computed,Nobody says how.\n"
)
STORED = "id,value,low,high,profile,stamp\nnum-a,0.5,0.4,0.6,quick,abc\n"


@pytest.fixture
def ledger(project, monkeypatch):
    monkeypatch.setattr("pdlib.claims.REQUIRED", {})
    monkeypatch.setattr("pdlib.claims.CELLS", {})
    write_notebook(project, "01_one", 'page.number("auc", 0.5)')
    data = project.root / "data"
    data.mkdir()
    (data / "claims.csv").write_text(LEDGER, encoding="utf-8")
    (data / "reproduced.csv").write_text(STORED, encoding="utf-8")
    write_sums(data)
    return data


def test_audit_lists_every_claim_with_our_value_and_counts_verdicts(ledger, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    code, said = call(capsys, "audit")
    assert code == 0
    assert "0.5 [0.4, 0.6]" in said and "st-b" in said
    assert "2 claims: 0 holds, 1 differs" in said


def test_audit_gives_one_claim_with_its_reason_and_evidence_and_everything_as_json(ledger, capsys):
    code, said = call(capsys, "audit", "--claim", "num-a")
    assert code == 0
    assert "We measured less." in said and "notebooks/01_one.html#pd-01-auc" in said and "st-b" not in said
    code, said = call(capsys, "audit", "--json", "--verdict", "differs")
    found = json.loads(said)
    assert code == 0
    assert [(row["id"], row["value"]) for row in found["claims"]] == [("num-a", 0.5)]
    assert found["counts"]["differs"] == 1 and found["problems"] == []


def test_audit_fails_for_a_verdict_its_value_does_not_bear_out(ledger, capsys):
    (ledger / "reproduced.csv").write_text(STORED.replace("0.6", "0.95"), encoding="utf-8")
    code, said = call(capsys, "audit")
    assert code == 1
    assert "num-a: the verdict is 'differs'" in " ".join(said.split())
    assert "data/reproduced.csv is not as the run wrote it" in " ".join(said.split())


def test_audit_of_a_claim_that_does_not_exist_is_wrong_use(ledger, capsys):
    assert call(capsys, "audit", "--claim", "num-z")[0] == 2


@pytest.mark.parametrize(("verdict", "code"), [("identical", 0), ("differs", 1)])
def test_recheck_runs_no_chapter_and_leaves_with_one_when_a_fold_differs(
    project, capsys, monkeypatch, verdict, code
):
    from pdlib import cohort, recheck

    result = pd.DataFrame([["age", "none", 0, 0, 2, 0.5, 0, verdict]], columns=recheck.COLUMNS)
    monkeypatch.setattr(recheck, "read", lambda: (pd.DataFrame(), {}))
    monkeypatch.setattr(recheck, "units", lambda predictions: [1, 2])
    monkeypatch.setattr(recheck, "left_out", lambda predictions: [])
    monkeypatch.setattr(recheck, "recheck", lambda *_, **__: result)
    monkeypatch.setattr(cohort, "load_cohort", lambda which: None)
    left, said = call(capsys, "run", "--recheck", "1")
    assert left == code
    assert "1 of 2 stored folds" in said and not (project.root / "_build").exists()


def test_student_writes_copies_and_the_solutions_where_it_is_told(project, capsys, tmp_path):
    code, said = call(
        capsys, "student", "--out", str(tmp_path / "class"), "--solutions", str(tmp_path / "all.md")
    )
    assert code == 0, said
    assert sorted(path.name for path in (tmp_path / "class").glob("*")) == [
        ".student-copies.json", "01_one.ipynb", "README.md",
    ]  # fmt: skip
    assert "without their solutions (1)" in said and (tmp_path / "all.md").is_file()
