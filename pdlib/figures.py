"""How a chapter shows what it found: figures, tables and numbers with caption, alt text, stamp and their
data.

A chapter opens one `Page` and shows everything through it. The page writes the plotted numbers beside the
executed chapter, says which data each thing stands on, writes SYNTHETIC on everything that no recording
stands behind, and keeps single real speakers' spectrograms out of sight. Without a kernel its methods return
what they would show.
"""

from __future__ import annotations

import base64
import json
import math
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pdlib import paths, provenance
from pdlib.errors import ParameterError, PrivacyError, WriteError
from pdlib.markup import (
    CELL_LINKS,
    CELL_NAME,
    SYNTHETIC,
    caption_html,
    check_alt,
    encode,
    format_number,
    label_ticks,
    labels_of,
    one_of,
    table_html,
    with_index,
)
from pdlib.plots import (
    COLOURS,
    LINES,
    OTHER_COLOURS,
    SEQUENTIAL,
    STYLE,
    apply_style,
    class_curves,
    confusion_matrix,
    curve_band,
    heatmap_overlay,
    mark,
    picture,
    rasters,
    roc,
    subplots,
)

__all__ = [
    # from pdlib.plots
    "COLOURS", "LINES", "OTHER_COLOURS", "SEQUENTIAL", "STYLE", "apply_style", "class_curves",
    "confusion_matrix", "curve_band", "heatmap_overlay", "mark", "picture", "roc", "subplots",
    # from here
    "Page", "Shown", "Number", "check_alt", "format_number", "MIN_SPEAKERS",
]  # fmt: skip

MIN_SPEAKERS = 5  # a spectrogram of fewer real speakers is shown only to who asks for individuals=real
SOURCES = ("cohort", "synthetic", "paper")
INDIVIDUALS = ("synthetic", "real", "none")
_SMALL_RASTER = 32  # rows and columns; a matrix of results is smaller, a legible spectrogram is not


@dataclass(frozen=True)
class Shown:
    """A figure or table as it stands on the page: its key, HTML, files written and stamp."""

    key: str
    html: str
    files: tuple[Path, ...] = ()
    stamp: dict = field(default_factory=dict)

    def _ipython_display_(self) -> None:
        """Nothing: the page has shown it already when a cell ends with the call that made it."""


class Number(str):
    """A number as text, ready for prose; a cell that ends with it shows nothing."""

    def _ipython_display_(self) -> None:
        """Nothing, see `Shown`."""


@dataclass
class Page:
    """One chapter's page. Made by `Page.open`."""

    chapter: str
    cohort: Any
    profile: str
    seed: int
    individuals: str
    folder: Path
    modules: tuple[str, ...] | None = None
    items: dict[str, dict] = field(default_factory=dict)
    numbers: dict[str, dict] = field(default_factory=dict)
    stamps: dict[tuple, dict] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        chapter: str,
        cohort: Any,
        *,
        profile: str,
        seed: int,
        individuals: str = "synthetic",
        out: Path | str | None = None,
        modules: Sequence[str] | None = None,
    ) -> Page:
        """Begin a chapter's page and take the book's look for its plots.

        Parameters
        ----------
        chapter : str
            Two digits, such as "05".
        cohort : Cohort or None
            What the chapter stands on; None for a chapter without recordings.
        individuals : {"synthetic", "real", "none"}
            Whose single voices may be shown.
        out : path, optional
            Where data files go; else the folder in ``PDLIB_PAGE_DIR``, else ``_build/pages/<chapter>``.
        modules : sequence of str, optional
            pdlib modules the results come from, for the stamp; else those imported when a thing is shown.

        Raises
        ------
        ParameterError
            For a chapter that is not two digits, or an unknown value of ``individuals``.
        """
        if not re.fullmatch(r"\d\d", str(chapter)):
            raise ParameterError(f"chapter {chapter!r} is not two digits", 'write it like "05"')
        one_of("individuals", individuals, INDIVIDUALS)
        default = os.environ.get("PDLIB_PAGE_DIR") or paths.BUILD / "pages" / chapter
        page = cls(chapter, cohort, profile, seed, individuals, Path(out or default))
        page.modules = tuple(modules) if modules else None
        page._forget_earlier_run()
        apply_style()
        return page

    # --- what a chapter shows -----------------------------------------------------------------------------
    def header(self) -> Shown:
        """Show which data the page stands on; SYNTHETIC in the largest words there are."""
        if self.cohort is None:
            text = "This page uses no recordings."
        else:
            text = (
                f"This page stands on the {self.cohort.kind} cohort of {len(self.cohort.recordings)} "
                f"recordings (fingerprint {self.cohort.fingerprint[:12]}). {self.cohort.source}"
            )
        voices = {"synthetic": "synthetic voices only", "real": "real speakers", "none": "none"}
        warning = ""
        if self._is_synthetic("cohort", None):
            warning = (
                f'<p class="pd-warning"><strong class="pd-synthetic">{SYNTHETIC}</strong> What this '
                "page does not quote from the paper comes from artificial voices: it is not about people.</p>"
            )
        html = (
            f'<aside class="pd-header" role="note" aria-label="Data of this page">{warning}'
            f"<p>{escape(text)}</p><p>Profile {escape(self.profile)}, seed {self.seed}. "
            f"Single voices shown: {voices[self.individuals]}.</p></aside>"
        )
        _display(html, f"{SYNTHETIC}. {text}" if warning else text)
        return Shown("header", html)

    def figure(
        self,
        fig: Figure,
        key: str,
        *,
        caption: str,
        alt: str,
        data: pd.DataFrame | Mapping[str, pd.DataFrame],
        number: str | None = None,
        source: str = "cohort",
        kind: str = "svg",
        cohort: Any = None,
    ) -> Shown:
        """Show a figure with caption, alt text, stamp and a link to its numbers, and write these beside the
        page.

        Parameters
        ----------
        key : str
            Name of the figure on this page: lower-case letters, digits and hyphens; also its file name.
        caption : str
            What is seen and how to read it, without the number.
        alt : str
            The finding in words, for who cannot see the figure.
        data : DataFrame or mapping of name to DataFrame
            The plotted numbers: ``<key>.csv``, or ``<key>-<name>.csv`` for each of several.
        number : str, optional
            The paper's figure this one answers to, such as "Figure 3".
        source : {"cohort", "synthetic", "paper"}
            What it was made from: the cohort, artificial signals, or numbers printed in the paper.
        kind : {"svg", "png"}
            ``svg`` for lines, ``png`` for pixels.
        cohort : Cohort, optional
            The cohort this figure stands on, if not the page's.

        Raises
        ------
        ParameterError
            For a useless alt text, a key used for another thing, a wrong source or a picture that is too
            large.
        PrivacyError
            For a raster on real voices that nobody has said the meaning of (see `mark`).
        """
        one_of("kind", kind, ("svg", "png"))
        self._check("figure", key, number, source, caption)
        check_alt(alt, key, caption, labels_of(fig))
        synthetic = self._is_synthetic(source, cohort)
        individual = self._check_rasters(fig, synthetic, source, cohort)
        picture = encode(fig, kind, key, watermark=synthetic)
        files = self._write_data(key, data)
        alt = f"{SYNTHETIC} data. {alt}" if synthetic else alt
        mime = "image/svg+xml" if kind == "svg" else "image/png"
        stamp = self._stamp(source, cohort)
        html = (
            f'<figure class="pd-figure" id="{self._anchor(key)}">'
            f'<div class="pd-scroll" tabindex="0" role="group" aria-label="{escape(number or key)}" '
            f'style="overflow-x:auto"><img class="pd-image dark-light" '
            f'style="max-width:100%;height:auto;background:#fff" alt="{escape(alt)}" '
            f'src="data:{mime};base64,{base64.b64encode(picture).decode()}"></div>'
            f'<figcaption class="pd-caption">{caption_html(number, caption, synthetic, source)}</figcaption>'
            f"{self._foot(key, stamp, files)}</figure>"
        )
        record = {"caption": caption, "alt": alt, "picture": kind, "shows_individuals": individual}
        self._note(key, "figure", number, source, synthetic, files, stamp, record)
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close(fig)  # or the notebook would show it a second time
        _display(html, f"[{number or key}] {alt}")
        return Shown(key, html, files, stamp)

    def table(
        self,
        frame: pd.DataFrame,
        key: str,
        *,
        caption: str,
        number: str | None = None,
        source: str = "cohort",
        formats: Mapping[str, str] | None = None,
        links: Mapping[str, Sequence[str]] | None = None,
        folded: bool = False,
        cohort: Any = None,
    ) -> Shown:
        """Show a frame as a table with caption, stamp and a link to its numbers; see `figure`.

        ``formats`` gives format specifications by column (".1%", ".2f"); other floats get four digits. ``links``
        gives an address for each row of a column, or "" for none. The first column names the rows; an index with
        a name or with labels becomes that column. NaN is shown as "–". ``folded`` leaves a long table closed until
        its caption is clicked.
        """
        self._check("table", key, number, source, caption)
        synthetic = self._is_synthetic(source, cohort)
        frame = with_index(frame)
        for what, given in (("formats", formats or {}), ("links", links or {})):
            if unknown := set(given) - set(frame.columns):
                raise ParameterError(
                    f"{what} of table {key!r} name no column: {sorted(unknown)}", "correct them"
                )
        uneven = [name for name, addresses in (links or {}).items() if len(addresses) != len(frame)]
        if uneven:
            raise ParameterError(
                f"links of table {key!r} are not one per row: {uneven}", "give one, or an empty text"
            )
        files = self._write_data(key, frame)
        stamp = self._stamp(source, cohort)
        anchor, said = self._anchor(key), caption_html(number, caption, synthetic, source)
        html = (
            f'<figure class="pd-table" id="{anchor}">'
            f"{table_html(frame, formats, links, anchor, said, folded=folded)}{self._foot(key, stamp, files)}</figure>"
        )
        self._note(key, "table", number, source, synthetic, files, stamp, {"caption": caption})
        _display(
            html, f"[{number or key}] {SYNTHETIC + ' ' if synthetic else ''}{caption}\n{frame.to_string()}"
        )
        return Shown(key, html, files, stamp)

    def beside(self, figure: Shown, key: str, html: str, plain: str) -> Shown:
        """Show HTML that stands on the numbers of a figure of this page and shares its stamp; see `pdlib.moments`.

        ``plain`` says in words what it is, for who sees no HTML.
        """
        account = self.items[figure.key]
        source, synthetic = account["source"], account["synthetic"]
        self._check("moment", key, None, source, plain)
        self._note(key, "moment", None, source, synthetic, (), figure.stamp, {"caption": plain})
        _display(html, f"{SYNTHETIC} {plain}" if synthetic else plain)
        return Shown(key, html, (), figure.stamp)

    def number(
        self,
        key: str,
        value: float,
        fmt: str = ".1%",
        low: float | None = None,
        high: float | None = None,
        *,
        source: str = "cohort",
        cohort: Any = None,
    ) -> Number:
        """Glue a number into the prose as text, such as "97.5 % [94.1, 99.3]", and note it in
        ``numbers.json``.

        In the chapter write ``{glue:text}`key` ``; on another page ``{glue:text}`NN_name.ipynb::key:` ``
        (mind the last colon). NaN reads "not defined".
        """
        self._check("number", key, None, source, "number")
        synthetic = self._is_synthetic(source, cohort)
        text = format_number(value, fmt, low, high) + (f" {SYNTHETIC}" if synthetic else "")
        plain = [
            None if part is None or not math.isfinite(part) else float(part) for part in (value, low, high)
        ]
        self.numbers[key] = dict(zip(("value", "low", "high"), plain, strict=True)) | {
            "text": text, "format": fmt, "source": source, "synthetic": synthetic,
            "profile": self.profile, "seed": self.seed,
        }  # fmt: skip
        _write_json(self.folder / "numbers.json", self.numbers)
        self._note(key, "number", None, source, synthetic, (), {}, {})
        # in prose a number is not torn from its unit and interval; words, glued the same way, may wrap
        self._glue(key, text.replace(" ", "\u00a0"))
        return Number(text)

    def words(self, key: str, text: str, *, source: str = "cohort", cohort: Any = None) -> Number:
        """Glue words that depend on the result into the prose, as `number` does with a number.

        For a sentence that reads one way or the other: the chapter computes which, so the prose stays true
        when it is run again with other parameters.
        """
        self._check("words", key, None, source, "words")
        if not text.strip():
            raise ParameterError(f"the words {key!r} are empty", "say what was found")
        synthetic = self._is_synthetic(source, cohort)
        text = f"{text} ({SYNTHETIC})" if synthetic else text
        self._note(key, "words", None, source, synthetic, (), {}, {"caption": "words"})
        self._glue(key, text)
        return Number(text)

    def spectrogram(
        self,
        ax: Axes,
        values: np.ndarray,
        *,
        speakers: Sequence[str],
        times: np.ndarray | None = None,
        frequencies: np.ndarray | None = None,
        label: str = "level (dB)",
        limits: tuple[float, float] | None = None,
        colourbar: bool = True,
        cohort: Any = None,
    ) -> Any:
        """Draw a spectrogram: the only way one gets onto a page.

        Parameters
        ----------
        values : array (bands, frames)
            Levels, usually dB; of one speaker or a mean over ``speakers``.
        speakers : sequence of str
            Names of the recordings in it.
        times, frequencies : arrays (frames,) and (bands,), optional
            Middles of frames (s) and of bands (Hz), to label the axes.
        limits : pair of float, optional
            Values at the ends of the colour scale, to compare pictures.
        cohort : Cohort, optional
            Where the speakers come from, if not the page's cohort (the synthetic individuals, for instance).

        Raises
        ------
        PrivacyError
            For fewer than `MIN_SPEAKERS` real speakers, unless the page was opened with
            ``individuals="real"``.
        ParameterError
            When a speaker is not in the cohort, or the axes do not fit ``values``.
        """
        cohort = cohort or self.cohort
        names = set(speakers)
        unknown = (
            sorted(names - {recording.name for recording in cohort.recordings}) if cohort else sorted(names)
        )
        if unknown or not names:
            raise ParameterError(
                f"spectrogram of speakers that its cohort does not have: {unknown}",
                "name the recordings drawn",
            )
        if cohort.kind != "synthetic" and len(names) < MIN_SPEAKERS and self.individuals != "real":
            raise PrivacyError(
                f"a spectrogram of {len(names)} real speaker(s) ({', '.join(sorted(names))}) is like a "
                "voice print",
                f"draw a mean over at least {MIN_SPEAKERS} speakers or a synthetic voice; on your own "
                "machine run the chapter with individuals=real",
            )
        values = np.asarray(values)
        wanted = (
            np.size(frequencies) if frequencies is not None else None,
            np.size(times) if times is not None else None,
        )
        if values.ndim != 2 or any(
            w is not None and w != n for w, n in zip(wanted, values.shape, strict=True)
        ):
            raise ParameterError(
                f"a spectrogram of shape {values.shape} does not fit {wanted} frequencies and times",
                "give (bands, frames) and one frequency per band, one time per frame",
            )
        low, high = limits or (None, None)
        image = ax.imshow(values, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high)
        mark(image, "spectrogram", len(names), cohort.kind)
        ax.grid(False)
        label_ticks(ax.xaxis, times, "time (s)", "frame", "{:.2g}")
        label_ticks(ax.yaxis, frequencies, "frequency (Hz)", "band", "{:.0f}")
        if colourbar:
            bar = ax.figure.colorbar(image, ax=ax, label=label)
            for artist in bar.ax.findobj(lambda item: hasattr(item, "get_array")):
                mark(artist, "colour bar")
        return image

    # --- inside -------------------------------------------------------------------------------------------
    def _glue(self, key: str, text: str) -> None:
        if _shell() is not None:
            from myst_nb import glue

            glue(key, text, display=False)

    def _is_synthetic(self, source: str, cohort: Any) -> bool:
        stands_on = cohort or self.cohort
        return source == "synthetic" or (source == "cohort" and getattr(stands_on, "kind", "") == "synthetic")

    def _check(self, what: str, key: str, number: str | None, source: str, caption: str) -> None:
        """Refuse a wrong source, key, number or caption before anything is written."""
        one_of("source", source, SOURCES)
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key):
            raise ParameterError(f"key {key!r} is not lower-case letters, digits and hyphens", "rename it")
        if number is not None and not re.match(r"(Figures?|Tables?) \d", number):
            raise ParameterError(f"{number!r} is no figure or table of the paper", 'write it like "Figure 3"')
        if not caption.strip():
            raise ParameterError(f"{key!r} has no caption", "say what is seen and how to read it")
        if source == "cohort" and self.cohort is None:
            raise ParameterError(
                f"{key!r} has source cohort, but chapter {self.chapter} was opened without one",
                "name the source: paper or synthetic",
            )
        known = self.items.get(key)  # the same thing again is a cell run twice
        if known and (known["what"], known["number"], known["caption"]) != (what, number, caption):
            raise ParameterError(
                f"chapter {self.chapter} uses the key {key!r} for two things",
                "give the second one another key",
            )

    def _check_rasters(self, fig: Figure, synthetic: bool, source: str, cohort: Any) -> bool:
        """Refuse what may not be shown; True when a single real speaker's spectrogram is in the figure."""
        individual = False
        for artist, raster in rasters(fig):
            if raster is None:
                rows, columns = (
                    np.shape(artist.get_array())[:2] if np.ndim(artist.get_array()) > 1 else (1, 1)
                )
                large = rows >= _SMALL_RASTER and columns >= _SMALL_RASTER
                if large and source == "cohort" and not synthetic and self.individuals != "real":
                    raise PrivacyError(
                        f"chapter {self.chapter} shows a raster of {rows} × {columns} values on real voices "
                        "without saying what it is",
                        "draw spectrograms with page.spectrogram, and mark others with figures.mark",
                    )
            elif raster.cohort == "synthetic" and not synthetic:
                raise ParameterError(
                    "a figure with a synthetic voice in it is not marked as synthetic",
                    'say source="synthetic", or give the cohort it comes from',
                )
            elif raster.cohort:
                individual |= raster.cohort != "synthetic" and raster.speakers < MIN_SPEAKERS
        return individual

    def _stamp(self, source: str, cohort: Any) -> dict:
        stands_on = cohort or self.cohort
        if source == "paper":
            stands_on = SimpleNamespace(kind="printed in the paper", fingerprint="none")
        elif source == "synthetic" and getattr(stands_on, "kind", "") != "synthetic":
            stands_on = SimpleNamespace(kind="synthetic signals", fingerprint="none")
        loaded = sorted(name.split(".")[1] for name in sys.modules if re.fullmatch(r"pdlib\.[a-z]\w*", name))
        modules = tuple(self.modules or loaded)
        known = (modules, stands_on.kind, stands_on.fingerprint)
        if (
            known not in self.stamps
        ):  # reading all the code again for every figure would cost more than drawing
            self.stamps[known] = provenance.stamp(modules, stands_on, profile=self.profile, seed=self.seed)
        return self.stamps[known]

    def _anchor(self, key: str) -> str:
        return f"pd-{self.chapter}-{key}"

    def _foot(self, key: str, stamp: Mapping[str, Any], files: Sequence[Path]) -> str:
        """Stamp and links under a figure or table; `publish.stage` fills in the cell, which no kernel is told."""
        base = f"../_static/pages/{self.chapter}"
        links = " ".join(f'<a href="{base}/{file.name}" download>{file.name}</a>' for file in files)
        versions = ", ".join(f"{name} {version}" for name, version in stamp.get("versions", {}).items())
        facts = {
            "chapter": self.chapter, "key": key, "profile": stamp["profile"], "seed": stamp["seed"],
            "data": f"{stamp['cohort']} ({stamp['data_hash']})", "code": stamp["code_hash"],
            "lock": stamp["lock_hash"], "versions": versions, "date": stamp["date"],
        }  # fmt: skip
        rows = [f"<dt>{escape(name)}</dt><dd>{escape(str(fact))}</dd>" for name, fact in facts.items()]
        rows.insert(1, f"<dt>cell</dt><dd>{CELL_NAME}</dd>")
        short = f"{stamp['cohort']}, profile {stamp['profile']}, seed {stamp['seed']}"
        return (
            f'<div class="pd-foot"><span class="pd-data">Numbers: {links}</span>{CELL_LINKS}'
            f'<details class="pd-stamp"><summary>Stamp: {escape(short)}</summary>'
            f"<dl>{''.join(rows)}</dl></details></div>"
        )

    def _write_data(self, key: str, data: pd.DataFrame | Mapping[str, pd.DataFrame]) -> tuple[Path, ...]:
        frames = {key: data} if isinstance(data, pd.DataFrame) else {f"{key}-{n}": f for n, f in data.items()}
        if not frames or any(frame.empty for frame in frames.values()):
            raise ParameterError(f"{key!r} comes without its numbers", "give the plotted values as a frame")
        for name in frames:
            if not re.fullmatch(r"[a-z0-9]+([-_][a-z0-9]+)*", name):
                raise ParameterError(
                    f"data of {key!r}: {name!r} is no file name", "use lower-case letters and digits"
                )
        return tuple(
            paths.write_text(
                self.folder / f"{name}.csv", with_index(frame).to_csv(index=False, lineterminator="\n")
            )
            for name, frame in frames.items()
        )

    def _note(
        self,
        key: str,
        what: str,
        number: str | None,
        source: str,
        synthetic: bool,
        files: Sequence[Path],
        stamp: Mapping[str, Any],
        more: Mapping[str, Any],
    ) -> None:
        """Keep an account of everything shown: ``<key>.json`` for each, ``page.json`` for the page."""
        item = {"what": what, "number": number, "caption": more.get("caption", "number")}
        item |= {"source": source, "synthetic": synthetic, "files": [file.name for file in files]}
        if what in ("figure", "table"):
            sidecar = {"chapter": self.chapter, "key": key} | item | dict(more) | {"stamp": dict(stamp)}
            _write_json(self.folder / f"{key}.json", sidecar)
            item["files"].append(f"{key}.json")
            item["shows_individuals"] = more.get("shows_individuals", False)
        self.items[key] = item
        cohort = self.cohort and {
            "kind": self.cohort.kind, "fingerprint": self.cohort.fingerprint, "source": self.cohort.source,
        }  # fmt: skip
        _write_json(
            self.folder / "page.json",
            {
                "chapter": self.chapter, "profile": self.profile, "seed": self.seed,
                "individuals": self.individuals, "cohort": cohort, "items": self.items,
            },
        )  # fmt: skip

    def _forget_earlier_run(self) -> None:
        """Remove what an earlier run of this chapter wrote here, so nothing stale is published."""
        account = self.folder / "page.json"
        try:
            items = json.loads(account.read_text(encoding="utf-8"))["items"].values()
            names = [Path(name).name for item in items for name in item["files"]]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return
        with paths.writing_errors(account):
            for name in [*names, "numbers.json", "page.json"]:
                (self.folder / name).unlink(missing_ok=True)


# --- files and display ------------------------------------------------------------------------------------
def _write_json(path: Path, content: Any) -> None:
    try:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise WriteError(f"{paths.shown(path)} cannot hold what it should: {error}") from error
    paths.write_text(path, text + "\n")


def _shell() -> Any:
    """The running IPython shell, or None in plain Python."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython else None


def _display(html: str, plain: str) -> None:
    if _shell() is not None:
        from IPython.display import display

        display({"text/html": html, "text/plain": plain}, raw=True)
