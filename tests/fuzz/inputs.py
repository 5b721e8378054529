"""What is fed to the targets: small valid seeds, and ways to spoil them that hypothesis can draw and shrink."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache

from hypothesis import strategies as st

_SIZES = (
    0,
    1,
    2,
    7,
    255,
    256,
    65535,
    65536,
    2**20,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**63 - 1,
    2**64 - 1,
)
#: Pieces that mean something to one of the readers.
TOKENS = (
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\xff",
    b'"',
    b"'",
    b",",
    b";",
    b"\t",
    b"\n",
    b"\r",
    b"\r\n",
    b"=1+1",
    b"@SUM(A1)",
    b"nan",
    b"inf",
    b"-inf",
    b"1e999",
    b"-1",
    b"0",
    b"9" * 30,
    b"9" * 400,
    b"9" * 5000,
    b"1_0",
    "²".encode(),
    "٣".encode(),
    "é".encode(),
    "\u2028".encode(),
    b"None",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"[",
    b"{",
    b"../../x",
    b"/etc/passwd",
    b"con",
    b"~",
    b"~nobody",
    b"x" * 5000,
    b"<!ENTITY a 'b'>",
    b"&a;",
    b"*a",
    b"&a ",
    b"!!python/object/apply:os.mkdir ['../tripped']",
    b"!!timestamp x",
    b"!!bool x",
    b"!!binary x",
    b"<<: ",
    b"? ",
    b"\x1b[31m",
    b"[red]",
    b"</script>",
    b"%s%n",
    b"{0.__class__}",
)


def _flip(content: bytes, place: int, value: int) -> bytes:
    if not content:
        return bytes([value & 255])
    at = place % len(content)
    return content[:at] + bytes([content[at] ^ (value & 255 or 1)]) + content[at + 1 :]


def _truncate(content: bytes, place: int, value: int) -> bytes:
    return content[: place % (len(content) + 1)]


def _cut_out(content: bytes, place: int, value: int) -> bytes:
    at = place % (len(content) + 1)
    return content[:at] + content[at + value % 64 + 1 :]


def _double(content: bytes, place: int, value: int) -> bytes:
    at, size = place % (len(content) + 1), value % 256 + 1
    return content[: at + size] + content[at:]


def _token(content: bytes, place: int, value: int) -> bytes:
    at = place % (len(content) + 1)
    return content[:at] + TOKENS[value % len(TOKENS)] + content[at:]


def _number(content: bytes, place: int, value: int) -> bytes:
    """An extreme number over 2, 4 or 8 bytes: the sizes, counts and offsets of a header."""
    width = (2, 4, 8)[value % 3]
    number = _SIZES[value // 3 % len(_SIZES)] % 2 ** (8 * width)
    order = "little" if value % 2 else "big"
    at = place % (len(content) + 1)
    return content[:at] + number.to_bytes(width, order) + content[at + width :]


def _early_number(content: bytes, place: int, value: int) -> bytes:
    return _number(content, place % 96, value)


def _append(content: bytes, place: int, value: int) -> bytes:
    return content + bytes([value & 255]) * (place % 4096)


def _wide(content: bytes, place: int, value: int) -> bytes:
    try:
        return content.decode("utf-8").encode(
            ("utf-16", "utf-16-le", "utf-8-sig", "utf-32", "latin-1")[value % 5]
        )
    except (UnicodeDecodeError, UnicodeEncodeError):
        return content


_WAYS = (_flip, _early_number, _number, _truncate, _token, _cut_out, _double, _append, _wide)
_TEXT_WAYS = (_token, _flip, _cut_out, _double, _truncate, _wide)


def mutated(seeds: Sequence[bytes], *, text: bool = False, most: int = 4) -> st.SearchStrategy[bytes]:
    """One of the seeds, spoilt in up to ``most`` places; two of them spliced now and then."""
    ways = _TEXT_WAYS if text else _WAYS
    seeds = tuple(seeds)
    change = st.tuples(st.integers(0, len(ways) - 1), st.integers(0, 2**20 - 1), st.integers(0, 2**12 - 1))
    drawn = st.tuples(
        st.integers(0, len(seeds) - 1),
        st.lists(change, max_size=most),
        st.one_of(
            st.none(),
            st.none(),
            st.none(),
            st.tuples(st.integers(0, len(seeds) - 1), st.integers(0, 2**20 - 1)),
        ),
    )

    def made(values: tuple) -> bytes:
        seed, changes, splice = values
        content = seeds[seed]
        if splice is not None:
            other, at = seeds[splice[0]], splice[1]
            content = content[: at % (len(content) + 1)] + other[at % (len(other) + 1) :]
        for way, place, value in changes:
            content = ways[way](content, place, value)
        return content

    return drawn.map(made)


# ── sounds ─────────────────────────────────────────────────────────────────────────────────────────────
@lru_cache(maxsize=1)
def voice():
    """2.5 s of a synthetic voice at 8 kHz."""
    from pdlib.synthetic import synthetic_voice

    return synthetic_voice(3, 0).samples[:20000].astype("float32")


def wav(
    samples: bytes,
    *,
    format_tag: int = 3,
    channels: int = 1,
    rate: int = 8000,
    bits: int = 32,
    riff: int | None = None,
    data: int | None = None,
    block: int | None = None,
    extra: bytes = b"",
) -> bytes:
    """A WAV whose header says whatever it is told to."""
    block = channels * bits // 8 if block is None else block
    fmt = struct.pack(
        "<HHIIHH",
        format_tag,
        channels & 0xFFFF,
        rate & 0xFFFFFFFF,
        rate * block & 0xFFFFFFFF,
        block & 0xFFFF,
        bits & 0xFFFF,
    )
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + extra
    body += b"data" + struct.pack("<I", len(samples) if data is None else data & 0xFFFFFFFF) + samples
    return b"RIFF" + struct.pack("<I", len(body) if riff is None else riff & 0xFFFFFFFF) + body


def flac_header(frames: int, rate: int, channels: int, bits: int = 16, rest: bytes = b"") -> bytes:
    """A FLAC that promises so many samples, and whatever frames are given."""
    packed = (rate << 44) | ((channels - 1) << 41) | ((bits - 1) << 36) | frames
    info = struct.pack(">HH", 4096, 4096) + b"\0" * 6 + packed.to_bytes(8, "big") + b"\0" * 16
    return b"fLaC" + b"\x80" + len(info).to_bytes(3, "big") + info + rest
