"""The report page: whole in itself, and safe whatever the data's names are."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from conftest import save

from twinhead import baselines, catalog, embedding, evaluation, explanation, report

HOSTILE = '<script>alert("1")</script>&amp;\'"'


@pytest.fixture
def page(built, split, predictions, tmp_path, monkeypatch):
    """Render the page from predictions, in a workspace with two figures."""
    monkeypatch.chdir(tmp_path)
    picture = np.zeros((4, 4, 3), np.uint8)
    save(picture, tmp_path / "reports/plots/evaluate/roc.png")
    save(picture, tmp_path / "reports/gradcam/a_b_00001.png")
    points = np.random.default_rng(0).random((len(split), 2))

    def rendered(table: pd.DataFrame = predictions, root: str = "data/raw/sample") -> str:
        metrics = evaluation.judge(table, 100)
        test = evaluation.decide(table, metrics)
        test = explanation.with_outcomes(test[test["split"] == "test"])
        heat = [np.ones((32, 32), np.float32)] * len(test)
        return report.page(
            root,
            index=catalog.counts(built.frame.assign(category=table["category"])),
            train={"parameters": 720_976, "epochs": 3, "best_epoch": 2},
            evaluate=metrics | {"baselines": baselines.judge(table, np.zeros((len(table), 2)))},
            embed=embedding.measure(points, points, built.frame, split),
            explain=explanation.score(test, heat, built.masks).metrics,
        )

    return rendered


class Checked(HTMLParser):
    """Follows the tags, and fails where one is closed that isn't open."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.seen, self.links = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_sound_html_without_outside_resources(page):
    checked = Checked(page())
    assert checked.open == [] and "script" not in checked.seen and "link" not in checked.seen
    assert len(checked.links) == 2
    assert all(link.startswith("data:image/png;base64,") for link in checked.links)
    assert not re.search(r"https?:|url\(|@import", page())


def test_names_from_the_data_stay_text(page, predictions):
    hostile = predictions.replace({"category": {"bolt": HOSTILE}, "defect_type": {"riß": HOSTILE}})
    found = page(hostile, root=f"/data/{HOSTILE}")
    assert "<script" not in found and "&lt;script&gt;alert(&quot;1&quot;)" in found
    assert Checked(found).open == [] and set(Checked(found).seen) == set(Checked(page()).seen)


def test_the_page_shows_the_numbers_of_all_splits(page, metrics):
    found = page()
    for split in ("train", "val", "test"):
        values = metrics[split]["defect"]
        low, high = values["auroc_low"], values["auroc_high"]
        assert f"<td>{values['auroc']:.3f} ({low:.3f}–{high:.3f})</td>" in found
    assert "720,976 parameters" in found and "The threshold was chosen on val." in found


def test_what_is_not_defined_is_said_to_be_so(page, predictions):
    good = predictions["defective"] == 0
    found = page(predictions[good | (predictions["split"] != "test")])
    assert "not defined" in found and "nan" not in found.lower() and "None" not in found


def test_a_threshold_that_val_could_not_choose_is_not_claimed(page, predictions):
    found = page(predictions[(predictions["split"] != "val") | (predictions["defective"] == 0)])
    assert "chosen on val" not in found and "The threshold is 0.5" in found


@pytest.mark.parametrize(
    ("columns", "gone"),
    [
        (["defect_probability"], ["Defect AUROC, pooled", "Per kind of defect", "threshold"]),
        (["category_predicted", "category_probability"], ["Category right", "Category F1"]),
    ],
)
def test_a_head_that_is_missing_is_not_reported(page, predictions, columns, gone):
    found = page(predictions.drop(columns=columns))
    assert not [text for text in gone if text in found]
    assert Checked(found).open == []
