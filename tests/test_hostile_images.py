"""Image files that are broken, odd or meant to harm: read as they are, or refused in one line."""

import io
import os
import re
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY, environment
from PIL import Image

from twinhead.errors import InputError
from twinhead.ingest import images, limits

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")
COLOUR = (200, 100, 50)
NAME = "007.png"


def picture(width: int = 64, height: int = 32, mode: str = "RGB") -> Image.Image:
    """The left half in one colour, the right half black."""
    image = Image.new("RGB", (width, height))
    image.paste(COLOUR, (0, 0, width // 2, height))
    return image.convert(mode)


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(name + body))
    return struct.pack(">I", len(body)) + name + body + check


def png(width: int, height: int, rows: bytes = b"", depth: int = 8, colour: int = 0) -> bytes:
    """A PNG file in chunks that may be anything; `rows` are compressed."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    return limits.PNG + b"".join(chunk(*part) for part in parts)


def with_chunks(chunks: bytes) -> bytes:
    """They come before the picture."""
    return (whole := png(1, 1, bytes(2)))[:33] + chunks + whole[33:]


def scans(count: int, side: int = 64) -> bytes:
    """A progressive JPEG that refines its first scan again and again, in a few bytes each."""
    quantization = b"\xff\xdb" + struct.pack(">HB", 67, 0) + b"\1" * 64
    parts = b"".join(bytes([part, 0x11, 0]) for part in (1, 2, 3))
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 17, 8, side, side, 3) + parts
    codes = b"".join(
        b"\xff\xc4" + struct.pack(">HB", 20, table) + b"\1" + bytes(15) + bytes([code])
        for table, code in ((0x00, 0x00), (0x10, 0xE0))
    )
    first = b"\xff\xda" + struct.pack(">HB", 12, 3) + b"\1\0\2\0\3\0\0\0\0" + bytes(100)
    more = [
        b"\xff\xda" + struct.pack(">HB", 8, 1) + bytes([1 + scan % 3, 0, 1, 63, 0x10, 0, 0, 0, 0])
        for scan in range(count - 1)
    ]
    return limits.JPEG + quantization + frame + codes + first + b"".join(more) + b"\xff\xd9"


def run_lengths(width: int, height: int, body: bytes) -> bytes:
    size = 14 + 40 + 1024
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", size + len(body), 0, 0, size) + header + bytes(1024) + body


def tiff(width: int, height: int, tags: dict[int, list[int]], body: bytes) -> bytes:
    """An 8-bit grey TIFF, compressed with deflate; tags: 4-byte integers by number."""
    tags = {256: [width], 257: [height], 258: [8], 259: [8], 262: [1], 277: [1]} | tags
    begin = 8 + len(body)
    far, entries = begin + 2 + 12 * len(tags) + 4, b""
    values = b""
    for tag, given in sorted(tags.items()):
        packed = struct.pack(f"<{len(given)}I", *given)
        place = packed if len(given) == 1 else struct.pack("<I", far + len(values))
        entries += struct.pack("<HHI", tag, 4, len(given)) + place
        values += packed if len(given) > 1 else b""
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", begin) + body + directory + values


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(picture().transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif)


def animated(kind: str) -> bytes:
    others = [Image.new("RGB", (64, 32), "white")] * 2
    return encoded(picture(), kind, save_all=True, append_images=others)


def in_16_bits() -> bytes:
    row = b"\0" + b"".join(struct.pack(">3H", *(257 * value for value in COLOUR)) * 64 for _ in "1")
    return png(64, 32, row * 32, depth=16, colour=2)


READ = {
    "a JPEG that is called .png": (encoded(picture(), "JPEG", quality=95), "read as the JPEG"),
    "16 bits": (in_16_bits(), "read, scaled to 8"),
    "CMYK": (encoded(picture(mode="CMYK"), "JPEG", quality=95), "read as RGB"),
    "a palette": (encoded(picture(mode="P")), "read as RGB"),
    "grey with an alpha channel": (encoded(picture(mode="LA")), "read as RGB, without the alpha"),
    "an animation (APNG)": (animated("PNG"), "read: its first frame"),
    "a TIFF of several pages": (animated("TIFF"), "read: its first page"),
    "turned by EXIF": (turned(), "read upright"),
    "broken EXIF data": (
        encoded(picture(), "JPEG", quality=95, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"),
        "read as it lies",
    ),
    "one pixel wide": (encoded(picture(1, 500)), "read"),
    "one pixel": (encoded(picture(1, 1)), "read"),
}


@pytest.mark.parametrize("name", READ)
def test_an_odd_photograph_is_read(case, tmp_path, name):
    data, outcome = READ[name]
    (tmp_path / NAME).write_bytes(data)
    pixels = images.read(tmp_path / NAME, 16)
    assert pixels.shape == (16, 16, 3) and pixels.dtype == np.uint8
    if "pixel" not in name:
        colour = [124] * 3 if name.startswith("grey") else COLOUR
        assert np.abs(np.subtract(pixels[8, 2], colour)).max() < 20 or name == "16 bits"
    case("Images", name, outcome)


REFUSED: dict[str, Callable[[], bytes]] = {
    "zero bytes": lambda: b"",
    "text that is called .png": lambda: b"<html>not found</html>",
    "a PNG cut off": lambda: encoded(noise())[:2000],
    "a JPEG cut off": lambda: encoded(noise(), "JPEG")[:1000],
    "a TIFF cut off": lambda: encoded(noise(), "TIFF")[:2000],
    "a BMP cut off": lambda: encoded(noise(), "BMP")[:2000],
    "floating-point pixels": lambda: encoded(Image.new("F", (8, 8)), "TIFF"),
    "900 megapixels in 100 kB": lambda: png(30_000, 30_000, bytes(30_001 * 30_000 // 9)),
    "a line of 179 million pixels": lambda: png(178_956_970, 1),
    "a JPEG of a thousand scans": lambda: scans(1000),
    "a BMP in run lengths, 16 megapixels": lambda: run_lengths(4096, 4096, b"\1\0" * 1000),
    "a PNG of 700,000 private chunks": lambda: with_chunks(chunk(b"prIv", b"") * 700_000),
    "a PNG of 1.1 million empty pieces": lambda: with_chunks(chunk(b"IDAT", b"") * 1_100_000),
    "a PNG whose text unpacks to 100 megabytes": lambda: with_chunks(
        chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000), 9))
    ),
    "a TIFF of 300,000 strips": lambda: tiff(
        8, 300_000, {273: [8] * 300_000, 278: [1], 279: [9] * 300_000}, zlib.compress(bytes(8))
    ),
    "a TIFF with a tile of 676 megapixels": lambda: tiff(
        8, 8, {322: [26_000], 323: [26_000], 324: [8], 325: [9]}, zlib.compress(bytes(8))
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_broken_or_hostile_file_is_refused_in_one_line(case, tmp_path, name):
    (tmp_path / NAME).write_bytes(REFUSED[name]())
    said = refusal(lambda: images.read(tmp_path / NAME, 16), tmp_path)
    assert said == refusal(
        lambda: images.decode_mask(images.contents(tmp_path / NAME), tmp_path / NAME, 16), tmp_path
    )
    assert said == refusal(
        lambda: images.picture(images.contents(tmp_path / NAME), tmp_path / NAME, 16), tmp_path
    )
    # Packed, a file's size depends on the library that packs it.
    case("Images", name, f"refused: `{re.sub('[0-9]+ bytes; ', '… bytes; ', said)}`")


def refusal(read: Callable[[], object], tmp_path: Path) -> str:
    """The one line that refuses a file, which it begins with."""
    with pytest.raises(InputError) as caught:
        read()
    said = str(caught.value)
    assert said.startswith(f"{tmp_path}/") and said.isprintable()
    return said.replace(f"{tmp_path}/", "")


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(0)


def test_a_file_without_permission_is_refused(case, tmp_path):
    (tmp_path / NAME).write_bytes(encoded(picture()))
    (tmp_path / NAME).chmod(0)
    with as_nobody():
        said = refusal(lambda: images.read(tmp_path / NAME, 16), tmp_path)
    case("Images", "no permission to read", f"refused: `{said}`")


def fifo(file: Path) -> None:
    os.mkfifo(file.with_name("pipe"))
    file.symlink_to("pipe")


def listening(file: Path) -> None:
    os.chdir(file.parent)  # a socket's name has at most 107 bytes
    socket.socket(socket.AF_UNIX).bind("socket")
    file.symlink_to("socket")


NO_FILES: dict[str, Callable[[Path], None]] = {
    "a link that leads nowhere": lambda file: file.symlink_to("gone.png"),
    "links in a circle": lambda file: file.symlink_to(NAME),
    "a folder called .png": Path.mkdir,
    "a link to a FIFO": fifo,
    "a link to a socket": listening,
    "a link to a device": lambda file: file.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("name", NO_FILES)
def test_what_is_no_file_is_refused_without_waiting(case, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    NO_FILES[name](tmp_path / NAME)
    case(
        "Images", name, f"refused: `{refusal(lambda: images.read(tmp_path / NAME, 16), tmp_path)}`"
    )


def test_a_file_larger_than_any_picture_is_refused_without_being_read(case, tmp_path):
    with (tmp_path / NAME).open("wb") as file:
        file.truncate(4 * limits.BYTES)  # takes no room on the disk
    said = refusal(lambda: images.contents(tmp_path / NAME), tmp_path)
    case("Images", "a file of 4 GiB", f"refused: `{said}`")


def test_a_photograph_at_the_limits_is_read():
    tile = zlib.compress(bytes(2**22))
    for data in (
        scans(limits.SCANS),
        with_chunks(chunk(b"teXt", bytes(limits.ASIDE - 1000))),
        run_lengths(2048, 2048, (b"\xff\1" * 8 + b"\x08\1\0\0") * 2048),
        tiff(8, 4, {322: [2048], 323: [2048], 324: [8], 325: [len(tile)]}, tile),
    ):
        assert images.decode(data, "it", 16).shape == (16, 16, 3)


def test_a_preview_within_a_photograph_is_no_scan_of_it():
    """Cameras keep previews, JPEG files themselves, in a photograph's EXIF data and behind it."""
    preview = b"Exif\0\0" + b"\xff\xda" * 1000
    data = encoded(picture(), "JPEG", exif=preview) + b"\xff\xda" * 1000
    assert images.upright(data, "it")[0].width == 64


def test_only_our_line_is_written(tmp_path):
    """libtiff and Pillow's logger would write lines of their own, which name no file."""
    strips = {273: [8], 278: [8], 279: [4]}
    (tmp_path / "a.tif").write_bytes(tiff(8, 8, strips, b"none"))
    (tmp_path / "b.tif").write_bytes(tiff(8, 8, strips | {277: [99]}, b"none"))
    code = (
        "import sys; from twinhead.ingest import images\n"
        "for file in sys.argv[1:]:\n"
        "    try: images.read(file, 8)\n"
        "    except images.InputError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "a.tif", "b.tif"], cwd=tmp_path, capture_output=True,
        env=environment(PYTHONPATH=str(REPOSITORY / "src")), text=True, check=True,
    )  # fmt: skip
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["a.tif", "b.tif"]
    assert done.stderr == ""
