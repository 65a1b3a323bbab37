"""Heat maps in the size of their photographs."""

import numpy as np
from PIL import Image


def enlarged(heat: np.ndarray, size: int) -> np.ndarray:
    """A heat map for each pixel of a square: (size, size), float32; bilinear."""
    if heat.shape == (size, size):
        return heat
    picture = Image.fromarray(heat.astype(np.float32))
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))
