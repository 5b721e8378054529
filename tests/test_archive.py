"""The archive: the same site gives the same bytes, its checksum holds, and nothing of this machine is inside."""

import hashlib
import os
import zipfile

import pytest

from pdlib import __main__ as cli
from pdlib import archive as packing
from pdlib import paths, publish
from pdlib.errors import PrivacyError, PublishError, WriteError
from pdlib.params import Project
from tests.tinysite import ABOUT, write_site


@pytest.fixture
def project(tmp_path):
    return write_site(tmp_path / "book")


def test_everything_lies_in_one_folder_that_tells_book_version_profile_and_cohort(project):
    target = packing.archive(project)
    assert target == project.build / "custnetgc-book-9.9-smoke-synthetic.zip"
    with zipfile.ZipFile(target) as packed:
        assert packed.testzip() is None
        names = packed.namelist()
        inside = "custnetgc-book-9.9-smoke-synthetic"
        assert names == sorted(names) and {name.split("/")[0] for name in names} == {inside}
        assert packed.read(f"{inside}/_static/a.csv") == b"a\n1\n"
    assert len(names) == len([path for path in project.html.rglob("*") if path.is_file()])


def test_the_checksum_is_that_of_the_archive_in_the_form_sha256sum_reads(project):
    target = packing.archive(project)
    line = target.with_name(f"{target.name}.sha256").read_text()
    assert line == f"{hashlib.sha256(target.read_bytes()).hexdigest()}  {target.name}\n"


def test_the_same_site_gives_the_same_bytes_whatever_the_files_times_and_modes(project, tmp_path):
    first = packing.archive(project, tmp_path / "a").read_bytes()
    page = project.html / "index.html"
    os.utime(page, (1e9, 1e9))
    page.chmod(0o600)
    (project.html / ".buildinfo").write_text("the builder's own")
    assert packing.archive(project, tmp_path / "b").read_bytes() == first
    page.write_text("changed")
    assert packing.archive(project, tmp_path / "c").read_bytes() != first


@pytest.mark.parametrize("place", ["root", "home", "data"])
def test_a_folder_of_this_machine_in_any_file_is_refused_and_named(project, monkeypatch, place):
    monkeypatch.setenv("PDLIB_DATA", "/somewhere/recordings")
    monkeypatch.setenv("HOME", "/people/reader")
    local = {"root": project.root, "home": "/people/reader", "data": "/somewhere/recordings"}[place]
    (project.html / "_sources").mkdir()
    (project.html / "_sources" / "a.txt").write_text(f'see "{local}/x.csv"')
    with pytest.raises(PrivacyError, match="_sources/a.txt names a folder of this machine"):
        packing.archive(project)
    assert list(project.build.glob("*.zip*")) == []


def test_a_path_that_only_ends_like_one_of_this_machine_is_fine(project, monkeypatch):
    monkeypatch.setenv("PDLIB_DATA", "/book")
    monkeypatch.setenv("HOME", "/")
    (project.html / "index.html").write_text(
        '<a href="../book/intro.html">a</a> "/etc/x" https://a.example/book/'
    )
    assert packing.archive(project).is_file()


def test_without_a_site_it_says_how_to_get_one(tmp_path):
    with pytest.raises(PublishError, match="make book"):
        packing.archive(Project(tmp_path))


def test_a_site_that_does_not_say_what_it_is_is_refused(project):
    (project.html / publish.ABOUT).write_text("{}")
    with pytest.raises(PublishError, match="does not say which book"):
        packing.archive(project)


def test_an_archive_that_cannot_be_written_leaves_the_earlier_one(project, monkeypatch):
    target = packing.archive(project)
    before = target.read_bytes(), target.with_name(f"{target.name}.sha256").read_text()
    (project.html / "index.html").write_text("new")

    def full(*_):
        raise OSError(28, "no space")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(WriteError, match="disk is full"):
        packing.archive(project)
    assert before == (target.read_bytes(), target.with_name(f"{target.name}.sha256").read_text())
    assert sorted(path.name for path in project.build.iterdir() if path.name != ".lock") == [
        "custnetgc-book-9.9-smoke-synthetic.zip", "custnetgc-book-9.9-smoke-synthetic.zip.sha256", "html",
    ]  # fmt: skip


def test_the_command_says_what_it_wrote_and_leaves_with_one_without_a_site(
    project, monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr(cli, "PROJECT", project)
    with pytest.raises(SystemExit) as left:
        cli.main(["archive", "-o", str(tmp_path / "out")])
    assert left.value.code == 0 and "smoke-synthetic.zip" in capsys.readouterr().out
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".sha256", ".zip"]
    monkeypatch.setattr(cli, "PROJECT", Project(tmp_path))
    with pytest.raises(SystemExit) as left:
        cli.main(["archive"])
    assert left.value.code == 1 and "there is no built site" in capsys.readouterr().err


def test_the_name_holds_only_what_every_file_system_takes():
    odd = {**ABOUT, "cohort": "Own: clinic / 2024"}
    assert packing.site_name(odd) == "custnetgc-book-9.9-smoke-own-clinic-2024"


def test_what_the_book_itself_would_pack_names_no_folder_of_this_machine():
    """The site as it stands on this machine, where there is one."""
    project = Project()
    if not (project.html / publish.ABOUT).is_file():
        pytest.skip("no site is built here")
    local = packing._local_folders(project)
    assert paths.ROOT.is_absolute()
    found = [
        path.name for path in project.html.rglob("*") if path.is_file() and local.search(path.read_bytes())
    ]
    assert found == []
