"""Procedural noise whose random draws don't depend on the image size: a picture keeps its look."""

import numpy as np
from PIL import Image

Array = np.ndarray


def near(rng: np.random.Generator, spread: float) -> tuple[float, float]:
    """Return a point near the centre: how exactly a part is laid under the camera."""
    return rng.normal(0, spread), rng.normal(0, spread)


def resize(field: Array, size: int) -> Array:
    """Resample a float field to (size, size) float32, bicubic."""
    picture = Image.fromarray(np.ascontiguousarray(field, dtype=np.float32))
    return np.array(picture.resize((size, size), Image.Resampling.BICUBIC))


def smooth_noise(
    rng: np.random.Generator, size: int, cells: int | tuple[int, int], octaves: int = 1
) -> Array:
    """Return (size, size) float32 noise of about unit deviation, `cells` (down, across) per image.

    Each octave doubles the cells and halves the strength.
    """
    down, across = (cells, cells) if isinstance(cells, int) else cells
    field, strength = np.zeros((size, size), np.float32), 1.0
    for _ in range(octaves):
        field += strength * resize(rng.standard_normal((down, across), np.float32), size)
        down, across, strength = 2 * down, 2 * across, strength / 2
    return field


def ring_noise(rng: np.random.Generator, angle: Array, detail: int) -> Array:
    """Return noise in about [-1, 1] that runs round a circle; angle in radians, any shape."""
    steps = np.linspace(0, 2 * np.pi, 2048, endpoint=False)
    table = np.zeros(2048)
    for wave in range(1, detail + 1):
        table += rng.normal() * np.cos(wave * steps + rng.uniform(0, 2 * np.pi))
    table /= max(abs(table).max(), 1e-6)
    turns = np.asarray(angle, np.float32) * np.float32(2048 / (2 * np.pi))
    return table.astype(np.float32)[turns.astype(np.int32) % 2048]


def cell_noise(rng: np.random.Generator, size: int, cells: int) -> tuple[Array, Array]:
    """Return Worley noise: the distance to the nearest point, and by how much the next is farther.

    Both (size, size) float32 in cell widths; each of cells × cells holds one random point.
    """
    drawn = min(size, 512)  # the field is smooth: at 1024 px half the resolution looks the same
    jitter = rng.random((2, cells + 3, cells + 3), np.float32)
    axis = (np.arange(drawn, dtype=np.float32) + 0.5) * (cells / drawn)
    base, part = axis.astype(int), axis % 1
    first = np.full((drawn, drawn), 9, np.float32)
    second = first.copy()
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            rows, columns = base[:, None] + 1 + down, base[None, :] + 1 + across
            far = (jitter[0][rows, columns] + (down - part)[:, None]) ** 2
            far += (jitter[1][rows, columns] + (across - part)[None, :]) ** 2
            second = np.minimum(second, np.maximum(first, far))
            first = np.minimum(first, far)
    nearest = np.sqrt(first)
    return resize(nearest, size), resize(np.sqrt(second) - nearest, size)
