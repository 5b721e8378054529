"""The machine's own chromium, looking at a built site: what a page shows, what it asks for, what it complains about."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pdlib import chromium

PHONE, DESK = 360, 1280
_SCRIPT = Path(__file__).with_suffix(".js")
_SET = "() => window.MathJax && window.MathJax.startup && window.MathJax.startup.promise"
# a dark page differs from a light one in its colours alone
_COLOURS = ["color-contrast", "link-in-text-block"]


def chromium_or_skip() -> None:
    """Skip the test, saying so, where there is no chromium."""
    if not any(map(shutil.which, chromium.NAMES)):
        pytest.skip("no chromium on this machine: nothing was looked at in a browser")


@dataclass
class Sight:
    """One page at one width: what went wrong while it was open, and what stands on it (see ``browser.js``)."""

    page: str
    width: int
    elsewhere: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    toggles: list[str] = field(default_factory=list)
    axe: dict[str, list[str]] = field(default_factory=dict)
    wide: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.page} at {self.width} px"


class Window:
    """A browser and the address it finds the site at."""

    def __init__(self, browser: Any, here: str):
        self.browser, self.here = browser, here

    def open(self, name: str, width: int = DESK, *, sight: Sight | None = None, **options: Any) -> Any:
        """A page by its name without ending, with its equations set; what goes wrong is noted in ``sight``."""
        settings = {"color_scheme": "light", "reduced_motion": "reduce"} | options
        page = self.browser.new_page(viewport={"width": width, "height": 900}, **settings)
        if sight:
            self._watch(page, sight)
        page.goto(f"{self.here}{name}.html", wait_until="load")
        page.evaluate(_SET)
        return page

    def _watch(self, page: Any, sight: Sight) -> None:
        def asked(request):
            if not request.url.startswith((self.here, "data:", "blob:")):
                sight.elsewhere.append(request.url)

        def answered(response):
            if response.status >= 400:
                sight.errors.append(f"{response.status} {response.url}")

        page.on("request", asked)
        page.on("response", answered)
        page.on("console", lambda line: sight.errors.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: sight.errors.append(str(error)))


@contextmanager
def window(site: Path) -> Iterator[Window]:
    """A headless browser on a site; skips, saying so, where there is no chromium."""
    chromium_or_skip()
    with chromium.served(site) as here, chromium.browser() as opened:
        yield Window(opened, here)


def look_at(
    site: Path, pages: Iterable[str], widths: Iterable[int] = (DESK,), *, axe: bool = False
) -> list[Sight]:
    """Open every page once at every width and note all there is to note; axe takes most of the time."""
    sights = []
    with window(site) as opened:
        for name in pages:
            for width in widths:
                sight = Sight(name, width)
                page = opened.open(name, width, sight=sight)
                page.add_script_tag(path=_SCRIPT)
                sight.facts = page.evaluate("looking.facts()")
                sight.toggles = page.evaluate("looking.toggles()")
                page.evaluate("looking.open()")
                sight.wide = page.evaluate("looking.wide()")
                if axe:
                    sight.axe = _axe(page)
                page.close()
                sights.append(sight)
    return sights


def _axe(page: Any) -> dict[str, list[str]]:
    """What axe-core calls serious or critical, in the light theme and in the dark one, everything unfolded."""
    import axe_playwright_python

    page.add_script_tag(path=Path(axe_playwright_python.__file__).parent / "axe.min.js")
    light = page.evaluate("looking.axe()")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    return {"light": light, "dark": page.evaluate("rules => looking.axe(rules)", _COLOURS)}
