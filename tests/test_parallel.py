"""Work in other processes and on a real Dask cluster: the same to the last bit, whoever dies, or a clear refusal."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from pdlib import baselines, custnetgc, leakage, networks, parallel, paths, transfer
from pdlib.boosting import BoostConfig
from pdlib.custnetgc import Plan
from pdlib.errors import LeakageError, ParameterError, WorkerError
from pdlib.networks import CustNetConfig, Learner
from pdlib.picture_sets import PictureSet
from pdlib.provenance import Store
from pdlib.transfer import PlainCNN, Recipe, Top
from pdlib.weights import load_backbone
from tests.clusters import cluster, deadly, half, where

TINY = Plan(
    network=CustNetConfig(input_size=32, width=0.05), boosting=BoostConfig(iterations=5),
    epochs=2, batch_size=4, n_splits=3, cross_fits=2,
)  # fmt: skip


# ── in this process ────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(autouse=True)
def nothing_asked_for(monkeypatch):
    for name in (parallel.WORKERS, parallel.DASK, parallel.WAIT):
        monkeypatch.delenv(name, raising=False)


def test_alone_every_item_is_taken_only_after_the_one_before_was_given_back():
    taken = []

    def items():
        for item in range(3):
            taken.append(item)
            yield item, item

    results = parallel.each(
        lambda item: item * 2, items(), modules=["metrics"]
    )  # a lambda: nothing is pickled
    assert taken == []
    assert next(results) == (0, 0) and taken == [0]
    assert list(results) == [(1, 2), (2, 4)]
    assert parallel.alone()


@pytest.mark.parametrize("said", ["0", "-1", "two", "1.5"])
def test_a_number_of_processes_that_is_none_is_refused(monkeypatch, said):
    monkeypatch.setenv(parallel.WORKERS, said)
    with pytest.raises(ParameterError, match="PDLIB_WORKERS"):
        parallel.in_order(where, range(2), modules=["metrics"])


def test_a_worker_with_other_code_libraries_or_arithmetic_is_told_what_differs():
    here = parallel.conditions(["metrics"], networks.arithmetic)
    there = pickle.loads(pickle.dumps(here))
    parallel._compare(here, there, "w")
    there["module"]["metrics"] = "other"
    there["library"]["numpy"] = "1.0"
    there["setting"]["threads"] = 8
    with pytest.raises(WorkerError) as refused:
        parallel._compare(here, there, "tcp://far:1")
    said = str(refused.value)
    assert "tcp://far:1" in said and "module pdlib.metrics" in said and "library numpy (1.0, here" in said
    assert "setting threads (8, here 1)" in said and "start it again" in said


def test_code_edited_under_a_running_worker_is_not_what_it_has_loaded(monkeypatch):
    before = parallel.conditions(["metrics"])
    monkeypatch.setattr(
        parallel.provenance, "code_parts", lambda *modules: dict.fromkeys(before["module"], "edited")
    )
    assert parallel.conditions(["metrics"])["module"] == before["module"]


def test_an_error_of_any_kind_travels_whole():
    for error in (LeakageError("a", "b"), leakage.Leak("fit", "a", "b"), WorkerError("a")):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


# ── processes of this machine ──────────────────────────────────────────────────────────────────────────
@pytest.fixture
def two_processes(monkeypatch):
    monkeypatch.setenv(parallel.WORKERS, "2")
    yield
    parallel._Processes(2).executor.shutdown(kill_workers=True)


def test_processes_give_what_this_process_gives_and_outlive_a_killed_one(two_processes):
    seen = {}
    for key, (item, process) in parallel.each(where, enumerate(range(6)), modules=["metrics"]):
        if len(seen) == 1:
            os.kill(process, signal.SIGKILL)
        seen[key] = item
    assert seen == {item: item for item in range(6)}
    found = {}
    with pytest.raises(LeakageError, match="two is a test speaker"):
        for key, value in parallel.each(half, enumerate(range(4)), modules=["metrics"]):
            found[key] = value
    assert found.items() <= {0: 0.0, 1: 0.5, 3: 1.5}.items()


def test_an_item_that_kills_its_process_every_time_is_named(two_processes):
    with pytest.raises(WorkerError, match=r"fold [01] was given up.* 3 times"):
        list(parallel.each(deadly, enumerate(range(2)), modules=["metrics"], name="fold {}".format))


def test_processes_end_when_the_one_that_started_them_is_killed():
    code = (
        "from tests.clusters import where\nfrom pdlib import parallel\n"
        "for key, found in parallel.each(where, enumerate(range(10**6)), modules=['metrics'], processes=2):\n"
        "    print(found[1], flush=True)"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", code], cwd=paths.ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )  # fmt: skip
    children = {int(started.stdout.readline()) for _ in range(6)}
    started.kill()
    started.wait()
    started.stdout.close()
    until = time.monotonic() + 30
    while (left := [child for child in children if _runs(child)]) and time.monotonic() < until:
        time.sleep(0.1)
    assert left == []


def _runs(process):
    try:
        with open(f"/proc/{process}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# ── a Dask cluster ─────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def dask():
    with cluster() as made:
        made.worker("a")
        made.worker("b")
        yield made


@pytest.fixture
def on_dask(dask, monkeypatch):
    monkeypatch.setenv(parallel.DASK, dask.address)
    return dask


def noise(each_class=6, size=32):
    rng = np.random.default_rng(1)
    names = tuple(f"{label}-{i:02d}" for label in ("HC", "PD") for i in range(each_class))
    pictures = rng.integers(0, 255, (2 * each_class, size, size, 3), dtype=np.uint8)
    return PictureSet(names, np.repeat([0, 1], each_class), pictures)


def same_folds(results, expected):
    assert [result.fold for result in results] == [result.fold for result in expected]
    for one, other in zip(results, expected, strict=True):
        assert one.arrays.keys() == other.arrays.keys()
        for name in one.arrays:
            np.testing.assert_array_equal(one.arrays[name], other.arrays[name], err_msg=name)


def test_every_rung_of_the_ladder_is_trained_ahead_and_scores_the_same(on_dask, tmp_path, monkeypatch):
    learner = Learner(TINY.network)

    def ladder(folder):
        store = Store(folder)
        parts = leakage.NetworkTeacher(TINY, learner, store), [leakage.ChainScorer(TINY, learner, store)]
        rungs = [
            rung for rung in (*leakage.LADDER, *leakage.ALONE) if rung.name in ("class", "picture", "subset")
        ]
        found = leakage.run_ladder(
            noise(), *parts, rungs=rungs, seeds=[0], labels="shuffled", n_splits=2, cross_fits=2
        )
        return found, store

    spread, store = ladder(tmp_path / "spread")
    monkeypatch.delenv(parallel.DASK)
    alone, serial = ladder(tmp_path / "alone")
    pd.testing.assert_frame_equal(spread, alone, check_exact=True)
    # nothing was left for the rungs to train, and nothing was trained that they do not ask for
    assert store.computed == serial.computed
    read = [leakage.Store(tmp_path / "spread"), leakage.Store(tmp_path / "alone")]
    kept = [sorted(path.relative_to(one.folder) for path in one.folder.rglob("*.npz")) for one in read]
    assert kept[0] == kept[1]


def test_fine_tuned_networks_and_tables_are_the_same(on_dask, small_cohort, tmp_path, monkeypatch):
    backbone = load_backbone("mobilenet_v1_025", 32, weights="untrained", seed=3)
    base = Recipe("base", Top(backbone), epochs=1, learning_rate=1e-2, batch_size=4)
    recipes = [
        Recipe(
            "tuned", Top(backbone, "conv_pw_8_relu"), epochs=1, learning_rate=1e-3, batch_size=4, head=base
        ),
        Recipe("plain", PlainCNN(32), epochs=1, learning_rate=1e-2, batch_size=4),
    ]

    def everything(folder):
        store = Store(folder)
        nets = [
            transfer.cross_validate(noise(), recipe, seeds=[0], n_splits=2, cross_fits=2, store=store)
            for recipe in recipes
        ]
        table = baselines.acoustic_table(small_cohort, store=store)
        scored = baselines.cross_validate_table(
            table, small_cohort.labels, model="acoustic", n_splits=2, seeds=range(3), store=store
        )
        return nets, table, scored

    spread = everything(tmp_path / "spread")
    monkeypatch.delenv(parallel.DASK)
    alone = everything(tmp_path / "alone")
    for one, other in zip(spread[0], alone[0], strict=True):
        same_folds(one, other)
    for one, other in zip(spread[1:], alone[1:], strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_folds_of_a_worker_killed_in_the_middle_come_out_as_in_a_serial_run(on_dask, tmp_path, monkeypatch):
    third = on_dask.worker("c")
    store, killed = Store(tmp_path / "spread"), []

    def kill(result):
        if not killed:
            kept = len(list(store.folder.rglob("*.npz")))
            assert kept >= 1, "the first fold is not in the store when it is given back"
            killed.append("a")
            on_dask.processes["a"].kill()  # SIGKILL, with a fold under way

    spread = custnetgc.cross_validate(noise(), TINY, seeds=[0, 1], store=store, each=kill)
    assert on_dask.processes["a"].wait(timeout=10) == -signal.SIGKILL and third.poll() is None
    assert store.computed == 6
    monkeypatch.delenv(parallel.DASK)
    same_folds(spread, custnetgc.cross_validate(noise(), TINY, seeds=[0, 1], store=Store(tmp_path / "alone")))


def test_an_error_of_the_work_itself_comes_back_as_it_is(on_dask):
    with pytest.raises(LeakageError, match="two is a test speaker\n  → leave it out"):
        list(parallel.each(half, enumerate(range(4)), modules=["metrics"]))


# ── what is refused ────────────────────────────────────────────────────────────────────────────────────
def test_a_worker_with_other_code_is_refused_before_any_work_and_when_it_comes_later(tmp_path, monkeypatch):
    other = tmp_path / "checkout"
    shutil.copytree(paths.ROOT / "pdlib", other / "pdlib", ignore=shutil.ignore_patterns("__pycache__"))
    (other / "tests").symlink_to(paths.ROOT / "tests")
    with (other / "pdlib" / "metrics.py").open("a", encoding="utf-8") as file:
        file.write("\nCHANGED = True\n")
    with cluster() as made:
        monkeypatch.setenv(parallel.DASK, made.address)
        made.worker("other", root=other)
        with pytest.raises(WorkerError) as refused:
            next(parallel.each(where, enumerate(range(2)), modules=["metrics"]))
        assert "pdlib.metrics" in str(refused.value) and "tcp://127.0.0.1" in str(refused.value)
        # as if it had come after the look at all workers: its first task finds out
        monkeypatch.setattr(parallel, "_check_workers", lambda client, work: None)
        with pytest.raises(WorkerError, match=r"pdlib\.metrics"):
            next(parallel.each(where, enumerate(range(2)), modules=["metrics"]))
        # comments do not count, and a module that the work does not reach may differ
        found = parallel.in_order(where, range(2), modules=["patterns"])
        assert [item for item, _ in found] == [0, 1]


def test_a_scheduler_that_does_not_answer_is_refused_within_its_time(monkeypatch):
    monkeypatch.setattr(parallel, "ANSWER_SECONDS", 2)
    begun = time.monotonic()
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        monkeypatch.setenv(parallel.DASK, address)
        with pytest.raises(WorkerError, match=f"no Dask scheduler answers at {address}"):
            parallel.in_order(where, range(2), modules=["metrics"])
    assert time.monotonic() - begun < 30  # four seconds and what else this machine does


def test_a_scheduler_without_workers_and_one_that_is_lost_are_said(monkeypatch):
    with cluster() as made:
        monkeypatch.setenv(parallel.DASK, made.address)
        monkeypatch.setenv(parallel.WAIT, "0.5")
        with pytest.raises(WorkerError, match="no worker for 0.5 s"):
            parallel.in_order(where, range(2), modules=["metrics"])
        monkeypatch.setenv(parallel.WAIT, "60")
        made.worker("a")
        found = []
        with pytest.raises(WorkerError, match="was lost while work was under way"):
            for key, _ in parallel.each(where, enumerate(range(50)), modules=["metrics"]):
                found.append(key)
                made.processes["scheduler"].kill()
        assert found[:1] == [0]


def test_an_item_whose_workers_all_die_is_named(monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "1")
    with cluster() as made:
        monkeypatch.setenv(parallel.DASK, made.address)
        for name in "abc":
            made.worker(name)
        with pytest.raises(WorkerError, match="fold 1 was given up: 2 workers died"):
            list(parallel.each(deadly, enumerate(range(3)), modules=["metrics"], name="fold {}".format))
