"""One page, without outside resources, for a person who will never open MLflow."""

import base64
from html import escape
from pathlib import Path

from twinhead import paths, splits

_STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; } .scroll { overflow-x: auto; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; height: auto; background: white; border-radius: 4px; }
.plots { margin: 1rem 0; } .plots img { margin: 0 1rem 1rem 0; vertical-align: top; }
.plots img { max-height: 34rem; width: auto; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(30rem, 100%), 1fr));
  gap: 1rem; }
"""
_ROWS = {
    ("category", "accuracy"): "Category right",
    ("category", "f1"): "Category F1 (weighted)",
    ("defect", "auroc"): "Defect AUROC, pooled",
    ("defect", "auroc_category_mean"): "Defect AUROC, mean over categories",
    ("defect", "accuracy"): "Defect decision right",
    ("defect", "precision"): "Alarms that are right (precision)",
    ("defect", "recall"): "Defects found (recall)",
    ("defect", "f1"): "Defect F1",
}


def page(root: str, index: dict, train: dict, evaluate: dict, embed: dict, explain: dict) -> str:
    """Return the report as HTML; every name that comes from the data is escaped.

    Takes data.root and the contents of the stages' metrics files, and embeds the plots and overlays
    that lie below reports/.
    """
    parts = [
        f"<h1>Inspection of {escape(Path(root).name)}</h1>",
        f"<p>{index['images']} images of {len(index['by_category'])} categories,"
        f" {index['defective']} of them defective, from <code>{escape(root)}</code>."
        f" The network has {train['parameters']:,} parameters and was trained for {train['epochs']}"
        f" epochs; epoch {train['best_epoch']} is kept.</p>",
        "<h2>How good it is</h2>",
        "<p><b>test</b> counts: the network has never seen those images. The brackets are 95%"
        f" intervals. {_threshold(evaluate)} The columns behind test are simple guesses for the same"
        " test images: always good, the category's share of defective images, and a logistic"
        " regression on the features of a pretrained backbone.</p>",
        _headline(evaluate),
        _pictures(paths.PLOTS / "evaluate", "plots"),
        "<h2>Per category (test images)</h2>",
        _by_category(evaluate),
        "<h2>Per kind of defect (test images)</h2>" if "threshold" in evaluate else "",
        _by_defect_type(evaluate),
        "<h2>How it learned</h2>",
        _pictures(paths.PLOTS / "train", "plots"),
        "<h2>What its features tell apart</h2>",
        f"<p>Neighbours agree on the category for {_share(embed['category_knn_accuracy'])} of the"
        f" test images; trustworthiness of the map {_number(embed['trustworthiness'])}.</p>",
        _pictures(paths.PLOTS / "embed", "plots"),
        "<h2>Where it looks</h2>",
        f"<p>The heat map's peak lies on the defect for {_share(explain['pointing_hit'])} of the"
        f" {explain['images']} defective test images that have a mask; {_share(explain['energy_in_mask'])}"
        f" of the heat lies in the masks, which cover {_share(explain['mask_area'])} of the image.</p>",
        _pictures(paths.GRADCAM, "gallery"),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Twinhead report</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def _threshold(evaluate: dict) -> str:
    if "threshold" not in evaluate:
        return ""
    if evaluate["threshold_chosen_on"]:
        return "The threshold was chosen on val."
    return f"The threshold is {evaluate['threshold']:g}, since val has only one kind of image."


def _headline(evaluate: dict) -> str:
    rows, guesses = [], evaluate["baselines"]
    for (head, name), label in _ROWS.items():
        if head in evaluate[splits.TEST]:
            judged = [_with_interval(evaluate[split][head], name) for split in splits.SPLITS]
            guessed = [_number(guess.get(head, {}).get(name)) for guess in guesses.values()]
            rows.append([label, *judged, *guessed])
    return _table(["", *splits.SPLITS, *(name.replace("_", " ") for name in guesses)], rows)


def _by_category(evaluate: dict) -> str:
    rows = []
    for name, values in evaluate[splits.TEST]["by_category"].items():
        defect = values.get("defect", {})
        rows.append([
            name,
            str(values["images"]),
            _share(values.get("category", {}).get("accuracy")),
            str(defect.get("defective", "")),
            _number(defect.get("auroc")),
            _share(defect.get("recall")),
            _share(defect.get("precision")),
        ])  # fmt: skip
    head = ["category", "images", "category right", "defective", "defect AUROC", "found", "alarms right"]
    return _table(head, rows)


def _by_defect_type(evaluate: dict) -> str:
    rows = [
        [f"{category}: {kind}", str(values["images"]), _share(values["recall"])]
        for category, kinds in evaluate[splits.TEST].get("by_defect_type", {}).items()
        for kind, values in kinds.items()
    ]
    return _table(["defect", "images", "found"], rows) if rows else ""


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table>{body}</table></div>'


def _pictures(folder: Path, kind: str) -> str:
    pictures = []
    for file in sorted(folder.glob("*.png")):
        data = base64.b64encode(file.read_bytes()).decode()
        text = escape(file.stem.replace("_", " "), quote=True)
        pictures.append(f'<img alt="{text}" src="data:image/png;base64,{data}">')
    return f'<div class="{kind}">{"".join(pictures)}</div>' if pictures else ""


def _with_interval(values: dict, name: str) -> str:
    text = _number(values[name])
    low, high = values.get(f"{name}_low"), values.get(f"{name}_high")
    return text if low is None else f"{text} ({low:.3f}–{high:.3f})"


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
