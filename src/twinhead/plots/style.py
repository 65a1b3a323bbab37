"""What all figures share: colours, fonts, and a file that is the same bytes for the same data."""

import warnings
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names

from twinhead.dataset import splits

COLOURS = {splits.TRAIN: "#8a8f98", splits.VAL: "#e08a1e", splits.TEST: "#1f5fa8"}
GOOD, DEFECTIVE = "#2b8a5f", "#c8322b"
_SCRIPTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans Arabic", "Noto Sans Devanagari")

matplotlib.rcParams.update({
    "font.family": ["DejaVu Sans", *(f for f in _SCRIPTS if f in get_font_names())],
    "font.size": 10,
    "text.parse_math": False,  # a category may be called $5
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "savefig.dpi": 110,
})  # fmt: skip


def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG; equal data gives equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # A script that no installed font has is drawn as boxes; the report shows it rightly.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        # Level 4 takes half of the time of zlib's default, for files as small.
        figure.savefig(path, metadata={"Software": None}, pil_kwargs={"compress_level": 4})
