"""The stored features of the catalog's images: a store for each map, the pooled ones, the tint."""

from pathlib import Path

from twinhead.dataset.store import INDEX, Store

POOLED = "pooled"
"""(images, views, values), float32: the feature maps' means and spreads."""
CHROMATICITY = "chromaticity"
"""(images, 2), float32: a photograph's tint, as pooling.Chromaticity gives it."""


def load(path: Path) -> dict[str, Store]:
    """The stores by name; row i of each is catalog row i.

    Raises InputError naming the folder, or the first store in it, that is missing or isn't whole.
    """
    path = Path(path)
    names = sorted({file.parent.name for file in path.glob(f"*/{INDEX}")} | {POOLED})
    return {name: Store(path / name) for name in names}
