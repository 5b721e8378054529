"""Moments: what the browser computes from a slider is what Python computes; only synthetic voices are played."""

import base64
import io
import json
import re
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from scipy.io import wavfile

from pdlib import chromium, evaluate, features, moments, paths
from pdlib.cohort import synthetic_cohort
from pdlib.confounding import hanley_mcneil_se, predictive_value
from pdlib.errors import DataError, ParameterError, PrivacyError
from pdlib.figures import Page, format_number
from tests.browser import chromium_or_skip

STATIC = paths.BOOK / "_static"
PEOPLE = 24  # of each class


def cohort(kind):
    names = [f"{label}-{i:02d}" for label in ("HC", "PD") for i in range(1, PEOPLE + 1)]
    recordings = [SimpleNamespace(name=name, label=int(name.startswith("PD"))) for name in names]
    return SimpleNamespace(
        kind=kind, source="Where it is from.", fingerprint="ab" * 32, recordings=recordings
    )


@pytest.fixture
def page(tmp_path):
    with mpl.rc_context():
        yield Page.open("09", cohort("real"), profile="smoke", seed=0, out=tmp_path / "pages")


def predictions(model, shift, seed):
    rng = np.random.default_rng(seed)
    names = [recording.name for recording in cohort("real").recordings]
    labels = np.array([name.startswith("PD") for name in names]).astype(int)
    score = np.clip(rng.normal(0.4 + shift * labels, 0.2), 0, 1).round(2)  # rounded, so that scores are tied
    fold = rng.integers(0, 3, labels.size)
    threshold = np.array([0.45, 0.5, 0.61])[fold]
    return evaluate.check_predictions(
        pd.DataFrame(
            {
                "model": model, "variant": "none", "protocol": "speaker", "recording": names, "label": labels,
                "fold": fold, "seed": 0, "score": score, "threshold": threshold,
                "predicted": (score >= threshold).astype(int),
            }
        )
    )  # fmt: skip


MODELS = {"one & <two>": predictions("one", 0.2, 1), "three": predictions("three", 0.0, 2)}


@pytest.fixture
def people():
    rng = np.random.default_rng(3)
    names = [recording.name for recording in cohort("real").recordings]
    labels = pd.Series([int(name.startswith("PD")) for name in names], index=names)
    age = pd.Series(
        np.where(labels == 1, rng.normal(66, 9, labels.size), rng.normal(52, 14, labels.size)), index=names
    )
    scores = {
        title: frame.set_index("recording")["score"] + 0.00004 * np.arange(len(frame))
        for title, frame in MODELS.items()
    }
    return age.clip(20, 89), labels, scores


def box_data(shown):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', shown.html)[1])


# ── what is embedded and shown ─────────────────────────────────────────────────────────────────────────
def test_the_points_of_the_figure_are_the_counts_of_each_threshold():
    frame = MODELS["three"]
    found = moments.operating_points(frame, 0.01)
    inside = evaluate.confusion(frame["label"], frame["predicted"])
    assert (found.loc["chosen in training", ["tp", "fn", "fp", "tn"]] == list(vars(inside).values())).all()
    youden = found["recall"] + found["specificity"]
    assert youden["best on the test"] == youden.max()
    assert np.isclose(youden["best on the test"], max(
        evaluate.recall(c) + evaluate.specificity(c)
        for c in (evaluate.confusion(frame["label"], frame["score"] >= t) for t in frame["score"])
    ))  # fmt: skip


def test_a_box_holds_exactly_the_scores_and_points_at_its_figure_and_stamp(page):
    figure, box = moments.threshold(page, "threshold", MODELS)
    for (title, frame), embedded in zip(MODELS.items(), box_data(box)["models"], strict=True):
        assert embedded["name"] == title
        ours = sorted(zip(frame["label"], frame["score"], frame["threshold"], strict=True))
        assert sorted(zip(embedded["label"], embedded["score"], embedded["threshold"], strict=True)) == ours
    assert 'href="#pd-09-threshold"' in box.html and 'id="pd-09-threshold"' in figure.html
    assert box.stamp == figure.stamp and figure.stamp["code_hash"] in box.html
    assert page.items["threshold-moment"]["what"] == "moment"
    assert "SYNTHETIC" not in box.html


def test_a_box_names_no_recording_and_no_age_closer_than_its_step(page, people):
    _, roc = moments.threshold(page, "threshold", MODELS)
    shown, box = moments.ages(page, "ages", *people, step=5)
    written = [path.read_text(encoding="utf-8") for path in shown.files]
    assert not re.search(r"(?:HC|PD)-\d\d", "".join([roc.html, box.html, *written]))
    assert all(years % 5 == 0 for years in box_data(box)["people"]["age"])


def test_a_cell_that_ends_with_a_moment_does_not_show_it_a_second_time(page):
    from IPython.core.formatters import DisplayFormatter

    assert DisplayFormatter().format(moments.threshold(page, "threshold", MODELS)) == ({}, {})


def test_what_is_made_from_synthetic_people_says_so(tmp_path, people):
    with mpl.rc_context():
        page = Page.open("17", cohort("synthetic"), profile="smoke", seed=0, out=tmp_path)
    for _, box in (moments.threshold(page, "threshold", MODELS), moments.ages(page, "ages", *people)):
        assert '<strong class="pd-synthetic">SYNTHETIC</strong>' in box.html


def test_predictions_of_two_seeds_or_a_prevalence_off_the_slider_are_refused(page):
    twice = pd.concat([MODELS["three"], MODELS["three"].assign(seed=1)])
    with pytest.raises(DataError, match="twice"):
        moments.threshold(page, "threshold", {"three": twice})
    with pytest.raises(ParameterError, match="slider"):
        moments.threshold(page, "threshold", MODELS, prevalence=0.013)


def test_classes_without_a_common_age_have_a_figure_that_says_so(page, people):
    age, labels, scores = people
    shown, _ = moments.ages(
        page, "ages", pd.Series(np.where(labels == 1, 70.0, 30.0), labels.index), labels, scores
    )
    assert "no age, for none is of both" in shown.html and "not defined" in shown.html


# ── voices ─────────────────────────────────────────────────────────────────────────────────────────────
def test_a_steady_tone_lands_in_the_harmonic_part_and_clicks_in_the_percussive_one():
    time = np.arange(8000) / 8000
    tone, clicks = 0.3 * np.sin(2 * np.pi * 500 * time), np.zeros(8000)
    clicks[500::1500] = 0.9
    harmonic, percussive = moments.harmonic_percussive_sounds(tone + clicks)
    np.testing.assert_allclose(harmonic + percussive, moments.inside(tone + clicks), atol=1e-12)

    def like(part, of):
        return np.corrcoef(part, moments.inside(of))[0, 1]

    assert like(harmonic, tone) > 0.99 and like(percussive, clicks) > 0.9
    assert abs(like(harmonic, clicks)) < 0.2 and abs(like(percussive, tone)) < 0.2


def test_the_players_play_what_the_figure_draws(tmp_path):
    voices = synthetic_cohort(4, 0)
    with mpl.rc_context():
        page = Page.open("05", voices, profile="smoke", seed=0, out=tmp_path)
        _, box = moments.listen(page, "listen", voices, {"HC": "HC-02", "PD": "PD-02"})
    found = re.findall(
        r'data-part="([^"]+)" aria-label="([^"]+)" src="data:audio/wav;base64,([^"]+)"', box.html
    )
    assert [part for part, _, _ in found] == [*moments.PARTS] * 2
    assert all(label.startswith("SYNTHETIC") for _, label, _ in found)
    sounds = [wavfile.read(io.BytesIO(base64.b64decode(data))) for _, _, data in found]
    assert {rate for rate, _ in sounds} == {8000}
    for whole, harmonic, percussive, both in (sounds[:4], sounds[4:]):
        assert np.abs(whole[1].astype(int) - both[1]).max() <= 1
        assert np.abs(harmonic[1].astype(int) + percussive[1] - whole[1]).max() <= 2
        assert whole[1].std() > harmonic[1].std() > percussive[1].std() > 100
    assert len(box.html) < 250_000


@pytest.mark.parametrize("kind", ["real", "own"])
def test_no_voice_of_a_real_speaker_is_played_even_on_a_page_that_shows_single_speakers(tmp_path, kind):
    voices = synthetic_cohort(4, 0)
    real = SimpleNamespace(
        kind=kind, source="x", fingerprint="cd" * 32, recordings=voices.recordings, signal=voices.signal
    )
    with mpl.rc_context():
        page = Page.open("05", real, profile="smoke", seed=0, individuals="real", out=tmp_path)
        with pytest.raises(PrivacyError, match="would be played"):
            moments.listen(page, "listen", real, {"HC": "HC-02"})
    assert page.items == {}


def test_the_spectra_of_the_figure_are_those_of_the_parts(tmp_path):
    voices = synthetic_cohort(4, 0)
    with mpl.rc_context():
        page = Page.open("05", voices, profile="smoke", seed=0, out=tmp_path)
        shown, _ = moments.listen(page, "listen", voices, {"PD": "PD-01"})
    drawn = pd.read_csv(shown.files[0])
    assert len(drawn) == features.N_FFT // 2 + 1
    assert "SYNTHETIC" in shown.html and drawn["harmonic"].max() > drawn["percussive"].max()


# ── in a browser ───────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def running():
    chromium_or_skip()
    with chromium.browser() as browser:
        yield browser


@pytest.fixture
def opened(running):
    """Opens shown figures and boxes as one page; nothing may go wrong or be asked for while it is open."""
    wrong, pages = [], []

    def open_page(*shown, script=True, width=1280, theme="light"):
        css = "".join((STATIC / name).read_text(encoding="utf-8") for name in ("book.css", "moments.css"))
        js = (STATIC / "moments.js").read_text(encoding="utf-8") if script else ""
        body = "".join(part.html for part in shown)
        tab = running.new_page(viewport={"width": width, "height": 800})
        tab.on("console", lambda line: wrong.append(line.text) if line.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on(
            "request",
            lambda asked: wrong.append(asked.url) if not asked.url.startswith(("data:", "blob:")) else None,
        )
        tab.set_content(
            f'<!DOCTYPE html><html lang="en" data-theme="{theme}"><head><title>Moments</title>'
            f'<meta name="viewport" content="width=device-width"><style>{css}</style></head>'
            f"<body><main><h1>Moments</h1>{body}</main><script>{js}</script></body></html>"
        )
        pages.append(tab)
        return tab

    yield open_page
    for tab in pages:
        tab.close()
    assert wrong == []


def cells(tab, caption):
    """Rows of a table as text, by the row's name."""
    rows = tab.locator("table", has=tab.locator("caption", has_text=caption)).locator("tbody tr").all()
    texts = [row.locator("th, td").all_text_contents() for row in rows]
    return {name: values for name, *values in texts}


def percent(text):
    return np.nan if text == "not defined" else float(text.replace("\u00a0%", "")) / 100


def slider(tab, label):
    return tab.get_by_role("slider", name=label, exact=True)


def set_slider(tab, label, value):
    slider(tab, label).evaluate(
        "(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", str(value)
    )


METRICS = {
    "accuracy": evaluate.accuracy, "precision": evaluate.precision, "recall": evaluate.recall,
    "specificity": evaluate.specificity, "F1": evaluate.f1,
}  # fmt: skip


def test_every_number_beside_the_threshold_slider_is_the_one_python_computes(page, opened):
    tab = opened(*moments.threshold(page, "threshold", MODELS))
    for chosen, frame in enumerate(MODELS.values()):
        tab.get_by_role("combobox", name="Model").select_option(str(chosen))
        cuts = [*sorted(set(frame["score"])), np.inf]
        columns = [frame["threshold"], evaluate.choose_threshold(frame["label"], frame["score"])]
        for place in (0, 1, len(cuts) // 3, len(cuts) // 2, len(cuts) - 2, len(cuts) - 1):
            set_slider(tab, "Threshold", place)
            for index in (0, 3, 10):
                set_slider(tab, "People who have PD", index)
                told = cells(tab, "Metrics")
                for column, cut in enumerate([cuts[place], *columns]):
                    counts = evaluate.confusion(frame["label"], (frame["score"] >= cut).astype(int))
                    ours = {name: metric(counts) for name, metric in METRICS.items()}
                    value = predictive_value(ours["recall"], ours["specificity"], moments.PREVALENCES[index])
                    for name, shown in told.items():
                        wanted = value if name.startswith("predictive") else ours[name]
                        np.testing.assert_allclose(percent(shown[column]), wanted, atol=0.00051, err_msg=name)
                    if column == 0:
                        matrix = {"PD": [counts.tp, counts.fn], "HC": [counts.fp, counts.tn]}
                        assert cells(tab, "Confusion") == {k: [str(n) for n in v] for k, v in matrix.items()}


def test_the_point_of_the_threshold_moves_along_the_roc_curve(page, opened):
    tab = opened(*moments.threshold(page, "threshold", MODELS))
    frame = next(iter(MODELS.values()))
    curve = evaluate.roc_curve(frame["label"], frame["score"])[::-1].reset_index(drop=True)
    drawn = tab.locator("polyline.pd-line").get_attribute("points").split()
    assert len(drawn) == len(curve)
    for place, row in curve.iterrows():
        set_slider(tab, "Threshold", place)
        dot = tab.locator("circle.pd-own")
        x, y = (float(dot.get_attribute(name)) for name in ("cx", "cy"))
        assert f"{x:.6f},{y:.6f}" in {
            ",".join(f"{float(v):.6f}" for v in point.split(",")) for point in drawn
        }
        np.testing.assert_allclose(
            [(x - 46) / 250, (260 - y) / 250], [row["false_positive_rate"], row["recall"]]
        )


def test_the_buttons_put_the_slider_where_they_say(page, opened):
    tab = opened(*moments.threshold(page, "threshold", MODELS))
    frame = next(iter(MODELS.values()))
    best = evaluate.choose_threshold(frame["label"], frame["score"])
    for name, cut in (("best on the test", best), ("one half", 0.5)):
        tab.get_by_role("button", name=name).click()
        counts = evaluate.confusion(frame["label"], (frame["score"] >= cut).astype(int))
        assert cells(tab, "Confusion")["PD"] == [str(counts.tp), str(counts.fn)]
    status = tab.get_by_role("status").first.text_content()
    assert f"{counts.tp} of {PEOPLE} PD and {counts.fp} of {PEOPLE} HC are called PD" in status


def test_the_areas_within_a_range_of_ages_are_those_python_computes(page, people, opened):
    shown, box = moments.ages(page, "ages", *people, step=5)
    tab = opened(shown, box)
    frame = pd.read_csv(shown.files[0])
    steps = range(int(frame["age"].min()), int(frame["age"].max()) + 1, 5)
    few = 0
    for chosen, title in enumerate(MODELS):
        tab.get_by_role("combobox", name="Model").select_option(str(chosen))
        for low, high in ((steps[0], steps[-1]), (50, 75), (60, 65), (65, 65), (steps[0], steps[1])):
            set_slider(tab, "Youngest", steps[0])
            set_slider(tab, "Oldest", high)
            set_slider(tab, "Youngest", low)
            part = frame[frame["age"].between(low, high)]
            told = cells(tab, "AUC")
            for name, column in (("age, in steps of 5 years", "age"), (title, title)):
                for text, rows in zip(told[name], (frame, part), strict=True):
                    found = moments.area(rows, column)
                    interval = () if np.isnan(found["auc"]) else (found["low"], found["high"])
                    assert text.replace("\u00a0", " ") == format_number(found["auc"], ".2f", *interval)
            counts = part["label"].value_counts()
            said, warned = tab.get_by_role("status").all_text_contents()
            assert f"{counts.get(1, 0)} people with PD and {counts.get(0, 0)} without" in said
            assert bool(warned) == (min(counts.get(1, 0), counts.get(0, 0)) < moments.FEW)
            few += bool(warned)
    assert 0 < few < 10, "the ranges of this test should include some with many people and some with few"


def test_the_interval_of_an_area_is_hanley_and_mcneils():
    frame = pd.DataFrame({"label": [0] * 5 + [1] * 5, "x": [1, 2, 3, 4, 5, 3, 4, 5, 6, 7]})
    found = moments.area(frame, "x")
    assert found["auc"] == pytest.approx(evaluate.auc(frame["label"], frame["x"] / 10))
    half = 1.96 * hanley_mcneil_se(found["auc"], 5, 5)
    assert (found["low"], found["high"]) == pytest.approx((found["auc"] - half, min(1, found["auc"] + half)))
    assert np.isnan(moments.area(frame[frame["label"] == 1], "x")["auc"])


def test_the_oldest_age_never_falls_below_the_youngest(page, people, opened):
    tab = opened(*moments.ages(page, "ages", *people, step=5))
    set_slider(tab, "Oldest", 50)
    set_slider(tab, "Youngest", 70)
    assert [slider(tab, name).input_value() for name in ("Youngest", "Oldest")] == ["70", "70"]
    set_slider(tab, "Oldest", 40)
    assert [slider(tab, name).input_value() for name in ("Youngest", "Oldest")] == ["40", "40"]


def test_a_slider_is_moved_with_the_keyboard_alone_and_says_where_it_stands(page, opened):
    tab = opened(*moments.threshold(page, "threshold", MODELS))
    control = slider(tab, "Threshold")
    control.focus()
    before = int(control.input_value()), cells(tab, "Confusion")
    tab.keyboard.press("ArrowRight")
    assert (int(control.input_value()), cells(tab, "Confusion")) != before
    assert int(control.input_value()) == before[0] + 1
    tab.keyboard.press("End")
    assert control.get_attribute("aria-valuetext") == "above every score"
    assert "nobody is called PD" in tab.get_by_role("status").first.text_content()


def test_the_players_and_the_mix_of_a_voice_work_in_a_browser(tmp_path, opened):
    voices = synthetic_cohort(4, 0)
    with mpl.rc_context():
        book = Page.open("05", voices, profile="smoke", seed=0, out=tmp_path)
        tab = opened(*moments.listen(book, "listen", voices, {"HC": "HC-02", "PD": "PD-02"}))
    assert tab.locator("audio").count() == 8
    lengths = tab.evaluate(
        "() => Promise.all([...document.querySelectorAll('audio')].map((player) => new Promise((done) => {"
        " player.addEventListener('loadedmetadata', () => done(player.duration)); player.preload = 'auto'; })))"
    )
    assert lengths == pytest.approx([lengths[0]] * 8) and 0.8 < lengths[0] <= 1
    button = tab.get_by_role("button", name="Play the mix").first
    button.dblclick()  # stopped before it has begun
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    set_slider(tab, "Mix, SYNTHETIC HC voice", 0)
    assert slider(tab, "Mix, SYNTHETIC HC voice").get_attribute("aria-valuetext") == "harmonic only"
    tab.wait_for_timeout(200)
    button.click()
    assert button.get_attribute("aria-pressed") == "false"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_a_moment_fits_a_phone_and_breaks_no_rule_of_accessibility(page, people, opened, width, theme):
    from axe_playwright_python.sync_playwright import Axe

    tab = opened(
        *moments.threshold(page, "threshold", MODELS),
        *moments.ages(page, "ages", *people),
        width=width,
        theme=theme,
    )
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(tab, context=".pd-moment").response["violations"]
    assert [(v["id"], v["impact"], v["nodes"][0]["html"]) for v in found] == []


def test_without_the_script_and_on_paper_a_box_points_at_its_figure(page, opened):
    shown = moments.threshold(page, "threshold", MODELS)
    still = opened(*shown, script=False)
    assert still.get_by_role("slider").count() == 0
    assert still.get_by_text("Without it, the figure above shows").is_visible()
    paper = opened(*shown)
    assert not paper.get_by_text("Without it, the figure above shows").is_visible()
    paper.emulate_media(media="print")
    assert paper.get_by_text("Without it, the figure above shows").is_visible()
    assert not paper.get_by_role("slider").first.is_visible()


@pytest.mark.parametrize(
    ("chapter", "kind"), [("05", "listen"), ("09", "threshold"), ("10", "threshold"), ("17", "ages")]
)
def test_a_chapter_shows_its_moment_and_says_what_to_try(chapter, kind):
    (path,) = paths.NOTEBOOKS.glob(f"{chapter}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    (place,) = [at for at, cell in enumerate(cells) if f"moments.{kind}(" in "".join(cell["source"])]
    assert cells[place - 1]["cell_type"] == "markdown" and "\n### " in "\n" + "".join(
        cells[place - 1]["source"]
    )


def test_the_script_loads_nothing_and_the_site_is_given_it():
    script = (STATIC / "moments.js").read_text(encoding="utf-8")
    assert re.findall(r"fetch\(|XMLHttpRequest|import\s*\(|https?://(?!www\.w3\.org/2000/svg)", script) == []
    config = (paths.ROOT / "_config.yml").read_text(encoding="utf-8")
    assert "moments.js" in config and "moments.css" in config
