"""The teaching guide: its minutes add up, no chapter is left out, and each syllabus says what it needs beforehand."""

import re

import pytest

from pdlib import paths
from pdlib.params import Project, read_chapters

TEXT = (paths.BOOK / "teaching_guide.md").read_text(encoding="utf-8")
SYLLABI = {
    found[1]: found[2]
    for found in re.finditer(
        r"^\*\*(Ninety minutes|One day|One term)\b(.*?)(?=^\*\*|^## )", TEXT, re.M | re.S
    )
}


def minutes(syllabus):
    return sum(map(int, re.findall(r"^\| (\d+) \|", SYLLABI[syllabus], re.MULTILINE)))


def chapters(text):
    return re.findall(r"\.\./notebooks/(\d\d)_\w+\.ipynb", text)


def test_there_are_three_syllabi_and_each_says_what_must_be_done_beforehand():
    assert list(SYLLABI) == ["Ninety minutes", "One day", "One term"]
    for syllabus in SYLLABI.values():
        assert re.search(r"Beforehand: .*make book.* \(profile `quick`\)", syllabus.replace("\n", " "))


@pytest.mark.parametrize(("syllabus", "total"), [("Ninety minutes", 90), ("One day", 360)])
def test_the_minutes_of_a_syllabus_add_up(syllabus, total):
    assert minutes(syllabus) == total


def test_the_term_has_twelve_weeks_and_takes_every_chapter_once():
    weeks = re.findall(r"\| (\d+) \|(?= \[| projects)", SYLLABI["One term"])
    assert sorted(map(int, weeks)) == list(range(1, 13))
    assert sorted(chapters(SYLLABI["One term"])) == list(read_chapters(Project()))


def test_the_list_of_what_to_teach_names_every_chapter():
    listed = TEXT.partition("## What to teach")[2].partition("\n## ")[0]
    assert set(chapters(listed)) == set(read_chapters(Project()))
