"""The defects' common forms: scratches, cracks, holes, stains, glue, threads, metal flakes."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from twinhead.sample.noise import ring_noise, smooth_noise
from twinhead.sample.shapes import (
    Array,
    Colour,
    Point,
    Sketch,
    cover,
    grid,
    outer,
    paint,
    ramp,
    stroke,
)


@dataclass
class Defect:
    """One defect to draw; its own generator, so that the product's random draws stay the same."""

    type: str
    rng: np.random.Generator
    severity: float  # 0 subtle … 1 glaring

    def grade(self, subtle: float, glaring: float) -> float:
        """Return the value at this severity."""
        return subtle + (glaring - subtle) * self.severity

    def sign(self) -> int:
        """Return -1 or 1."""
        return 1 if self.rng.random() < 0.5 else -1

    def angle(self) -> float:
        """Return a direction in radians."""
        return self.rng.uniform(0, 2 * math.pi)

    def spot(self, reach: float, down: float | None = None) -> Point:
        """Return a random point within an ellipse of these half extents."""
        angle, radius = self.angle(), math.sqrt(self.rng.random())
        down = reach if down is None else down
        return reach * radius * math.cos(angle), down * radius * math.sin(angle)

    def choose(self, *options: Any) -> Any:
        """Return one of the options."""
        return options[self.rng.integers(len(options))]


def blob(
    rng: np.random.Generator,
    size: int,
    centre: Point,
    radius: float,
    rough: float = 0.3,
    detail: int = 5,
) -> Array:
    """Return the (roughly signed) distance to an irregular spot."""
    x, y = grid(size)
    dx, dy = x - centre[0], y - centre[1]
    angle = np.arctan2(dy, dx)
    wave = 0.75 * ring_noise(rng, angle, 3) + 0.25 * ring_noise(rng, angle, 2 * detail)
    return np.hypot(dx, dy) - radius * (1 + rough * wave)


def path(
    rng: np.random.Generator,
    centre: Point,
    angle: float,
    length: float,
    wander: float = 0.1,
    points: int = 24,
) -> list[Point]:
    """Return a curve about `centre`; `wander` is its sideways deviation relative to its length."""
    along = np.linspace(-0.5, 0.5, points)
    side = sum(
        rng.normal() / wave * np.sin(wave * np.pi * (along + rng.uniform(0, 2)))
        for wave in (1, 2, 3, 5)
    )
    side = np.asarray(side) - np.mean(side)
    return [
        outer((length * a, length * wander * s), centre, angle)
        for a, s in zip(along.tolist(), side.tolist(), strict=True)
    ]


def jagged(
    rng: np.random.Generator, size: int, centre: Point, angle: float, length: float, width: float
) -> Array:
    """Return the coverage of a crack: a jagged line that tapers off, with a branch."""
    sketch = Sketch(size)
    line = path(rng, centre, angle, length, 0.06, 14)
    line = [
        (px + rng.normal(0, 0.018) * length, py + rng.normal(0, 0.018) * length) for px, py in line
    ]
    for i in range(len(line) - 1):
        sketch.stroke(line[i : i + 2], width * (0.45 + math.sin(math.pi * (i + 0.5) / 13)))
    fork = line[rng.integers(4, 10)]
    turn = angle + rng.choice((-1, 1)) * rng.uniform(0.4, 1.0)
    tip = outer((length * 0.22, 0.0), fork, turn)
    sketch.stroke([fork, tip], width * 0.5)
    return sketch.coverage()


def scratch(
    defect: Defect,
    image: Array,
    centre: Point,
    region: Array | float,
    tone: Colour,
    length: tuple[float, float] = (0.12, 0.5),
    angle: float | None = None,
) -> None:
    """Scratch `image` in place: one to four near-parallel lines, the main one across `centre`."""
    size, rng = len(image), defect.rng
    angle = defect.angle() if angle is None else angle
    lines = 1 + int(defect.severity * 3 * rng.random() + 0.5)
    for number in range(lines):
        at = outer((rng.normal(0, 0.03), number * rng.uniform(0.025, 0.05)), centre, angle)
        line = path(rng, at, angle + rng.normal(0, 0.06), defect.grade(*length), 0.035)
        alpha = stroke(size, line, defect.grade(0.008, 0.016)) * defect.grade(0.5, 0.9)
        paint(image, alpha * region, tone)


def hole(
    image: Array, height: Array, distance: Array, depth: float, dark: Colour, rim: float = 0.0
) -> None:
    """Sink a hole into a surface in place; a `rim` is the height of the burr round it."""
    size = len(image)
    inside = cover(distance, size, 0.015)
    height -= depth * ramp(-distance, -0.01, 0.05)
    if rim:
        height += rim * np.exp(-(((distance - 0.02) / 0.02) ** 2))
    paint(image, inside * 0.92, dark)


def stain(
    defect: Defect,
    image: Array,
    distance: Array,
    colour: Colour,
    opacity: tuple[float, float] = (0.35, 0.85),
    soft: float = 0.04,
) -> None:
    """Dye a spot in place; the surface's own light and dark shows through."""
    size = len(image)
    alpha = cover(distance, size, soft) * defect.grade(*opacity)
    alpha *= np.clip(1 + 0.12 * smooth_noise(defect.rng, size, 24), 0, 1.2)
    tone = image.mean(axis=-1, keepdims=True) + 0.35
    paint(image, np.clip(alpha, 0, 1), tone * np.array(colour, np.float32))


def glue(defect: Defect, image: Array, height: Array, distance: Array, colour: Colour) -> None:
    """Lay a drop of clear glue on a surface in place: it evens out relief and catches light."""
    size = len(image)
    inside = cover(distance, size, 0.02)
    height *= 1 - 0.75 * inside
    thick = defect.grade(0.018, 0.03)
    height += thick * ramp(-distance, 0, 0.07) + 0.004 * inside * smooth_noise(defect.rng, size, 9)
    paint(image, inside * defect.grade(0.3, 0.55), colour)


def thread(defect: Defect, image: Array, height: Array, centre: Point, colour: Colour) -> None:
    """Drop a loose thread on a surface in place."""
    size, rng = len(image), defect.rng
    line = path(rng, centre, defect.angle(), defect.grade(0.35, 1.3), 0.16, 60)
    width = defect.grade(0.014, 0.026)
    under = [(px + 0.012, py + 0.016) for px, py in line]
    paint(image, 0.55 * stroke(size, under, width), (0.03, 0.03, 0.03))
    alpha = stroke(size, line, width)
    height *= 1 - 0.8 * alpha
    height += 0.5 * width * alpha
    paint(image, alpha * defect.grade(0.7, 1), colour)


def flake(defect: Defect, image: Array, height: Array, centre: Point) -> None:
    """Drop a curled metal shaving on a surface in place."""
    size, rng = len(image), defect.rng
    length, angle = defect.grade(0.09, 0.3), defect.angle()
    line = path(rng, centre, angle, length, 0.22, 12)
    width = defect.grade(0.025, 0.055)
    under = [(px + 0.015, py + 0.02) for px, py in line]
    paint(image, 0.6 * stroke(size, under, width), (0.02, 0.02, 0.02))
    sketch = Sketch(size, coloured=True)
    for i in range(len(line) - 1):
        shine = 0.45 + 0.5 * abs(math.sin(1.3 * i + 3 * rng.random()))
        sketch.stroke(
            line[i : i + 2],
            width * (0.5 + 0.5 * math.sin(math.pi * (i + 0.5) / 11)),
            (shine, shine, shine * 0.97),
        )
    alpha, colours = sketch.coloured()
    height *= 1 - alpha
    paint(image, alpha, colours)


def facets(rng: np.random.Generator, size: int, centre: Point, radius: float, count: int) -> Array:
    """Return a broken surface's brightness in [0, 1], one level and tilt per facet (Voronoi)."""
    x, y = grid(size)
    nearest, tone = np.full((size, size), 9, np.float32), np.zeros((size, size), np.float32)
    for _ in range(count):
        px, py = (c + rng.normal(0, radius * 0.6) for c in centre)
        far = (x - px) ** 2 * rng.uniform(0.5, 2) + (y - py) ** 2 * rng.uniform(0.5, 2)
        closer = far < nearest
        tilt = (x - px) * rng.normal(0, 1.5) + (y - py) * rng.normal(0, 1.5)
        tone = np.where(closer, rng.beta(0.8, 1.6) + tilt, tone)
        nearest = np.minimum(nearest, far)
    return np.clip(tone, 0, 1)
