"""The machine's own chromium, looking at a built site: what it asks for, what it complains about."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@dataclass
class Seen:
    """Requests that left the site, errors, pages without a word they must say, equations set and not set."""

    elsewhere: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    equations: int = 0
    bad_equations: list[str] = field(default_factory=list)


def look_at(site: Path, pages: Iterable[str], word: str) -> Seen:
    """Open every page and note what a browser does; skips, saying so, where there is no chromium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    if not executable:
        pytest.skip("no chromium on this machine: the pages were not looked at in a browser")
    from playwright.sync_api import sync_playwright

    handler = functools.partial(_Quiet, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here, seen = f"http://127.0.0.1:{server.server_port}/", Seen()

    def asked(request):
        if not request.url.startswith((here, "data:", "blob:")):
            seen.elsewhere.append(request.url)

    def answered(response):
        if response.status >= 400:
            seen.errors.append(f"{response.status} {response.url}")

    try:
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=executable, args=["--no-sandbox"])
            page = browser.new_page()
            page.on("request", asked)
            page.on("response", answered)
            page.on("console", lambda line: seen.errors.append(line.text) if line.type == "error" else None)
            page.on("pageerror", lambda error: seen.errors.append(str(error)))
            for name in pages:
                page.goto(f"{here}{name}.html", wait_until="networkidle")
                if not page.get_by_text(word).first.is_visible():
                    seen.silent.append(name)
                # equations are set after the page has loaded
                page.evaluate(
                    "() => window.MathJax && window.MathJax.startup && window.MathJax.startup.promise"
                )
                seen.equations += page.locator("mjx-container").count()
                for wrong in page.locator("[data-mml-node=merror]").all():
                    seen.bad_equations.append(f"{name}: {wrong.get_attribute('data-mjx-error')}")
            browser.close()
    finally:
        server.shutdown()
    return seen
