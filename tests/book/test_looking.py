"""Faults planted on a small page: what `tests.browser` looks for, it sees."""

import pytest

from tests.browser import PHONE, look_at

pytestmark = pytest.mark.browser

SOUND = """<main><h1>Title</h1><h2>Part</h2><p>Words.</p>
<details class="hide"><summary>Show</summary>code</details></main>"""
FAULTS = """<main><h1>Title</h1><h3 id="deep">Deep</h3><p style="color: #bbb">pale on white</p>
<p style="color: #333; background: #fff" class="by-night">dark by night</p>
<div id="long" style="width: 900px">long</div><img src="missing.png">
<details class="hide"><summary onclick="event.preventDefault()">stuck</summary>code</details>
<a href="https://example.invalid/">elsewhere is a link, not a request</a>
<script src="http://127.0.0.1:9/elsewhere.js"></script><script>console.error("planted")</script></main>"""
STYLE = "html[data-theme=dark] .by-night { background: #222 !important }"


@pytest.fixture(scope="module")
def sights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    for name, body in (("sound", SOUND), ("faults", FAULTS)):
        head = f'<meta charset="utf-8"><title>{name}</title><link rel="icon" href="data:,"><style>{STYLE}</style>'
        page = f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{body}</body></html>'
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return {sight.page: sight for sight in look_at(folder, ["sound", "faults"], (PHONE,), axe=True)}


def test_a_sound_page_has_no_fault(sights):
    sound = sights["sound"]
    assert sound.axe == {"light": [], "dark": []}
    assert (sound.elsewhere, sound.errors, sound.wide, sound.toggles) == ([], [], [], [])
    assert sound.facts["outline"] == [[1, "Title"], [2, "Part"]]


def test_axe_sees_pale_text_a_silent_picture_and_what_is_dark_only_by_night(sights):
    light, dark = (" ".join(sights["faults"].axe[theme]) for theme in ("light", "dark"))
    assert "color-contrast (serious)" in light and "pale on white" in light
    assert "image-alt (critical)" in light
    assert "dark by night" in dark and "dark by night" not in light


def test_a_wide_block_a_stuck_toggle_a_missing_file_and_another_host_are_seen(sights):
    faults = sights["faults"]
    assert any("#long" in where for where in faults.wide)
    assert faults.toggles == ["<details> stuckcode does not change when clicked"]
    assert any("missing.png" in error for error in faults.errors) and "planted" in faults.errors
    assert faults.elsewhere == ["http://127.0.0.1:9/elsewhere.js"]
    assert faults.facts["images"][0]["alt"] is None and faults.facts["images"][0]["loaded"] is False
    assert [3, "Deep"] in faults.facts["outline"]
