import errno
import os

import h5py
import pytest

from pdlib import paths
from pdlib.errors import WriteError


def test_a_failing_block_leaves_the_old_file_and_no_part(tmp_path):
    target = paths.write_text(tmp_path / "kept.txt", "old")
    with pytest.raises(RuntimeError), paths.atomic_path(target) as part:
        part.write_text("half")
        raise RuntimeError("stopped")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


@pytest.mark.parametrize(
    "number, words", [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "no permission")]
)
def test_a_refused_write_names_the_file_and_the_reason(tmp_path, monkeypatch, number, words):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(WriteError, match=words) as caught:
        paths.write_text(tmp_path / "result.csv", "text")
    assert "result.csv" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_killed_writers_file_is_removed_and_a_living_ones_is_not(tmp_path):
    left = tmp_path / "deep" / f"{paths.PART}result-abcdefgh.csv"
    left.parent.mkdir()
    left.write_text("half")
    with paths.atomic_path(tmp_path / "result.csv") as part:
        assert paths.remove_parts(tmp_path) == [left]
        part.write_text("whole")
    assert (tmp_path / "result.csv").read_text() == "whole"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "result.csv"]


def test_a_folder_that_may_only_be_read_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(WriteError, match="no permission"):
        paths.make_folder(tmp_path / "results")


def test_a_folder_below_a_file_is_refused_clearly(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="result.csv"):
        paths.write_text(tmp_path / "file" / "deep" / "result.csv", "text")


def test_paths_are_shown_without_the_machine(tmp_path):
    assert paths.shown(paths.ROOT / "notebooks" / "01.ipynb") == "notebooks/01.ipynb"
    assert paths.shown(tmp_path / "voice.wav") == "voice.wav"


def test_a_file_of_hdf5_can_be_looked_into_before_it_takes_its_place(tmp_path):
    h5py.File(tmp_path / "given.h5", "w").close()
    with paths.atomic_path(tmp_path / "kept.h5") as part:
        part.write_bytes((tmp_path / "given.h5").read_bytes())
        with h5py.File(part, "r") as file:  # takes a lock of its own
            assert list(file) == []
        assert paths.remove_parts(tmp_path) == []
    assert (tmp_path / "kept.h5").is_file()
