"""A tiny book is hurt in the ways that `python -m tests.faults` tries at length, and nothing is lost."""

import os
import shutil
import time

import pytest

from pdlib import paths
from tests.faults import books, kinds
from tests.faults.kinds import EQUAL, LOST, REFUSED, Lab

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A tiny book that has been run once, for all tests of this file."""
    return Lab(
        tmp_path_factory.mktemp("faults"),
        books.tiny,
        kills=3,
        span=4.0,
        seed=1,
        small=True,
        say=lambda text: None,
    )


def became(lab, kind):
    trials = list(kinds.KINDS[kind](lab))
    assert [f"{trial.kind}, {trial.what}: {trial.problem}" for trial in trials if trial.became == LOST] == []
    return {trial.became for trial in trials}


def test_no_byte_of_a_stored_result_can_change_what_is_read(lab):
    assert became(lab, "store-bytes") == {EQUAL}


def test_no_byte_of_an_executed_copy_or_its_side_files_can_change_what_is_shown(lab):
    assert became(lab, "copies") == {EQUAL}


def test_no_byte_of_the_committed_values_and_predictions_can_change_what_is_audited(lab):
    assert REFUSED in became(lab, "committed")


def test_a_run_that_is_killed_or_ended_again_and_again_ends_in_the_same_numbers(lab):
    assert became(lab, "signals") == {EQUAL}


def test_a_dead_kernel_a_full_disk_and_a_second_run_are_refused_in_plain_words_and_cost_nothing(lab):
    assert REFUSED in became(lab, "kernel")
    assert REFUSED in became(lab, "full")
    assert EQUAL in became(lab, "two")


def test_a_book_in_a_strange_folder_without_home_locale_or_a_right_clock_gives_the_same_numbers(lab):
    """All at once, for each alone is tried by the command."""
    closed = lab.folder / "closed"
    closed.mkdir()
    book = books.tiny(lab.folder / "it's {seed} [x] %s")
    left = book.folder / f".work-{os.getpid()}"  # a process of this id lives, and is no run
    left.mkdir(parents=True)
    (book.folder / ".work-abc").mkdir()
    (book.results / "fold").mkdir(parents=True)
    (book.results / "fold" / f"{paths.PART}abc-12345678.npz").write_bytes(b"PK")
    book.before = kinds.weak() or []
    env = {"HOME": str(closed), "TMPDIR": str(closed), "XDG_RUNTIME_DIR": None, "XDG_CONFIG_HOME": None}
    env |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    umlaut = books.tiny(lab.folder / "Übung")
    assert (
        kinds.refusal("", "", umlaut, umlaut.run(env=env), "cannot spell the name of a folder").problem == ""
    )
    closed.chmod(0o555)
    done = book.run(env=env)
    closed.chmod(0o755)
    assert lab.faulty(book, done, {}) == ""
    computed, soon = book.computed(), time.time() + 365 * 86400
    for path in book.root.rglob("*"):
        if path.is_file():
            os.utime(path, (soon, soon))
    assert "all up to date" in book.run().said
    shutil.rmtree(book.runs)
    assert lab.faulty(book, book.run(), book.stored()) == ""
    assert book.computed() == computed
