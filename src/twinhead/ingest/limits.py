"""What an image file may ask of its decoder, read from its structure before it is decoded.

A small file can claim a huge picture, or say little in so many pieces that decoding takes hours.
Pixels bound the memory; what is bounded here bounds the time. tests/test_hostile_images.py has a
file for each bound, docs/robustness.md what was measured.
"""

import re
import struct
from collections.abc import Iterator
from contextlib import suppress

from PIL import Image

from twinhead.errors import InputError

PIXELS = 2 * Image.MAX_IMAGE_PIXELS
"""Pillow refuses larger pictures before it decodes them; no inspection camera makes such."""
SIDE = 2**18
"""Pixels of the longer side: resizing a line takes more memory than the picture."""
BYTES = 6 * PIXELS
"""As many as the largest picture takes in three colours of 16 bits: 1 GiB."""
SCANS = 50
"""Of a JPEG: each goes through the whole picture, and encoders write some ten."""
ASIDE = 2**23
"""Bytes beside the picture (profiles, previews, text), which Pillow reads piece by piece."""
CHUNKS = 2**20
"""Of a PNG: eight times as many as libpng makes of the largest file."""
STRIPS = 2**18
"""Of a TIFF, and values of each of its tags: more than the rows of any picture."""
RUN_PIXELS = 2**22
"""Of a BMP in run lengths, which Pillow decodes in Python."""

JPEG, PNG, BMP = b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"BM"
"""How the files begin."""
_TIFF = {b"II*\0": "<", b"MM\0*": ">", b"II\0*": "<", b"MM*\0": ">", b"II+\0": "<", b"MM\0+": ">"}
_SOS, _EOI, _ALONE = 0xDA, 0xD9, {0x01, *range(0xD0, 0xD9)}
# Within the picture, 0 follows a byte 255 that is data; RST markers and padding mean nothing.
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_MARKER_BEHIND_DATA = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 322, 323
_FIRST_PRIVATE_TAG = 32_768
_INTEGERS = {1: "B", 3: "H", 4: "L", 16: "Q"}
_TEXT = {1, 2, 6, 7}
"""A TIFF tag's types that stay bytes; Pillow makes a Python object of each value of the others."""


def check(data: bytes) -> None:
    """Raise InputError, without the file's name, where its structure goes beyond the limits."""
    if len(data) > BYTES:
        raise InputError(f"more than {BYTES:,} bytes are not read")
    with suppress(struct.error, IndexError):  # it ends too early: the decoder says so
        if excess := _excess(data):
            raise InputError(excess)


def _excess(data: bytes) -> str | None:
    if data.startswith(JPEG):
        return _jpeg(data)
    if data.startswith(PNG):
        return _png(data)
    if data.startswith(BMP):
        return _bmp(data)
    return _tiff(data, _TIFF[data[:4]]) if data[:4] in _TIFF else None


def _jpeg(data: bytes) -> str | None:
    place, scans = 2, 0
    while (found := (_MARKER_BEHIND_DATA if scans else _MARKER).search(data, place)) is not None:
        place, marker = found.end(), data[found.end() - 1]
        if marker == _EOI:
            break
        if marker == _SOS:
            scans += 1
        if not scans and place > ASIDE:
            return _aside()
        if scans > SCANS:
            return f"a JPEG of more than {SCANS} scans is not read"
        if marker not in _ALONE:
            place += struct.unpack_from(">H", data, place)[0]
    return None


def _png(data: bytes) -> str | None:
    place, aside = len(PNG), 0
    for _ in range(CHUNKS):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind == b"IEND":
            return None
        # Frames of an animation but the first are passed over.
        aside += 0 if kind in (b"IDAT", b"fdAT") else length + 12
        if aside > ASIDE:
            return _aside() if aside <= len(data) else None  # else a length is wrong
        place += length + 12
    return f"a PNG of more than {CHUNKS:,} chunks is not read"


def _bmp(data: bytes) -> str | None:
    size, width, height, _planes, _bits, compression = struct.unpack_from("<IiiHHI", data, 14)
    # The oldest header, of 12 bytes, knows no compression; 1 and 2 are run lengths.
    if size < 40 or compression not in (1, 2):
        return None
    if abs(width * height) <= RUN_PIXELS and len(data) <= 2 * RUN_PIXELS:
        return None
    return f"a BMP in run lengths of more than {RUN_PIXELS:,} pixels is not read"


def _tiff(data: bytes, order: str) -> str | None:
    known = {}
    for tag, kind, count, value in _tags(data, order):
        if STRIPS < count <= len(data) and kind not in _TEXT and tag < _FIRST_PRIVATE_TAG:
            return f"a TIFF of more than {STRIPS:,} strips, tiles or values of a tag is not read"
        if kind in _INTEGERS:
            known.setdefault(tag, struct.unpack_from(order + _INTEGERS[kind], value)[0])
    # All tiles are decoded whole, also where they reach beyond the picture.
    across, down = (
        -(-known.get(side, 0) // max(known.get(tile, 1), 1)) * known.get(tile, 1)
        for side, tile in ((_WIDTH, _TILE_WIDTH), (_HEIGHT, _TILE_HEIGHT))
    )
    is_bomb = known.get(_WIDTH, 0) * known.get(_HEIGHT, 0) > PIXELS  # Pillow says so
    if across * down > 2 * PIXELS and not is_bomb:
        return f"a TIFF whose tiles have more than {2 * PIXELS:,} pixels is not read"
    return None


def _tags(data: bytes, order: str) -> Iterator[tuple[int, int, int, bytes]]:
    """The first picture's tags: number, type, how many values, and the value or its place."""
    big = data[2:4] in (b"+\0", b"\0+")
    first, number, entry = ("Q", "Q", "HHQ8s") if big else ("I", "H", "HHI4s")
    (place,) = struct.unpack_from(order + first, data, 8 if big else 4)
    (count,) = struct.unpack_from(order + number, data, place)
    place += struct.calcsize(order + number)
    for _ in range(min(count, STRIPS)):
        yield struct.unpack_from(order + entry, data, place)
        place += struct.calcsize(order + entry)


def _aside() -> str:
    return f"more than {ASIDE:,} bytes beside the picture are not read"
