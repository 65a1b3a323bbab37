"""Random changes to training images, each a function of (seed, epoch, image) alone."""

import numpy as np

from twinhead import params


def augment(
    image: np.ndarray, row: int, epoch: int, seed: int, settings: params.Augmentation
) -> np.ndarray:
    """Flip, brighten and stretch one image as the paper does.

    image: (height, width, 3), on the scale of 0 to 255. Returns float32 of that shape and scale:
    mirrored left to right for half of the images, a brightness of up to ± settings.brightness
    (1 = full scale) added, contrast scaled about each channel's mean, and clipped to 0 … 255.
    The order in which images come changes nothing.
    """
    rng = np.random.default_rng((seed, epoch, row))
    mirrored, brightness, contrast = rng.random(), rng.uniform(-1, 1), rng.uniform(*settings.contrast)
    result = image.astype(np.float32)
    if settings.flip and mirrored < 0.5:
        result = result[:, ::-1]
    result = result + np.float32(255 * settings.brightness * brightness)
    mean = result.mean(axis=(0, 1), keepdims=True)
    return np.clip((result - mean) * np.float32(contrast) + mean, 0, 255)
