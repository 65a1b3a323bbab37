"""Light and camera: shading of height fields, soft shadows, and what a sensor adds."""

import numpy as np
from scipy.ndimage import gaussian_filter

from twinhead.sample.noise import resize, smooth_noise
from twinhead.sample.shapes import grid

Array = np.ndarray
LAMP = (-0.45, -0.6, 0.75)


def shade(
    height: Array, lamp: tuple[float, float, float] = LAMP, power: float = 24.0
) -> tuple[Array, Array]:
    """Return diffuse and specular light, each (size, size) float32 in [0, 1], on a height field.

    Height is in image units, the lamp a direction (x, y, towards the viewer); Blinn-Phong.
    """
    size = len(height)
    slope_y, slope_x = (g * np.float32(size / 2) for g in np.gradient(height))
    length = 1 / np.sqrt(slope_x**2 + slope_y**2 + 1)
    to_lamp = np.array(lamp) / np.linalg.norm(lamp)
    half = to_lamp + (0, 0, 1)
    half /= np.linalg.norm(half)

    def facing(direction: Array) -> Array:
        a, b, c = direction.tolist()
        return np.clip((c - a * slope_x - b * slope_y) * length, 0, 1)

    return facing(to_lamp), facing(half) ** power


def lit(
    albedo: Array,
    height: Array,
    ambient: float = 0.4,
    gloss: float = 0.0,
    power: float = 24.0,
    lamp: tuple[float, float, float] = LAMP,
) -> Array:
    """Return the image of a coloured relief: albedo (size, size, 3), height (size, size)."""
    diffuse, specular = shade(height, lamp, power)
    level = lamp[2] / float(np.linalg.norm(lamp))  # a level surface keeps its albedo
    image = albedo * (ambient + (1 - ambient) / level * diffuse)[..., None]
    image += (gloss * specular)[..., None]
    return image


def blur(field: Array, sigma: float) -> Array:
    """Return a field blurred by `sigma` image units, computed small: a blur holds no detail."""
    size = len(field)
    small = min(size, max(16, round(6 / sigma)))
    return resize(gaussian_filter(resize(field, small), sigma * small / 2, mode="nearest"), size)


def shadow(alpha: Array, shift: tuple[float, float], sigma: float) -> Array:
    """Return the soft shadow (size, size) that a shape's coverage casts, moved by `shift`."""
    size = len(alpha)
    moves = [round(s * size / 2) for s in shift]
    return np.clip(np.roll(blur(alpha, sigma), (moves[1], moves[0]), axis=(0, 1)), 0, 1)


def expose(rng: np.random.Generator, image: Array) -> Array:
    """Return what the camera saw as (size, size, 3) uint8: exposure, vignette, sensor noise."""
    size = len(image)
    x, y = grid(size)
    gain = rng.uniform(0.94, 1.05) * (1 + rng.normal(0, 0.004, 3))
    fall = 1 - rng.uniform(0.01, 0.04) * (x * x + y * y)
    fall += rng.uniform(-0.02, 0.02) * x + rng.uniform(-0.02, 0.02) * y
    fall += 0.006 * smooth_noise(rng, size, 3)
    seen = image * gain.astype(np.float32) * fall[..., None]
    grain = rng.standard_normal((size, size, 3), np.float32)
    seen += rng.uniform(0.005, 0.011) * grain * (0.6 + 0.6 * np.sqrt(np.clip(seen, 0, 1)))
    return (np.clip(seen, 0, 1) * 255 + 0.5).astype(np.uint8)
