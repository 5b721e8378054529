"""Running chapters: real kernels on tiny notebooks; what is skipped, kept, and said when something breaks."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import nbformat
import pytest
from rich.console import Console

from pdlib import locks, paths, provenance, run
from pdlib.errors import BusyError, ParameterError, UsageError, WriteError
from pdlib.params import Project
from tests.tinybook import REAL, SYNTHETIC, write_notebook, write_profile

WRITES_A_PAGE = (
    "import os, pathlib\npathlib.Path(os.environ['PDLIB_PAGE_DIR'], 'a.csv').write_text(f'{seed}\\n')"
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A book of two chapters; its cohort is resolved without making one."""
    monkeypatch.delenv("PDLIB_RUNS", raising=False)
    cohorts = {"auto": SYNTHETIC, "synthetic": SYNTHETIC, "real": REAL}
    monkeypatch.setattr(run, "resolve_cohort", lambda which, *_, **__: cohorts[which])
    made = Project(tmp_path)
    write_notebook(made, "01_one", "from pdlib import errors", WRITES_A_PAGE, "print(seed, cohort)")
    write_profile(made, minutes={"01": 2})
    return made


def go(project, **more):
    out = io.StringIO()
    report = run.run("smoke", project=project, console=Console(file=out, width=200), **more)
    return report, out.getvalue()


def states(report):
    return {outcome.number: outcome.state for outcome in report.outcomes}


def no_kernel(monkeypatch):
    import pdlib.execute

    def refuse(*_, **__):
        raise AssertionError("a kernel was started")

    monkeypatch.setattr(pdlib.execute, "execute", refuse)


def test_a_chapter_runs_with_its_values_and_leaves_the_source_alone(project):
    source = project.notebooks / "01_one.ipynb"
    before = source.read_bytes()
    report, said = go(project, assignments=["seed=7"])
    assert report.ok
    assert source.read_bytes() == before
    copy = nbformat.read(report.folder / "01_one.ipynb", as_version=4)
    assert copy.cells[-1].outputs[0].text == "7 synthetic\n"
    assert report.folder == project.root / "_build" / "run" / "smoke-synthetic"
    assert (report.folder / "pages" / "01" / "a.csv").read_text() == "7\n"
    assert "expected 2:00" in said
    assert [p.name for p in report.folder.glob(".work*")] == []


def test_an_executed_copy_holds_no_machine_path_and_says_what_it_depends_on(project):
    report, _ = go(project)
    text = (report.folder / "01_one.ipynb").read_text(encoding="utf-8")
    assert str(project.root) not in text
    record = json.loads(text)["metadata"]["pdlib"]
    assert record["parts"]["parameters"] == {"cohort": "synthetic", "seed": 0}
    assert set(record["parts"]["modules"]) == {"errors"}
    assert record["profile"] == "smoke"
    assert record["cohort"]["kind"] == "synthetic"
    assert list(record["pages"]) == ["a.csv"]


def test_the_kernel_is_the_running_interpreter_with_the_promised_environment(project):
    look = (
        "import os, sys\nprint([sys.executable, os.environ['PYTHONHASHSEED'], os.environ['NUMBA_CACHE_DIR']])"
    )
    write_notebook(project, "01_one", look)
    report, _ = go(project)
    said = nbformat.read(report.folder / "01_one.ipynb", as_version=4).cells[-1].outputs[0].text
    assert said.strip() == str([sys.executable, "0", str(project.build / "numba")])


def test_a_synthetic_run_says_so_loudly_and_a_real_one_does_not(project):
    _, said = go(project)
    assert said.count("SYNTHETIC DATA") == 2
    _, said = go(project, cohort="real")
    assert "SYNTHETIC" not in said


def test_an_up_to_date_chapter_starts_no_kernel(project, monkeypatch):
    go(project)
    no_kernel(monkeypatch)
    report, said = go(project)
    assert states(report) == {"01": "up to date"}
    assert "all up to date" in said


def test_a_changed_parameter_source_module_library_or_cohort_is_never_served_stale(project, monkeypatch):
    go(project)

    def stale(**more):
        _, _, plans = run.make_plans(project, "smoke", **more)
        folder = run.run_folder(project, "smoke", "synthetic")
        record = run.read_record(folder / "01_one.ipynb")
        return record["key"] != plans["01"].key, run.differences(record["parts"], plans["01"].parts)

    assert stale() == (False, [])
    assert stale(overrides={"seed": 5}) == (True, ["parameter seed from 0 to 5"])
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "code_parts", lambda *names: {name: "other" for name in names})
        assert stale() == (True, ["module pdlib.errors"])
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "versions", lambda *names: {"python": "2.7"})
        changed, said = stale()
        assert changed and said[0].startswith("library python from ") and said[0].endswith("to '2.7'")
    with monkeypatch.context() as patch:
        other = run.CohortInfo("synthetic", "synthetic", "three voices", "2" * 64)
        patch.setattr(run, "resolve_cohort", lambda *_, **__: other)
        assert stale() == (True, ["the data"])
    write_notebook(project, "01_one", "print(1)", "md:More words.")
    changed, said = stale()
    assert changed and "the notebook's source" in said


def test_force_runs_an_up_to_date_chapter_again_and_the_last_time_is_what_is_expected(project):
    go(project)
    report, said = go(project, force=True)
    assert states(report) == {"01": "done"}
    assert "expected 2:00" not in said


@pytest.mark.parametrize("damage", ["side file gone", "side file changed", "copy cut short", "error output"])
def test_a_damaged_copy_is_run_again(project, damage):
    report, _ = go(project)
    copy, page = report.folder / "01_one.ipynb", report.folder / "pages" / "01" / "a.csv"
    if damage == "side file gone":
        page.unlink()
    elif damage == "side file changed":
        page.write_text("other")
    elif damage == "copy cut short":
        copy.write_bytes(copy.read_bytes()[:-200])
    else:
        notebook = nbformat.read(copy, as_version=4)
        notebook.cells[-1].outputs = [nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])]
        nbformat.write(notebook, copy)
    report, _ = go(project)
    assert states(report) == {"01": "done"}


@pytest.mark.parametrize(
    ("more", "kind", "said"),
    [
        ({"assignments": ["sed=1"]}, ParameterError, "did you mean seed"),
        ({"assignments": ["seed=one"]}, ParameterError, "seed = 'one' (str) is not int"),
        ({"only": ["09"]}, UsageError, "no chapter '09'"),
        ({"cohort": "real", "assignments": ["cohort=auto"]}, UsageError, "twice"),
    ],
)
def test_wrong_use_is_refused_before_a_kernel_starts(project, monkeypatch, more, kind, said):
    no_kernel(monkeypatch)
    with pytest.raises(kind) as caught:
        go(project, **more)
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_failure_names_everything_and_only_what_depends_on_it_is_left_out(project):
    write_notebook(project, "02_bad", "md:Words.", "# why\nx = 1 / seed", needs=["01"])
    write_notebook(project, "03_after", "print(3)", needs=["02"])
    write_notebook(project, "04_dies", "import os\nos._exit(1)")
    write_notebook(project, "05_other", "print(5)")
    report, said = go(project)
    assert states(report) == {"01": "done", "02": "failed", "03": "left out", "04": "failed", "05": "done"}
    assert not report.ok
    problems = {outcome.number: outcome.problem for outcome in report.outcomes}
    assert (
        "02_bad.ipynb, cell 4 (`x = 1 / seed`) failed: ZeroDivisionError: division by zero" in problems["02"]
    )
    assert "parameters: cohort = 'synthetic', seed = 0" in problems["02"]
    assert "_build/run/smoke-synthetic/failed/02_bad.ipynb" in problems["02"]
    assert "needs chapter 02" in problems["03"]
    assert "04_dies.ipynb, cell 3 (`import os`) ended the kernel" in problems["04"]
    assert (report.folder / "failed" / "02_bad.ipynb").is_file()
    assert not (report.folder / "02_bad.ipynb").exists()
    for problem in filter(None, problems.values()):
        assert problem in said

    write_notebook(project, "02_bad", "x = 1", needs=["01"])
    report, _ = go(project, only=["03"])
    assert states(report) == {"01": "up to date", "02": "done", "03": "done"}
    assert not (report.folder / "failed" / "02_bad.ipynb").exists()


def test_a_cell_over_its_time_is_named_with_the_limit(project):
    write_notebook(project, "01_one", "import time\ntime.sleep(60)")
    report, _ = go(project, cell_timeout=1)
    assert "cell 3 (`import time`) was still running after 1 s" in report.outcomes[0].problem


def test_a_kernel_that_cannot_start_has_its_own_message(project, monkeypatch):
    import pdlib.execute

    spec = pdlib.execute._ThisInterpreter.kernel_spec.fget(None)
    spec.argv = [sys.executable, "-c", "raise SystemExit('no kernel here')"]
    monkeypatch.setattr(pdlib.execute._ThisInterpreter, "kernel_spec", spec)
    report, _ = go(project)
    assert "01_one.ipynb: the kernel did not start" in report.outcomes[0].problem
    assert "(no kernel here)" in report.outcomes[0].problem


def test_a_folder_that_cannot_be_written_is_a_clear_error_before_any_kernel(project, monkeypatch):
    no_kernel(monkeypatch)
    blocked = project.root / "a file"
    blocked.write_text("")
    monkeypatch.setenv("PDLIB_RUNS", str(blocked / "run"))
    with pytest.raises(WriteError, match="cannot write .*a file"):
        go(project)


@pytest.mark.parametrize(("number", "said"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only")])
def test_a_full_or_read_only_disk_at_the_end_is_a_write_error_and_keeps_the_earlier_copy(
    project, monkeypatch, number, said
):
    report, _ = go(project)
    before = (report.folder / "01_one.ipynb").read_bytes()

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(paths.os, "replace", refuse)
    with pytest.raises(WriteError, match=said):
        go(project, force=True)
    assert (report.folder / "01_one.ipynb").read_bytes() == before


def test_no_space_while_the_notebook_is_saved_is_a_write_error(project, monkeypatch):
    import papermill.engines

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(papermill.engines, "write_ipynb", full)
    with pytest.raises(WriteError, match="disk is full"):
        go(project)


def test_what_a_killed_run_left_behind_is_removed_and_is_never_taken_for_a_result(project):
    folder = project.runs / "smoke-synthetic"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = folder / f".work-{ended.pid}"
    left.mkdir(parents=True)
    (left / "01_one.ipynb").write_text("{")
    report, _ = go(project)
    assert states(report) == {"01": "done"}
    assert not left.exists()


def test_a_digit_that_changed_in_an_executed_copy_is_never_taken_for_the_runs(project):
    report, _ = go(project, assignments=["seed=41"])
    copy = report.folder / "01_one.ipynb"
    assert run.is_whole(copy, report.folder / "pages" / "01")
    copy.write_text(copy.read_text().replace("41 synthetic", "47 synthetic"))
    assert not run.is_whole(copy, report.folder / "pages" / "01")
    (row,) = run.status(project) or [None]
    assert row is None or row.state == "out of date"


def test_a_second_run_into_the_same_folder_names_the_first_and_changes_nothing(project):
    with locks.held(run.run_lock(project.runs / "smoke-synthetic"), "runs the chapters of profile smoke in"):
        with pytest.raises(BusyError, match=f"process {os.getpid()} runs the chapters of profile smoke"):
            go(project)
        assert run.status(project) == []
    assert states(go(project)[0]) == {"01": "done"}


RUNNER = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the suite runs in the background
from pathlib import Path
from rich.console import Console
from pdlib import __main__, run
from pdlib.params import Project
from tests.tinybook import SYNTHETIC
run.resolve_cohort = lambda *_, **__: SYNTHETIC
__main__.PROJECT = Project(Path(sys.argv[1]))
__main__.main(["run", "--profile", "smoke"])
"""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_stops_the_kernel_keeps_what_ended_and_says_how_to_go_on(project, sent, code):
    mark = project.root / "pid"
    slow = (
        f"import os, pathlib, time\npathlib.Path({str(mark)!r}).write_text(str(os.getpid()))\ntime.sleep(120)"
    )
    write_notebook(project, "02_slow", slow, needs=["01"])
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(RUNNER), str(project.root)],
        cwd=paths.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        until = time.monotonic() + 90
        while not (mark.is_file() and mark.read_text()) and process.poll() is None:
            assert time.monotonic() < until, "the slow chapter did not start"
            time.sleep(0.1)
        process.send_signal(sent)
        said = process.communicate(timeout=60)[0]
    finally:
        process.kill()
    assert process.returncode == code, said
    assert "Traceback" not in said
    assert "stopped in chapter 02" in said and "goes on from there" in said
    folder = project.runs / "smoke-synthetic"
    assert (folder / "01_one.ipynb").is_file()
    assert not (folder / "02_slow.ipynb").exists()
    assert list(folder.glob(".work*")) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


def waits_for(name: str, other: str) -> str:
    """Code of a chapter that ends only when the other one has begun, too."""
    return textwrap.dedent(f"""
        import os, pathlib, time
        here = pathlib.Path(os.environ["PDLIB_RUN_DIR"])
        (here / "{name}").write_text("begun")
        until = time.monotonic() + 60
        while not (here / "{other}").exists():
            assert time.monotonic() < until, "the other chapter did not run at the same time"
            time.sleep(0.05)
    """).strip()


def test_two_workers_run_two_chapters_at_the_same_time_each_after_what_it_needs(project):
    write_notebook(project, "02_two", waits_for("two", "three"), needs=["01"])
    write_notebook(project, "03_three", waits_for("three", "two"), needs=["01"])
    there = (
        "import os, pathlib\n"
        'print(sorted(p.name for p in pathlib.Path(os.environ["PDLIB_RUN_DIR"]).glob("*.ipynb")))'
    )
    write_notebook(project, "04_four", there, needs=["02", "03"])
    before = os.getcwd()
    report, _ = go(project, workers=2)
    assert states(report) == dict.fromkeys(("01", "02", "03", "04"), "done")
    seen = nbformat.read(report.folder / "04_four.ipynb", as_version=4).cells[-1].outputs[0].text
    assert seen.strip() == "['01_one.ipynb', '02_two.ipynb', '03_three.ipynb']"
    assert os.getcwd() == before


def test_a_failure_beside_another_chapter_leaves_that_one_alone(project):
    write_notebook(project, "02_bad", "raise ValueError('no')")
    write_notebook(project, "03_good", "import time\ntime.sleep(2)")
    report, _ = go(project, workers=2)
    assert states(report) == {"01": "done", "02": "failed", "03": "done"}


def test_what_most_of_the_run_waits_for_goes_first(project, monkeypatch):
    for name, needs in (("02_alone", ()), ("03_start", ()), ("04_end", ("03",))):
        write_notebook(project, name, "1", needs=needs)
    write_profile(project, minutes={"01": 1, "02": 3, "03": 1, "04": 4})
    _, _, plans = run.make_plans(project, "smoke")
    assert run._time_left(plans) == {"01": 60, "02": 180, "03": 300, "04": 240}
    begun = []
    monkeypatch.setattr(
        run, "_one", lambda job, plan, *_: begun.append(plan.chapter.number) or run.Outcome(begun[-1], "done")
    )
    go(project, workers=2)
    assert begun[0] == "03" and set(begun) == {"01", "02", "03", "04"}


@pytest.mark.parametrize(
    ("workers", "chapters", "expected"),
    [
        (1, 18, (1, 1)), (2, 18, (2, 1)), (3, 18, (3, 1)), (4, 18, (2, 2)), (8, 18, (2, 4)), (9, 18, (3, 3)),
        (64, 18, (3, 21)), (8, 1, (1, 8)), (2, 1, (1, 2)), (4, 0, (1, 4)),
    ],
)  # fmt: skip
def test_workers_are_shared_among_chapters_and_their_folds(workers, chapters, expected):
    assert run.shares(workers, chapters) == expected
    assert expected[0] * expected[1] <= workers


def test_what_a_chapter_leaves_half_written_is_gone_when_its_run_ends(project, monkeypatch, tmp_path):
    part = tmp_path / "results" / "fold" / f"{paths.PART}abc-12345678.npz"
    monkeypatch.setenv("PDLIB_RESULTS", str(tmp_path / "results"))
    write_notebook(
        project,
        "01_one",
        f"import os, pathlib\npart = pathlib.Path({str(part)!r})\npart.parent.mkdir(parents=True)",
        "part.write_bytes(b'PK')\nos._exit(1)",
    )
    report, _ = go(project)
    assert not report.ok and part.parent.is_dir() and not part.exists()


def test_a_kernel_is_told_how_many_processes_its_folds_have(project, monkeypatch):
    write_notebook(project, "01_one", 'import os\nprint(os.environ.get("PDLIB_WORKERS"))')
    said = {}
    for workers in (None, 4):
        monkeypatch.setenv("PDLIB_WORKERS", "7")
        report, _ = go(project, workers=workers, force=True)
        cells = nbformat.read(report.folder / "01_one.ipynb", as_version=4).cells
        said[workers] = cells[-1].outputs[0].text.strip()
    assert said == {None: "7", 4: "4"}


def test_status_and_why_tell_when_how_long_and_what_changed(project):
    go(project, assignments=["seed=7"])
    (row,) = run.status(project)
    assert (row.name, row.profile, row.cohort, row.state) == ("01_one", "smoke", "synthetic", "out of date")
    assert row.executed and row.seconds >= 0
    (row,) = run.why("1", project)
    assert row.changes == ("parameter seed from 7 to 0",)
    go(project)
    assert [r.state for r in run.status(project)] == ["up to date"]
    write_notebook(project, "02_new", "print(2)")
    assert [r.state for r in run.status(project)] == ["up to date", "not executed"]
    with pytest.raises(UsageError, match="no chapter '03'"):
        run.why("03", project)


def test_chapters_that_would_get_different_cohorts_are_refused(project):
    write_notebook(project, "02_two")
    write_profile(project, chapters={"01": {"cohort": "real"}})
    with pytest.raises(UsageError, match="a run has one cohort"):
        go(project)


def test_a_changed_chapter_makes_the_chapters_that_need_it_run_again(project):
    write_notebook(project, "02_two", "print(2)", needs=["01"])
    go(project)
    write_notebook(project, "01_one", "print(10)")
    report, _ = go(project)
    assert states(report) == {"01": "done", "02": "done"}


def test_an_output_folder_with_braces_in_its_name_is_taken_as_it_is(project, monkeypatch, tmp_path):
    monkeypatch.setenv("PDLIB_RUNS", str(tmp_path / "a {seed} b"))
    report, _ = go(project)
    assert report.ok and (tmp_path / "a {seed} b" / "smoke-synthetic" / "01_one.ipynb").is_file()


def test_a_changed_table_of_the_book_or_a_changed_cell_tag_runs_the_chapter_again(project):
    table = project.root / "data" / "told.csv"
    table.parent.mkdir(exist_ok=True)
    table.write_text("a\n1\n")
    path = write_notebook(project, "01_one", "print('told.csv')")
    go(project)

    def changes():
        _, _, plans = run.make_plans(project, "smoke")
        folder = run.run_folder(project, "smoke", "synthetic")
        return run.differences(run.read_record(folder / "01_one.ipynb")["parts"], plans["01"].parts)

    assert changes() == []
    table.write_text("a\n2\n")
    assert changes() == ["data/told.csv"]
    table.write_text("a\n1\n")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1].metadata["tags"] = ["hide-input"]
    nbformat.write(notebook, path)
    assert changes() == ["the notebook's source"]


def test_a_chapter_is_not_kept_when_something_it_stands_on_changed_while_it_ran(project):
    table = project.root / "data" / "told.csv"
    table.parent.mkdir(exist_ok=True)
    table.write_text("a\n1\n")
    write_notebook(project, "01_one", "open('data/told.csv', 'a').write('2\\n')")
    report, said = go(project)
    assert states(report) == {"01": "failed"}
    assert "changed while the run was under way: data/told.csv" in " ".join(said.split())
    assert not (report.folder / "01_one.ipynb").exists()
    write_notebook(project, "01_one", "print(open('data/told.csv').read())")
    assert states(go(project)[0]) == {"01": "done"}


def test_a_copy_says_what_its_kernel_and_the_processes_it_started_held_at_most(project):
    held = 300  # MiB, given back before the cell ends
    own = f"bytes(bytearray({held} * 2**20))[:1]"
    child = (
        "import subprocess, sys\n"
        f"code = 'x = bytearray({held} * 2**20); x[::4096] = x[::4096]; del x; print(1, flush=True); input()'\n"
        "other = subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "_ = other.stdout.readline()"
    )
    end = "other.communicate(b'\\n');"
    write_notebook(project, "02_own", own)
    write_notebook(project, "03_child", child, end)
    report, _ = go(project)
    peak = {n: run.read_record(next(report.folder.glob(f"{n}_*.ipynb")))["peak_mib"] for n in ("01", "02", "03")}
    assert 20 < peak["01"] < held
    assert held < peak["02"] - peak["01"] < 3 * held  # two copies for a moment
    assert held < peak["03"] - peak["01"] < 2 * held
    rows = {row.name: row.peak_mib for row in run.status(project)}
    assert rows["02_own"] == peak["02"]


def test_the_libraries_below_numpy_get_one_thread_unless_the_user_says_otherwise(tmp_path, monkeypatch):
    from pdlib.execute import THREADS, kernel_environment

    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "4")
    env = kernel_environment(tmp_path, tmp_path, tmp_path)
    assert {env[name] for name in THREADS if name != "OPENBLAS_NUM_THREADS"} == {"1"}
    assert env["OPENBLAS_NUM_THREADS"] == "4"
