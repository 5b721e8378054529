"""A built site of three pages, written by hand: what packing and printing need, without a build."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from pdlib import publish
from pdlib.params import Project

ABOUT = {
    "title": "A tiny book", "version": "9.9", "profile": "smoke", "cohort": "synthetic",
    "banner": "SYNTHETIC DATA. Profile: smoke.",
}  # fmt: skip
ONE = """<article><h1>1. The first<a class="headerlink" href="#">#</a></h1>
<section id="far"><h2>Far down</h2><p style="margin-top: 2000px" id="goal">The goal.</p></section>
<p><a href="02_two.html#end">to the end of two</a> <a href="02_two.html">to two</a> <a href="#goal">down</a>
<a href="../_static/a.csv">a file</a> <a href="https://a.example/">elsewhere</a></p></article>"""
TWO = '<article><h1>2. The second</h1><p>Short.</p><p id="end" style="margin-top: 3000px">The end.</p></article>'


def page(body: str, head: str = "") -> str:
    """One page of the site."""
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">{head}</head><body>{body}</body></html>'
    )


def write_site(root: Path, two: str = TWO, head: str = "") -> Project:
    """A project with a table of contents and a built site; ``two`` and ``head`` change its last page."""
    project = Project(root)
    toc = {
        "format": "jb-book",
        "root": "book/intro",
        "parts": [
            {"caption": "Chapters", "chapters": [{"file": "notebooks/01_one"}, {"file": "notebooks/02_two"}]}
        ],
    }
    root.mkdir(parents=True, exist_ok=True)
    (root / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    files = {
        "index.html": page('<a href="book/intro.html">in</a>'),
        "book/intro.html": page("<article><h1>Intro</h1><p>Hello.</p></article>"),
        "notebooks/01_one.html": page(ONE),
        "notebooks/02_two.html": page(two, head),
        "_static/a.csv": "a\n1\n",
        publish.ABOUT: json.dumps(ABOUT),
    }
    for name, text in files.items():
        (project.html / name).parent.mkdir(parents=True, exist_ok=True)
        (project.html / name).write_text(text, encoding="utf-8")
    return project
