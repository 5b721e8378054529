"""What `pdlib.figures` is made of: captions, alt text, numbers and tables as HTML, and figures as bytes."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from pdlib.errors import ParameterError
from pdlib.plots import STYLE

SYNTHETIC = "SYNTHETIC"
MAX_PNG = 200_000  # bytes
MAX_SVG = 300_000
# left open under a figure or table: which cell made it is known once the chapter has been executed
CELL_NAME = '<span data-pd-cell="name"></span>'
CELL_LINKS = '<span class="pd-code" data-pd-cell="links"></span>'


# --- words ------------------------------------------------------------------------------------------------
_EMPTY_WORDS = set(
    "a an the of for in on at and or to by with against versus vs over per as is are this these from x y "
    "axis axes plot plots figure figures graph chart image picture diagram showing shows show shown label "
    "labels both class classes data value values pd hc".split()
)


# "ROC curve of …", "Bar chart comparing …", "Mel spectrogram for …": a label in place of what is to be seen
_LABEL = re.compile(
    r"((an?|the) )?(\w+ ){0,2}(roc curves?|confusion matri(x|ces)"
    r"|(bar|line|box|scatter|violin) (plots?|charts?|graphs?)|histograms?|spectrograms?|heat ?maps?"
    r"|schem(e|atic)s?|screenshots?|flow ?charts?|tables?|figs?\.?|panels?"
    r"|[xy][- ]axis)( [\d, and–-]+)?( (of|for|from|showing|with|comparing|against|per|by)\b|:|,|$)"
)
_TELLS = re.compile(
    r"\d|\b(is|are|was|were|has|have|had|not|no|neither|only|lies?|rises?|falls?|differs?|stays?|grows?|ends?)\b"
)
_FILE_NAME = re.compile(r"[\w-]+\.(png|svg|jpe?g|gif|webp|pdf|csv)\b")


def check_alt(alt: str, key: str, caption: str, labels: Sequence[str] = ()) -> None:
    """Raise `ParameterError` unless ``alt`` tells something: the finding, not the kind of picture.

    Refused are texts under 40 characters, file names, the key or caption again, openings such as "plot of", labels
    such as "ROC curve of the model on the test speakers", which hold no number and none of the verbs of a finding, and
    texts with fewer than three words beyond the figure's own ``labels`` (axes, title, legend).
    """
    text = " ".join(alt.split())
    plain = text.lower().rstrip(".")
    words = set(re.findall(r"\w+", plain))
    own = {word for label in labels for word in re.findall(r"\w+", label.lower())}
    label = _LABEL.match(plain)
    faults = {
        "is shorter than 40 characters": len(text) < 40,
        "names a file": _FILE_NAME.search(plain) is not None,
        "repeats the key or the caption": plain
        in (key.lower(), " ".join(caption.lower().split()).rstrip(".")),
        "opens with the kind of picture": re.match(
            r"(an? |the )?(plots?|figures?|graphs?|charts?|images?|pictures?|diagrams?)\b", plain
        )
        is not None,
        "is a label and tells no finding": label is not None and not _TELLS.search(plain[label.end() :]),
        "only repeats the labels in the figure": len(words - own - _EMPTY_WORDS) < 3,
    }
    for fault, found in faults.items():
        if found:
            raise ParameterError(
                f"alt text of {key!r} {fault}: {alt!r}", "say in a sentence what the figure shows"
            )


def format_number(value: float, fmt: str = ".1%", low: float | None = None, high: float | None = None) -> str:
    """A number with its interval as it stands in prose: "97.5 % [94.1, 99.3]", "0.82 [0.73, 0.90]".

    Raises `ParameterError` for one bound without the other or a format that does not fit.
    """
    if value is None:
        raise ParameterError("a number is missing", "give a value, or NaN for what is not defined")
    if (low is None) != (high is None):
        raise ParameterError("an interval has a low and a high end, got one of them", "give both or neither")
    try:
        texts = [None if part is None else _formatted(part, fmt) for part in (value, low, high)]
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"{value!r} cannot be written as {fmt!r}: {error}", "correct the format"
        ) from error
    text = texts[0]
    if texts[1] is None:
        return text
    return f"{text} [{texts[1].removesuffix(' %')}, {texts[2].removesuffix(' %')}]"


def _formatted(value: float, fmt: str) -> str:
    if not math.isfinite(value):
        return "not defined"
    value = int(value) if fmt.endswith("d") and float(value).is_integer() else value
    text = format(value, fmt)
    if re.fullmatch(r"-[0.]+%?", text):  # what rounds to nothing has no sign
        text = format(0.0, fmt)
    return re.sub(r"%$", " %", text).replace("-", "−", 1 if text.startswith("-") else 0)


def one_of(name: str, value: str, known: Sequence[str]) -> None:
    """Refuse a value that is not one of the known, with a `ParameterError`."""
    if value not in known:
        raise ParameterError(f"{name} is {value!r}", f"choose from {', '.join(known)}")


def labels_of(fig: Figure) -> list[str]:
    """Every title, axis label and entry of a legend of a figure: what its alternative text must say more than."""
    labels = []
    for ax in fig.axes:
        legend = ax.get_legend()
        labels += [ax.get_xlabel(), ax.get_ylabel(), ax.get_title()]
        labels += [text.get_text() for text in legend.get_texts()] if legend else []
    return labels


# --- HTML -------------------------------------------------------------------------------------------------
def caption_html(number: str | None, caption: str, synthetic: bool, source: str) -> str:
    """Caption in HTML: SYNTHETIC where it is, then the paper's number, then the words."""
    parts = []
    if synthetic:
        parts.append(f'<strong class="pd-synthetic">{SYNTHETIC}</strong>')
    printed = "from what the paper prints" if source == "paper" else ""
    if number:
        parts.append(
            f'<strong class="pd-number">{escape(number)}{", " + printed if printed else ""}.</strong>'
        )
    elif printed:
        parts.append(f'<strong class="pd-number">{printed.capitalize()}.</strong>')
    parts.append(escape(caption.strip()))
    return " ".join(parts)


def with_index(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with a telling index as its first columns and with plain column names."""
    telling = not isinstance(frame.index, pd.RangeIndex) or frame.index.name is not None
    frame = frame.reset_index(drop=not telling)
    frame.columns = [
        " ".join(str(part) for part in name if str(part)) if isinstance(name, tuple) else str(name)
        for name in frame.columns
    ]
    return frame


def cell_anchor(cell: str) -> str:
    """Anchor in front of a code cell, by the cell's id."""
    return f"cell-{cell}"


def with_cell(html: str, cell: str, notebook: str) -> str:
    """Fill in, under a figure or table, the cell that made it and links to this cell and to the clean notebook.

    Parameters
    ----------
    html : str
        What `figures.Page` showed; without the places left open for it, it comes back as it was.
    cell : str
        Id of the cell.
    notebook : str
        Where the notebook without outputs lies, as seen from the page.
    """
    links = (
        f'Code: <a href="#{escape(cell_anchor(cell))}">cell {escape(cell)}</a> '
        f'<a href="{escape(notebook)}" download>notebook</a>'
    )
    for place, content in ((CELL_NAME, escape(cell)), (CELL_LINKS, links)):
        html = html.replace(place, place.replace("></", f">{content}</"))
    return html


def table_html(
    frame: pd.DataFrame,
    formats: Mapping[str, str] | None,
    links: Mapping[str, Sequence[str]] | None,
    anchor: str,
    caption: str,
    *,
    folded: bool = False,
) -> str:
    """A table that scrolls in its frame, under its caption; a folded one opens when the caption is clicked."""
    body = _table_body(frame, formats or {}, links or {})
    inside = "" if folded else f'<caption id="{anchor}-caption" class="pd-caption">{caption}</caption>'
    table = (
        f'<div class="pd-scroll" tabindex="0" role="group" aria-labelledby="{anchor}-caption" '
        f'style="overflow-x:auto"><table class="pd-frame dataframe">{inside}{body}</table></div>'
    )
    if not folded:
        return table
    summary = f'<summary class="pd-caption" id="{anchor}-caption">{caption}</summary>'
    return f'<details class="pd-fold">{summary}{table}</details>'


def _table_body(frame: pd.DataFrame, formats: Mapping[str, str], links: Mapping[str, Sequence[str]]) -> str:
    """Head and body of a table in HTML; cells of the columns in ``links`` lead to the address of their row."""
    figures = [pd.api.types.is_numeric_dtype(frame[name]) for name in frame.columns]
    kinds = [' class="pd-figures"' if numeric else "" for numeric in figures]
    heads = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>' for kind, name in zip(kinds, frame.columns, strict=True)
    )
    lines = []
    for row, values in enumerate(frame.itertuples(index=False, name=None)):
        cells = [
            _linked(_cell(value, formats.get(name)), links[name][row] if name in links else "")
            for name, value in zip(frame.columns, values, strict=True)
        ]
        first, *rest = cells
        body = "".join(f"<td{kind}>{text}</td>" for kind, text in zip(kinds[1:], rest, strict=True))
        lines.append(f'<tr><th scope="row">{first}</th>{body}</tr>')
    return f"<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody>"


def _linked(text: str, address: str) -> str:
    return f'<a href="{escape(address)}">{escape(text)}</a>' if address else escape(text)


def _cell(value: Any, fmt: str | None) -> str:
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return _formatted(float(value), fmt or ".4g")
    return _formatted(value, fmt) if fmt and isinstance(value, int | np.integer) else str(value)


# --- pictures ---------------------------------------------------------------------------------------------
def encode(fig: Figure, kind: str, key: str, *, watermark: bool) -> bytes:
    """The figure as SVG or PNG, the same bytes for the same figure; too large is refused, never swapped."""
    with mpl.rc_context(STYLE):
        for _ in range(2):
            fig.draw_without_rendering()
    # else every further drawing shifts the layout a little: the same figure, other bytes
    fig.set_layout_engine("none")
    if watermark:
        _watermark(fig)
    if kind == "svg":
        data = _save(fig, "svg", metadata={"Date": None, "Creator": None})
        if len(data) > MAX_SVG:
            raise ParameterError(
                f"figure {key!r} is {len(data) // 1000} kB as svg, more than {MAX_SVG // 1000}",
                'show it with kind="png", or draw fewer points',
            )
        return data
    for dpi, colours in ((160, None), (130, None), (130, 256), (100, 256), (80, 128)):
        image = Image.open(io.BytesIO(_save(fig, "png", dpi=dpi, metadata={"Software": None}))).convert("RGB")
        if colours:
            image = image.quantize(colours, dither=Image.Dither.NONE)
        buffer = io.BytesIO()
        image.save(buffer, "png", optimize=True, dpi=(dpi, dpi))
        if buffer.tell() <= MAX_PNG:
            return buffer.getvalue()
    raise ParameterError(
        f"figure {key!r} has {buffer.tell() // 1000} kB as png even at {dpi} dots per inch; the limit is "
        f"{MAX_PNG // 1000}",
        "make it smaller or show fewer pictures in it",
    )


def _save(fig: Figure, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": "pdlib"}):
        FigureCanvasAgg(fig)
        fig.savefig(buffer, format=kind, bbox_inches="tight", facecolor="white", **options)
    return buffer.getvalue()


def _watermark(fig: Figure) -> None:
    """SYNTHETIC across the figure, light enough to read through and drawn over everything."""
    if any(text.get_gid() == "pd-watermark" for text in fig.texts):
        return
    width, height = fig.get_size_inches()
    angle = math.degrees(math.atan2(height, width)) * 0.8
    size = min(7.4 * width, 12 * height)
    # a light copy a little lower gives the grey letters an edge on dark pictures and is not seen on white
    for lower, colour, name in (
        (1.5 / 72 / height, "white", "pd-watermark-edge"),
        (0, "#808080", "pd-watermark"),
    ):
        fig.text(
            0.5, 0.5 - lower, SYNTHETIC, fontsize=size, fontweight="bold", color=colour, alpha=0.38,
            rotation=angle, ha="center", va="center", zorder=1000, gid=name, in_layout=False,
        )  # fmt: skip


def label_ticks(axis: Any, values: np.ndarray | None, label: str, count: str, fmt: str) -> None:
    """Label six ticks of a matrix's axis with their values, or the axis with ``count`` where there are none."""
    if values is None:
        axis.set_label_text(count)
        return
    places = np.unique(np.linspace(0, np.size(values) - 1, 6).astype(int))
    axis.set_ticks(places, [fmt.format(value) for value in np.asarray(values)[places]])
    axis.set_label_text(label)
