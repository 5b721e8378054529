"""The ledger of claims: what it refuses, how values bear verdicts out, and what a run leaves."""

import csv
import io
import json
import re

import pytest

from pdlib import claims, run
from pdlib.claims import CELLS, COLUMNS, REQUIRED, VERDICTS, Claim, Value
from pdlib.errors import DataError, PrivacyError, PublishError, UsageError
from pdlib.evaluate import read_predictions
from pdlib.params import Project, read_chapters
from tests.tinybook import write_notebook, write_profile

ROW = {
    "id": "num-p1-accuracy", "section": "abstract", "page": "1", "kind": "number", "printed": "99.06", "unit": "%",
    "chapter": "01", "key": "accuracy", "tolerance": "0", "verdict": "differs", "note": "We measured less.",
}  # fmt: skip


def rows_for_everything():
    """A ledger that treats every item and every cell of the paper, with the claim above."""
    kinds = claims.ITEM_KINDS
    made = [ROW]
    for prefix, count in REQUIRED.items():
        for number in range(1, count + 1):
            made.append(ROW | {"id": f"{prefix}-{number}", "kind": kinds[prefix], "printed": "a thing",
                               "key": "table", "verdict": "holds"})  # fmt: skip
    for table, count in CELLS.items():
        for cell in range(count):
            made.append(
                ROW | {"id": f"tab-{table}-c{cell}", "kind": "cell", "key": "table", "verdict": "holds"}
            )
    return made


def write(path, rows, columns=COLUMNS):
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(out.getvalue(), encoding="utf-8")
    return path


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A book of one chapter that shows a number and a table, with a whole ledger and one stored value."""
    monkeypatch.delenv("PDLIB_RUNS", raising=False)
    made = Project(tmp_path)
    write_notebook(made, "01_one", 'page.number("accuracy", 0.5)\npage.table(frame, "table", caption="x")')
    write_profile(made, "quick")
    write(tmp_path / "data" / "claims.csv", rows_for_everything())
    store(made, value="0.5", low="0.4", high="0.6")
    return made


def store(project, name="num-p1-accuracy", **values):
    row = {"id": name, "value": "", "low": "", "high": "", "profile": "quick", "stamp": "abc"} | values
    write(project.root / "data" / "reproduced.csv", [row], claims.REPRODUCED)
    claims.write_sums(project.root / "data")


def executed(project, numbers, *, profile="quick", kind="real", keys=("accuracy", "table"), overrides=None):
    """Leave what an executed chapter leaves: its copy with a record, and its account of what it shows."""
    folder = run.run_folder(project, profile, kind)
    chapter = read_chapters(project)["01"]
    notebook = json.loads(chapter.path.read_text(encoding="utf-8"))
    notebook["metadata"]["pdlib"] = {
        "key": "k" * 64, "profile": profile, "overrides": overrides or {},
        "cohort": {"kind": kind, "fingerprint": "f" * 64},
        "parts": {"source": run.source_hash(chapter), "parameters": {"seed": 0}},
    }  # fmt: skip
    notebook["metadata"]["pdlib"]["content"] = run.content_of(notebook)
    pages = folder / "pages" / "01"
    pages.mkdir(parents=True, exist_ok=True)
    (folder / chapter.path.name).write_text(json.dumps(notebook), encoding="utf-8")
    (pages / "page.json").write_text(json.dumps({"items": dict.fromkeys(keys, {})}), encoding="utf-8")
    (pages / "numbers.json").write_text(json.dumps(numbers), encoding="utf-8")
    return folder


MEASURED = {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}}


# --- one row at a time ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"verdict": ""}, "no verdict"),
        ({"verdict": "true"}, "is no verdict"),
        ({"key": ""}, "no evidence"),
        ({"chapter": ""}, "no evidence"),
        ({"note": " "}, "no reason"),
        ({"kind": "guess"}, "unknown kind"),
        ({"page": "p. 3"}, "is no page"),
        ({"printed": ""}, "what is printed"),
        ({"tolerance": "-1"}, "is no tolerance"),
        ({"tolerance": "much"}, "is no tolerance"),
        ({"id": "Fig 1"}, "is no id"),
        ({"id": "fig-3"}, "'figure'"),
    ],
)
def test_a_row_that_breaks_the_form_is_refused_with_its_line_and_id(tmp_path, change, said):
    path = write(tmp_path / "claims.csv", [ROW | {"id": "st-good"}, ROW | change])
    with pytest.raises(DataError, match="line 3") as refused:
        claims.read_claims(path)
    assert said in str(refused.value) and refused.value.way_out


def test_an_id_that_stands_twice_is_refused(tmp_path):
    with pytest.raises(DataError, match="num-p1-accuracy stands there twice"):
        claims.read_claims(write(tmp_path / "claims.csv", [ROW, ROW]))


def test_a_ledger_without_a_column_is_refused(tmp_path):
    with pytest.raises(DataError, match="columns"):
        claims.read_claims(write(tmp_path / "claims.csv", [ROW], COLUMNS[:-1]))


def test_a_printed_percentage_is_compared_as_a_fraction():
    claim = Claim(**ROW | {"tolerance": 0.05}, line=2)
    assert claim.number == pytest.approx(0.9906)
    assert claim.slack == pytest.approx(0.0005)


# --- verdict against value --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("verdict", "value", "fits"),
    [
        ("holds", (0.99, None, None), False),
        ("holds", (0.9904, None, None), True),  # within the tolerance of 0.05 %
        ("holds", (0.90, 0.80, 0.995), True),
        ("holds", (0.90, 0.80, 0.95), False),
        ("differs", (0.90, 0.80, 0.95), True),
        ("differs", (0.90, 0.80, 0.995), False),
        ("differs", (0.9906, None, None), False),
        ("contradicts itself", (0.9753, None, None), True),
        ("contradicts itself", (0.9906, None, None), False),
        ("not of this study", (0.1, None, None), True),  # nothing to compare
        ("cannot be computed", (0.1, None, None), True),
        ("cannot run", (0.1, None, None), True),
    ],
)
def test_a_verdict_stands_only_where_its_value_bears_it_out(verdict, value, fits):
    claim = Claim(**ROW | {"verdict": verdict, "tolerance": 0.05}, line=2)
    assert (claims.not_borne_out(claim, Value(*value, "quick", "s")) == "") is fits


def test_words_are_no_number_to_hold_against_a_value():
    claim = Claim(**ROW | {"printed": "high accuracy", "tolerance": 0.0}, line=2)
    assert "is no number" in claims.not_borne_out(claim, Value(0.5, None, None, "quick", "s"))
    assert (
        claims.not_borne_out(Claim(**vars(claim) | {"kind": "statement"}), Value(0.5, None, None, "q", "s"))
        == ""
    )


@pytest.mark.parametrize(
    ("unit", "value", "said"),
    [
        ("%", (0.54321, 0.4444, 0.65), "54.32 % [44.44, 65]"),
        ("1", (0.54321, 0.4444, 0.65), "0.5432 [0.4444, 0.65]"),
        ("%", (0.5, None, None), "50 %"),
        ("speakers", (81.0, None, None), "81"),
    ],
)
def test_a_value_is_said_in_the_unit_of_its_claim(unit, value, said):
    assert Value(*value, "quick", "s").said(unit) == said


# --- keys of a chapter ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("code", "shown", "hidden"),
    [
        ('page.number("auc", 1)', ["auc"], ["au", "1"]),
        ('page.figure(fig, "roc", caption="c")', ["roc"], ["c"]),
        ('page.table(frame, key="rows", caption="c")', ["rows"], ["c"]),
        ('page.number(f"{metric}-paper", 1)', ["auc-paper"], ["-paper", "auc-sound"]),
        ('for key in ("a", "b"):\n    page.words(key, "says")', ["a", "b"], ["d"]),
        ('page.number(f"{a}{b}", 1)\nx = "plain"', ["plain"], ["other"]),
        ('other.number("auc", 1)', [], ["auc"]),
    ],
)
def test_the_keys_a_chapter_shows_are_read_off_its_code(project, code, shown, hidden):
    write_notebook(project, "01_one", code)
    pattern = claims.shown_in(read_chapters(project)["01"])
    assert [key for key in shown if not pattern.fullmatch(key)] == []
    assert [key for key in hidden if pattern.fullmatch(key)] == []


# --- the audit --------------------------------------------------------------------------------------------
def test_a_whole_ledger_with_values_that_fit_has_no_problem(project):
    executed(project, MEASURED)
    done = claims.audit(project)
    assert done.problems == ()
    assert "1 values of _build/run/quick-real" in done.compared
    assert sum(done.counts.values()) == len(rows_for_everything())
    assert set(done.counts) == set(VERDICTS)


@pytest.mark.parametrize("gone", ["fig-13", "fig-30", "tab-4", "eq-31", "alg-2", "tab-2-c7"])
def test_a_deleted_row_is_missed(project, gone):
    rows = [row for row in rows_for_everything() if row["id"] != gone]
    write(project.root / "data" / "claims.csv", rows)
    problems = " ".join(claims.audit(project).problems)
    number = re.search(r"\d+", gone)[0]
    assert gone in problems or f"Table {number} has" in problems


def test_evidence_that_no_cell_shows_is_a_problem(project):
    write(
        project.root / "data" / "claims.csv", [*rows_for_everything(), ROW | {"id": "st-x", "key": "nothing"}]
    )
    assert any("st-x" in p and "'nothing'" in p for p in claims.audit(project).problems)


def test_evidence_in_a_chapter_that_does_not_exist_is_a_problem(project):
    write(
        project.root / "data" / "claims.csv", [*rows_for_everything(), ROW | {"id": "st-x", "chapter": "09"}]
    )
    assert any("no chapter 09" in p for p in claims.audit(project).problems)


def test_a_stored_value_that_does_not_bear_its_verdict_out_is_a_problem(project):
    store(project, value="0.99", low="0.98", high="1")
    assert any("num-p1-accuracy: the verdict is 'differs'" in p for p in claims.audit(project).problems)


def test_a_stored_value_of_no_claim_is_a_problem(project):
    store(project, name="num-gone", value="1")
    assert any("num-gone: a stored value belongs to no claim" in p for p in claims.audit(project).problems)


def test_without_a_stored_value_the_audit_says_what_to_run(project):
    (project.root / "data" / "reproduced.csv").unlink()
    assert any("audit --record" in problem for problem in claims.audit(project).problems)


@pytest.mark.parametrize("now", [{"value": 0.51}, {"low": 0.3}, {"high": None, "low": None}])
def test_a_run_that_moved_away_from_the_stored_value_is_a_problem(project, now):
    executed(project, {"accuracy": MEASURED["accuracy"] | now})
    assert any("is stored, the run gives" in problem for problem in claims.audit(project).problems)


def test_a_run_that_measures_no_more_what_is_stored_is_a_problem(project):
    executed(project, {})
    assert any("the run measures none" in problem for problem in claims.audit(project).problems)


def test_a_run_that_shows_no_more_what_is_evidence_is_a_problem(project):
    executed(project, MEASURED, keys=("accuracy",))
    assert any("shows nothing with the key 'table'" in problem for problem in claims.audit(project).problems)


@pytest.mark.parametrize("other", [{"profile": "full"}, {"kind": "synthetic"}, {"overrides": {"seed": 1}}])
def test_a_run_of_other_settings_is_not_compared(project, other):
    executed(project, {"accuracy": MEASURED["accuracy"] | {"value": 0.1}}, **other)
    done = claims.audit(project)
    assert done.problems == () and "no run of profile quick" in done.compared


def test_filters_choose_claims_and_refuse_what_does_not_exist(project):
    ledger = claims.audit(project).claims
    assert [c.id for c in claims.chosen(ledger, name="eq-7")] == ["eq-7"]
    assert {c.kind for c in claims.chosen(ledger, kind="figure", verdict="holds")} == {"figure"}
    with pytest.raises(UsageError, match="did you mean|lists them"):
        claims.chosen(ledger, name="eq-77")
    with pytest.raises(UsageError, match="no verdict"):
        claims.chosen(ledger, verdict="fine")


def test_a_claim_links_to_the_very_figure(project):
    done = claims.audit(project)
    assert done.rows(claims.chosen(done.claims, name="fig-1"))[0]["evidence"] == "01_one.html#pd-01-table"


# --- recording --------------------------------------------------------------------------------------------
PREDICTIONS = (
    "model,variant,protocol,recording,label,fold,seed,score,threshold,predicted\n"
    "m,none,speaker,HC-01,0,0,0,0.25,0.5,0\nm,none,speaker,PD-01,1,0,0,0.75,0.5,1\n"
)


def test_a_run_is_recorded_as_values_predictions_and_settings(project):
    folder = executed(project, MEASURED | {"unclaimed": {"value": 1.0, "low": None, "high": None}})
    (folder / "pages" / "01" / "predictions.csv").write_text(PREDICTIONS, encoding="utf-8")
    (project.root / "data" / "reproduced.csv").unlink()
    written = claims.record(project, folder)
    assert [path.name for path in written] == ["reproduced.csv", "chapter_01.csv", "settings.json", claims.SUMS]
    assert claims.read_reproduced(written[0]) == {"num-p1-accuracy": Value(0.5, 0.4, 0.6, "quick", "k" * 12)}
    assert len(read_predictions(written[1])) == 2
    assert json.loads(written[2].read_text())["01"]["parameters"] == {"seed": 0}
    assert claims.audit(project).problems == ()


def test_a_synthetic_run_is_never_recorded(project):
    with pytest.raises(PrivacyError, match="real"):
        claims.record(project, executed(project, MEASURED, kind="synthetic"))


def test_a_run_from_an_earlier_source_or_with_other_values_is_not_recorded(project):
    folder = executed(project, MEASURED, overrides={"seed": 1})
    with pytest.raises(PublishError, match="01_one"):
        claims.record(project, folder)
    folder = executed(project, MEASURED)
    write_notebook(project, "01_one", 'page.number("accuracy", 0.7)')
    with pytest.raises(PublishError, match="01_one"):
        claims.record(project, folder)


# --- what the audit's own page shows ------------------------------------------------------------------------
def number(value):
    return {"value": value, "low": None, "high": None, "profile": "quick"}


def test_the_audits_page_shows_the_values_of_its_run_and_its_own_numbers_as_they_are_now(
    project, monkeypatch
):
    ledger = claims.audit(project).claims
    monkeypatch.setenv("PDLIB_RUN_DIR", str(executed(project, MEASURED)))
    values, said = claims.current_values(ledger, "real", "18", {})
    assert values["num-p1-accuracy"].value == 0.5 and "this run" in said
    # the page of the claim itself: what an earlier execution left there does not count
    assert claims.current_values(ledger, "real", "01", {})[0] == {}
    assert (
        claims.current_values(ledger, "real", "01", {"accuracy": number(0.7)})[0]["num-p1-accuracy"].value
        == 0.7
    )


def test_without_a_run_only_a_page_on_the_recordings_shows_stored_values(project, monkeypatch):
    monkeypatch.delenv("PDLIB_RUN_DIR", raising=False)
    ledger = claims.read_claims()
    stored = {c.id for c in ledger if c.chapter != "18"} & set(claims.read_reproduced())
    assert set(claims.current_values(ledger, "real", "18", {})[0]) == stored and stored
    assert claims.current_values(ledger, "synthetic", "18", {})[0] == {}


def headline_files(folder):
    (folder / "pages" / "10").mkdir(parents=True)
    (folder / "pages" / "16").mkdir(parents=True)
    (folder / "pages" / "10" / "models.csv").write_text(
        "index,model,variant,protocol,metric,value,low,high\n"
        "0,age,none,speaker,accuracy,0.8,0.7,0.9\n1,age,none,speaker,auc,0.9,0.8,1\n"
        "2,custnetgc,paper,speaker,accuracy,0.5,0.4,0.6\n3,custnetgc,sound,speaker,accuracy,0.55,0.4,0.6\n"
    )
    (folder / "pages" / "16" / "ladder-intervals.csv").write_text(
        "index,model,rung,labels,metric,value,low,high\n"
        "0,custnetgc,speaker,true,accuracy,0.52,0.4,0.6\n1,custnetgc,speaker,shuffled,accuracy,0.5,0.4,0.6\n"
        "2,custnetgc,teacher-predicted,true,accuracy,1,1,1\n3,custnetgc,teacher-predicted,shuffled,accuracy,0.98,0.9,1\n"
    )


def test_the_one_figure_takes_its_rows_from_the_run_it_stands_in(tmp_path, monkeypatch):
    headline_files(tmp_path)
    monkeypatch.setenv("PDLIB_RUN_DIR", str(tmp_path))
    rows = claims.headline_rows()
    assert list(rows["value"]) == [0.8, 0.5, 0.52, 1.0, 0.98]
    assert list(rows["kind"]) == ["no voice", "honest", "no leak", "leak", "leak"]


def test_the_one_figure_refuses_a_run_without_one_of_its_rows_and_is_not_drawn_alone(tmp_path, monkeypatch):
    headline_files(tmp_path)
    (tmp_path / "pages" / "10" / "models.csv").write_text("model,variant,metric,value,low,high\n")
    monkeypatch.setenv("PDLIB_RUN_DIR", str(tmp_path))
    with pytest.raises(DataError, match="models.csv has 0 rows"):
        claims.headline_rows()
    monkeypatch.delenv("PDLIB_RUN_DIR")
    assert claims.headline_rows() is None
