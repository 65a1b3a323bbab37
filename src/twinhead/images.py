"""One image file, from a path or as bytes, decoded to what the network takes."""

import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from twinhead.errors import InputError

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

JPEG = b"\xff\xd8"
"""How a JPEG file begins."""
MAX_PIXELS = 2 * Image.MAX_IMAGE_PIXELS
"""Pillow refuses larger pictures before it decodes them; no inspection camera makes such."""


@dataclass(frozen=True)
class Photograph:
    pixels: np.ndarray
    """(size, size, 3), uint8, RGB."""
    width: int
    height: int
    mode: str


def contents(path: Path) -> bytes:
    """The bytes of a file. Raises InputError naming it if it can't be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from None


def read(path: Path, size: int) -> Photograph:
    """Decode an image file."""
    return decode(contents(path), path, size)


def decode(data: bytes, path: Path | str, size: int) -> Photograph:
    """Decode an image file's bytes and resize them to size × size, upright as its EXIF data asks.

    Grey and palette images become RGB, an alpha channel is dropped, 16 bits are scaled to 8, and of
    several frames the first is taken. Raises InputError naming `path` if they can't be decoded.
    """
    found, mode = upright(data, path)
    return Photograph(resized(found, size), *found.size, mode)


def upright(data: bytes, path: Path | str) -> tuple[Image.Image, str]:
    """Decode an image file's bytes to RGB in its own size; return the mode that it had, too."""
    found, mode = _decode(data, path)
    return _rgb(found, path), mode


def resized(found: Image.Image, size: int) -> np.ndarray:
    """(size, size, 3), uint8, RGB, from an RGB picture of any size."""
    return np.asarray(found.resize((size, size), Image.Resampling.BILINEAR))


def picture(data: bytes, name: Path | str, longest: int) -> np.ndarray:
    """Decode a file's bytes to look at: (height, width, 3), uint8, RGB, upright, not distorted.

    What is larger is made smaller, so that no side exceeds `longest`.
    """
    shown = _rgb(_decode(data, name)[0], name)
    shown.thumbnail((longest, longest), Image.Resampling.BOX)
    return np.asarray(shown)


def decode_mask(data: bytes, path: Path, size: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Return a mask as bool, (size, size), and its width and height in the file.

    True is where more than half of a pixel is defective.

    In the file all that isn't black counts, but of a JPEG, which blurs edges, only what is nearer
    to full scale. A defect too thin for the new size keeps every pixel that it touches.
    """
    picture = _decode(data, path)[0]
    if picture.mode in ("1", "L") or picture.mode.startswith("I"):
        values = np.asarray(picture.convert("L") if picture.mode == "1" else picture)
    else:
        values = np.asarray(_rgb(picture, path)).max(axis=2)
    marked = Image.fromarray(np.uint8(255) * (values > (127 if data.startswith(JPEG) else 0)))
    share = np.asarray(marked.resize((size, size), Image.Resampling.BOX))
    return share > 127 if (share > 127).any() else share > 0, picture.size


def _decode(data: bytes, path: Path | str) -> tuple[Image.Image, str]:
    try:
        picture = Image.open(BytesIO(data), formats=sorted(set(FORMATS.values())))
        picture.load()
        mode = picture.mode
        ImageOps.exif_transpose(picture, in_place=True)  # a copy would cost a millisecond
        return picture, mode
    except Image.DecompressionBombError:
        raise InputError(f"{path}: more than {MAX_PIXELS:,} pixels are not read") from None
    except Exception as error:  # Pillow's decoders raise many kinds, none of which names the file
        found = f"{len(data)} bytes; {str(error).split(chr(10))[0] or type(error).__name__}"
        if not data:
            found = "the file is empty"
        elif "cannot identify" in found:
            found = "not a PNG, JPEG, BMP or TIFF file, whatever its name says"
        raise InputError(f"{path}: can't be decoded ({found})") from None


def _rgb(picture: Image.Image, path: Path | str) -> Image.Image:
    if picture.mode.startswith("I"):
        # Pillow reads 16-bit grey as I;16 or, from some files, as 32-bit integers.
        values = np.asarray(picture)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise InputError(f"{path}: grey values beyond 16 bits")
        picture = Image.fromarray((values // 257).astype(np.uint8))
    elif picture.mode == "F":
        raise InputError(f"{path}: floating-point pixels; expected 8 or 16 bits")
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    try:
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    except ValueError:
        raise InputError(f"{path}: colours of kind {picture.mode}; expected grey or RGB") from None
