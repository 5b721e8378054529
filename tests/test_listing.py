"""Tables of the command line: ages in words, what was set by hand, and nothing that the rows do not say."""

import json
from datetime import datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from pdlib import listing, paths
from pdlib.params import Project
from pdlib.run import Status, content_of

NOW = datetime.fromisoformat("2026-03-02T12:00:00+00:00")


@pytest.mark.parametrize(
    ("minutes", "said"),
    [
        (0.5, "just now"), (1, "1 minute ago"), (59.9, "59 minutes ago"), (60, "1 hour ago"),
        (24 * 60 - 1, "23 hours ago"), (24 * 60, "1 day ago"),
        (30.9 * 24 * 60, "30 days ago"), (31 * 24 * 60, "on 2026-01-30"),
    ],
)  # fmt: skip
def test_an_age_is_said_in_the_largest_whole_unit(minutes, said):
    assert listing.ago((NOW - timedelta(minutes=minutes)).isoformat(), NOW) == said


def test_an_age_counts_across_time_zones_and_is_empty_without_a_time():
    assert listing.ago("2026-03-02T13:30:00+02:00", NOW) == "30 minutes ago"
    assert listing.ago("", NOW) == ""


def said_of(rows, tmp_path):
    out = StringIO()
    listing.show_status(Console(file=out, width=200), Project(tmp_path), rows, NOW)
    return out.getvalue()


def row(name, **more):
    values = {
        "folder": "_build/run/quick-own", "name": name, "executed": "2026-03-02T09:00:00+00:00", "seconds": 61.0,
        "profile": "quick", "cohort": "own", "state": "up to date", "changes": (),
    }  # fmt: skip
    return Status(**(values | more))


def test_status_says_profile_recordings_age_time_and_state(tmp_path):
    said = said_of([row("01_one"), row("02_two", executed="", seconds=None, state="not executed")], tmp_path)
    for words in ("profile quick", "other recordings than the paper's", "1 up to date, 1 not executed", "3 hours ago",
                  "1:01"):  # fmt: skip
        assert words in said
    assert "set by hand" not in said and "why NN" not in said


def test_status_shows_what_was_set_by_hand_and_the_first_reasons_for_a_rerun(tmp_path):
    folder = tmp_path / "_build" / "run" / "quick-own"
    copy = {"metadata": {"pdlib": {"overrides": {"seed": 7}}}}
    copy["metadata"]["pdlib"]["content"] = content_of(copy)
    paths.write_text(folder / "01_one.ipynb", json.dumps(copy))
    changed = row(
        "01_one", state="out of date", changes=("the data", "module pdlib.evaluate", "library numpy")
    )
    said = said_of([changed], tmp_path)
    assert "seed = 7" in said and "out of date: the data; module pdlib.evaluate; and 1 more" in said
    assert "why NN" in said


def test_status_shows_what_a_chapter_took_of_the_memory_where_it_was_noted(tmp_path):
    said = said_of([row("01_one", peak_mib=1536), row("02_two")], tmp_path)
    assert "memory" in said and "1.5 GiB" in said
    assert "memory" not in said_of([row("02_two")], tmp_path)
