"""Locks that end with their process: who comes second is told who is at work."""

import os
import signal
import subprocess
import sys

import pytest

from pdlib import locks, paths
from pdlib.errors import BusyError, WriteError

HOLDER = """
import sys, time
from pathlib import Path
from pdlib import locks
with locks.held(Path(sys.argv[1]), "bakes bread in", reading=len(sys.argv) > 2):
    print("held", flush=True)
    time.sleep(120)
"""


@pytest.fixture
def holder(tmp_path):
    """Start processes that hold ``tmp_path/.lock``, and end them."""
    started = []

    def start(*more):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path / ".lock"), *more],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(paths.ROOT)},
        )  # fmt: skip
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_the_second_is_told_which_process_is_at_work_and_a_killed_one_holds_nothing(tmp_path, holder):
    first = holder()
    with pytest.raises(BusyError, match=f"process {first.pid} bakes bread in"):
        with locks.held(tmp_path / ".lock", "waits"):
            pass
    first.send_signal(signal.SIGKILL)
    first.wait()
    with locks.held(tmp_path / ".lock", "bakes bread in"):
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} bakes bread in")


def test_readers_share_and_keep_a_writer_out(tmp_path, holder):
    holder("reading")
    with locks.held(tmp_path / ".lock", "reads", reading=True):
        pass
    with pytest.raises(BusyError), locks.held(tmp_path / ".lock", "writes"):
        pass


def test_where_no_lock_can_be_made_a_reader_goes_on_and_a_writer_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with locks.held(tmp_path / "file" / ".lock", "reads", reading=True):
        pass
    with pytest.raises(WriteError), locks.held(tmp_path / "file" / ".lock", "writes"):
        pass


def test_what_is_raised_in_the_block_comes_through_unchanged(tmp_path):
    with pytest.raises(OSError, match="of the block"), locks.held(tmp_path / ".lock", "reads", reading=True):
        raise OSError("of the block")
    with locks.held(tmp_path / ".lock", "goes on"):
        pass
