"""Photographs that a detector has never seen: none of a product at all, spoilt, or with defects
painted in. All are (size, size, 3), uint8, and depend on the generator alone."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

BLANK = ("black", "white", "grey", "uniform noise", "Gaussian noise")
SPOILT = ("blur 2%", "blur 3%", "blur 4%", "half covered")
SQUARES = (0.02, 0.03, 0.04, 0.06, 0.10)
SMEARS = (0.06, 0.10, 0.20)
SCRATCHES = (0.05, 0.10, 0.20)
PAINTED = {"square": SQUARES, "smear": SMEARS, "scratch": SCRATCHES}
"""Forms, and how long they are as a share of the side."""
CONTRASTS = (0.1, 0.2, 0.4, 1.0)
"""How far the paint lies from what it covers, of the full scale; at 1.0 it is black or white."""
FINE = 4
"""Forms are drawn so many times as large, for smooth edges."""


def blank(kind: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """What a camera gives without a product: kind, of BLANK."""
    shape = (size, size, 3)
    match kind:
        case "uniform noise":
            return rng.integers(0, 256, shape, np.uint8)
        case "Gaussian noise":
            return np.clip(rng.normal(128, 50, shape), 0, 255).astype(np.uint8)
        case _:
            return np.full(shape, {"black": 0, "white": 255, "grey": 128}[kind], np.uint8)


def spoilt(kind: str, photograph: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A good photograph out of focus, or half of it covered by one grey: kind, of SPOILT."""
    size = len(photograph)
    if kind == "half covered":
        covered, side = photograph.copy(), int(rng.integers(4))
        half = slice(0, size // 2) if side % 2 else slice(size // 2, size)
        covered[(half, slice(None)) if side < 2 else (slice(None), half)] = rng.integers(256)
        return covered
    radius = size * float(kind.removeprefix("blur ").removesuffix("%")) / 100
    return np.asarray(Image.fromarray(photograph).filter(ImageFilter.GaussianBlur(radius)))


def painted(
    form: str, share: float, contrast: float, photograph: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """A good photograph with a defect painted in, anywhere but within 5% of the border.

    form: of PAINTED; share: its length over the side; contrast: of CONTRASTS. The paint is darker
    where what it covers is bright, and brighter where that is dark.
    """
    size = len(photograph)
    cover = _cover(form, share, size, rng)[..., None]
    below = photograph.astype(float)
    bright = (below * cover).sum() / (3 * cover.sum()) > 127.5
    paint = np.clip(below + (-255 if bright else 255) * contrast, 0, 255)
    return (below * (1 - cover) + paint * cover).round().astype(np.uint8)


def _cover(form: str, share: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """How much of each pixel the form covers: (size, size), 0 to 1."""
    length = float(share * size * FINE)
    low, high = 0.05 * size * FINE + length / 2, 0.95 * size * FINE - length / 2
    x, y = rng.uniform(low, high, 2)
    angle = rng.uniform(0, np.pi)
    picture = Image.new("L", (size * FINE, size * FINE))
    pen, half = ImageDraw.Draw(picture), length / 2
    if form == "square":
        pen.rectangle((x - half, y - half, x + half, y + half), fill=255)
    else:
        along = np.array([np.cos(angle), np.sin(angle)])
        steps = np.linspace(-0.5, 0.5, 24)
        bend = rng.uniform(-0.15, 0.15) * length * np.cos(np.pi * steps)
        points = (x, y) + np.outer(steps * length, along) + np.outer(bend, along[::-1] * (-1, 1))
        width = max(1, round(length / 4 if form == "smear" else 0.006 * size * FINE))
        pen.line([tuple(point) for point in points], fill=255, width=width, joint="curve")
        if form == "smear":
            picture = picture.filter(ImageFilter.GaussianBlur(float(length / 12)))
    return np.asarray(picture.resize((size, size), Image.Resampling.BOX)) / 255
