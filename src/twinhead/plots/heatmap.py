"""A heat map laid over its photograph."""

from io import BytesIO

import numpy as np
from PIL import Image

from twinhead.plots import inferno

COLOURS = inferno.NAME
LONGEST = 1024
"""No side of a drawn heat map is longer; what is more than the network sees helps only the eye."""


def opacity(shown: np.ndarray) -> np.ndarray:
    """How much of the colour covers the grey photograph; shown: the heat, 0 to 1."""
    return 0.25 + 0.5 * shown


def png(photograph: np.ndarray, heat: np.ndarray, scale: float) -> bytes:
    """Return a PNG file of the photograph's size with the heat map over it.

    photograph: (height, width, 3), uint8. heat: (height, width) of any size, of
    the whole photograph: dark at 0 and below, brightest at `scale` and above.
    """
    height, width = photograph.shape[:2]
    small = Image.fromarray(heat.astype(np.float32))
    enlarged = small.resize((width, height), Image.Resampling.BILINEAR)
    shown = np.clip(np.asarray(enlarged) / scale, 0, 1)
    colour = inferno.colours(shown)
    grey, cover = photograph.mean(axis=2, keepdims=True), opacity(shown)[..., None]
    blended = Image.fromarray((grey * (1 - cover) + colour * cover).round().astype(np.uint8))
    file = BytesIO()
    blended.save(file, "PNG")
    return file.getvalue()
