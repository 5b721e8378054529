"""The smoke book again, another way: one chapter at a time and two threads below NumPy give the same pages."""

import io

import pytest
from rich.console import Console

from pdlib import paths, run
from pdlib.execute import THREADS
from tests.determinism.compare import compare_chapter

AGAIN = ("04", "06", "09")  # signals, spectra, resampling and fits, in seconds


@pytest.mark.slow
def test_another_run_with_other_threads_and_its_own_store_prints_the_same(
    book, executed, tmp_path, monkeypatch
):
    monkeypatch.setenv("PDLIB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("PDLIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(paths.BUILD / "numba"))
    for name in THREADS:
        monkeypatch.setenv(name, "2")
    out = io.StringIO()
    report = run.run("smoke", only=AGAIN, workers=1, project=book, console=Console(file=out, width=200))
    assert report.ok, out.getvalue()
    compared = [
        compare_chapter(executed, report.folder, path.name) for path in sorted(report.folder.glob("*.ipynb"))
    ]
    assert [one.chapter[:2] for one in compared] == list(AGAIN)
    for one in compared:
        assert one.compared["glued"] > 10 and one.compared["side file"] > 100, one.chapter
        assert one.same_key and one.largest < 1e-9, one.largest_where
    assert [str(difference) for one in compared for difference in one.differences] == []
