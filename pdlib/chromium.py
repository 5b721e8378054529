"""The machine's own Chromium without a window, driven through its DevTools protocol, and a folder served to it."""

from __future__ import annotations

import functools
import http.server
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pdlib.errors import PublishError

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 300.0  # seconds for one answer: a long chapter on a busy machine takes some
_READ_SIZE = 1 << 20
_LOADED = "Page.loadEventFired"
# Chromium listens on the file descriptors 3 and 4; Popen cannot choose the numbers a child gets
_LAUNCH = (
    "import fcntl, os, sys; ends = [fcntl.fcntl(int(n), fcntl.F_DUPFD_CLOEXEC, 10) for n in sys.argv[1:3]]; "
    "os.dup2(ends[0], 3); os.dup2(ends[1], 4); os.execv(sys.argv[3], sys.argv[3:])"
)


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
            "install it, such as with `apt install chromium` or `brew install --cask chromium`; "
            "only the PDF needs it",
        )
    return found


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


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


class Browser:
    """One running Chromium; use it in a ``with`` block.

    Parameters
    ----------
    executable : str, optional
        By default what `find` finds.

    Raises
    ------
    PublishError
        When there is no Chromium, or it ends or does not answer.
    """

    def __init__(self, executable: str | None = None) -> None:
        self._executable = executable or find()
        self._waiting: list[dict[str, Any]] = []
        self._rest = b""
        self._asked = 0

    def __enter__(self) -> Browser:
        self._home = tempfile.TemporaryDirectory(prefix="pdlib-chromium-", ignore_cleanup_errors=True)
        self._said = tempfile.TemporaryFile()
        their_in, self._to = os.pipe()
        self._from, their_out = os.pipe()
        command = [sys.executable, "-c", _LAUNCH, str(their_in), str(their_out), self._executable]
        command += ["--headless", "--remote-debugging-pipe", f"--user-data-dir={self._home.name}"]
        command += ["--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions"]
        if os.geteuid() == 0:
            command.append("--no-sandbox")  # Chromium refuses to start for root otherwise
        self._process = subprocess.Popen(
            command,
            pass_fds=(their_in, their_out),
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=self._said,
        )
        os.close(their_in)
        os.close(their_out)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._to)
        os.close(self._from)
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()
        self._home.cleanup()

    @contextmanager
    def page(self, address: str) -> Iterator[Page]:
        """Open ``address`` in a tab of its own, loaded with all that its load event waits for."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        try:
            self.call("Page.enable", session=session)
            gone = self.call("Page.navigate", {"url": address}, session)
            if gone.get("errorText"):
                raise PublishError(f"Chromium cannot open {address}: {gone['errorText']}")
            self._message(lambda m: m.get("method") == _LOADED and m.get("sessionId") == session)
            yield Page(self, session)
        finally:
            self.call("Target.closeTarget", {"targetId": target})

    def call(self, method: str, params: dict | None = None, session: str | None = None) -> dict[str, Any]:
        """Send one command of the DevTools protocol and return its result.

        Raises
        ------
        PublishError
            When Chromium refuses the command, ends, or does not answer within `PATIENCE`.
        """
        self._asked += 1
        number, message = self._asked, {"id": self._asked, "method": method, "params": params or {}}
        if session:
            message["sessionId"] = session
        try:
            _write(self._to, json.dumps(message).encode() + b"\0")
        except BrokenPipeError:
            raise self._ended() from None
        answer = self._message(lambda m: m.get("id") == number)
        if "error" in answer:
            raise PublishError(f"Chromium refuses {method}: {answer['error'].get('message')}")
        return answer["result"]

    def _message(self, wanted: Any) -> dict[str, Any]:
        """The first message that is wanted; answers and loaded pages that nobody waits for yet are kept."""
        end = time.monotonic() + PATIENCE
        while True:
            for index, message in enumerate(self._waiting):
                if wanted(message):
                    return self._waiting.pop(index)
            if not select.select([self._from], [], [], max(0.0, end - time.monotonic()))[0]:
                raise PublishError(
                    f"Chromium did not answer for {PATIENCE:g} s", "try again on a quieter machine"
                )
            read = os.read(self._from, _READ_SIZE)
            if not read:
                raise self._ended()
            *whole, self._rest = (self._rest + read).split(b"\0")
            messages = map(json.loads, whole)
            self._waiting += [one for one in messages if "id" in one or one["method"] == _LOADED]

    def _ended(self) -> PublishError:
        self._said.seek(0)
        last = self._said.read().decode(errors="replace").strip().splitlines()[-3:]
        return PublishError(
            f"Chromium ended before it was done: {' / '.join(last) or 'it said nothing'}",
            f"see whether `{self._executable} --headless --version` runs",
        )


class Page:
    """One open page of a `Browser`."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def evaluate(self, script: str) -> Any:
        """Value of a JavaScript expression; a promise is waited for.

        Raises
        ------
        PublishError
            When the script throws.
        """
        asked = {"expression": script, "awaitPromise": True, "returnByValue": True}
        answer = self._browser.call("Runtime.evaluate", asked, self._session)
        if "exceptionDetails" in answer:
            thrown = answer["exceptionDetails"]
            said = thrown.get("exception", {}).get("description") or thrown.get("text")
            raise PublishError(f"a script failed on the page: {said}")
        return answer["result"].get("value")

    def pdf(self, **options: Any) -> bytes:
        """The page as printed; options as of the protocol's ``Page.printToPDF``."""
        import base64

        return base64.b64decode(self._browser.call("Page.printToPDF", options, self._session)["data"])


def _write(end: int, data: bytes) -> None:
    while data:
        data = data[os.write(end, data) :]
