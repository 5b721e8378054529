"""The growth curve says what was measured: fits with a known answer, stages that go on, and no more than was done."""

import json

import numpy as np
import pytest

from pdlib import chunks
from tests.bench import growth, memory, resident

MIB = 2**20


# ── fits ───────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
def test_the_exponent_is_the_one_that_times_were_made_with(power):
    n = np.array([100, 1000, 10000])
    assert growth.exponent(n, 0.003 * n**power) == pytest.approx(power)


def test_memory_per_further_recording_is_the_slope_between_the_two_largest_sizes():
    assert growth.per_further([100, 1000, 10000], [5, 70, 70]) == 0
    assert growth.per_further([10, 100, 1100], [1, 2, 4]) == pytest.approx(2 * MIB / 1000)


# ── stages ─────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def stage(monkeypatch):
    """A stage of four parts of five recordings; ``stage.done`` has those that were worked on."""

    def work(n, folder):
        for place in range(4):
            yield 5, lambda place=place: work.do(place)

    work.done, work.do = [], lambda place: work.done.append(place)
    monkeypatch.setitem(growth.STAGES, "work", work)
    return work


def test_an_interrupted_stage_goes_on_at_the_part_where_it_stopped(stage, tmp_path):
    def stumbling(place):
        stage.done.append(place)
        if place == 2:
            raise KeyboardInterrupt

    usual, stage.do = stage.do, stumbling
    with pytest.raises(KeyboardInterrupt):
        growth.run_stage("work", 20, tmp_path, 1e9)
    assert json.loads((tmp_path / "work-20.json").read_text())["recordings"] == 10
    stage.done.clear()
    stage.do = usual
    found = growth.run_stage("work", 20, tmp_path, 1e9)
    assert stage.done == [2, 3] and found["recordings"] == 20
    stage.done.clear()
    assert growth.run_stage("work", 20, tmp_path, 1e9) == found and stage.done == []


def test_a_stage_that_has_used_up_its_time_stops_and_says_how_far_it_came(stage, tmp_path):
    found = growth.run_stage("work", 20, tmp_path, 0.0)
    assert stage.done == [0] and (found["recordings"], found["asked"]) == (5, 20)


# ── the tables ─────────────────────────────────────────────────────────────────────────────────────────
def row(stage, n, done=None, each=0.036, held=3.0):
    done = done or n
    return {"stage": stage, "asked": n, "parts": 1, "recordings": done, "seconds": 2 * each * done,
            "processor": each * done, "peak": 300.0, "held": held}  # fmt: skip


def test_a_million_recordings_take_what_the_largest_cohort_took_in_proportion():
    sizes = (100, 1000)
    found = [row(stage, n) for n in sizes for stage in ("l_mhp", "training")]
    part = growth.tabulated(found, sizes, {"pictures": 2000.0}, cores=4)
    # 36 ms each are 10 hours for a million, once, and 80 times for a network of 20 passes in 5 folds of 4/5
    assert part.facts["processor-hours for a million"] == 810
    assert part.facts["hours for a million on this machine's 4 cores"] == 202
    assert part.facts["hours for a million on 100 cores"] == 8.1
    assert part.facts["GB on disk for a million, features and pictures"] == 2
    assert part.facts["cost of a million at that price"] == round(810 * growth.PRICE_PER_HOUR)
    assert part.facts["exponent of time, all stages"] == 1 == part.facts["largest exponent of a stage"]
    assert part.left_out == []


def test_a_stage_that_stopped_early_is_named_and_stands_in_the_sum_by_what_it_took_for_each():
    found = [row("l_mhp", 100), row("l_mhp", 1000, done=250), row("voices", 100), row("voices", 1000)]
    part = growth.tabulated(found, (100, 1000), {}, cores=2)
    assert len(part.left_out) == 1 and "L-mHP" in part.left_out[0] and "250" in part.left_out[0]
    whole = part.tables["From recordings to scores, all stages"]
    assert [line["processor seconds"] for line in whole] == pytest.approx([7.2, 72.0])
    assert {line["recordings"] for line in whole} == {100, 1000}
    # of the 1000, a quarter of one stage and all of the other
    assert [line["measured share"] for line in whole] == [1, 0.625]


def test_a_small_measurement_has_every_stage_at_every_size_and_clears_up(tmp_path):
    folder, usual = tmp_path / "growth", chunks.CHUNK
    part = growth.measure(rounds=1, small=True, folder=folder)
    assert not folder.exists() and usual == chunks.CHUNK
    whole, by_stage, million = part.tables.values()
    assert [line["recordings"] for line in whole] == list(growth.SMALL_SIZES)
    assert all(value > 0 for line in whole for value in line.values())
    assert len(by_stage) == len(million) == len(growth.SMALL_STAGES)
    for line in by_stage:
        assert all(line[f"processor ms each of {n}"] > 0 for n in growth.SMALL_SIZES), line["stage"]
    assert part.facts["GB on disk for a million, features and pictures"] > 0


# ── memory ─────────────────────────────────────────────────────────────────────────────────────────────
def test_a_watch_sees_what_was_held_inside_and_given_back():
    with resident.Watch(every=0.001) as watch:
        held = np.ones(60 * MIB // 8)
        held.sum()
        del held
    assert 50 < watch.most - watch.before < 200
    assert resident.peak() >= watch.most - 1


def test_rows_that_lie_in_a_file_are_no_memory_of_the_process(tmp_path):
    rows = chunks.joined((np.full((1, 20 * MIB), i, dtype=np.uint8) for i in range(4)), 4)
    with resident.Watch(every=0.001) as watch:
        assert [int(one[:: 2**12].sum()) for one in rows] == [i * 20 * MIB // 2**12 for i in range(4)]
    assert watch.most - watch.before < 20


def test_growth_per_fold_is_read_off_the_folds_after_the_first():
    found = memory.row({"step": "custnetgc", "seen": [700.0, 1500.0, 1510.0, 1520.0, 1530.0], "peak": 1600.0})
    assert (found["peak (MiB)"], found["further one (MiB)"], found["seen"]) == (1600, 10.0, 4)
    assert found["peak by then (MiB)"] == 1600 + 10 * (memory.REPEATS["custnetgc"] - 4)
    shrinking = memory.row({"step": "leakage", "seen": [700.0, 1500.0, 1490.0, 1480.0], "peak": 1600.0})
    assert shrinking["peak by then (MiB)"] == 1600


def test_a_small_step_is_looked_at_after_each_of_its_folds():
    found = resident.of_its_own("tests.bench.memory", ["custnetgc", "small"])
    assert len(found["seen"]) == 1 + 2 and found["peak"] >= max(found["seen"]) - 1
    assert memory.row(found)["peak (MiB)"] < memory.LIMIT_GIB * 1024
