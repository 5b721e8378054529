"""The built site as one zip with its checksum: the same site gives the same bytes, and it opens without a network."""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from pdlib import paths
from pdlib.errors import PrivacyError
from pdlib.params import Project
from pdlib.publish import read_about, reading_site

BOOK = "custnetgc-book"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can hold; files carry no time of their own
MODE = 0o100644
_LOCAL = ("PDLIB_DATA", "PDLIB_WEIGHTS", "PDLIB_RESULTS", "PDLIB_RUNS")


def site_name(about: Mapping[str, str]) -> str:
    """Name of a site's archive and PDF: book, version, profile and cohort, such as ``book-0.1.0-quick-real``."""
    return "-".join(
        re.sub(r"[^a-z0-9.]+", "-", part.lower()).strip("-")
        for part in (BOOK, about["version"], about["profile"], about["cohort"])
    )


def archive(project: Project, folder: Path | None = None) -> Path:
    """Pack the built site into ``folder`` as a zip, with a ``.sha256`` beside it, and return the zip.

    Everything lies in one folder named as `site_name`; its ``index.html`` opens in a browser from the disk.

    Parameters
    ----------
    folder : Path, optional
        Where to; by default beside the site.

    Raises
    ------
    PublishError
        When there is no built site.
    BusyError
        When another process is building it.
    PrivacyError
        When a file of the site names a folder of this machine.
    """
    with reading_site(project, "packs the pages of"):
        return _pack(project, project.html, folder)


def _pack(project: Project, site: Path, folder: Path | None) -> Path:
    name = site_name(read_about(site))
    target = (Path(folder) if folder else project.build) / f"{name}.zip"
    checksum = target.with_name(f"{target.name}.sha256")
    files = sorted(
        (path.relative_to(site).as_posix(), path)
        for path in site.rglob("*")
        if path.is_file() and not path.name.startswith(".")  # Sphinx's own notes to itself
    )
    local = _local_folders(project)
    with paths.atomic_path(target) as part:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
            for inside, path in files:
                data = path.read_bytes()
                _refuse_local(inside, data, local)
                entry = zipfile.ZipInfo(f"{name}/{inside}", EPOCH)
                entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3
                entry.external_attr = MODE << 16
                packed.writestr(entry, data)
        with part.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256")
        checksum.unlink(missing_ok=True)  # never beside another zip than its own
    paths.write_text(checksum, f"{digest.hexdigest()}  {target.name}\n")
    return target


def _local_folders(project: Project) -> re.Pattern[bytes]:
    """What must not be in a file: folders of this machine, as whole absolute paths."""
    folders = {str(project.root.resolve()), str(paths.ROOT), str(Path.home())}
    folders |= {os.environ[name] for name in _LOCAL if os.environ.get(name)}
    named = sorted(folder for folder in folders if len(Path(folder).parts) > 1)
    return re.compile(
        rb"(?<![\w.~/-])(?:" + b"|".join(re.escape(os.fsencode(one)) for one in named) + rb")(?=[/\"'\s])"
    )


def _refuse_local(inside: str, data: bytes, local: re.Pattern[bytes]) -> None:
    found = local.search(data)
    if found:
        raise PrivacyError(
            f"{inside} names a folder of this machine: {os.fsdecode(found[0])}",
            "let the chapter show paths through `paths.shown`, run it again, build the site and pack it again",
        )
