"""The bench as a command: each part a process of its own, a broken one said and passed over, times never judged."""

import json
import shutil

import pytest

from pdlib import __main__ as cli
from pdlib import bench, paths
from pdlib.errors import PdlibError, UsageError
from pdlib.params import Project
from tests.bench import __main__ as runner
from tests.bench.timing import Part, side_by_side
from tests.test_main import call

WHOLE = '''"""Counts."""
from tests.bench.timing import Part, side_by_side

def measure(rounds, small):
    ways = {"plain": lambda: sum(range(200)), "quick": lambda: 199 * 100}
    notes = {"quick": "by Gauss"}
    rows = side_by_side("sum", ways, items=2, unit="ms per sum", rounds=rounds, reference="plain", notes=notes)
    return Part("Sums", rows, {"rounds": rounds, "small": small}, ["sums of more, for want of time"])
'''
BROKEN = "def measure(rounds, small):\n    raise ValueError('the part is broken')\n"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout whose bench has one part that works, one that does not, and a module that is no part."""
    folder = tmp_path / "tests" / "bench"
    folder.mkdir(parents=True)
    (tmp_path / "tests" / "__init__.py").touch()
    for name in ("__init__", "__main__", "timing", "record"):
        shutil.copyfile(paths.ROOT / "tests" / "bench" / f"{name}.py", folder / f"{name}.py")
    (folder / "sums.py").write_text(WHOLE, encoding="utf-8")
    (folder / "broken.py").write_text(BROKEN, encoding="utf-8")
    made = Project(tmp_path)
    monkeypatch.setattr(cli, "PROJECT", made)
    monkeypatch.setenv("COLUMNS", "200")
    return made


def test_modules_that_measure_are_the_parts_and_a_wrong_name_is_answered_with_theirs(checkout):
    assert bench.parts(checkout) == ["broken", "sums"]
    assert bench.parts(checkout, ["sums"]) == ["sums"]
    with pytest.raises(UsageError) as error:
        bench.parts(checkout, ["sum"])
    assert error.value.way_out == "its parts are broken, sums"


def test_every_part_of_this_checkout_can_be_listed_without_running_it():
    found = bench.parts(Project())
    assert found == runner.parts() and not {"timing", "record"} & set(found)


def test_outside_a_checkout_it_is_wrong_use_and_says_where_to_go(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "PROJECT", Project(tmp_path))
    code, said = call(capsys, "bench")
    assert code == 2 and "run it from a checkout" in said and "Traceback" not in said


def test_a_part_gives_its_rows_facts_and_what_it_left_out(checkout):
    found = bench.measure(checkout, "sums", rounds=3, small=True)
    assert [row["name"] for row in found["rows"]] == ["plain", "quick"]
    assert found["facts"] == {"rounds": 3, "small": True}
    for row in found["rows"]:
        assert 0 < row["low"] <= row["median"] <= row["high"]
        assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
    assert [found["rows"][0][name] for name in ("ratio", "ratio_low", "ratio_high")] == [1, 1, 1]
    assert not (checkout.root / "data").exists(), "times were recorded though nobody asked"


def test_a_broken_part_says_so_and_leaves_its_log_and_the_others_go_on(checkout, capsys):
    code, said = call(capsys, "bench", "--rounds", "1", "--small")
    assert code == 1
    assert "ValueError: the part is broken" in said and "_build/bench/broken.log" in said
    assert "by Gauss" in said and "1, the reference" in said and "left out: sums of more" in said
    assert "Traceback" in (checkout.build / "bench" / "broken.log").read_text(encoding="utf-8")
    with pytest.raises(PdlibError):
        bench.measure(checkout, "broken")


def test_a_part_that_ends_well_but_writes_nothing_is_not_taken_for_an_earlier_result(checkout):
    bench.measure(checkout, "sums", rounds=1)
    quitting = "import sys\nsys.exit(0)\n\ndef measure(rounds, small): ...\n"
    (checkout.root / "tests" / "bench" / "sums.py").write_text(quitting, encoding="utf-8")
    with pytest.raises(PdlibError, match="cannot be read"):
        bench.measure(checkout, "sums", rounds=1)


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--small", "--record"], ["nothing-of-this-name"]])
def test_wrong_use_of_the_bench_leaves_with_two(checkout, capsys, arguments):
    code, said = call(capsys, "bench", *arguments)
    assert code == 2 and "Traceback" not in said


def test_record_keeps_the_other_sections_and_names_the_machine_by_its_kind_alone(tmp_path):
    import getpass
    import platform

    from tests.bench.record import record

    record("bench.json", "first", {"title": "First", "rows": [{"a": 1}], "facts": {}}, tmp_path)
    file = record(
        "bench.json",
        "second",
        {"title": "S", "rows": [{"a": float("nan")}], "facts": {"b": (1, 2)}},
        tmp_path,
    )
    known = json.loads(file.read_text(encoding="utf-8"))
    assert list(known) == ["first", "second"]
    assert known["first"]["rows"] == [{"a": 1}]
    assert known["second"]["rows"] == [{"a": None}] and known["second"]["facts"] == {"b": [1, 2]}
    assert known["first"]["machine"]["cores"] >= 1 and "numpy" in known["first"]["machine"]
    said = json.dumps(known["first"]["machine"])
    assert platform.node() not in said and str(paths.ROOT) not in said
    assert getpass.getuser() not in said.lower().split()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("claims.csv", {"title": "t", "rows": []}),
        ("bench.json", {"rows": []}),
        ("bench.json", {"title": "t", "rows": [1]}),
    ],
)
def test_record_refuses_other_files_and_what_is_no_table(tmp_path, file, content):
    from tests.bench.record import record

    with pytest.raises(UsageError):
        record(file, "section", content, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_ratios_are_taken_round_by_round_so_a_slow_moment_that_hits_both_ways_cancels(monkeypatch):
    now = [0.0]
    slow = iter(
        [1, 1, 1, 1, 10, 10, 1, 1]
    )  # both ways of the second round at a tenth of the speed; two warm-ups first

    def way(seconds):
        def run():
            now[0] += seconds * next(slow)

        return run

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    rows = side_by_side("x", {"a": way(2), "b": way(1)}, items=1, unit="s", scale=1, rounds=3, reference="a")
    assert [(row.ratio_low, row.ratio, row.ratio_high) for row in rows] == [(1, 1, 1), (2, 2, 2)]
    assert rows[1].high == 10 and isinstance(Part("t", rows).rows[0].note, str)
