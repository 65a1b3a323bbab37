"""How the training went."""

from twinhead import paths
from twinhead.report import thumbnails
from twinhead.report.markup import Html, join, paragraph, picture
from twinhead.report.results import Results


def section(results: Results) -> Html | None:
    files = sorted((paths.PLOTS / "train").glob("*.png"))
    if not files:
        return None
    train = results.metrics["train"]
    shown = [
        picture(thumbnails.chart(file), file.stem.replace("_", " "), "chart wide") for file in files
    ]
    note = (
        f"{train['epochs']} times over all training images; the network of epoch"
        f" {train['best_epoch']} had the lowest loss on val and is kept."
        " A gap between train and val is what the network has learned by heart."
    )
    if "diverged_in_epoch" in train:
        note += (
            f" In epoch {train['diverged_in_epoch']} the loss was no longer a number, and the"
            " training ended: a lower learning rate may do better."
        )
    return join([paragraph(note), Html(f'<div class="scroll">{"".join(shown)}</div>')])
