"""The downloader, against a real HTTP server, and the judge of a local copy."""

import hashlib
import http.server
import io
import os
import re
import shutil
import signal
import socket
import stat
import tempfile
import threading
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pdlib import data, paths
from pdlib.errors import DataError, FetchError, WriteError

FULL = Path("/dev/full")  # every write to it fails with "no space left on device"


# ── a small data set and its server ────────────────────────────────────────────────────────────────────
class Published:
    """A data set of four recordings and a workbook, with the archives a server would hold."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.files = {
            "HC_AH/AH_a.wav": rng.bytes(60_000),
            "HC_AH/AH_b.wav": rng.bytes(50_000),
            "PD_AH/AH_c.wav": rng.bytes(70_000),
            "PD_AH/AH_d.wav": rng.bytes(40_000),
            data.WORKBOOK: rng.bytes(5_000),
        }
        names = ("HC-01", "HC-02", "PD-01", "PD-02", "workbook")
        self.entries = pd.DataFrame(
            [
                (
                    name,
                    file,
                    len(content),
                    hashlib.sha256(content).hexdigest(),
                    "doi:none file 1",
                    "CC BY 4.0",
                )
                for name, (file, content) in zip(names, self.files.items(), strict=True)
            ],
            columns=list(data.COLUMNS),
        )
        self.held = {1: self.files[data.WORKBOOK], 2: self.zip("HC_AH"), 3: self.zip("PD_AH")}

    def members(self, folder: str) -> dict[str, bytes]:
        return {file: content for file, content in self.files.items() if file.startswith(f"{folder}/")}

    def zip(self, folder: str, extra: dict | None = None, without: str | None = None) -> bytes:
        members = {f: c for f, c in self.members(folder).items() if f != without}
        return zip_of({**members, **(extra or {})})

    @property
    def archives(self) -> tuple[data.Archive, ...]:
        named = ((1, data.WORKBOOK), (2, "HC_AH.zip"), (3, "PD_AH.zip"))
        return tuple(data.Archive(n, name, hashlib.md5(self.held[n]).hexdigest()) for n, name in named)

    def unpacked(self, folder: Path) -> Path:
        for file, content in self.files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(content)
        return folder

    def fetch(self, target: Path, **options) -> Path:
        options = {"progress": False, "timeout": (2.0, 5.0)} | options
        return data.fetch(target, archives=self.archives, entries=self.entries, **options)


def zip_of(members: dict) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return whole.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves ``server.held`` with byte ranges; ``server`` says how it is to misbehave."""

    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.log.append((self.path, asked))
        if server.status:
            self.send_error(server.status)
            return
        content = server.held[int(self.path.rsplit("/", 1)[1])]
        first = int(re.fullmatch(r"bytes=(\d+)-", asked).group(1)) if asked and server.ranges else 0
        if first >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        end = len(content) if server.most is None else first + server.most
        self.wfile.write(content[first:end])
        server.sent += len(content[first:end])
        if server.stall:
            time.sleep(server.stall)
        if server.interrupt and end < len(content):
            self.wfile.flush()
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)

    def log_message(self, *args):
        pass


@contextmanager
def serving(held: dict, **how):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.held, server.log, server.sent = held, [], 0
    server.ranges, server.most, server.status, server.stall, server.interrupt = True, None, None, 0, False
    for name, value in how.items():
        setattr(server, name, value)
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def published():
    return Published()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "raw"


def files_in(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def closed_port() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{sock.getsockname()[1]}"


# ── the whole way ──────────────────────────────────────────────────────────────────────────────────────
def test_a_fetch_leaves_exactly_the_published_files(published, target):
    with serving(published.held) as server:
        assert published.fetch(target, base_url=server.url) == target
    assert files_in(target) == published.files
    assert [p.name for p in target.iterdir() if p.name.startswith(".")] == []


def test_a_second_fetch_asks_the_server_for_nothing(published, target):
    with serving(published.held) as server:
        published.fetch(target, base_url=server.url)
        server.log.clear()
        published.fetch(target, base_url=server.url)
        assert server.log == []


def test_only_the_archive_of_a_lost_file_is_fetched_again(published, target):
    with serving(published.held) as server:
        published.fetch(target, base_url=server.url)
        (target / "PD_AH/AH_c.wav").unlink()
        server.log.clear()
        published.fetch(target, base_url=server.url)
        assert [path for path, _ in server.log] == ["/files/3"]
    assert files_in(target) == published.files


def test_a_damaged_file_in_the_target_is_replaced(published, target):
    with serving(published.held) as server:
        published.fetch(target, base_url=server.url)
        (target / "HC_AH/AH_a.wav").write_bytes(b"not a voice")
        published.fetch(target, base_url=server.url)
    assert files_in(target) == published.files


def test_an_extra_file_in_the_target_is_named_before_anything_is_fetched(published, target):
    (target / "HC_AH").mkdir(parents=True)
    (target / "HC_AH/mine.wav").write_bytes(b"x")
    with serving(published.held) as server:
        with pytest.raises(DataError, match="HC_AH/mine.wav"):
            published.fetch(target, base_url=server.url)
        assert server.log == []
    assert (target / "HC_AH/mine.wav").exists()


def test_the_bar_names_the_archive_and_can_be_switched_off(published, tmp_path, capsys):
    with serving(published.held) as server:
        published.fetch(tmp_path / "quiet", base_url=server.url)
        assert capsys.readouterr() == ("", "")
        published.fetch(tmp_path / "loud", base_url=server.url, progress=True)
        assert "HC_AH.zip" in capsys.readouterr().err


def test_two_fetches_at_once_download_each_archive_once(published, target):
    with serving(published.held, stall=0.1) as server:
        run = [
            threading.Thread(target=published.fetch, args=(target,), kwargs={"base_url": server.url})
            for _ in range(2)
        ]
        [thread.start() for thread in run]
        [thread.join() for thread in run]
        assert sorted(path for path, _ in server.log) == ["/files/1", "/files/2", "/files/3"]
    assert files_in(target) == published.files


# ── interruptions ──────────────────────────────────────────────────────────────────────────────────────
def test_a_broken_connection_is_taken_up_where_it_broke(published, target):
    with serving(published.held, most=60_000) as server:
        published.fetch(target, base_url=server.url)
        ranges = [asked for path, asked in server.log if path == "/files/2"]
        assert ranges[0] is None and all(re.fullmatch(r"bytes=[1-9]\d*-", asked) for asked in ranges[1:])
        assert len(ranges) == 2
    assert files_in(target) == published.files


def test_an_interrupted_download_goes_on_in_the_next_run(published, target):
    with serving(published.held, most=20_000) as server:
        with pytest.raises(FetchError, match=r"HC_AH.zip .* broke") as caught:
            published.fetch(target, base_url=server.url)
        part = target / ".partial/HC_AH.zip.part"
        kept = part.stat().st_size
        assert f"{kept} bytes" in caught.value.way_out
        assert part.read_bytes() == server.held[2][:kept] and kept > 40_000
        assert (target / data.WORKBOOK).read_bytes() == published.files[data.WORKBOOK]
        server.most, server.sent = None, 0
        server.log.clear()
        published.fetch(target, base_url=server.url)
        assert server.log[0] == ("/files/2", f"bytes={kept}-")
        assert server.sent == len(server.held[2]) - kept + len(server.held[3])
    assert files_in(target) == published.files


def test_a_server_without_ranges_is_asked_for_the_whole_again(published, target):
    with serving(published.held, most=20_000) as server:
        with pytest.raises(FetchError):
            published.fetch(target, base_url=server.url)
        server.most, server.ranges = None, False
        published.fetch(target, base_url=server.url)
    assert files_in(target) == published.files


def test_a_download_finished_just_before_the_interruption_is_not_repeated(published, target):
    (target / ".partial").mkdir(parents=True)
    (target / ".partial/HC_AH.zip.part").write_bytes(published.held[2])
    with serving(published.held) as server:
        published.fetch(target, base_url=server.url)
        assert server.sent == len(published.held[1]) + len(published.held[3])


def test_leftovers_longer_than_the_file_are_thrown_away(published, target):
    (target / ".partial").mkdir(parents=True)
    (target / ".partial/HC_AH.zip.part").write_bytes(b"x" * 10**6)
    with serving(published.held) as server:
        published.fetch(target, base_url=server.url)
    assert files_in(target) == published.files


def test_leftovers_of_another_file_are_found_by_the_md5_and_the_next_run_starts_anew(published, target):
    (target / ".partial").mkdir(parents=True)
    (target / ".partial/HC_AH.zip.part").write_bytes(b"x" * 1000)
    with serving(published.held) as server:
        with pytest.raises(FetchError, match=r"HC_AH.zip arrived with another md5"):
            published.fetch(target, base_url=server.url)
        published.fetch(target, base_url=server.url)
    assert files_in(target) == published.files


@pytest.fixture
def answering_ctrl_c():
    """A process started in the background ignores SIGINT; a person's does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("answering_ctrl_c")
def test_ctrl_c_in_a_download_says_so_and_the_next_run_goes_on(published, target):
    with serving(published.held, most=30_000, interrupt=True) as server:
        with pytest.raises(KeyboardInterrupt, match=r"HC_AH.zip.*run the same command again"):
            published.fetch(target, base_url=server.url)
        server.interrupt, server.most = False, None
        kept = (target / ".partial/HC_AH.zip.part").stat().st_size
        assert kept > 0 and (target / data.WORKBOOK).exists()
        server.log.clear()
        published.fetch(target, base_url=server.url)
        assert server.log[0] == ("/files/2", f"bytes={kept}-")
    assert files_in(target) == published.files


# ── a server that gives the wrong thing, or nothing ────────────────────────────────────────────────────
def test_a_wrong_md5_names_the_archive_and_lets_nothing_in(published, target):
    wrong = {**published.held, 2: b"<html>please sign in</html>"}
    with serving(wrong) as server:
        with pytest.raises(FetchError, match="HC_AH.zip arrived with another md5") as caught:
            published.fetch(target, base_url=server.url)
        assert "--from" in caught.value.way_out
        assert not (target / "HC_AH").exists()
        server.held = published.held
        published.fetch(target, base_url=server.url)
    assert files_in(target) == published.files


@pytest.mark.parametrize("status", [202, 403, 404, 500])
def test_an_answer_that_is_no_file_names_archive_and_status(published, target, status):
    with serving(published.held, status=status) as server:
        with pytest.raises(FetchError, match=rf"{data.WORKBOOK}.* {status}"):
            published.fetch(target, base_url=server.url)
        assert len(server.log) == 1, "one refusal must not become a storm of requests"


def test_no_server_is_a_clear_error_at_once(published, target):
    started = time.monotonic()
    with pytest.raises(FetchError, match="no connection to the server"):
        published.fetch(target, base_url=closed_port())
    assert time.monotonic() - started < 10


def test_a_server_that_falls_silent_is_given_up(published, target):
    with serving(published.held, most=0, stall=1.0) as server:
        with pytest.raises(FetchError, match="stopped sending"):
            published.fetch(target, base_url=server.url, timeout=(1.0, 0.2))
        assert len(server.log) == 1, "an attempt that brought nothing must not be repeated"


def test_a_server_that_sends_without_end_is_cut_off(published, target, monkeypatch):
    monkeypatch.setattr(data, "DOWNLOAD_LIMIT", 50_000)
    with serving(published.held) as server:
        with pytest.raises(FetchError, match="sends more than 50000 bytes"):
            published.fetch(target, base_url=server.url)


# ── archives ───────────────────────────────────────────────────────────────────────────────────────────
def changed(published: Published, archive: bytes) -> Published:
    """The same data set, its HC archive replaced (with an md5 that fits)."""
    published.held = {**published.held, 2: archive}
    return published


def test_a_wav_with_another_sha256_is_named_and_the_good_ones_are_kept(published, target):
    bad = bytearray(published.files["HC_AH/AH_b.wav"])
    bad[100] ^= 1
    whole = published.held
    changed(published, zip_of({**published.members("HC_AH"), "HC_AH/AH_b.wav": bytes(bad)}))
    with serving(published.held) as server:
        with pytest.raises(FetchError, match=r"HC-02 \(HC_AH/AH_b.wav\): wrong sha256"):
            published.fetch(target, base_url=server.url)
        assert set(files_in(target)) == set(published.files) - {"HC_AH/AH_b.wav"}
        published.held = server.held = whole
        published.fetch(target, base_url=server.url)
    assert files_in(target) == published.files


def test_a_wav_missing_from_the_archive_is_named(published, target):
    changed(published, published.zip("HC_AH", without="HC_AH/AH_a.wav"))
    with serving(published.held) as server:
        with pytest.raises(FetchError, match=r"HC-01 \(HC_AH/AH_a.wav\): missing in HC_AH.zip"):
            published.fetch(target, base_url=server.url)
    assert (target / "HC_AH/AH_b.wav").exists()


def test_an_unexpected_member_is_refused_by_name(published, target):
    changed(published, published.zip("HC_AH", extra={"HC_AH/run_me.py": b"print('hello')"}))
    with serving(published.held) as server:
        with pytest.raises(FetchError, match="HC_AH/run_me.py is not of this data set"):
            published.fetch(target, base_url=server.url)
    assert not (target / "HC_AH").exists()


@pytest.mark.parametrize(
    "name",
    ["../AH_a.wav", "HC_AH/../../AH_a.wav", "/AH_a.wav", "C:\\AH_a.wav", "..\\AH_a.wav", "C:AH_a.wav"],
)
def test_no_member_can_leave_the_target(published, target, name):
    before = set(target.parent.rglob("*"))
    changed(published, zip_of({name: published.files["HC_AH/AH_a.wav"]}))
    with serving(published.held) as server:
        with pytest.raises(FetchError, match="leaves the folder"):
            published.fetch(target, base_url=server.url)
    outside = {p for p in set(target.parent.rglob("*")) - before if target not in (p, *p.parents)}
    assert outside == set() and not (target / "HC_AH").exists()


def test_a_link_in_an_archive_is_refused(published, target):
    link = zipfile.ZipInfo("HC_AH/AH_a.wav")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    changed(published, zip_of({link: b"/etc/passwd"}))
    with serving(published.held) as server:
        with pytest.raises(FetchError, match="HC_AH/AH_a.wav is a link"):
            published.fetch(target, base_url=server.url)
    assert not (target / "HC_AH").exists()


def test_a_member_that_unfolds_without_end_is_not_unfolded(published, target):
    bomb = zip_of({**published.members("HC_AH"), "HC_AH/AH_a.wav": bytes(30_000_000)})
    changed(published, bomb)
    with serving(published.held) as server:
        with pytest.raises(FetchError, match=r"HC-01 .*30000000 bytes instead of 60000"):
            published.fetch(target, base_url=server.url)
    assert not (target / "HC_AH/AH_a.wav").exists() and (target / "HC_AH/AH_b.wav").exists()


def test_a_member_there_twice_is_refused(published, target):
    changed(published, published.zip("HC_AH", extra={"AH_a.wav": b"another"}))
    with serving(published.held) as server:
        with pytest.raises(FetchError, match="AH_a.wav is there twice"):
            published.fetch(target, base_url=server.url)


def test_a_damaged_member_is_named(published, target):
    archive = bytearray(published.held[2])
    archive[5_000] ^= 0xFF  # inside the first member's data
    changed(published, bytes(archive))
    with serving(published.held) as server:
        with pytest.raises(FetchError, match=r"HC-01 \(HC_AH/AH_a.wav\)"):
            published.fetch(target, base_url=server.url)
    assert (target / "HC_AH/AH_b.wav").exists() and not (target / "HC_AH/AH_a.wav").exists()


def test_an_archive_that_is_no_zip_is_named(published, target):
    changed(published, b"this is text")
    with serving(published.held) as server:
        with pytest.raises(FetchError, match="HC_AH.zip is not a zip archive"):
            published.fetch(target, base_url=server.url)


def test_folders_and_junk_of_the_packing_computer_do_no_harm(published, target):
    junk = {"__MACOSX/HC_AH/._AH_a.wav": b"x", "HC_AH/.DS_Store": b"x", "HC_AH/": b""}
    changed(published, published.zip("HC_AH", extra=junk))
    with serving(published.held) as server:
        published.fetch(target, base_url=server.url)
    assert files_in(target) == published.files


def test_an_archive_without_a_top_folder_is_accepted(published, target):
    flat = {Path(file).name: content for file, content in published.members("HC_AH").items()}
    changed(published, zip_of(flat))
    with serving(published.held) as server:
        published.fetch(target, base_url=server.url)
    assert files_in(target) == published.files


# ── disks and permissions ──────────────────────────────────────────────────────────────────────────────
@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full to fail a write on")
@pytest.mark.parametrize("place", ["HC_AH.zip.part", "staged"])
def test_a_full_disk_is_said_and_the_next_run_goes_on(published, target, place):
    (target / ".partial").mkdir(parents=True)
    (target / ".partial" / place).symlink_to(FULL)
    with serving(published.held) as server:
        with pytest.raises(WriteError, match="the disk is full") as caught:
            published.fetch(target, base_url=server.url)
        assert "free some space" in caught.value.way_out
        assert all(published.files[f] == c for f, c in files_in(target).items() if not f.startswith("."))
        (target / ".partial" / place).unlink(missing_ok=True)
        published.fetch(target, base_url=server.url)
    assert files_in(target) == published.files


@contextmanager
def powerless():
    """Drop root's power to write anywhere, for a permission to mean something."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="permissions of this kind are POSIX's")
def test_a_read_only_folder_is_named(published):
    folder = Path(tempfile.mkdtemp())
    try:
        target = folder / "raw"
        target.mkdir()
        target.chmod(0o555)
        folder.chmod(0o555)
        with serving(published.held) as server, powerless():
            with pytest.raises(WriteError, match=r"raw.*no permission to write there"):
                published.fetch(target, base_url=server.url)
        assert server.log == []
    finally:
        folder.chmod(0o755)
        target.chmod(0o755)
        shutil.rmtree(folder)


def test_a_target_that_is_a_file_is_named(published, tmp_path):
    (tmp_path / "raw").write_text("I am a file")
    with pytest.raises(WriteError, match="raw"):
        published.fetch(tmp_path / "raw", base_url=closed_port())


# ── from a local folder ────────────────────────────────────────────────────────────────────────────────
def test_a_local_folder_is_copied_and_checked(published, tmp_path, target):
    source = published.unpacked(tmp_path / "usb")
    (source / "README.txt").write_text("beside the data, not of it")
    (source / "HC_AH/.DS_Store").write_bytes(b"x")
    assert published.fetch(target, source=source) == target
    assert files_in(target) == published.files


def test_local_archives_are_unpacked_whatever_their_own_md5(published, tmp_path, target):
    source = tmp_path / "usb"
    source.mkdir()
    (source / data.WORKBOOK).write_bytes(published.held[1])
    (source / "HC_AH.zip").write_bytes(published.zip("HC_AH", extra={".DS_Store": b"packed again"}))
    (source / "PD_AH.zip").write_bytes(published.held[3])
    published.fetch(target, source=source)
    assert files_in(target) == published.files


def test_a_local_copy_with_wrong_and_missing_files_names_all_and_keeps_the_rest(published, tmp_path, target):
    source = published.unpacked(tmp_path / "usb")
    (source / "HC_AH/AH_a.wav").write_bytes(b"short")
    (source / "PD_AH/AH_d.wav").unlink()
    with pytest.raises(FetchError) as caught:
        published.fetch(target, source=source)
    assert "HC-01 (HC_AH/AH_a.wav): wrong sha256" in caught.value.problem
    assert "PD-02 (PD_AH/AH_d.wav): missing" in caught.value.problem
    assert set(files_in(target)) == {"HC_AH/AH_b.wav", "PD_AH/AH_c.wav", data.WORKBOOK}
    published.unpacked(source)
    published.fetch(target, source=source)
    assert files_in(target) == published.files


def test_a_local_copy_with_a_stranger_names_it(published, tmp_path, target):
    source = published.unpacked(tmp_path / "usb")
    (source / "PD_AH/AH_e.wav").write_bytes(b"x")
    with pytest.raises(FetchError, match="AH_e.wav"):
        published.fetch(target, source=source)


def test_a_local_source_that_is_no_folder_is_named(published, tmp_path, target):
    with pytest.raises(FetchError, match="nowhere is not a folder"):
        published.fetch(target, source=tmp_path / "nowhere")


# ── judging a copy ─────────────────────────────────────────────────────────────────────────────────────
def test_verify_names_every_wrong_missing_and_extra_file(published, tmp_path):
    folder = published.unpacked(tmp_path / "copy")
    data.verify(folder, published.entries)
    (folder / "HC_AH/AH_a.wav").write_bytes(b"wrong")
    (folder / "HC_AH/AH_b.wav").unlink()
    (folder / "PD_AH/AH_x.wav").write_bytes(b"extra")
    (folder / "PD_old").mkdir()
    with pytest.raises(DataError) as caught:
        data.verify(folder, published.entries)
    message = caught.value.problem
    assert "wrong content: HC-01 (HC_AH/AH_a.wav)" in message
    assert "missing: HC-02 (HC_AH/AH_b.wav)" in message
    assert "not of this data set: PD_AH/AH_x.wav, PD_old/" in message


def test_verify_notices_a_change_after_it_was_content(published, tmp_path):
    folder = published.unpacked(tmp_path / "copy")
    data.verify(folder, published.entries)
    path = folder / "HC_AH/AH_a.wav"
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataError, match="HC-01"):
        data.verify(folder, published.entries)


def test_verify_reads_the_files_once_per_process(published, tmp_path, monkeypatch):
    folder = published.unpacked(tmp_path / "copy")
    read = []
    monkeypatch.setattr(
        data, "sha256_of", lambda path, real=data.sha256_of: (read.append(path), real(path))[1]
    )
    data.verify(folder, published.entries)
    data.verify(folder, published.entries)
    assert len(read) == len(published.files)


def test_find_local_never_passes_over_a_wrong_pdlib_data(tmp_path, monkeypatch):
    monkeypatch.setenv("PDLIB_DATA", str(tmp_path))
    with pytest.raises(DataError, match="PDLIB_DATA.*missing: HC-01"):
        data.find_local()
    monkeypatch.setenv("PDLIB_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="PDLIB_DATA.*nowhere is not a folder"):
        data.find_local()


def test_find_local_takes_only_a_whole_copy(published, tmp_path, monkeypatch):
    monkeypatch.delenv("PDLIB_DATA", raising=False)
    monkeypatch.setattr(paths, "RAW", tmp_path / "raw")
    monkeypatch.setattr(data, "registry", lambda: published.entries)
    assert data.find_local() is None
    published.unpacked(tmp_path / "raw")
    assert data.find_local() == tmp_path / "raw"
    (tmp_path / "raw/HC_AH/AH_a.wav").unlink()
    assert data.find_local() is None


# ── the registry itself ────────────────────────────────────────────────────────────────────────────────
def test_the_registry_names_41_and_40_recordings_by_sorted_file_name():
    entries = data.registry()
    for label, number in (("HC", 41), ("PD", 40)):
        own = entries[entries["name"].str.startswith(label)]
        assert own["name"].tolist() == [f"{label}-{i:02d}" for i in range(1, number + 1)]
        assert own["file"].tolist() == sorted(own["file"])
        assert own["file"].str.fullmatch(rf"{label}_AH/AH_[^/]+\.wav").all()
    assert entries["name"].iloc[-1] == "workbook" and len(entries) == 82


def test_every_registered_file_comes_from_the_one_archive_its_source_names():
    for entry in data.registry().itertuples():
        (archive,) = [a for a in data.ARCHIVES if a.holds(entry.file)]
        assert entry.source == f"doi:{data.DOI} file {archive.number}"
        assert entry.licence == "CC BY 4.0"
    assert data.ARCHIVES[0].url("http://here/") == "http://here/files/41836707"


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ("HC-01,../AH.wav,5," + "0" * 64 + ",s,l", "line 2"),
        ("HC-01,/AH.wav,5," + "0" * 64 + ",s,l", "line 2"),
        ("HC-01,AH.wav,five," + "0" * 64 + ",s,l", "line 2"),
        ("HC-01,AH.wav,5,abc,s,l", "line 2"),
        ("HC-01,AH.wav", "line 2"),
        ("HC-01,A.wav,5," + "0" * 64 + ",s,l\nHC-01,B.wav,5," + "1" * 64 + ",s,l", "name of HC-01.* twice"),
        ("HC-01,A.wav,5," + "0" * 64 + ",s,l\nHC-02,B.wav,5," + "0" * 64 + ",s,l", "sha256 of HC-02.* twice"),
    ],
)
def test_a_broken_registry_is_refused(tmp_path, row, match):
    path = tmp_path / "registry.csv"
    path.write_text(",".join(data.COLUMNS) + "\n" + row + "\n")
    with pytest.raises(DataError, match=match):
        data.registry(path)


def test_a_missing_or_foreign_registry_is_refused(tmp_path):
    with pytest.raises(DataError, match="registry.csv"):
        data.registry(tmp_path / "registry.csv")
    (tmp_path / "registry.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="columns name, file"):
        data.registry(tmp_path / "registry.csv")


@pytest.mark.real
def test_the_real_copy_is_the_registered_one(real_cohort):
    folder = Path(os.environ["PDLIB_DATA"])
    assert not data.differences(folder)
    assert hashlib.md5((folder / data.WORKBOOK).read_bytes()).hexdigest() == data.ARCHIVES[0].md5
