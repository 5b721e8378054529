"""The machine's Chromium: what is said when it is not there or fails, and the folder served to it."""

import urllib.request

import pytest

from pdlib import chromium
from pdlib.errors import PublishError
from tests.browser import chromium_or_skip


@pytest.mark.browser
def test_a_page_that_cannot_be_opened_is_named_and_the_browser_is_closed():
    chromium_or_skip()
    with pytest.raises(PublishError, match="127.0.0.1:9"), chromium.browser() as opened:
        opened.new_page().goto("http://127.0.0.1:9/")
    assert not opened.is_connected()


def test_a_browser_that_ends_at_once_is_an_error_with_a_way_out(tmp_path, monkeypatch):
    script = tmp_path / "chromium"
    script.write_text("#!/bin/sh\necho 'no display here' >&2\nexit 3\n")
    script.chmod(0o755)
    monkeypatch.setattr(chromium, "find", lambda: str(script))
    with pytest.raises(PublishError, match="could not do it") as failed, chromium.browser():
        pass
    assert f"{script} --headless --version" in failed.value.way_out


def test_without_a_browser_it_says_how_to_get_one(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PublishError, match="apt install chromium"):
        chromium.find()


def test_a_folder_is_served_only_while_the_block_runs(tmp_path):
    (tmp_path / "a.txt").write_text("here")
    with chromium.served(tmp_path) as base:
        assert urllib.request.urlopen(f"{base}a.txt").read() == b"here"
    with pytest.raises(OSError):
        urllib.request.urlopen(f"{base}a.txt", timeout=2)
