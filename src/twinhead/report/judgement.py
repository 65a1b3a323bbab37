"""How good the network is: in a few words, in full, by category, by defect, and by confusion."""

import pandas as pd

from twinhead import paths
from twinhead.dataset import splits
from twinhead.report import thumbnails
from twinhead.report.markup import (
    Html,
    bar,
    count,
    folded,
    join,
    number,
    paragraph,
    picture,
    share,
    table,
    text,
    with_interval,
)  # fmt: skip
from twinhead.report.results import Results

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
MOST_CATEGORIES = 40
"""A larger confusion matrix is a list of confusions."""


def cards(results: Results) -> Html:
    """The answer in four numbers, held-out images large, those it learned from below."""
    test, train = (_counts(results.predictions, split) for split in (splits.TEST, splits.TRAIN))
    shown = []
    for title, of in (
        ("Defects found", "defective"), ("False alarms", "good"), ("Category right", "named"),
    ):  # fmt: skip
        if of in test:
            (right, total), (seen, all_seen) = test[of], train[of]
            large = share(right / total) if total else "not defined"
            small = f"{right:,} of {total:,} {_IMAGES[of]} held out"
            before = share(seen / all_seen) if all_seen else "not defined"
            shown.append((title, large, small, f"On the images it learned from: {before}"))
    defect = results.judged[splits.TEST].get("defect")
    if defect:
        name, large = "auroc_category_mean", number(defect["auroc_category_mean"])
        before = number(results.judged[splits.TRAIN]["defect"][name])
        low, high = defect.get(f"{name}_low"), defect.get(f"{name}_high")
        small = "" if low is None else f"95% interval {low:.3f}–{high:.3f}; "
        about = "On the images it learned from: " + before
        shown.append(("Defect AUROC", large, f"{small}chance is 0.5, perfect 1", about))
    boxes = [
        f'<div class="card"><h3>{title}</h3><b>{large}</b><p>{small}</p><p>{before}</p></div>'
        for title, large, small, before in shown
    ]
    return Html(f'<div class="cards">{"".join(boxes)}</div>')


_IMAGES = {"defective": "defective images", "good": "good images", "named": "images"}


def _counts(predictions: pd.DataFrame, split: str) -> dict[str, tuple[int, int]]:
    """By what is counted: how many of how many."""
    rows, found = predictions[predictions["split"] == split], {}
    if "defect_predicted" in rows:
        for name, value in (("defective", 1), ("good", 0)):
            alarms = rows["defect_predicted"][rows["defective"] == value]
            found[name] = int(alarms.sum()), len(alarms)
    if "category_predicted" in rows:
        right = rows["category"] == rows["category_predicted"]
        found["named"] = int(right.sum()), len(right)
    return found


def headline(results: Results) -> Html:
    """The metrics of all splits, and what simple guesses reach."""
    judged, rows = results.judged, []
    guesses = judged["baselines"]
    order = (splits.TEST, splits.VAL, splits.TRAIN)
    for (head, name), label in _ROWS.items():
        if head in judged[splits.TEST]:
            measured = [with_interval(judged[split][head], name) for split in order]
            guessed = [guess.get(head) for guess in guesses.values()]
            said = ["–" if guess is None else number(guess[name]) for guess in guessed]
            rows.append([label, *measured, *said])
    return join([
        paragraph(
            Html(
                "<b>test</b> counts: the network has never seen those images."
                " The brackets are 95% intervals."
            ),
            _threshold(judged),
            Html(
                "The columns behind <b>train</b> are simple guesses for the same test images:"
                " always good, the category's share of defective images, and a logistic regression"
                " on the features of a pretrained backbone."
            ),
        ),
        table(["", *order, *(name.replace("_", " ") for name in guesses)], rows, "headline"),
    ])  # fmt: skip


def _threshold(judged: dict) -> str:
    if "threshold" not in judged:
        return ""
    if judged["threshold_chosen_on"]:
        return "The threshold was chosen on val."
    return f"The threshold is {judged['threshold']:g}, since val has only one kind of image."


def by_category(results: Results) -> Html:
    heads = results.judged[splits.TEST]
    columns = {
        "category": lambda name, values: name,
        "images": lambda name, values: str(values["images"]),
    }
    if "category" in heads:
        columns["category right"] = lambda name, values: bar(values["category"]["accuracy"])
    if "defect" in heads:
        columns |= {
            "defective": lambda name, values: str(values["defect"]["defective"]),
            "defect AUROC": lambda name, values: _or_dash(values["defect"]["auroc"]),
            "found": lambda name, values: bar(values["defect"]["recall"]),
            "alarms right": lambda name, values: bar(values["defect"]["precision"]),
        }
    rows = [
        [show(name, values) for show in columns.values()]
        for name, values in heads["by_category"].items()
    ]
    note = "Test images only. A dash means that nothing can be said: no such images, or no alarms."
    return join([paragraph(note), table(list(columns), rows)])


def by_defect_type(results: Results) -> Html | None:
    kinds = results.judged[splits.TEST].get("by_defect_type")
    if kinds is None:
        return None
    judged = [
        (values["recall"], [category, kind, str(values["images"]), bar(values["recall"])])
        for category, found in kinds.items()
        for kind, values in found.items()
    ]
    if not judged:
        return paragraph("There are no defective test images.")
    head = ["category", "defect", "images", "found"]
    hard = [row for recall, row in sorted(judged, key=lambda pair: pair[0]) if recall < 1]
    easy = [row for recall, row in judged if recall == 1]
    return join([
        paragraph("Test images only, the hardest first."),
        table(head, hard, "names") if hard else "",
        folded(f"{count(len(easy), 'kind')} of which all were found", table(head, easy, "names"))
        if easy
        else "",
    ])  # fmt: skip


def confusion(results: Results) -> Html:
    test, parts = results.test, []
    if "defect_predicted" in test:
        names = ["good", "defective"]
        matrices = []
        for split in (splits.TEST, splits.VAL, splits.TRAIN):
            rows = results.predictions[results.predictions["split"] == split]
            truth, said = (rows[name].map(dict(enumerate(names))) for name in _DEFECT)
            matrix = _matrix(truth, said, names)
            matrices.append(f"<div><h3>{split}: {len(rows):,} images</h3>{matrix}</div>")
        parts.append(paragraph("Good or defective, at the chosen threshold. Rows are the truth."))
        parts.append(Html(f'<div class="side-by-side">{"".join(matrices)}</div>'))
    if "category_predicted" in test:
        parts.append(_categories(test))
    return join(parts)


_DEFECT = ("defective", "defect_predicted")


def _categories(test: pd.DataFrame) -> Html:
    names = sorted(set(test["category"]) | set(test["category_predicted"]))
    wrong = test[test["category"] != test["category_predicted"]]
    pairs = (
        wrong.groupby(["category", "category_predicted"])
        .size()
        .sort_values(ascending=False, kind="stable")
    )
    rows = [[true, said, str(times)] for (true, said), times in pairs.head(100).items()]
    said = f"Category: {len(wrong):,} of {len(test):,} test images were taken for another."
    shown = [paragraph(said)]
    if rows:
        shown.append(table(["truth", "taken for", "images"], rows, "names"))
    if len(names) <= MOST_CATEGORIES:
        matrix = _matrix(test["category"], test["category_predicted"], names)
        shown.append(folded(f"The whole matrix of {len(names)} categories", matrix))
    return join(shown)


_DEEP = ' class="deep"'


def _matrix(truth: pd.Series, said: pd.Series, names: list[str]) -> Html:
    pairs = pd.crosstab(truth, said).reindex(index=names, columns=names, fill_value=0)
    heads = "".join(f"<th><span>{text(name)}</span></th>" for name in names)
    lines = []
    for name, counts in pairs.iterrows():
        total = max(1, counts.sum())
        cells = "".join(
            f'<td style="--share:{images / total:.0%}"{_DEEP if 2 * images > total else ""}>'
            f"{images or ''}</td>"
            for images in counts
        )
        lines.append(f"<tr><th>{text(name)}</th>{cells}</tr>")
    kind = "matrix upright" if len(names) > 4 else "matrix"
    return Html(
        f'<div class="scroll"><table class="{kind}"><thead><tr><th></th>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def curves(results: Results) -> Html | None:
    shown = [
        picture(thumbnails.chart(file), about, "chart")
        for name, about in (("roc", "ROC curves"), ("precision_recall", "Precision and recall"))
        if (file := paths.PLOTS / "evaluate" / f"{name}.png").is_file()
    ]
    if not shown:
        return None
    return join([
        paragraph(
            "Left: which share of the defects is found when so many good products raise a false"
            " alarm. Right: how many of the alarms are right when that share is found."
        ),
        Html(f'<div class="charts">{"".join(shown)}</div>'),
    ])  # fmt: skip


def _or_dash(value: float | None) -> str:
    return "–" if value is None else number(value)
