"""The machine's own Chromium without a window, driven by playwright, and a folder served to it."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pdlib.errors import PublishError

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 300_000  # milliseconds for one page: a long chapter on a busy machine takes some


def find() -> str:
    """Path of the machine's Chromium or Chrome.

    Raises
    ------
    PublishError
        When there is none, with how to get it.
    """
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise PublishError(
            f"there is no Chromium on this machine (looked for {', '.join(NAMES)})",
            "install it, such as with `apt install chromium` or `brew install --cask chromium`; only the PDF needs it",
        )
    return found


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            pass  # a page was left before everything had come


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve ``folder`` on this machine alone while the block runs; gives the address, with a slash at its end."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


@contextmanager
def browser() -> Iterator[Any]:
    """A running Chromium, as playwright's ``Browser``, closed after the block.

    Raises
    ------
    PublishError
        When there is no Chromium, it does not start, or a page cannot be opened or does not answer.
    """
    from playwright.sync_api import Error, sync_playwright

    executable = find()
    # Chromium refuses to start for root otherwise
    options = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    try:
        with sync_playwright() as play:
            opened = play.chromium.launch(executable_path=executable, args=options)
            try:
                yield opened
            finally:
                opened.close()
    except Error as error:
        raise PublishError(
            f"Chromium could not do it: {error.message.strip().splitlines()[0]}",
            f"see whether `{executable} --headless --version` runs",
        ) from error
