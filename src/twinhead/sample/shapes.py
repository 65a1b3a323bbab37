"""The geometry every category is drawn with; the image spans [-1, 1] in x (right) and y (down)."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw
from scipy.interpolate import PchipInterpolator

Array = np.ndarray
Colour = tuple[float, float, float]
Point = tuple[float, float]

# Strokes of the letters that are printed and embossed, in a box 0.6 wide and 1 high.
GLYPHS: dict[str, list[list[Point]]] = {
    "F": [[(0, 1), (0, 0), (0.6, 0)], [(0, 0.48), (0.48, 0.48)]],
    "0": [
        [
            (0.18, 0),
            (0.42, 0),
            (0.58, 0.2),
            (0.58, 0.8),
            (0.42, 1),
            (0.18, 1),
            (0.02, 0.8),
            (0.02, 0.2),
            (0.18, 0),
            (0.3, 0),
        ]
    ],
    "5": [
        [
            (0.56, 0),
            (0.06, 0),
            (0.02, 0.45),
            (0.4, 0.4),
            (0.58, 0.55),
            (0.58, 0.82),
            (0.42, 1),
            (0.02, 0.96),
        ]
    ],
    "7": [[(0, 0), (0.6, 0), (0.2, 1)]],
    "L": [[(0, 0), (0, 1), (0.6, 1)]],
    "B": [
        [(0, 0), (0, 1), (0.45, 1), (0.6, 0.85), (0.6, 0.62), (0.45, 0.48), (0, 0.48)],
        [(0, 0), (0.4, 0), (0.54, 0.12), (0.54, 0.36), (0.4, 0.48)],
    ],
    "C": [
        [(0.6, 0.14), (0.44, 0), (0.18, 0), (0, 0.2), (0, 0.8), (0.18, 1), (0.44, 1), (0.6, 0.86)]
    ],
}


@lru_cache(maxsize=2)
def grid(size: int) -> tuple[Array, Array]:
    """Return x and y of every pixel's centre, each (size, size) float32."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
    x, y = np.meshgrid(axis, axis)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def local(
    x: Array, y: Array, centre: Point = (0.0, 0.0), angle: float = 0.0
) -> tuple[Array, Array]:
    """Return coordinates in a frame at `centre`, turned by `angle` radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    dx, dy = x - centre[0], y - centre[1]
    return cos * dx + sin * dy, cos * dy - sin * dx


def outer(point: Point, centre: Point, angle: float) -> Point:
    """Return a frame's point in image coordinates: the inverse of `local`."""
    cos, sin = math.cos(angle), math.sin(angle)
    return centre[0] + cos * point[0] - sin * point[1], centre[1] + sin * point[0] + cos * point[1]


def cover(distance: Array, size: int, soft: float = 0.0) -> Array:
    """Return how much of each pixel lies inside a signed distance, over an edge `soft` wide."""
    return np.clip(0.5 - distance / (2 / size + soft), 0, 1)


def ramp(value: Array, low: float, high: float) -> Array:
    """Return the smooth step from 0 at `low` to 1 at `high`."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def bump(value: Array, centre: float, width: float) -> Array:
    """Return the bell exp(-((value - centre) / width)²)."""
    return np.exp(-(((value - centre) / width) ** 2))


def box(x: Array, y: Array, width: float, height: float, radius: float = 0.0) -> Array:
    """Return the signed distance to a box of these half extents with rounded corners."""
    dx, dy = abs(x) - (width - radius), abs(y) - (height - radius)
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    return outside + np.minimum(np.maximum(dx, dy), 0) - radius


def lookup(value: Array, stops: Sequence[float], values: Sequence) -> Array:
    """Interpolate scalars or colours smoothly over ascending `stops`; float32 (..., channels)."""
    at = np.linspace(stops[0], stops[-1], 1024)
    lut = PchipInterpolator(stops, np.asarray(values, float))(at).astype(np.float32)
    scaled = (value - stops[0]) * (1023 / (stops[-1] - stops[0]))
    return lut[np.clip(scaled, 0, 1023).astype(np.int32)]


def flat(size: int, colour: Colour) -> Array:
    """Return a (size, size, 3) float32 image of one colour."""
    return np.broadcast_to(np.array(colour, np.float32), (size, size, 3)).copy()


def paint(image: Array, alpha: Array, colour: Colour | Array) -> None:
    """Lay a colour, or an image, over `image` in place; alpha (rows, columns) in [0, 1]."""
    rows = np.flatnonzero(alpha.any(axis=1))
    if not len(rows):
        return
    columns = np.flatnonzero(alpha.any(axis=0))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    over = np.asarray(colour, np.float32)
    change = (over[part] if over.ndim == 3 else over) - image[part]
    change *= alpha[part][..., None]
    image[part] += change


def window(size: int, centre: Point, reach: float) -> tuple[slice, slice]:
    """Return the rows and columns of the pixels within `reach` of a point."""
    first = [max(0, int((c - reach + 1) * size / 2)) for c in centre]
    last = [min(size, int((c + reach + 1) * size / 2) + 2) for c in centre]
    return slice(first[1], max(last[1], first[1])), slice(first[0], max(last[0], first[0]))


class Sketch:
    """A layer drawn with antialiased strokes and dots: coverage only, or coloured."""

    def __init__(self, size: int, coloured: bool = False) -> None:
        self.size = size
        self.scale = 4 if size <= 256 else 2
        self.layer = Image.new("RGBA" if coloured else "L", (size * self.scale,) * 2)
        self.draw = ImageDraw.Draw(self.layer)

    def _pixels(self, points: Sequence[Point]) -> list[Point]:
        half = self.size * self.scale / 2
        return [((x + 1) * half, (y + 1) * half) for x, y in points]

    def _fill(self, colour: Colour) -> int | tuple[int, ...]:
        if self.layer.mode == "L":
            return 255
        return *(round(255 * min(max(c, 0), 1)) for c in colour), 255

    def stroke(self, points: Sequence[Point], width: float, colour: Colour = (1, 1, 1)) -> None:
        """Draw a line; `width` in image units, at least one pixel, or it would fade when small."""
        pixels = max(width * self.size / 2, 1) * self.scale
        self.draw.line(self._pixels(points), self._fill(colour), round(pixels), joint="curve")

    def dot(self, centre: Point, radius: float, colour: Colour = (1, 1, 1)) -> None:
        """Fill a circle."""
        corners = [(centre[0] + s * radius, centre[1] + s * radius) for s in (-1, 1)]
        (left, top), (right, bottom) = self._pixels(corners)
        self.draw.ellipse((left, top, right, bottom), self._fill(colour))

    def letters(self, text: str, frame: tuple[Point, float], height: float, width: float) -> None:
        """Write `text` centred in a frame (centre, angle); `width` is the strokes' width."""
        for index, letter in enumerate(text):
            left = (index - (len(text) - 1) / 2) * 0.92 - 0.3
            for line in GLYPHS[letter]:
                points = [((left + x) * height, (y - 0.5) * height) for x, y in line]
                self.stroke([outer(point, *frame) for point in points], width)

    def coverage(self) -> Array:
        """Return the coverage (size, size) float32 of an uncoloured layer."""
        return np.asarray(self.layer.reduce(self.scale), np.float32) / 255

    def coloured(self) -> tuple[Array, Array]:
        """Return a coloured layer's coverage (size, size) and colours (size, size, 3), float32."""
        pixels = self.coverage()
        return pixels[..., 3], pixels[..., :3]


def stroke(size: int, points: Sequence[Point], width: float) -> Array:
    """Return the coverage (size, size) of one line."""
    sketch = Sketch(size)
    sketch.stroke(points, width)
    return sketch.coverage()
