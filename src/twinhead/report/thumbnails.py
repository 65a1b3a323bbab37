"""Photographs and figures, small enough to be embedded in the page."""

import base64
import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from twinhead.dataset.store import Store

SIDE = 176
"""Pixels a side of a photograph in a gallery: some 8 kB."""
OVERLAY_WIDTH = 900
SHEET_PIXELS = 13_000_000
"""At most so many in a sheet: 5,354 photographs of 48 × 48, which take some 3 MB."""
SHEET_SIDES = (96, 80, 64, 48, 32)
"""Whole blocks of a JPEG, so that neighbours on a sheet don't run into each other."""


def photograph(image: np.ndarray) -> str:
    """Return an image, (size, size, 3), uint8, as a data URI of SIDE pixels a side at most."""
    return _jpeg(_small(image, min(SIDE, len(image))), quality=75)


def sheet(images: Store | np.ndarray, rows: Sequence[int]) -> tuple[str, int, int]:
    """Return these images side by side as one picture: data URI, pixels a side, columns.

    A picture for each would have a header for each, and be three times as large.
    """
    fitting = [side for side in SHEET_SIDES if side * side * len(rows) <= SHEET_PIXELS]
    side, columns = (*fitting, SHEET_SIDES[-1])[0], math.ceil(math.sqrt(len(rows)))
    whole = Image.new("RGB", (side * columns, side * -(-len(rows) // columns)))
    for place, row in enumerate(rows):
        at = (side * (place % columns), side * (place // columns))
        whole.paste(_small(images[row], side), at)
    return _jpeg(whole, quality=60), side, columns


def overlay(file: Path) -> str:
    """Return a figure with photographs as a data URI; JPEG takes a tenth of its bytes."""
    with Image.open(file) as figure:
        shown = figure.convert("RGB")
    width = min(OVERLAY_WIDTH, shown.width)
    height = max(1, round(shown.height * width / shown.width))
    return _jpeg(shown.resize((width, height), Image.Resampling.LANCZOS), quality=78)


def chart(file: Path) -> str:
    """Return a figure of lines and text as a data URI, as it is."""
    return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"


def _small(image: np.ndarray, side: int) -> Image.Image:
    whole = Image.fromarray(np.asarray(image))
    return whole.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=2)


def _jpeg(image: Image.Image, quality: int) -> str:
    written = BytesIO()
    image.save(written, "JPEG", quality=quality, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode()}"
