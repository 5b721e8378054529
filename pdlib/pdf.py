"""The whole book as one PDF: each page of the built site printed by Chromium, then joined, numbered and linked."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin

import yaml
from rich.console import Console

from pdlib import paths
from pdlib.archive import site_name
from pdlib.chromium import PATIENCE, browser, served
from pdlib.errors import PublishError
from pdlib.params import Project
from pdlib.publish import files_of, read_about, reading_site, toc_files

if TYPE_CHECKING:
    from pypdf import PdfReader, PdfWriter

NUMBERING_CHROMIUM = 131  # the first that fills the margins of a printed page
LAYOUT = {"format": "A4", "print_background": True}
_TO_ANCHOR = re.compile(r'href="([^"#]*)#([^"]+)"')

# equations are set after the page has loaded; pictures far down are loaded only when somebody scrolls there
_READY = """(async () => {
  const style = document.createElement("style");
  style.textContent = %(style)s;
  document.head.append(style);
  const sections = [...document.querySelectorAll("article section[id]")].filter(s => s.querySelector(":scope > h2"));
  const anchors = new Set([...%(anchors)s, ...sections.map(section => section.id)]);
  for (const name of anchors) {  // a place that nothing on its own page links to would get no address
    const link = document.createElement("a");
    link.href = "#" + encodeURIComponent(name);
    link.hidden = true;
    document.body.append(link);
  }
  for (const image of document.images) image.loading = "eager";
  if (window.MathJax) await MathJax.startup.promise;
  await document.fonts.ready;
  await Promise.all([...document.images].map(image => image.decode().catch(() => null)));
  const words = heading => {
    const copy = heading.cloneNode(true);
    copy.querySelectorAll(".headerlink").forEach(link => link.remove());
    return copy.textContent.trim();
  };
  const heading = document.querySelector("article h1") || document.querySelector("h1");
  const math = [...document.querySelectorAll("span.math, div.math")];
  return {
    title: heading ? words(heading) : document.title,
    sections: sections.map(section => [section.id, words(section.querySelector(":scope > h2"))]),
    unset: math.filter(one => !one.querySelector("mjx-container")).length,
    broken: [...document.querySelectorAll("[data-mml-node=merror]")].map(one => one.textContent),
    pictures: [...document.images].filter(image => !image.naturalWidth).map(image => image.src.slice(0, 80)),
  };
})()"""


@dataclass(frozen=True)
class Printed:
    """One page of the site as printed: its name, part of the book and first page number; title, sections and PDF."""

    name: str
    part: str
    first: int
    title: str
    sections: tuple[tuple[str, str], ...]
    reader: PdfReader


def book_pdf(project: Project, target: Path | None = None, console: Console | None = None) -> Path:
    """Print the built site of ``project`` as one PDF and return its path.

    Every page of the table of contents is there, in its order, on A4, with a bookmark per part, page and section;
    links between pages lead to places in the same file. Foot of each page: title, what kind of run it shows, number.

    Parameters
    ----------
    target : Path, optional
        The file; by default beside the site, named by book, version, profile and cohort.

    Raises
    ------
    PublishError
        When there is no site or no Chromium, or a page cannot be printed with its equations set.
    BusyError
        When another process is building the site.
    """
    with reading_site(project, "prints the pages of"):
        return _print_site(project, target, console or Console())


def _print_site(project: Project, target: Path | None, console: Console) -> Path:
    about = read_about(project.html)
    target = Path(target) if target else project.build / f"{site_name(about)}.pdf"
    parts = _parts(project)
    anchors = _anchors(project.html, [name for name, _ in parts])
    with served(project.html) as base, browser() as opened:
        _check_version(opened.version)
        printed: list[Printed] = []
        first = 1
        for count, (name, part) in enumerate(parts, 1):
            console.print(f"[{count}/{len(parts)}] {name}", highlight=False, markup=False)
            one = _print(opened, f"{base}{name}.html", _style(about, first), anchors.get(name, ()))
            printed.append(Printed(name, part, first, *one))
            first += len(printed[-1].reader.pages)
        cover = f"data:text/html;base64,{base64.b64encode(_cover(about, printed, base).encode()).decode()}"
        front = _print(opened, cover, "", ())[-1]
        writer = _join(about, front, printed, base)
    with paths.atomic_path(target) as part, part.open("wb") as stream:
        writer.write(stream)
    return target


def _parts(project: Project) -> list[tuple[str, str]]:
    """Every page of the book with the caption of the part it stands in."""
    content = yaml.safe_load((project.root / "_toc.yml").read_text(encoding="utf-8"))
    captions = {name: part.get("caption", "") for part in content.get("parts", ()) for name in files_of(part)}
    return [(name, captions.get(name, "")) for name in toc_files(project)]


def _anchors(site: Path, names: Sequence[str]) -> dict[str, set[str]]:
    """For each page, the places on it that links of other pages lead to."""
    wanted: dict[str, set[str]] = {}
    for name in names:
        page = site / f"{name}.html"
        if not page.is_file():
            raise PublishError(
                f"{name}.html is not in the built site", "build it again: `make book` or `make html`"
            )
        for path, anchor in _TO_ANCHOR.findall(page.read_text(encoding="utf-8")):
            other, _ = _place(urljoin(f"{name}.html", html.unescape(path)))
            wanted.setdefault(other, set()).add(unquote(html.unescape(anchor)))
    return wanted


def _place(address: str) -> tuple[str, str]:
    """Page and anchor of an address inside the site."""
    path, _, anchor = address.partition("#")
    return unquote(path).partition("?")[0].removesuffix(".html"), unquote(anchor)


def _check_version(version: str) -> None:
    if int(version.partition(".")[0]) < NUMBERING_CHROMIUM:
        raise PublishError(
            f"Chromium {version} cannot number the pages of a book",
            f"install Chromium {NUMBERING_CHROMIUM} or newer",
        )


def _style(about: Mapping[str, str], first: int) -> str:
    """The foot of every page; ``first`` is the number of the first one."""
    foot = "font: 8pt sans-serif; color: #444;"
    title, banner = (json.dumps(about[key], ensure_ascii=False) for key in ("title", "banner"))
    return (
        f"html {{ counter-reset: page {first - 1}; }}\n"
        f"@page {{ size: A4; margin: 15mm 15mm 20mm;\n"
        f"  @bottom-left {{ content: {title}; {foot} width: 32%; }}\n"
        f"  @bottom-center {{ content: {banner}; {foot} font-weight: bold; width: 58%; text-align: center; }}\n"
        f"  @bottom-right {{ content: counter(page); {foot} width: 10%; text-align: right; }} }}"
    )


def _print(opened: Any, address: str, style: str, anchors: Sequence[str]) -> tuple[str, tuple, PdfReader]:
    """Title, sections and PDF of one page.

    Raises
    ------
    PublishError
        When an equation is not set or a picture is not shown.
    """
    from pypdf import PdfReader

    script = _READY % {"style": json.dumps(style), "anchors": json.dumps(sorted(anchors))}
    page = opened.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    seen = page.evaluate(script)
    wrong = [f"{seen['unset']} equations are not set"] if seen["unset"] else []
    wrong += [f"an equation has an error: {text}" for text in seen["broken"]]
    wrong += [f"a picture is not shown: {source}" for source in seen["pictures"]]
    if wrong:
        raise PublishError(f"{_shown(address)} cannot be printed: {'; '.join(wrong)}", "build the site again")
    sections = tuple((anchor, title) for anchor, title in seen["sections"])
    printed = page.pdf(**LAYOUT)
    page.close()
    return seen["title"], sections, PdfReader(io.BytesIO(printed))


def _shown(address: str) -> str:
    return "the cover" if address.startswith("data:") else address.partition("//")[2].partition("/")[2]


def _cover(about: Mapping[str, str], printed: Sequence[Printed], base: str) -> str:
    """Title page and contents; its links are those of the site and become places in the file."""
    rows, part = [], ""
    for one in printed:
        if one.part != part:
            rows.append(f"<h2>{html.escape(one.part)}</h2>")
            part = one.part
        link = f'<a href="{base}{one.name}.html">{html.escape(one.title)}</a>'
        rows.append(f"<p class='row'><span>{link}</span><span>{one.first}</span></p>")
    run = f"Version {about['version']}, profile {about['profile']}, cohort {about['cohort']}."
    banner = f"<p><strong>{html.escape(about['banner'])}</strong></p>" if about["banner"] else ""
    return f"""<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(about["title"])}</title>
<style>
@page {{ size: A4; margin: 20mm; }}
body {{ font: 11pt/1.35 sans-serif; }} h1 {{ font-size: 30pt; line-height: 1.2; margin-top: 30%; }}
h2 {{ break-after: avoid; font-size: 12pt; margin: 0.9em 0 0.2em; }} .contents {{ break-before: page; }}
.row {{ break-inside: avoid; display: flex; gap: 2em; justify-content: space-between; margin: 0.1em 0; }}
a {{ color: inherit; text-decoration: none; }}
</style></head><body>
<h1>{html.escape(about["title"])}</h1>{banner}<p>{html.escape(run)}</p>
<p>Text CC BY 4.0, code MIT.</p>
<p class="contents"><strong>Contents</strong></p>{"".join(rows)}
</body></html>"""


# ── joining ────────────────────────────────────────────────────────────────────────────────────────────
def _join(about: Mapping[str, str], front: PdfReader, printed: Sequence[Printed], base: str) -> PdfWriter:
    from pypdf import PdfWriter
    from pypdf.generic import NameObject, TextStringObject

    writer = PdfWriter()
    places: dict[tuple[str, str], tuple[int, Any, Any]] = {}
    names = ["the cover"] * len(front.pages)
    for page in front.pages:
        writer.add_page(page)
    for one in printed:
        start = len(writer.pages)
        places[one.name, ""] = (start, None, None)
        for title, place in one.reader.named_destinations.items():
            number = one.reader.get_destination_page_number(place)
            places[one.name, unquote(title.removeprefix("/"))] = (start + number, place.left, place.top)
        for page in one.reader.pages:
            writer.add_page(page)
            names.append(one.name)
    for page, name in zip(writer.pages, names, strict=True):
        _link(writer, page, name, places, base)
    _bookmarks(writer, printed, places)
    _number(writer, len(front.pages))
    writer.add_metadata({"/Title": about["title"], "/Subject": about["banner"] or "the committed edition"})
    writer.root_object[NameObject("/Lang")] = TextStringObject("en")
    writer.compress_identical_objects()
    return writer


def _link(writer: PdfWriter, page: Any, name: str, places: Mapping, base: str) -> None:
    """Let links to pages of the book lead into this file; a link to a file of the site leads nowhere here and goes."""
    from pypdf.generic import ArrayObject, FloatObject, NameObject, NullObject, NumberObject

    kept = ArrayObject()
    page.pop("/StructParents", None)
    for reference in page.get("/Annots", ()):
        note = reference.get_object()
        address = note.get("/A", {}).get("/URI") if "/A" in note else None
        if "/Dest" in note:
            wanted = (name, unquote(str(note["/Dest"]).removeprefix("/")))
        elif address is not None and str(address).startswith(base):
            wanted = _place(str(address).removeprefix(base))
        else:
            kept.append(reference)
            continue
        found = places.get(wanted) or places.get((wanted[0], ""))
        if found is None:
            continue
        number, left, top = found
        target = [writer.pages[number].indirect_reference, NameObject("/XYZ")]
        target += [NullObject() if side is None else FloatObject(side) for side in (left, top)]
        note.pop("/A", None)
        note[NameObject("/Dest")] = ArrayObject([*target, NumberObject(0)])
        kept.append(reference)
    if "/Annots" in page:
        page[NameObject("/Annots")] = kept


def _bookmarks(writer: PdfWriter, printed: Sequence[Printed], places: Mapping) -> None:
    """One bookmark per part, page and section."""
    parts: dict[str, Any] = {}
    for one in printed:
        start = places[one.name, ""][0]
        if one.part and one.part not in parts:
            parts[one.part] = writer.add_outline_item(title=one.part, page_number=start, bold=True)
        page = writer.add_outline_item(title=one.title, page_number=start, parent=parts.get(one.part))
        for anchor, title in one.sections:
            if (one.name, anchor) in places:
                number = places[one.name, anchor][0]
                writer.add_outline_item(title=title, page_number=number, parent=page)


def _number(writer: PdfWriter, front: int) -> None:
    """Let a viewer count the pages as they are numbered: the cover in Roman numerals."""
    from pypdf.constants import PageLabelStyle

    writer.set_page_label(0, front - 1, style=PageLabelStyle.LOWERCASE_ROMAN)
    writer.set_page_label(front, len(writer.pages) - 1, style=PageLabelStyle.DECIMAL, start=1)
