"""One image file, from a path or as bytes, decoded to what the network takes."""

import ctypes
import logging
import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageOps, UnidentifiedImageError

from twinhead import regular_file
from twinhead.errors import InputError
from twinhead.ingest import limits

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
# Pillow remarks on odd files that it reads all the same. Said here once: threads decode.
warnings.filterwarnings("ignore", module="PIL")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Pillow and libtiff would write remarks of their own to stderr, beside the line with the file.
logging.getLogger("PIL").setLevel(logging.CRITICAL)
os.environ.setdefault("LIBTIFF_JPEG_MAX_ALLOWED_SCAN_NUMBER", str(limits.SCANS))
with suppress(AttributeError, OSError):  # a Pillow that was built in another way
    ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)

DEPTHS, FULL_DEPTH = (10, 12), 16
"""Bits of grey values within 16 that industrial cameras use."""
USED = " bits used"
"""How the mode of such a photograph ends."""
BROKEN = (
    ArithmeticError, LookupError, OSError, SyntaxError, TypeError, ValueError, struct.error
)  # fmt: skip
"""What Pillow raises of EXIF data that it can't read."""


def contents(path: Path) -> bytes:
    """The bytes of a file. Raises InputError naming it if it can't be read, or is no file."""
    return regular_file.read(path, limits.BYTES)


def read(path: Path, size: int) -> np.ndarray:
    """Decode an image file, as `decode` does its bytes."""
    return decode(contents(path), path, size)


def decode(data: bytes, path: Path | str, size: int) -> np.ndarray:
    """Decode an image file's bytes: (size, size, 3), uint8, RGB, upright as its EXIF data asks.

    Grey and palette images become RGB, an alpha channel is dropped, 16 bits are scaled to 8, and of
    several frames the first is taken. Raises InputError naming `path` if they can't be decoded, or
    if that would take too much time or memory.
    """
    return resized(upright(data, path)[0], size)


def upright(data: bytes, path: Path | str) -> tuple[Image.Image, str]:
    """Decode an image file's bytes to RGB in its own size; return the mode that it had, too.

    Raises InputError as `decode` does.
    """
    with _refusing(data, path):
        found, mode = _decode(data)
        if (bits := _depth(found)) < FULL_DEPTH:
            mode = f"{mode}, {bits}{USED}"
        return _rgb(found), mode


def resized(found: Image.Image, size: int) -> np.ndarray:
    """(size, size, 3), uint8, RGB, from an RGB picture of any size."""
    return np.asarray(found.resize((size, size), Image.Resampling.BILINEAR))


def picture(data: bytes, name: Path | str, longest: int) -> np.ndarray:
    """Decode a file's bytes to look at: (height, width, 3), uint8, RGB, upright, not distorted.

    What is larger is made smaller, so that no side exceeds `longest`. Raises InputError as `decode`
    does.
    """
    with _refusing(data, name):
        shown = _rgb(_decode(data)[0])
        shown.thumbnail((longest, longest), Image.Resampling.BOX)
        return np.asarray(shown)


def decode_mask(data: bytes, path: Path | str, size: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Return a mask as bool, (size, size), and its width and height in the file.

    True is where more than half of a pixel is defective.

    In the file all that isn't black counts, but of a JPEG, which blurs edges, only what is nearer
    to full scale. A defect too thin for the new size keeps every pixel that it touches. Raises
    InputError as `decode` does.
    """
    with _refusing(data, path):
        picture = _decode(data)[0]
        if picture.mode in ("1", "L") or picture.mode.startswith("I"):
            values = np.asarray(picture.convert("L") if picture.mode == "1" else picture)
        else:
            red, green, blue = _rgb(picture).split()
            values = np.asarray(ImageChops.lighter(ImageChops.lighter(red, green), blue))
        least = 127 if data.startswith(limits.JPEG) else 0
        marked = Image.fromarray(np.uint8(255) * (values > least))
        share = np.asarray(marked.resize((size, size), Image.Resampling.BOX))
        marks = share > 127 if (share > 127).any() else share > 0
        return marks, picture.size


@contextmanager
def _refusing(data: bytes, path: Path | str) -> Iterator[None]:
    """Say of whatever goes wrong which file it was, in one line."""
    try:
        limits.check(data)
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Image.DecompressionBombError:
        raise InputError(f"{path}: more than {limits.PIXELS:,} pixels are not read") from None
    except MemoryError:
        raise  # the machine's trouble, not the file's: it must not be skipped
    except Exception as error:  # Pillow's decoders raise many kinds, none of which names the file
        fault = "".join(filter(str.isprintable, str(error).partition("\n")[0]))
        found = f"{len(data)} bytes; {fault or type(error).__name__}"
        if not data:
            found = "the file is empty"
        elif isinstance(error, UnidentifiedImageError):
            found = "not a PNG, JPEG, BMP or TIFF file, whatever its name says"
        raise InputError(f"{path}: can't be decoded ({found})") from None


def _decode(data: bytes) -> tuple[Image.Image, str]:
    picture = Image.open(BytesIO(data), formats=sorted(set(FORMATS.values())))
    if max(picture.size) > limits.SIDE:
        raise InputError(f"sides of more than {limits.SIDE:,} pixels are not read")
    picture.load()
    mode = picture.mode
    with suppress(*BROKEN):  # EXIF data that can't be read says nothing; the picture is whole
        ImageOps.exif_transpose(picture, in_place=True)  # a copy would cost a millisecond
    return picture, mode


def _depth(picture: Image.Image) -> int:
    """The bits that a picture's values use: 10 or 12 of an industrial camera's 16, or 16.

    Such cameras (Mono10, Mono12) write their grey values into 16 bits as they are; read as full 16
    bits, four grey levels were left of 1,024.
    """
    if not picture.mode.startswith("I"):
        return FULL_DEPTH
    largest = int(np.asarray(picture).max(initial=0))
    return next((bits for bits in DEPTHS if largest < 2**bits), FULL_DEPTH)


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        # Pillow reads 16-bit grey as I;16 or, from some files, as 32-bit integers.
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65535:
            raise InputError("grey values beyond 16 bits")
        largest = 2 ** _depth(picture) - 1
        picture = Image.fromarray((values.astype(np.uint32) * 255 // largest).astype(np.uint8))
    elif picture.mode == "F":
        raise InputError("floating-point pixels; expected 8 or 16 bits")
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    try:
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    except ValueError:
        raise InputError(f"colours of kind {picture.mode}; expected grey or RGB") from None
