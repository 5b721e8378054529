"""The comparison of two runs: what is planted is found and named, and what may differ is passed over."""

import json
import math
import shutil

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from pdlib import paths
from pdlib.errors import UsageError
from tests.determinism import __main__ as program
from tests.determinism.compare import GLUED, TOLERANCE, compare_runs, relative

HTML = (
    '<figure class="pd-table" id="pd-01-auc-table"><table><tr><td>CustNet</td><td>0.57</td></tr></table>'
    '<img alt="PD lies 3 dB lower" src="data:image/png;base64,AAAA">'
    '<details class="pd-stamp"><table><tr><td>date</td><td>2026-01-01</td></tr></table><br></details>'
    '<script type="application/json">{"score": [0.123456789, 0.5]}</script><p>After it.</p></figure>'
)
CSV = "name,score,group\nHC-01,0.123456789,HC\nHC-02,0,HC\nPD-01,1e3,PD\n"


def lay_out(folder):
    """One executed chapter as a run leaves it, without running it."""
    glued = new_output("display_data", {GLUED: "'0.57'"}, metadata={"scrapbook": {"name": "auc"}})
    outputs = [glued, new_output("display_data", {"text/html": HTML, "text/plain": "no one reads this"})]
    outputs += [new_output("stream", name="stdout", text="12 voices\n")]
    code = new_code_cell("show()", id="a", outputs=outputs, execution_count=1)
    record = {"key": "k", "started": "2026-01-01", "seconds": 3.0, "peak_mib": 400}
    notebook = new_notebook(cells=[new_markdown_cell("# One", id="t"), code], metadata={"pdlib": record})
    pages = folder / "pages" / "01"
    pages.mkdir(parents=True)
    nbformat.write(notebook, folder / "01_one.ipynb")
    (pages / "predictions.csv").write_text(CSV)
    (pages / "curve.csv").write_text(CSV)
    account = {"auc": {"value": 0.57123, "text": "0.57", "stamp": {"date": "2026-01-01"}}}
    (pages / "numbers.json").write_text(json.dumps(account))
    return folder


@pytest.fixture
def runs(tmp_path):
    return lay_out(tmp_path / "a"), lay_out(tmp_path / "b")


def changed(folder, old, new, name="01_one.ipynb"):
    file = folder / name
    text = file.read_text()
    if name.endswith(".ipynb"):
        old, new = json.dumps(old)[1:-1], json.dumps(new)[1:-1]
    assert old in text
    file.write_text(text.replace(old, new))


def only(runs):
    (found,) = compare_runs(*runs)
    return found


def test_equal_runs_have_no_difference_and_everything_was_looked_at(runs):
    found = only(runs)
    assert found.differences == [] and found.exact and found.largest == 0 and found.same_key
    assert found.compared == {
        "glued": 1, "page": 4, "moved figure": 2, "text output": 1, "side file": 9, "prediction": 9, "account": 2,
    }  # fmt: skip
    assert (found.pictures, found.pictures_equal, found.peak_mib) == (1, 1, (400, 400))


@pytest.mark.parametrize(
    ("old", "new"),
    [('"seconds": 3.0', '"seconds": 9.0'), ('"started": "2026-01-01"', '"started": "2026-05-05"'),
     ('"peak_mib": 400', '"peak_mib": 500')],
)  # fmt: skip
def test_times_and_memory_are_left_out(runs, old, new):
    file = runs[1] / "01_one.ipynb"
    file.write_text(file.read_text().replace(old, new))
    assert only(runs).differences == []


def test_dates_of_stamps_are_left_out(runs):
    changed(runs[1], "<td>2026-01-01</td>", "<td>2026-05-05</td>")
    changed(runs[1], "2026-01-01", "2026-05-05", "pages/01/numbers.json")
    assert only(runs).differences == []


@pytest.mark.parametrize(
    ("old", "new", "kind", "where"),
    [
        ("'0.57'", "'0.58'", "glued", "a auc"),
        ("<td>0.57</td>", "<td>0.56</td>", "page", "a auc-table/1"),
        ("3 dB lower", "4 dB lower", "page", "a auc-table/2"),
        ("After it.", "After that.", "page", "a auc-table/3"),
        ("12 voices", "13 voices", "text output", "a stdout 2"),
        ("[0.123456789", "[0.1236", "moved figure", "a auc-table/0 /score/0"),
    ],
)
def test_what_the_page_prints_must_be_equal_and_a_difference_is_named(runs, old, new, kind, where):
    changed(runs[1], old, new)
    (found,) = only(runs).differences
    assert (found.chapter, found.kind, found.where) == ("01_one", kind, where)
    assert found.first != found.second


@pytest.mark.parametrize("name", ["pages/01/curve.csv", "pages/01/predictions.csv"])
def test_side_files_may_differ_in_digits_no_page_prints_and_by_how_much_is_told(runs, name):
    changed(runs[1], "0.123456789", "0.123456790", name)
    found = only(runs)
    assert found.differences == [] and not found.exact
    assert found.largest == pytest.approx(1e-9 / 0.12345679) and "line 2, score" in found.largest_where
    changed(runs[1], "0.123456790", "0.1235", name)
    (one,) = only(runs).differences
    assert one.kind == ("prediction" if "pred" in name else "side file") and "line 2, score" in one.where


def test_a_value_that_stands_for_zero_is_measured_by_its_column(runs):
    changed(runs[1], "HC-02,0,", "HC-02,1e-15,", "pages/01/curve.csv")
    assert only(runs).differences == []
    changed(runs[1], "HC-02,1e-15,", "HC-02,1e-5,", "pages/01/curve.csv")
    assert len(only(runs).differences) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [("HC-02", "HC-03"), ("0,HC", "nan,HC"), ("PD-01,1e3,PD\n", ""), ("1e3", "inf"), ("group", "sex")],
)
def test_words_missing_numbers_and_rows_in_side_files_must_be_equal(runs, old, new):
    changed(runs[1], old, new, "pages/01/curve.csv")
    assert only(runs).differences


def test_another_picture_is_counted_and_its_numbers_judge_it(runs):
    changed(runs[1], "base64,AAAA", "base64,AAAB")
    found = only(runs)
    assert (found.pictures, found.pictures_equal, found.differences) == (1, 0, [])


def test_missing_chapters_files_and_outputs_are_differences(runs):
    changed(runs[1], "<p>After it.</p>", "")
    (runs[1] / "pages" / "01" / "curve.csv").unlink()
    assert [d.kind for d in only(runs).differences] == ["outputs", "side file"]
    shutil.copyfile(runs[0] / "01_one.ipynb", runs[0] / "02_two.ipynb")
    found = {one.chapter: one for one in compare_runs(*runs)}
    assert [d.kind for d in found["02_two"].differences] == ["chapter"]


@pytest.mark.parametrize(
    ("a", "b", "apart"),
    [(1, 1, 0), (2, 1, 0.5), (0, 0, 0), (math.nan, math.nan, 0), (math.nan, 1, math.inf), (math.inf, 1, math.inf),
     (math.inf, math.inf, 0), (0, 1e-30, 1)],
)  # fmt: skip
def test_relative_difference(a, b, apart):
    assert relative(a, b) == relative(b, a) == apart


def test_the_tolerance_is_half_a_unit_of_the_last_digit_that_is_compared():
    assert relative(1.0, 1.00004) < TOLERANCE < relative(1.0, 1.00006)


def test_the_command_counts_names_the_runs_and_leaves_with_one_for_a_difference(runs, capsys, monkeypatch):
    kept = {}
    monkeypatch.setattr(program, "record", lambda file, name, content: kept.update({name: content}))
    arguments = [str(one) for one in runs]
    assert program.main([*arguments, "--names", "plain", "two threads", "--record"]) == 0
    facts = kept["determinism"]["facts"]
    assert facts["runs"] == "plain; two threads" and facts["differ"] == 0 and facts["printed"] == 6
    assert kept["determinism"]["rows"][0]["peak MiB"] == 400 and "tables" not in kept["determinism"]
    changed(runs[1], "'0.57'", "'0.58'")
    assert program.main(arguments) == 1
    assert "01_one · glued · a auc: \"'0.57'\" and \"'0.58'\"" in capsys.readouterr().out
    program.main([*arguments, "--record"])
    assert kept["determinism"]["tables"]["What differs"][0]["where"] == "a auc"
    said = json.dumps(kept)
    assert str(runs[0].parent) not in said and str(paths.ROOT) not in said


@pytest.mark.parametrize("text", ["1x1", "1x1,2", "0x1,1x1", "a", ""])
def test_ways_that_are_none_are_refused(text):
    with pytest.raises(UsageError):
        program.read_ways(text)


def test_a_folder_without_chapters_is_refused(tmp_path):
    with pytest.raises(UsageError):
        compare_runs(tmp_path, tmp_path)
