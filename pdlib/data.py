"""The recordings: what the registry says they are, how they are fetched, and how a copy is verified.

Nothing here looks into a recording; a file is right when its sha256 is the registry's.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import stat
import struct
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd
import requests
from tqdm import tqdm

from pdlib import paths
from pdlib.errors import DataError, FetchError
from pdlib.reading import read_table

DOI = "10.6084/m9.figshare.23849127.v1"
BASE_URL = "https://ndownloader.figshare.com"
COLUMNS = ("name", "file", "size", "sha256", "source", "licence")
WORKBOOK = "Demographics_age_sex.xlsx"
AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".mp3", ".ogg", ".oga", ".aif", ".aiff"})

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
DOWNLOAD_LIMIT = 256 * 2**20  # bytes; the whole data set is below 10 MB, so more than this is another file
_CHUNK = 8 * 2**10  # bytes; what a breaking connection may lose
#: A file of the data set, or one in one of its folders: names that mean the same on every system.
_FILE = re.compile(r"[\w-][\w. -]{0,200}(/[\w-][\w. -]{0,200})?", re.ASCII)
_NAMED = 10  # problems listed by name in one message


# ── the registry ───────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Archive:
    """One file of the Figshare record: its number, name and md5 as the record's users have noted them."""

    number: int
    name: str
    md5: str

    def url(self, base_url: str = BASE_URL) -> str:
        """Address of the file below ``base_url``."""
        return f"{base_url.rstrip('/')}/files/{self.number}"

    @property
    def folder(self) -> str | None:
        """Folder of the data set this archive holds; None for a file that is not an archive."""
        return self.name.removesuffix(".zip") if self.name.endswith(".zip") else None

    def holds(self, file: str) -> bool:
        """Whether ``file`` (path inside the data set) comes out of this archive."""
        return PurePosixPath(file).parts[0] == self.folder if self.folder else file == self.name


ARCHIVES: tuple[Archive, ...] = (
    Archive(41836707, WORKBOOK, "15bfde0fcb441c55dcd2fc3138c3a672"),
    Archive(41836713, "HC_AH.zip", "55fd33d365380372dcfbae4f7f520246"),
    Archive(41836710, "PD_AH.zip", "2e525e419abdad509e5cbf201e30ef36"),
)


def registry(path: Path | str | None = None) -> pd.DataFrame:
    """Read the registry: one row per published file.

    Parameters
    ----------
    path : path, optional
        Registry to read; ``data/registry.csv`` unless told otherwise.

    Returns
    -------
    DataFrame
        Columns ``name`` (HC-01 …, PD-01 …, workbook), ``file`` (path inside the data set), ``size`` (bytes),
        ``sha256`` (hex), ``source`` (DOI and Figshare file number), ``licence``.

    Raises
    ------
    DataError
        When the registry is missing or a row is not what it should be.
    """
    path = Path(path) if path else paths.REGISTRY
    way_out = "restore data/registry.csv from the repository"
    frame = read_table(path, way_out)
    if tuple(frame.columns) != COLUMNS or frame.empty:
        raise DataError(f"{paths.shown(path)} must have the columns {', '.join(COLUMNS)}", way_out)
    for number, row in enumerate(frame.to_dict("records"), start=2):
        sound = (
            row["name"]
            and _FILE.fullmatch(row["file"])
            and ".." not in PurePosixPath(row["file"]).parts
            and re.fullmatch(r"[0-9]{1,12}", row["size"])
            and re.fullmatch(r"[0-9a-f]{64}", row["sha256"])
        )
        if not sound:
            raise DataError(
                f"{paths.shown(path)}, line {number}: {row['name']} is not a registry row", way_out
            )
    frame = frame.astype({"size": int})
    for column in ("name", "file", "sha256"):
        repeated = frame.loc[frame[column].duplicated(), "name"]
        if len(repeated):
            raise DataError(
                f"{paths.shown(path)}: {column} of {repeated.iloc[0]} stands there twice", way_out
            )
    return frame


# ── verifying a copy ───────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Differences:
    """How a folder differs from the registry; every entry reads like ``HC-01 (HC_AH/….wav)``."""

    wrong: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.wrong or self.missing or self.extra)

    def sentence(self) -> str:
        """All differences in words."""
        named = (
            ("wrong content", self.wrong), ("missing", self.missing), ("not of this data set", self.extra)
        )  # fmt: skip
        return "; ".join(f"{what}: {listed(which)}" for what, which in named if which)


def listed(names: Sequence[str]) -> str:
    """The first few ``names``, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_junk(name: str) -> bool:
    """Whether a path is what operating systems leave behind: ``__MACOSX`` or a name with a leading dot."""
    return any(part == "__MACOSX" or part.startswith(".") for part in PurePosixPath(name).parts)


def _is_right(path: Path, entry: object) -> bool:
    return path.stat().st_size == entry.size and sha256_of(path) == entry.sha256


def _extra(folder: Path, entries: pd.DataFrame) -> tuple[str, ...]:
    known = set(entries["file"])
    classes = {PurePosixPath(file).parts[0] for file in known if "/" in file}
    found = []
    for item in sorted(folder.iterdir()):
        if is_junk(item.name):
            continue
        if item.name in classes and item.is_dir():
            inside = (p.relative_to(folder).as_posix() for p in sorted(item.rglob("*")) if not p.is_dir())
            found += [name for name in inside if name not in known and not is_junk(name)]
        elif item.is_dir() and item.name.upper().startswith(("HC", "PD")):
            found.append(f"{item.name}/")
        elif item.suffix.lower() in AUDIO_SUFFIXES:
            found.append(item.name)
    return tuple(found)


def differences(folder: Path | str, entries: pd.DataFrame | None = None) -> Differences:
    """Compare ``folder`` with the registry, reading every file of it.

    A file is extra when it lies in a class folder or is a recording, and the registry does not know it.
    Text beside the class folders, ``__MACOSX`` and names with a leading dot are left alone.
    """
    folder = Path(folder)
    entries = registry() if entries is None else entries
    if not folder.is_dir():
        return Differences(missing=tuple(f"{e.name} ({e.file})" for e in entries.itertuples()))
    wrong, missing = [], []
    for entry in entries.itertuples():
        path, label = folder / entry.file, f"{entry.name} ({entry.file})"
        if not path.is_file():
            missing.append(label)
        elif not _is_right(path, entry):
            wrong.append(label)
    return Differences(tuple(wrong), tuple(missing), _extra(folder, entries))


# What has been verified in this process, with size and time of every file, so that a change is noticed.
_VERIFIED: dict[Path, tuple] = {}


def _state(folder: Path, entries: pd.DataFrame) -> tuple | None:
    try:
        stats = [(folder / file).stat() for file in entries["file"]]
        files = tuple((s.st_size, s.st_mtime_ns, s.st_ino) for s in stats)
        return (*files, tuple(entries["sha256"]), _extra(folder, entries))
    except OSError:
        return None


def verify(folder: Path | str, entries: pd.DataFrame | None = None) -> None:
    """Check that ``folder`` holds exactly the registered files; the reading is done once per process.

    Parameters
    ----------
    folder : path
        Folder with ``HC_AH/``, ``PD_AH/`` and the workbook.
    entries : DataFrame, optional
        Registry to check against; `registry` unless told otherwise.

    Raises
    ------
    DataError
        Naming every file that is wrong, missing or extra.
    """
    folder = Path(folder).resolve()
    entries = registry() if entries is None else entries
    state = _state(folder, entries)
    if state is not None and _VERIFIED.get(folder) == state:
        return
    if not folder.is_dir():
        raise DataError(
            f"{paths.shown(folder)} is not a folder", "name a folder with HC_AH/, PD_AH/ and the workbook"
        )
    found = differences(folder, entries)
    if found:
        _VERIFIED.pop(folder, None)
        raise DataError(
            f"{paths.shown(folder)} is not the published data set: {found.sentence()}",
            "repair or remove these files, or fetch the data set again with: python -m pdlib fetch",
        )
    if state is not None:
        _VERIFIED[folder] = state


def find_local() -> Path | None:
    """A verified copy on this machine: ``PDLIB_DATA`` where it is set, else ``data/raw``, else None.

    Raises
    ------
    DataError
        When ``PDLIB_DATA`` is set but does not hold the data set: what was asked for is never passed over.
    """
    asked = os.environ.get("PDLIB_DATA")
    if asked:
        try:
            verify(asked)
        except DataError as error:
            raise DataError(
                f"PDLIB_DATA: {error.problem}", "correct PDLIB_DATA or unset it to use data/raw or a download"
            ) from error
        return Path(asked).resolve()
    try:
        verify(paths.RAW)
    except DataError:
        return None
    return paths.RAW


# ── fetching ───────────────────────────────────────────────────────────────────────────────────────────
def fetch(
    target: Path | str | None = None,
    source: Path | str | None = None,
    base_url: str | None = None,
    progress: bool = True,
    *,
    archives: Sequence[Archive] | None = None,
    entries: pd.DataFrame | None = None,
    timeout: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
) -> Path:
    """Bring the data set to ``target``; what is there and right already is left alone.

    Every file is compared with its sha256 before it takes its place, so ``target`` never holds a wrong or
    half-written one. An interrupted download goes on where it stopped. A file of the data set whose content
    is wrong is replaced.

    Parameters
    ----------
    target : path, optional
        Folder to fill; ``data/raw`` unless told otherwise.
    source : path, optional
        Local folder to take the files from instead of the network: class folders or their zip archives, and
        the workbook. Local archives are judged by the sha256 of what they hold, not by their own md5.
    base_url : str, optional
        Server of the files; Figshare's unless told otherwise.
    progress : bool
        Show a bar per download.
    archives, entries : optional
        Files of the record and registry; the published ones unless told otherwise.
    timeout : (float, float)
        Seconds to wait for a connection, and for the next bytes.

    Returns
    -------
    Path
        ``target``, verified.

    Raises
    ------
    FetchError
        When a file cannot be had whole and right; the message names it, the good ones are kept.
    DataError
        When ``target`` holds files that are not of this data set.
    WriteError
        When the disk is full or ``target`` cannot be written.
    KeyboardInterrupt
        On Ctrl-C, saying what was interrupted and that the next run goes on from there.
    """
    target = Path(target) if target else paths.RAW
    entries = registry() if entries is None else entries
    archives = ARCHIVES if archives is None else archives
    with paths.writing_errors(target):
        target.mkdir(parents=True, exist_ok=True)
    with _alone_in(target):
        extra = _extra(target, entries)
        if extra:
            raise DataError(
                f"{paths.shown(target)} holds files that are not of this data set: {listed(extra)}",
                "move them elsewhere and run the same command again",
            )
        giver = _Folder(source) if source is not None else _Server(base_url or BASE_URL, progress, timeout)
        problems: list[str] = []
        for archive in archives:
            wanted = _unsettled(target, entries, archive)
            if not wanted:
                continue
            try:
                problems += giver.bring(archive, wanted, entries, target)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(
                    f"interrupted at {archive.name}; run the same command again: finished files are kept"
                ) from None
        if problems:
            raise FetchError(
                f"not all files could be had: {listed(problems)}",
                "the good files are kept; mend the source and run the same command again",
            )
        with paths.writing_errors(target):
            shutil.rmtree(target / ".partial", ignore_errors=True)
    verify(target, entries)
    return target


@contextmanager
def _alone_in(target: Path) -> Iterator[None]:
    """Let one process at a time fill ``target``; a second waits and then finds the work done."""
    try:
        import fcntl
    except ImportError:  # Windows knows no flock; the moves are atomic there too, the work is only done twice
        yield
        return
    handle = os.open(target, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _unsettled(target: Path, entries: pd.DataFrame, archive: Archive) -> dict[str, object]:
    """Registry entries of ``archive`` that are missing or wrong in ``target``, by their file name."""
    own = (entry for entry in entries.itertuples() if archive.holds(entry.file))
    return {
        PurePosixPath(entry.file).name: entry
        for entry in own
        if not ((target / entry.file).is_file() and _is_right(target / entry.file, entry))
    }


def _names(entries: pd.DataFrame, archive: Archive) -> set[str]:
    return {PurePosixPath(file).name for file in entries["file"] if archive.holds(file)}


def _workshop(target: Path) -> Path:
    """Folder beside the finished files for what is under way; on the same disk, so that moves are atomic."""
    folder = target / ".partial"
    with paths.writing_errors(folder):
        folder.mkdir(exist_ok=True)
    return folder


def _settle(content: bytes, entry: object, target: Path) -> str | None:
    """Move ``content`` to its place if it is what the registry says, else return what is wrong with it."""
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        return f"{entry.name} ({entry.file}): wrong sha256"
    final, staged = target / entry.file, _workshop(target) / "staged"
    with paths.writing_errors(final):
        try:
            staged.write_bytes(content)
            final.parent.mkdir(exist_ok=True)
            os.replace(staged, final)
        finally:
            staged.unlink(missing_ok=True)
    return None


# ── … from a local folder ──────────────────────────────────────────────────────────────────────────────
class _Folder:
    """Takes the files from a local folder, unpacked or as the archives."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise FetchError(
                f"{self.folder} is not a folder",
                "name a folder with HC_AH/, PD_AH/ (or their zips) and the workbook",
            )

    def bring(self, archive: Archive, wanted: dict, entries: pd.DataFrame, target: Path) -> list[str]:
        """Copy the ``wanted`` files of ``archive``; return what could not be had."""
        unpacked, packed = self.folder / (archive.folder or ""), self.folder / archive.name
        if archive.folder and not unpacked.is_dir() and packed.is_file():
            return unpack(packed, archive, wanted, entries, target)
        if archive.folder and unpacked.is_dir():
            known = _names(entries, archive)
            strange = sorted(
                p.name for p in unpacked.iterdir() if p.name not in known and not is_junk(p.name)
            )
            if strange:
                raise FetchError(
                    f"{archive.folder}/ in {self.folder} holds files that are not of this data set: "
                    f"{listed(strange)}",
                    "move them elsewhere and run the same command again",
                )
        problems = []
        for name, entry in wanted.items():
            path = unpacked / name
            if not path.is_file():
                problems.append(f"{entry.name} ({entry.file}): missing in {self.folder}")
                continue
            try:
                with path.open("rb") as file:
                    content = file.read(entry.size + 1)  # one more byte than there should be is already wrong
            except OSError as error:
                problems.append(f"{entry.name} ({entry.file}): cannot be read: {error.strerror}")
                continue
            problems.append(_settle(content, entry, target))
        return [problem for problem in problems if problem]


# ── … from an archive ──────────────────────────────────────────────────────────────────────────────────
def _unsafe(member: zipfile.ZipInfo) -> str | None:
    """Why ``member`` must not be unpacked, or None."""
    name = member.orig_filename.replace("\\", "/")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in name.split("/") or "\0" in name:
        return "leaves the folder"
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is packed otherwise than by deflate"  # others may ask for gigabytes before the first byte
    return "is encrypted" if member.flag_bits & 1 else None


def unpack(path: Path, archive: Archive, wanted: dict, entries: pd.DataFrame, target: Path) -> list[str]:
    """Unpack the ``wanted`` files of a zip into ``target``, whatever folders lie around them in the zip.

    A member's name only serves to look its registry entry up: where it is written, the registry says. No more
    bytes are unpacked than the registry allows, so an archive that unfolds without end does no harm.
    ``__MACOSX`` and names with a leading dot are passed over.

    Returns
    -------
    list of str
        What is wrong or missing; files that are right have been put in their place.

    Raises
    ------
    FetchError
        When ``path`` is no zip, or a member is unsafe, unexpected or there twice. Nothing is unpacked then.
    """
    shown, known = path.name, _names(entries, archive)
    members: dict[str, zipfile.ZipInfo] = {}
    refused = []
    try:
        with zipfile.ZipFile(path) as packed:
            for member in packed.infolist():
                label = member.orig_filename.replace("\0", "\\0")
                reason = _unsafe(member)
                name = PurePosixPath(member.filename.replace("\\", "/")).name
                if reason:
                    refused.append(f"{label} {reason}")
                elif name == "" or member.filename.endswith("/") or is_junk(member.filename):
                    continue
                elif name not in known:
                    refused.append(f"{label} is not of this data set")
                elif name in members:
                    refused.append(f"{label} is there twice")
                else:
                    members[name] = member
            if refused:
                raise FetchError(
                    f"{shown} is refused, nothing was unpacked from it: {listed(refused)}",
                    f"get the archive again, or unpack it by hand and run: python -m pdlib fetch --from DIR "
                    f"(the record is doi:{DOI})",
                )
            problems = [
                _unpack_one(packed, members.get(name), entry, target) for name, entry in wanted.items()
            ]
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, EOFError, struct.error) as error:
        raise FetchError(f"{shown} is not a zip archive: {error}", "get the archive again") from error
    return [f"{problem} in {shown}" for problem in problems if problem]


def _unpack_one(
    packed: zipfile.ZipFile, member: zipfile.ZipInfo | None, entry: object, target: Path
) -> str | None:
    label = f"{entry.name} ({entry.file})"
    if member is None:
        return f"{label}: missing"
    if member.file_size != entry.size:
        return f"{label}: {member.file_size} bytes instead of {entry.size}"
    try:
        with packed.open(member) as stream:
            content = stream.read(entry.size + 1)  # what the header promises need not be what comes
    except Exception as error:  # zipfile and zlib raise errors of many types for a damaged archive
        return f"{label}: cannot be unpacked: {error}"
    return _settle(content, entry, target)


# ── … from the server ──────────────────────────────────────────────────────────────────────────────────
class _Server:
    """Downloads the archives with pooch, which checks the md5, and unpacks them."""

    def __init__(self, base_url: str, progress: bool, timeout: tuple[float, float]) -> None:
        self.base_url, self.progress, self.timeout = base_url, progress, timeout

    def bring(self, archive: Archive, wanted: dict, entries: pd.DataFrame, target: Path) -> list[str]:
        """Download ``archive`` and settle its ``wanted`` files; return what could not be had."""
        path = self._download(archive, _workshop(target))
        if archive.folder:
            problems = unpack(path, archive, wanted, entries, target)
        else:
            problems = [p for p in (_settle(path.read_bytes(), e, target) for e in wanted.values()) if p]
        path.unlink(missing_ok=True)
        return problems

    def _download(self, archive: Archive, folder: Path) -> Path:
        import pooch

        pooch.get_logger().setLevel(logging.WARNING)
        part = folder / f"{archive.name}.part"
        downloader = ResumingDownloader(part, archive.name, self.progress, self.timeout)
        by_hand = f"or download the files of doi:{DOI} by hand and run: python -m pdlib fetch --from DIR"
        with paths.writing_errors(folder / archive.name):
            try:
                return Path(
                    pooch.retrieve(
                        archive.url(self.base_url),
                        known_hash=f"md5:{archive.md5}",
                        fname=archive.name,
                        path=folder,
                        downloader=downloader,
                    )
                )
            except requests.RequestException as error:
                kept = part.stat().st_size if part.exists() else 0
                raise FetchError(
                    f"{archive.name} could not be downloaded: {_network_reason(error)}",
                    f"run the same command again; it goes on from the {kept} bytes that have come; {by_hand}",
                ) from error
            except ValueError as error:  # pooch's word for a hash that does not match
                raise FetchError(
                    f"{archive.name} arrived with another md5 than {archive.md5}; it was thrown away",
                    f"run the same command again; {by_hand}: every recording is then checked by its sha256",
                ) from error


def _network_reason(error: Exception) -> str:
    """A network error in one sentence, without the library's inner names."""
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate was not accepted"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy refused the connection"
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return "the server did not answer in time"
    if isinstance(error, requests.exceptions.ReadTimeout):
        return "the server stopped sending"
    if isinstance(error, _Interrupted):
        return str(error)
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke in the middle"
    if "NameResolution" in str(error) or "getaddrinfo" in str(error):
        return "the server's name cannot be found (no network?)"
    if "timed out" in str(error):
        return "the server stopped sending"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "no connection to the server"
    return f"{type(error).__name__}: {error}"


class _Interrupted(requests.exceptions.ConnectionError):
    """A download that ended before its end."""


class ResumingDownloader:
    """A downloader for pooch that keeps what has come so far and asks the server for the rest only.

    Parameters
    ----------
    part : Path
        File of the bytes so far; it outlives a failed download and becomes the output of a finished one.
    name : str
        What the progress bar calls the file.
    progress : bool
        Show a bar.
    timeout : (float, float)
        Seconds to wait for a connection, and for the next bytes.
    attempts : int
        How often a broken connection is taken up again, as long as each attempt brought something.
    """

    def __init__(
        self, part: Path, name: str, progress: bool, timeout: tuple[float, float], attempts: int = 3
    ) -> None:
        self.part, self.name, self.progress, self.timeout = part, name, progress, timeout
        self.attempts = attempts

    def __call__(self, url: str, output_file: str, pooch: object = None, check_only: bool = False) -> None:
        """Download ``url`` to ``output_file``; pooch calls this and checks the hash afterwards."""
        for left in reversed(range(self.attempts)):
            before = self._have()
            try:
                self._continue(url, before)
                break
            except requests.RequestException:
                if not left or self._have() <= before:
                    raise
        os.replace(self.part, output_file)

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _continue(self, url: str, have: int) -> None:
        headers = {"Accept-Encoding": "identity"}  # a byte range of a compressed stream would be meaningless
        if have:
            headers["Range"] = f"bytes={have}-"
        with requests.get(url, headers=headers, stream=True, timeout=self.timeout) as answer:
            length, total = _content_range(answer.headers.get("Content-Range", ""))
            if answer.status_code == 416 and have:
                if total == have:
                    return  # everything had come before the last interruption
                self.part.unlink()  # the server holds another file than before
                return self._continue(url, 0)
            if answer.status_code == 206 and length == have:
                pass
            elif answer.status_code == 200:  # the server knows no ranges, or this is the first request
                have, declared = 0, answer.headers.get("Content-Length")
                total = int(declared) if declared else None
            else:
                raise FetchError(
                    f"{self.name}: the server answered {answer.status_code} {answer.reason or ''}".rstrip(),
                    f"try again later, or download the files of doi:{DOI} with a browser and run: "
                    "python -m pdlib fetch --from DIR",
                )
            self._save(answer, have, total)

    def _save(self, answer: object, have: int, total: int | None) -> None:
        bar = tqdm(
            total=total, initial=have, desc=self.name, unit="B", unit_scale=True, disable=not self.progress
        )
        with bar, self.part.open("ab" if have else "wb", buffering=0) as out:
            for chunk in answer.iter_content(_CHUNK):
                rest = memoryview(chunk)
                while rest:  # an unbuffered write may take less than it was given
                    rest = rest[out.write(rest) :]
                have += len(chunk)
                bar.update(len(chunk))
                if have > DOWNLOAD_LIMIT:
                    self.part.unlink()
                    raise FetchError(
                        f"{self.name}: the server sends more than {DOWNLOAD_LIMIT} bytes",
                        "this is another file",
                    )
        if total is not None and have != total:
            raise _Interrupted(f"the connection broke after {have} of {total} bytes")


def _content_range(header: str) -> tuple[int | None, int | None]:
    """First byte and total size in a ``Content-Range`` header; None for what it does not say."""
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", header.strip())
    if not match:
        return None, None
    first, total = match.groups()
    return int(first) if first else None, int(total) if total and total != "*" else None
