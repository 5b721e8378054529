"""Sweeps: points are checked before any kernel, executed once, found again, and come back the same from a cluster."""

import io
import json

import pandas as pd
import pytest
from rich.console import Console

from pdlib import parallel, sweep
from pdlib.errors import PdlibError, UsageError
from pdlib.params import Project
from tests.clusters import cluster
from tests.tinybook import write_notebook, write_profile

PARAMETERS = (
    'cohort: str = "synthetic"  # which recordings\nsynthetic_size: int = 4  # voices\n'
    "seed: int = 0  # folds and weights\nsize: int = 8  # of a picture"
)
MEASURES = """
import json, os, pathlib
assert seed != 2 or size != 9, "two and nine do not go together"
glued = {"area": {"value": seed / 8 + size}, "said": {"value": None}, "power": {"value": float(seed**2)}}
(pathlib.Path(os.environ["PDLIB_PAGE_DIR"]) / "numbers.json").write_text(json.dumps(glued))
""".strip()


@pytest.fixture(autouse=True)
def nothing_asked_for(monkeypatch):
    for name in (parallel.WORKERS, parallel.DASK, parallel.WAIT, "PDLIB_RUNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(tmp_path):
    made = Project(tmp_path)
    write_notebook(made, "01_first", "assert True", parameters=PARAMETERS.partition("\nsize")[0])
    write_notebook(made, "02_measure", MEASURES, parameters=PARAMETERS, needs=["01"])
    write_profile(made, "quick")
    return made


def go(project, *assignments, **settings):
    said = io.StringIO()
    console = Console(file=said, width=200)
    done = sweep.sweep(assignments, project=project, console=console, **{"workers": 1, **settings})
    return done, said.getvalue()


def without_time(table):
    return table.drop(columns="seconds")


# ── what is asked for ──────────────────────────────────────────────────────────────────────────────────
def test_values_are_read_as_ranges_lists_and_plain_values():
    axes = sweep.read_axes(
        ["seed=0:4", "size=96,122", "a=5:1:-2,7", "rate=1e-3, 0.01", "x=[1, 2]", "word=paper", "b=true"]
    )
    assert axes == {
        "seed": [0, 1, 2, 3], "size": [96, 122], "a": [5, 3, 7], "rate": [0.001, 0.01], "x": [[1, 2]],
        "word": ["paper"], "b": [True],
    }  # fmt: skip
    assert list(axes) == ["seed", "size", "a", "rate", "x", "word", "b"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["seed=3:3"], "range is empty"),
        (["seed=0:5:0"], "range is empty"),
        (["seed=0:5:-1"], "range is empty"),
        (["seed"], "not an assignment"),
        (["seed="], "not an assignment"),
        (["seed=1", "seed=2"], "gives 'seed' twice"),
        (["seed=0:3,2"], "gives 2 twice"),
        ([], "no parameter is swept"),
        (["sed=0:3"], "did you mean seed"),
        (["seed=0:2,one"], "seed"),
        (["size=8", "synthetic_size=4", "seed=0:10001"], "10001 points"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_anything_is_executed(project, monkeypatch, given, said):
    monkeypatch.setattr(sweep, "execute_point", None)
    with pytest.raises(UsageError, match=said):
        go(project, *given)
    assert not project.build.exists()


def test_chapters_are_those_with_every_parameter_or_those_asked_for(project):
    chapters = sweep.read_chapters(project)
    assert sweep.chapters_for(chapters, ["seed"]) == ["01", "02"]
    assert sweep.chapters_for(chapters, ["seed", "size"]) == ["02"]
    assert sweep.chapters_for(chapters, ["seed"], ["2"]) == ["02"]
    write_notebook(project, "03_other", parameters="depth: int = 1  # other")
    with pytest.raises(
        UsageError, match=r"no chapter has all of size, depth \(chapters with size: 02; depth: 03\)"
    ):
        sweep.chapters_for(sweep.read_chapters(project), ["size", "depth"])


def test_a_name_that_leaves_the_folder_of_sweeps_is_refused(project):
    for name in ("../x", "a/b", ".", "..hidden"):
        with pytest.raises(UsageError, match="not a name of a folder"):
            go(project, "seed=0", name=name)


# ── what comes out ─────────────────────────────────────────────────────────────────────────────────────
def test_a_summary_takes_seeds_together_and_nothing_else():
    table = pd.DataFrame(
        {
            "seed": [0, 1, 0, 1], "size": [8, 8, 9, 9], "area": [1.0, 3.0, 5.0, None], "cohort": "real",
            "state": ["done", "done", "done", "failed"], "seconds": 1.0, "problem": None,
        }
    )  # fmt: skip
    found = sweep.summarise(table, ["seed", "size"])
    assert found[["size", "cohort", "number", "mean", "n"]].to_numpy().tolist() == [
        [8, "real", "area", 2.0, 2],
        [9, "real", "area", 5.0, 1],
    ]
    assert found["sd"][0] == pytest.approx(2**0.5) and pd.isna(found["sd"][1])


SWEPT = ("seed=1:3", "size=8,9")
EXPECTED = [
    [1, 8, 8.125, 1.0, "SYNTHETIC", "done"],
    [1, 9, 9.125, 1.0, "SYNTHETIC", "done"],
    [2, 8, 8.25, 4.0, "SYNTHETIC", "done"],
]


def test_an_interrupted_sweep_goes_on_and_a_cluster_gives_the_same_table(project, tmp_path, monkeypatch):
    execute, asked = sweep.execute_point, []

    def stops_at_the_third(order):
        asked.append(order.assignments)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return execute(order)

    monkeypatch.setattr(sweep, "execute_point", stops_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        go(project, *SWEPT)
    (left,) = project.build.glob("sweeps/*/table.csv")
    assert pd.read_csv(left)["state"].tolist() == ["done", "done", "not run", "not run"]

    done, said = go(project, *SWEPT)
    assert asked[3:] == [("seed=2", "size=8"), ("seed=2", "size=9")], "a finished point was executed again"
    first = ["seed", "size", "area", "power", "cohort", "state"]
    assert done.table[first].to_numpy().tolist()[:3] == EXPECTED
    assert (
        done.table["state"][3] == "failed" and "two and nine do not go together" in done.table["problem"][3]
    )
    assert not done.ok and "SYNTHETIC" in said and "seed = 2, size = 9" in said
    pd.testing.assert_frame_equal(pd.read_csv(left), done.table, check_dtype=False)
    assert (done.table["seconds"][:3] > 0).all()

    # mended, the failed point alone is tried again: the others were executed from a source that is no more
    monkeypatch.setattr(sweep, "execute_point", execute)
    with cluster() as made:
        monkeypatch.setenv(parallel.DASK, made.address)
        made.worker("a")
        made.worker("b")
        spread, said = go(project, *SWEPT, name="spread")
        assert f"the cluster at {made.address}" in said
    pd.testing.assert_frame_equal(without_time(spread.table), without_time(done.table))
    monkeypatch.delenv(parallel.DASK)
    again, _ = go(project, "seed=1", "size=8,9", name="spread")
    assert again.ok and json.loads(next(again.folder.glob("points/*/*/pages/02/numbers.json")).read_text())
    assert again.table["seconds"].tolist() == spread.table["seconds"].tolist()[:2], (
        "a point was executed again"
    )


def test_a_point_executed_on_something_else_is_not_kept(project, monkeypatch):
    execute = sweep.execute_point

    def elsewhere(order):
        made = execute(order)
        files = {name: data.replace(b'"fingerprint"', b'"finger"') for name, data in made.files.items()}
        notebook = json.loads(files["02_measure.ipynb"])
        notebook["metadata"]["pdlib"]["parts"]["cohort"] = "other voices"
        return sweep.Made(files | {"02_measure.ipynb": json.dumps(notebook).encode()})

    monkeypatch.setattr(sweep, "execute_point", elsewhere)
    done, _ = go(project, "seed=1", "size=8")
    assert done.table["state"].tolist() == ["failed"] and "the data" in done.table["problem"][0]
    assert not list(done.folder.rglob("*.ipynb"))


def test_a_lost_worker_leaves_the_table_of_what_came_back(project, monkeypatch):
    def one_then_lost(function, items, **_):
        place, order = next(iter(items))
        yield place, function(order)
        raise PdlibError("the scheduler was lost")

    monkeypatch.setattr(parallel, "each", one_then_lost)
    with pytest.raises(PdlibError, match="lost"):
        go(project, *SWEPT, name="kept")
    table = pd.read_csv(project.build / "sweeps" / "kept" / "table.csv")
    assert table["state"].tolist() == ["done", "not run", "not run", "not run"]
