"""What stands on a page: captions, alt text, SYNTHETIC, privacy, sizes, equal bytes, glue in a real book."""

import base64
import hashlib
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import matplotlib as mpl
import nbformat
import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient
from PIL import Image

from pdlib import figures, markup, paths
from pdlib.errors import ParameterError, PrivacyError, WriteError
from pdlib.evaluate import Confusion, mean_band
from pdlib.figures import Page

ALT = "The slope of PD speakers rises earlier and higher than that of HC speakers."


def cohort(kind):
    names = [f"{label}-{i:02d}" for label in ("HC", "PD") for i in range(1, 7)]
    recordings = [SimpleNamespace(name=name, label=int(name < "HC")) for name in names]
    source = "Where it is from."
    return SimpleNamespace(kind=kind, source=source, fingerprint="ab" * 32, recordings=recordings)


@pytest.fixture
def real(tmp_path):
    with mpl.rc_context():
        yield Page.open("05", cohort("real"), profile="smoke", seed=0, out=tmp_path / "real")


@pytest.fixture
def synthetic(tmp_path):
    with mpl.rc_context():
        yield Page.open("05", cohort("synthetic"), profile="smoke", seed=0, out=tmp_path / "synthetic")


def plot(points=30, seed=0):
    fig, ax = figures.subplots()
    y = np.random.default_rng(seed).normal(size=points)
    ax.plot(np.arange(points), y, label="curve")
    ax.set(xlabel="time (s)", ylabel="slope (dB/kHz)")
    return fig, pd.DataFrame({"x": np.arange(points), "y": y})


def show(page, key="slopes", **options):
    fig, data = plot(options.pop("points", 30))
    settings = {"caption": "Mean slope.", "alt": ALT, "number": "Figure 6", "data": data} | options
    return page.figure(fig, key, **settings)


def picture_of(html):
    kind, code = re.search(r'src="data:image/(svg\+xml|png);base64,([^"]+)"', html).groups()
    return kind, base64.b64decode(code)


class Balanced(HTMLParser):
    """Counts tags and fails on one that closes another."""

    def __init__(self, html):
        super().__init__()
        self.open, self.seen = [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attrs for name, attrs in self.seen if name == tag]


# ── captions, alt texts, stamps, data ──────────────────────────────────────────────────────────────────
def test_figure_has_caption_with_the_papers_number_alt_text_stamp_and_link_to_its_numbers(real):
    shown = show(real)
    parsed = Balanced(shown.html)
    assert parsed.all("img")[0]["alt"] == ALT
    assert '<strong class="pd-number">Figure 6.</strong> Mean slope.</figcaption>' in shown.html
    assert parsed.all("a")[0]["href"] == "../_static/pages/05/slopes.csv"
    stamp = shown.stamp
    for fact in ("real (abababababab)", "smoke", stamp["code_hash"], stamp["lock_hash"], stamp["date"]):
        assert f"<dd>{fact}</dd>" in shown.html
    assert "SYNTHETIC" not in shown.html and b"SYNTHETIC" not in picture_of(shown.html)[1]


def test_plotted_numbers_and_the_account_of_them_lie_beside_the_page(real):
    fig, data = plot()
    show(real)
    pd.testing.assert_frame_equal(pd.read_csv(real.folder / "slopes.csv", float_precision="round_trip"), data)
    sidecar = json.loads((real.folder / "slopes.json").read_text())
    assert sidecar["alt"] == ALT and sidecar["stamp"]["data_hash"] == "ab" * 6 and not sidecar["synthetic"]
    show(real, "two", data={"first": data, "second": data.set_index("x")})
    assert (real.folder / "two-first.csv").read_text() == (real.folder / "two-second.csv").read_text()
    account = json.loads((real.folder / "page.json").read_text())
    assert list(account["items"]) == ["slopes", "two"]
    for name in [name for item in account["items"].values() for name in item["files"]]:
        assert (real.folder / name).is_file()


def test_a_second_run_leaves_nothing_of_the_first_and_touches_no_other_file(real):
    show(real, "old")
    real.number("score", 0.5)
    (real.folder / "mine.txt").write_text("stays")
    with mpl.rc_context():
        Page.open("05", cohort("real"), profile="smoke", seed=0, out=real.folder)
    assert [path.name for path in real.folder.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("alt", "words"),
    [
        ("Slopes of PD and HC.", "is shorter than 40"),
        ("slopes-of-both-classes-in-the-book-figure-six.png", "names a file"),
        ("The picture saved as roc-curve.svg beside the chapter, in the folder of pages", "names a file"),
        ("ROC curve of the boosted network on the speakers of every test fold", "is a label"),
        ("Two confusion matrices for the models with and without the boosted head", "is a label"),
        ("Mel spectrogram, harmonic part and percussive part of one sustained vowel", "is a label"),
        ("X-axis: time in seconds after the onset; y-axis: sound level in decibels", "is a label"),
        ("Fig. 3: log-mel spectrogram after harmonic and percussive separation", "is a label"),
        ("Figure 3, the spectrogram after harmonic and percussive separation", "opens with the kind"),
        ("Mean slope of both classes over the whole of the recording", "repeats the key or the caption"),
        ("Plot of the slope of the PD speakers, which rises earlier than the other", "opens with the kind"),
        ("A figure showing that the slope of PD speakers rises earlier than HC", "opens with the kind"),
        ("The slope (dB/kHz) against the time (s), both classes, PD and HC", "only repeats the labels"),
    ],
)
def test_alt_texts_that_tell_nothing_are_refused(real, alt, words):
    with pytest.raises(ParameterError, match=f"'slopes' {words}"):
        show(real, alt=alt, caption="Mean slope of both classes over the whole of the recording.")
    assert not list(real.folder.glob("slopes*"))


@pytest.mark.parametrize(
    "alt",
    [
        "The ROC curve has an area of 0.57 with PD as the positive class.",
        "Histograms of the scores of both groups: they have the same middle and the same spread.",
        "Mean heat maps: for PD the highest third in time is the middle one, for HC the first.",
    ],
)
def test_an_alt_text_that_names_the_picture_and_then_tells_the_finding_is_taken(alt):
    markup.check_alt(alt, "roc", "Receiver operating characteristic.")


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": "guess"}, {"kind": "jpg"}, {"number": "6"}, {"caption": " "}, {"key": "Slopes.png"},
        {"data": pd.DataFrame()}, {"data": {}},
    ],
)  # fmt: skip
def test_wrong_source_kind_number_caption_key_and_missing_data_are_refused(real, wrong):
    with pytest.raises(ParameterError):
        show(real, **wrong)


def test_one_key_cannot_stand_for_two_things_but_a_cell_can_be_run_again(real):
    first = show(real)
    assert show(real).html == first.html
    with pytest.raises(ParameterError, match="'slopes' for two things"):
        show(real, caption="Another figure.", points=5)
    assert len(pd.read_csv(real.folder / "slopes.csv")) == 30  # the first one's numbers are untouched
    with pytest.raises(ParameterError, match="'slopes' for two things"):
        real.number("slopes", 1)


def test_page_settings_are_checked(tmp_path):
    for chapter, individuals in (("5", "none"), ("intro", "none"), ("05", "some")):
        with pytest.raises(ParameterError):
            Page.open(chapter, None, profile="smoke", seed=0, individuals=individuals, out=tmp_path)


def test_chapter_without_recordings_shows_printed_numbers_but_claims_no_cohort(tmp_path):
    with mpl.rc_context():
        page = Page.open("02", None, profile="smoke", seed=0, out=tmp_path)
    assert "uses no recordings" in page.header().html
    shown = show(page, source="paper")
    assert "Figure 6, from what the paper prints." in shown.html
    assert shown.stamp["cohort"] == "printed in the paper"
    with pytest.raises(ParameterError, match="without one"):
        show(page, "other")


def test_folder_of_the_page_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("PDLIB_PAGE_DIR", str(tmp_path / "here"))
    with mpl.rc_context():
        page = Page.open("05", cohort("real"), profile="smoke", seed=0)
    assert page.folder == tmp_path / "here"
    monkeypatch.delenv("PDLIB_PAGE_DIR")
    with mpl.rc_context():
        assert Page.open("98", None, profile="smoke", seed=0).folder == paths.BUILD / "pages" / "98"


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with mpl.rc_context():
        page = Page.open("05", cohort("real"), profile="smoke", seed=0, out=tmp_path / "file" / "05")
    with pytest.raises(WriteError, match="cannot write"):
        show(page)


# ── synthetic ──────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("kind", ["svg", "png"])
def test_nothing_leaves_a_synthetic_page_without_the_word(synthetic, real, kind):
    shown = show(synthetic, kind=kind)
    assert re.search(r"<figcaption[^>]*><strong[^>]*>SYNTHETIC</strong> <strong[^>]*>Figure 6\.", shown.html)
    assert Balanced(shown.html).all("img")[0]["alt"].startswith("SYNTHETIC data. ")
    form, drawn = picture_of(shown.html)
    if form == "png":  # the letters cover a good part of the pixels
        clean = picture_of(show(real, kind="png").html)[1]
        changed = np.any(pixels(drawn) != pixels(clean), axis=-1)
        assert changed.mean() > 0.02
    else:
        assert b">SYNTHETIC</text>" in drawn
    table = synthetic.table(pd.DataFrame({"a": [1.0]}), "frame", caption="Values.")
    assert re.search(r"<caption[^>]*><strong[^>]*>SYNTHETIC</strong> Values.</caption>", table.html)
    assert synthetic.number("value", 0.5, low=0.4, high=0.6) == "50.0 % [40.0, 60.0] SYNTHETIC"
    header = synthetic.header().html
    assert "SYNTHETIC" in header and "synthetic cohort of 12 recordings" in header
    account = json.loads((synthetic.folder / "page.json").read_text())
    assert all(item["synthetic"] for item in account["items"].values())


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_artificial_signals_on_a_real_page_are_marked_and_real_ones_are_not(real):
    shown = show(real, source="synthetic")
    assert "SYNTHETIC" in shown.html and shown.stamp["cohort"] == "synthetic signals"
    given = show(real, "other", cohort=cohort("synthetic"))
    assert "SYNTHETIC" in given.html and given.stamp["cohort"] == "synthetic"
    assert real.number("tone", 3, "d", source="synthetic") == "3 SYNTHETIC"
    assert real.number("voices", 81, "d") == "81"
    assert "SYNTHETIC" not in real.header().html


def test_printed_numbers_on_a_synthetic_page_are_the_papers_and_not_synthetic(synthetic):
    assert "SYNTHETIC" not in show(synthetic, source="paper").html
    assert synthetic.number("printed", 0.9906, source="paper") == "99.1 %"


# ── privacy ────────────────────────────────────────────────────────────────────────────────────────────
def melspec(page, speakers, shape=(64, 100), **options):
    fig, ax = figures.subplots()
    page.spectrogram(ax, np.arange(np.prod(shape), dtype=float).reshape(shape), speakers=speakers, **options)
    return fig


@pytest.mark.parametrize("speakers", [["PD-01"], ["PD-01"] * 9, ["PD-01", "PD-02", "HC-01", "HC-02"]])
def test_spectrograms_of_fewer_than_five_real_speakers_are_refused(real, speakers):
    with pytest.raises(PrivacyError, match="voice print"):
        melspec(real, speakers)
    real.individuals = "none"
    with pytest.raises(PrivacyError):
        melspec(real, speakers)


def test_own_recordings_are_as_private_as_the_data_sets(tmp_path):
    with mpl.rc_context():
        page = Page.open("05", cohort("own"), profile="smoke", seed=0, out=tmp_path)
    with pytest.raises(PrivacyError):
        melspec(page, ["PD-01"])


def test_class_means_synthetic_voices_and_asked_for_individuals_can_be_drawn(real, synthetic):
    data = pd.DataFrame({"level": [1.0]})
    five = ["PD-01", "PD-02", "PD-03", "PD-04", "PD-05"]
    settings = {"caption": "A spectrogram.", "alt": ALT, "data": data, "kind": "png"}
    real.figure(melspec(real, five), "mean", **settings)
    synthetic.figure(melspec(synthetic, ["PD-01"]), "single", **settings)
    one = melspec(real, ["PD-01"], cohort=cohort("synthetic"))
    with pytest.raises(ParameterError, match="not marked as synthetic"):
        real.figure(one, "voice", **settings)
    real.figure(one, "voice", source="synthetic", **settings)
    real.individuals = "real"
    real.figure(melspec(real, ["PD-01"]), "person", **settings)
    items = json.loads((real.folder / "page.json").read_text())["items"]
    assert {key: item["shows_individuals"] for key, item in items.items()} == {
        "mean": False, "voice": False, "person": True,
    }  # fmt: skip


@pytest.mark.parametrize("draw", ["imshow", "pcolormesh", "specgram"])
def test_a_spectrogram_drawn_past_the_page_is_caught(real, synthetic, draw):
    settings = {"caption": "A raster.", "alt": ALT, "data": pd.DataFrame({"a": [1]}), "kind": "png"}
    values = np.random.default_rng(0).normal(size=(64, 100))

    def drawn():
        fig, ax = figures.subplots()
        getattr(ax, draw)(values.ravel() if draw == "specgram" else values)
        return fig

    if draw == "specgram":
        values = np.random.default_rng(0).normal(size=20000)
    with pytest.raises(PrivacyError, match="without saying what it is"):
        real.figure(drawn(), "raster", **settings)
    synthetic.figure(drawn(), "raster", **settings)


def test_marked_rasters_and_small_matrices_of_real_results_are_shown(real):
    fig, (first, second) = figures.subplots(1, 2)
    figures.mark(first.imshow(np.zeros((81, 81))), "correlations")
    second.imshow(np.zeros((10, 10)))
    real.figure(fig, "matrices", caption="Results.", alt=ALT, data=pd.DataFrame({"a": [1]}), kind="png")


def test_spectrogram_checks_its_speakers_and_axes(real):
    for speakers in ([], ["PD-77"]):
        with pytest.raises(ParameterError, match="speakers"):
            melspec(real, speakers)
    five = [recording.name for recording in real.cohort.recordings]
    with pytest.raises(ParameterError, match="does not fit"):
        melspec(real, five, frequencies=np.arange(63))
    with pytest.raises(ParameterError, match="does not fit"):
        melspec(real, five, shape=(64, 100, 3))
    fig = melspec(real, five, frequencies=np.linspace(0, 4000, 64), times=np.arange(100) * 0.01)
    fig.canvas.draw()
    ax = fig.axes[0]
    assert [text.get_text() for text in ax.get_yticklabels()][::5] == ["0", "4000"]
    assert ax.get_xlabel() == "time (s)" and ax.get_ylabel() == "frequency (Hz)"


# ── bytes ──────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_same_figure_gives_the_same_bytes(synthetic, kind):
    fig, data = plot()
    assert markup.encode(fig, kind, "a", watermark=True) == markup.encode(fig, kind, "a", watermark=True)
    first, second = (markup.encode(plot()[0], kind, "a", watermark=True) for _ in range(2))
    assert first == second
    assert markup.encode(plot(seed=1)[0], kind, "a", watermark=True) != first


def test_the_same_figure_gives_the_same_bytes_in_another_process(tmp_path):
    code = (
        "import hashlib; from tests.test_figures import plot, markup\n"
        "print(hashlib.sha256(markup.encode(plot()[0], 'svg', 'a', watermark=False)).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True,
        env={"PYTHONHASHSEED": "7", "PATH": "", "HOME": str(tmp_path)},
    )  # fmt: skip
    with mpl.rc_context():
        mpl.rcdefaults()  # whatever style an earlier test has left
        here = markup.encode(plot()[0], "svg", "a", watermark=False)
    assert done.stdout.strip() == hashlib.sha256(here).hexdigest()


def test_svg_keeps_its_words_as_text(real):
    drawn = picture_of(show(real).html)[1].decode()
    assert "slope (dB/kHz)</text>" in drawn and "sans-serif" in drawn
    assert "<dc:date>" not in drawn


def test_a_large_picture_is_made_smaller_until_it_fits_and_refused_when_it_cannot(monkeypatch):
    rng = np.random.default_rng(0)
    fig, ax = figures.subplots(width=7, height=4)
    ax.imshow(rng.random((400, 700, 3)), aspect="auto")
    assert len(markup.encode(fig, "png", "a", watermark=False)) <= markup.MAX_PNG
    monkeypatch.setattr(markup, "MAX_PNG", 20_000)
    with pytest.raises(ParameterError, match="kB as png even at 80 dots"):
        markup.encode(fig, "png", "a", watermark=False)


def test_an_svg_that_is_too_large_is_refused_and_never_turned_into_a_png():
    fig, ax = figures.subplots()
    ax.scatter(*np.random.default_rng(0).random((2, 6000)))
    with pytest.raises(ParameterError, match='kB as svg.*\n.*kind="png"'):
        markup.encode(fig, "svg", "a", watermark=False)


# ── tables and numbers ─────────────────────────────────────────────────────────────────────────────────
def test_table_is_readable_by_a_screen_reader_and_escapes_its_cells(real):
    frame = pd.DataFrame(
        {"model": ["a<b", "c"], "score": [0.97531, np.nan], "n": [81, 80], "ok": [True, False]}
    )
    shown = real.table(frame, "scores", number="Table 3", caption="Scores & such.", formats={"score": ".1%"})
    parsed = Balanced(shown.html)
    assert [cell["scope"] for cell in parsed.all("th")] == ["col"] * 4 + ["row"] * 2
    assert parsed.all("div")[0]["tabindex"] == "0" and "overflow-x:auto" in parsed.all("div")[0]["style"]
    assert parsed.all("div")[0]["aria-labelledby"] == parsed.all("caption")[0]["id"]
    assert "a&lt;b" in shown.html and "Scores &amp; such." in shown.html
    for text in (">97.5 %</td>", ">–</td>", ">81</td>", ">yes</td>", ">no</td>"):
        assert text in shown.html
    with pytest.raises(ParameterError, match="name no column"):
        real.table(frame, "other", caption="Scores.", formats={"scores": ".1f"})


def test_table_keeps_a_telling_index_and_drops_a_bare_one(real):
    frame = pd.DataFrame({("a", "x"): [1], ("a", "y"): [2]}, index=pd.Index(["row"], name="model"))
    html = real.table(frame, "one", caption="Values.").html
    assert re.findall(r'<th scope="col"[^>]*>([^<]*)', html) == ["model", "a x", "a y"]
    html = real.table(pd.DataFrame({"a": [1]}), "two", caption="Values.").html
    assert re.findall(r'<th scope="col"[^>]*>([^<]*)', html) == ["a"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0.9753, ".1%", 0.941, 0.9934), "97.5 % [94.1, 99.3]"),
        ((0.8249, ".2f", 0.73, 0.9), "0.82 [0.73, 0.90]"),
        ((-0.05, ".2f", -0.1, 0.02), "−0.05 [−0.10, 0.02]"),
        ((81, "d"), "81"),
        ((np.float64(81), "d"), "81"),
        ((np.float32(0.5), ".0%"), "50 %"),
        ((float("nan"), ".1%"), "not defined"),
        ((1e-5, ".1e"), "1.0e-05"),
        ((-4e-4, ".2f", -0.1, -1e-4), "0.00 [−0.10, 0.00]"),
        ((-1e-3, "+.1%"), "−0.1 %"),
        ((-1e-4, "+.1%"), "+0.0 %"),
    ],
)
def test_numbers_are_written_for_prose(arguments, text):
    assert figures.format_number(*arguments) == text


def test_numbers_with_half_an_interval_or_a_wrong_format_are_refused(real):
    for arguments in ((0.5, ".1%", 0.4), (0.5, "d"), ("much", ".1%"), (None, ".1%")):
        with pytest.raises(ParameterError):
            real.number("value", *arguments)


def test_numbers_json_holds_values_for_the_audit(real):
    real.number("accuracy", np.float64(0.75), low=0.7, high=0.8)
    real.number("precision", float("nan"))
    stored = json.loads((real.folder / "numbers.json").read_text())
    assert stored["accuracy"]["value"] == 0.75 and stored["accuracy"]["text"] == "75.0 % [70.0, 80.0]"
    assert stored["precision"]["value"] is None and stored["precision"]["text"] == "not defined"


# ── plots ──────────────────────────────────────────────────────────────────────────────────────────────
def test_classes_have_the_same_colours_everywhere_and_differ_without_colour():
    fig, ax = figures.subplots()
    x = np.arange(5.0)
    values = {"PD": np.random.default_rng(0).normal(size=(8, 5)), "HC": np.zeros((6, 5))}
    table = figures.class_curves(ax, x, values)
    drawn = {line.get_label(): (line.get_color(), line.get_linestyle()) for line in ax.lines}
    assert drawn == {
        "PD (8 speakers)": (figures.COLOURS["PD"], "-"), "HC (6 speakers)": (figures.COLOURS["HC"], "--"),
    }  # fmt: skip
    mean, low, high = mean_band(values["PD"])
    part = table[table["label"] == "PD (8 speakers)"]
    np.testing.assert_array_equal(part[["mean", "low", "high"]].T, [mean, low, high])
    with pytest.raises(ParameterError, match="4 points"):
        figures.class_curves(ax, x, {"PD": np.zeros((2, 4))})


def test_class_colours_can_be_told_apart_on_white_by_every_reader():
    def luminance(colour):
        part = np.array(mpl.colors.to_rgb(colour))
        linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    for colour in figures.COLOURS.values():
        assert 1.05 / (luminance(colour) + 0.05) >= 3  # WCAG 2.1, graphical objects on white
    assert abs(luminance(figures.COLOURS["PD"]) - luminance(figures.COLOURS["HC"])) > 0.04


def test_confusion_plot_puts_true_classes_in_rows_and_returns_its_numbers():
    fig, ax = figures.subplots()
    table = figures.confusion_matrix(ax, Confusion(tp=80, fn=0, fp=4, tn=78))
    assert table["count"].tolist() == [80, 0, 4, 78]
    texts = {text.get_position(): text.get_text() for text in ax.texts}
    assert texts[(0, 1)] == "4\n5%" and texts[(1, 0)] == "0\n0%"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    figures.confusion_matrix(ax, Confusion(0, 0, 1, 1))  # a class nobody is in has no share


def test_roc_plot_names_the_auc_with_its_interval():
    from tests.test_evaluate import predictions

    fig, ax = figures.subplots()
    frame = predictions(seeds=1)
    table = figures.roc(ax, frame, label="custnet", n_boot=50)
    assert list(table.columns) == ["false_positive_rate", "recall", "low", "high"]
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert re.fullmatch(r"custnet, AUC 0\.\d\d \[0\.\d\d, 0\.\d\d\]", legend[0]) and legend[1] == "chance"
    figures.roc(ax, frame, n_boot=50)
    assert sum(line.get_label() == "chance" for line in ax.lines) == 1


def test_overlay_is_shown_pixel_for_pixel_and_without_axes(real):
    fig, ax = figures.subplots()
    rgb = np.full((96, 96, 3), 200, dtype=np.uint8)
    image = figures.heatmap_overlay(ax, rgb, np.zeros((96, 96)), strength=0.4)
    assert image.get_array().shape == (96, 96, 3) and not ax.axison
    real.figure(fig, "overlay", caption="Overlay.", alt=ALT, data=pd.DataFrame({"a": [1]}), kind="png")


# ── in a notebook and in a book ────────────────────────────────────────────────────────────────────────
NOTEBOOK = """
import pandas as pd
from pdlib import figures
page = figures.Page.open("05", None, profile="smoke", seed=0)
page.header()
fig, ax = figures.subplots()
ax.plot([1, 2])
page.figure(fig, "line", caption="A line.", number="Figure 3", source="synthetic",
            alt="The line climbs steadily from one to two without a bend.", data=pd.DataFrame({"y": [1, 2]}))
page.table(pd.DataFrame({"a": [1.5]}), "frame", caption="A table.", source="paper")
page.number("accuracy", 0.9753, low=0.941, high=0.993, source="paper")
"""


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A book of one executed chapter and one page that cites its numbers, built by Jupyter Book, strictly."""
    root = tmp_path_factory.mktemp("book")
    (root / "notebooks").mkdir()
    cells = [
        nbformat.v4.new_markdown_cell("# One\n\nHere A{glue:text}`accuracy`Z and quoted B{glue}`accuracy`Z."),
        nbformat.v4.new_code_cell(NOTEBOOK),
    ]
    chapter = nbformat.v4.new_notebook(cells=cells)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PDLIB_PAGE_DIR", str(root / "pages"))
        patch.setenv("PYTHONPATH", str(paths.ROOT))
        NotebookClient(chapter, timeout=120, kernel_name="python3").execute()
    nbformat.write(chapter, root / "notebooks" / "05_one.ipynb")
    (root / "page.md").write_text("# Page\n\nThere C{glue:text}`notebooks/05_one.ipynb::accuracy:`Z.\n")
    (root / "_toc.yml").write_text("format: jb-book\nroot: page\nchapters:\n- file: notebooks/05_one\n")
    (root / "_config.yml").write_text("title: t\nexecute:\n  execute_notebooks: 'off'\n")
    build = "from jupyter_book.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", build, "build", "-W", "-n", "--keep-going", str(root)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(chapter=chapter, html=root / "_build" / "html", pages=root / "pages")


def test_glued_numbers_come_out_without_quotes_by_the_text_role_only(book):
    here = (book.html / "notebooks" / "05_one.html").read_text()
    unbroken = "97.5\u00a0%\u00a0[94.1,\u00a099.3]"  # a line break would tear the number from its interval
    assert f'A<span class="pasted-text">{unbroken}</span>Z' in here
    assert re.search(r"B<span[^>]*>[’'&].*97\.5", here)  # the plain role quotes: chapters use glue:text
    there = (book.html / "page.html").read_text()
    assert f'C<span class="pasted-text">{unbroken}</span>Z' in there


def test_each_thing_is_displayed_once_and_a_cell_ending_with_a_number_shows_nothing(book):
    outputs = book.chapter.cells[1].outputs
    shown = [output for output in outputs if "text/html" in output.get("data", {})]
    glue = "application/papermill.record/text/plain"
    glued = [output for output in outputs if glue in output.get("data", {})]
    assert [len(outputs), len(shown), len(glued)] == [4, 3, 1]


def test_figures_and_tables_reach_the_built_page_with_their_accessible_parts(book):
    html = (book.html / "notebooks" / "05_one.html").read_text()
    assert 'alt="SYNTHETIC data. The line climbs steadily' in html
    assert re.search(r"<figcaption[^>]*><strong[^>]*>SYNTHETIC</strong> <strong[^>]*>Figure 3\.", html)
    assert re.search(r"<caption[^>]*><strong[^>]*>From what the paper prints\.</strong> A table\.</c", html)
    assert '<th scope="col"' in html and 'href="../_static/pages/05/line.csv"' in html
    assert (book.pages / "line.csv").is_file() and (book.pages / "numbers.json").is_file()


def test_in_plain_python_a_page_prints_nothing(real, capsys):
    show(real)
    real.header()
    real.number("value", 1, "d")
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_a_synthetic_cohort_of_the_library_marks_its_page(small_cohort, tmp_path):
    with mpl.rc_context():
        page = Page.open("05", small_cohort, profile="smoke", seed=0, out=tmp_path)
    assert "SYNTHETIC" in page.header().html and "SYNTHETIC" in show(page).html
    melspec(page, [small_cohort.names[0]])


def test_cells_of_a_linked_column_lead_to_the_address_of_their_row(real):
    frame = pd.DataFrame({"claim": ["a < b", "c"], "ours": [0.5, 0.25]})
    shown = real.table(
        frame,
        "linked",
        caption="Two claims.",
        links={"claim": ["x.html#pd-1", ""], "ours": ["y.html?a&b", ""]},
    )
    assert '<th scope="row"><a href="x.html#pd-1">a &lt; b</a></th>' in shown.html
    assert '<a href="y.html?a&amp;b">0.5</a>' in shown.html
    assert '<th scope="row">c</th>' in shown.html
    assert "href" not in (real.folder / "linked.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("links", [{"clam": ["", ""]}, {"claim": [""]}])
def test_links_that_fit_no_column_or_not_every_row_are_refused(real, links):
    with pytest.raises(ParameterError, match="links of table 'linked'"):
        real.table(pd.DataFrame({"claim": ["a", "c"]}), "linked", caption="Two claims.", links=links)


def test_a_folded_table_is_closed_under_its_caption_and_still_named_by_it(real):
    shown = real.table(pd.DataFrame({"claim": ["a"]}), "long", caption="All claims.", folded=True)
    inside = re.search(r'<details class="pd-fold">(.*?)</details>', shown.html, re.DOTALL)[1]
    assert '<summary class="pd-caption" id="pd-05-long-caption">All claims.</summary>' in inside
    assert 'aria-labelledby="pd-05-long-caption"' in inside and "<caption" not in shown.html
    assert '<figure class="pd-table" id="pd-05-long">' in shown.html.split("<details", 1)[0]
