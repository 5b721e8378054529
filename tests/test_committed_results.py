"""What is committed for reviewers: the ledger, the stored values and the predictions they can be recomputed from."""

import json
import shutil
import subprocess
import sys

import pytest

from pdlib import claims, paths
from pdlib.evaluate import read_predictions
from pdlib.params import Project

PREDICTIONS = paths.DATA / "predictions"


def test_every_claim_of_the_paper_has_a_verdict_evidence_and_a_value_that_bears_it_out():
    done = claims.audit(Project())
    assert done.problems == ()
    assert len(done.claims) > 500


@pytest.mark.parametrize("item", ["fig-1", "fig-30", "tab-5", "eq-32", "alg-4", "tab-4-custnet-recall"])
def test_a_row_deleted_from_the_ledger_fails_the_audit(item, tmp_path):
    for name in ("notebooks", "data"):
        shutil.copytree(paths.ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("raw"))
    ledger = tmp_path / "data" / "claims.csv"
    lines = ledger.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(f"{item},")]
    assert len(kept) == len(lines) - 1, "a row is one line"
    ledger.write_text("".join(kept), encoding="utf-8")
    problems = claims.audit(Project(tmp_path)).problems
    assert any(item in problem or f"Table {item[4]} has" in problem for problem in problems)


def test_a_script_of_twenty_lines_and_no_library_recomputes_the_headline_from_the_predictions():
    script = PREDICTIONS / "recompute.py"
    code = [line for line in script.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(code) <= 25  # with its docstring and imports
    said = subprocess.run(
        [sys.executable, "-I", "-S", str(script)], capture_output=True, text=True, check=True, cwd="/"
    ).stdout
    recomputed = dict(line.split() for line in said.splitlines())
    stored = claims.read_reproduced()
    ours = {
        c.key.removesuffix("-paper"): stored[c.id]
        for c in claims.read_claims()
        if c.chapter == "10" and c.id in stored
    }
    headline = ("accuracy", "auc", "precision", "recall", "specificity", "f1")
    assert {name: recomputed[name] for name in headline} == {
        name: f"{ours[name].value:.3f}" for name in headline
    }


def test_the_committed_predictions_keep_their_form_and_name_the_run_they_are_from():
    settings = json.loads((PREDICTIONS / "settings.json").read_text(encoding="utf-8"))
    files = {path.name for path in PREDICTIONS.glob("chapter_*.csv")}
    assert files == {f"chapter_{number}.csv" for number in settings} and files
    for number, kept in settings.items():
        frame = read_predictions(PREDICTIONS / f"chapter_{number}.csv")
        assert frame["recording"].nunique() == 81
        assert kept["parameters"]["cohort"] == "real" and len(kept["stamp"]) == 12
