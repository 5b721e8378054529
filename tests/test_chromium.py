"""Driving the machine's Chromium: what it answers, and what is said when it refuses, dies or is not there."""

import shutil
import time
import urllib.request

import pytest

from pdlib import chromium
from pdlib.errors import PublishError


def page(text):
    return f"data:text/html,{text}"


@pytest.fixture(scope="module")
def browser():
    if not any(map(shutil.which, chromium.NAMES)):
        pytest.skip("no chromium on this machine")
    with chromium.Browser() as running:
        yield running


@pytest.mark.browser
def test_a_page_evaluates_scripts_and_waits_for_promises(browser):
    with browser.page(page("<p>a</p><p>b</p>")) as one:
        assert one.evaluate("document.querySelectorAll('p').length") == 2
        assert one.evaluate("new Promise(done => setTimeout(() => done([1, 'x']), 50))") == [1, "x"]


@pytest.mark.browser
def test_pages_can_be_open_at_once_and_are_closed_after_their_block(browser):
    with browser.page(page("<title>a</title>")) as first, browser.page(page("<title>b</title>")) as second:
        assert (second.evaluate("document.title"), first.evaluate("document.title")) == ("b", "a")
    for _ in range(100):  # a page takes a moment to go
        targets = browser.call("Target.getTargets")["targetInfos"]
        left = [one["url"] for one in targets if one["url"].startswith("data:")]
        if not left:
            break
        time.sleep(0.1)
    assert left == []


@pytest.mark.browser
def test_a_script_that_throws_and_a_command_that_does_not_exist_are_said(browser):
    with browser.page(page("x")) as one, pytest.raises(PublishError, match="no such thing"):
        one.evaluate("(() => { throw new Error('no such thing') })()")
    with pytest.raises(PublishError, match="refuses No.such"):
        browser.call("No.such")


@pytest.mark.browser
def test_an_address_that_cannot_be_opened_is_named(browser):
    with (
        pytest.raises(PublishError, match="cannot open http://127.0.0.1:9/"),
        browser.page("http://127.0.0.1:9/"),
    ):
        pass


@pytest.mark.browser
def test_a_page_is_printed_as_pdf(browser):
    with browser.page(page("hello")) as one:
        assert one.pdf().startswith(b"%PDF-")


def test_a_browser_that_ends_at_once_is_named_with_its_last_words(tmp_path):
    script = tmp_path / "chromium"
    script.write_text("#!/bin/sh\necho 'no display here' >&2\nexit 3\n")
    script.chmod(0o755)
    with chromium.Browser(str(script)) as broken, pytest.raises(PublishError, match="no display here"):
        broken.call("Browser.getVersion")


def test_a_browser_that_never_answers_is_given_up(tmp_path, monkeypatch):
    script = tmp_path / "chromium"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o755)
    monkeypatch.setattr(chromium, "PATIENCE", 0.3)
    with chromium.Browser(str(script)) as silent, pytest.raises(PublishError, match="did not answer"):
        silent.call("Browser.getVersion")


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
