"""The report page: whole in itself, and safe whatever the data's names are."""

import json
import re
import shutil
from contextlib import chdir
from html import escape, unescape
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY, SIZE, judge, save
from dvc.utils.hydra import apply_overrides

from twinhead import embedding, evaluation, params, paths, report
from twinhead.attribution import localisation
from twinhead.evaluation import baselines
from twinhead.ingest import layout, quality
from twinhead.partition import assignment, duplicates
from twinhead.report import (
    comparison,
    embedding_map,
    loop,
    mistakes,
    provenance,
    threshold,
    thumbnails,
)
from twinhead.report.results import LABELS_CURVE, Results
from twinhead.review import queue

RESAMPLES = 20
TAGS = "</title></svg><img src=x onerror=alert(1)>javascript:alert(1)"
HOSTILE = f'<script>alert("1")</script>&amp;\'"{TAGS}'


@pytest.fixture(scope="module")
def render(built, split, predictions, tmp_path_factory):
    """Render the page from predictions, in a workspace with figures and three drawings."""
    workspace, picture = tmp_path_factory.mktemp("workspace"), np.zeros((4, 6, 3), np.uint8)
    for name in ("reports/plots/evaluate/roc", "reports/plots/train/learning_curves"):
        save(picture, workspace / f"{name}.png")
    save(picture, workspace / LABELS_CURVE)
    place = np.random.default_rng(0).random((len(split), 2))

    def rendered(
        table: pd.DataFrame = predictions,
        masks: bool = True,
        compared: str = "",
        labels: str = "",
        odd: tuple[tuple[str, str, str], ...] = (),
        **changes: object,
    ) -> str:
        judged = judge(table, RESAMPLES)
        table = evaluation.decide(table, judged)
        test = localisation.with_outcomes(table[table["split"] == "test"])
        heat = [np.ones((SIZE, SIZE), np.float32)] * len(test)
        scores = localisation.score(test, heat, built.masks if masks else {}, SIZE)
        drawn = test.loc[[*test.index[test["defective"] == 1][:2], test.index[-1]]]
        shutil.rmtree(workspace / paths.OVERLAYS, ignore_errors=True)
        for _, row in drawn.iterrows():
            save(picture, workspace / paths.OVERLAYS / localisation.describe(row)[0])
        frame = built.frame.assign(category=table["category"], defect_type=table["defect_type"])
        facts = table[["path", "category", "defect_type", "defective", "split"]]
        guesses = baselines.judge(table, np.zeros((len(table), 2)).__getitem__)
        found = pd.DataFrame(odd, columns=quality.COLUMNS)
        alike = duplicates.groups(frame, 0.1)
        results = Results(
            settings(**changes),
            {
                "index": layout.counts(frame) | {"remarks": quality.counts(found)},
                "split": assignment.counts(frame, split, split, alike, alike),
                "train": {"parameters": 720_976, "epochs": 3, "best_epoch": 2},
                "evaluate": judged | {"baselines": guesses},
                "embed": embedding.measure(place, place, built.frame, split),
                "explain": scores.metrics,
            },
            table,
            facts.assign(x=place[table.index, 0], y=place[table.index, 1]),
            scores.table,
            built.pixels,
            found,
            compared,
            table.assign(reviewed="") if "defect_probability" in table else None,
            labels=labels,
        )
        with chdir(workspace):
            return report.page(results)

    return rendered


@pytest.fixture(scope="module")
def page(render):
    return render()


def settings(**changes: object) -> params.Params:
    """The shipped params, with another section `data` and so on."""
    shipped = params.load(REPOSITORY / paths.PARAMS)
    return shipped.model_copy(update={
        name: getattr(shipped, name).model_copy(update=values) for name, values in changes.items()
    })  # fmt: skip


class Checked(HTMLParser):
    """Follows the tags, and fails where one is closed that isn't open."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.seen, self.links, self.scripts = [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href")]
        self.scripts += [value for name, value in attributes if name.startswith("on")]
        if tag not in ("meta", "img", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def curves(page: str) -> dict:
    """What the slider is made from."""
    return json.loads(unescape(re.search('data-curves="([^"]*)"', page)[1]))


def test_the_page_is_sound_html_without_outside_resources(page):
    checked = Checked(page)
    assert checked.open == [] and "link" not in checked.seen and checked.scripts == []
    assert checked.seen.count("script") == 1 and checked.seen.count("img") > 5
    assert all(re.match("data:image/(png|jpeg);base64,|#", link) for link in checked.links)
    assert not re.search(r"https?:|url\(|@import|fetch\(|import\(", page)


def test_every_link_within_the_page_leads_somewhere(page):
    anchors = [link[1:] for link in Checked(page).links if link.startswith("#")]
    assert anchors and all(f'id="{anchor}"' in page for anchor in anchors)


def test_names_from_the_data_stay_text(case, render, page, predictions):
    hostile = predictions.replace({"category": {"bolt": HOSTILE}, "defect_type": {"riß": HOSTILE}})
    hostile["path"] += HOSTILE
    found = render(hostile, data={"root": f"/data/{HOSTILE}"})
    assert found.count("<script") == 1 and "&lt;script&gt;alert(&#34;1&#34;)" in found
    checked = Checked(found)
    assert checked.open == [] and checked.scripts == []
    assert set(checked.seen) == set(Checked(page).seen)
    assert not [link for link in checked.links if link.startswith("javascript:")]
    name = "categories, kinds of defects and files called `<script>`, `javascript:`, or with quotes"
    case("Security", name, "text on the report's page, in its map and its data")


def test_the_same_results_give_the_same_page(render, page):
    assert render() == page


def test_the_page_shows_the_numbers_of_all_splits(page, predictions):
    metrics = judge(predictions, RESAMPLES)
    for split in ("train", "val", "test"):
        values = metrics[split]["defect"]
        low, high = values["auroc_low"], values["auroc_high"]
        assert f"<td>{values['auroc']:.3f} ({low:.3f}–{high:.3f})</td>" in page
    assert "720,976 parameters" in page
    # So few defects choose no F1.
    assert "The threshold was chosen on val, by a false-alarm rate of " in page


@pytest.mark.parametrize("kind", [0, 1])
def test_what_is_not_defined_is_said_to_be_so(render, predictions, kind):
    """Only good, or only defective, test images."""
    kept = (predictions["defective"] == kind) | (predictions["split"] != "test")
    found = render(predictions[kept].reset_index(drop=True))
    text = re.sub('<script.*?</script>|<style.*?</style>|base64,[^"]*', "", found, flags=re.S)
    assert "not defined" in text and "None" not in text and not re.search(r"\bnan\b|Infinity", text)
    assert Checked(found).open == []


def test_a_threshold_that_val_could_not_choose_is_not_claimed(render, predictions):
    kept = (predictions["split"] != "val") | (predictions["defective"] == 1)  # no good ones
    found = render(predictions[kept].reset_index(drop=True))
    assert "chosen on val" not in found and "The threshold is 0.5" in found
    assert "cheapest" not in re.sub("<script.*?</script>", "", found, flags=re.S)


@pytest.mark.parametrize(
    ("columns", "gone"),
    [
        (
            ["defect_probability"],
            ["Defect AUROC, pooled", "Per kind of defect", "What the threshold costs", "missed"],
        ),
        (
            ["category_predicted", "category_probability"],
            ["Category right", "Category F1", "taken for another", "wrong categor"],
        ),
    ],
)
def test_a_head_that_is_missing_is_not_reported(render, predictions, columns, gone):
    found = render(predictions.drop(columns=columns))
    text = re.sub("<script.*?</script>|<style.*?</style>", "", found, flags=re.S)
    assert not [part for part in gone if part in text]
    assert Checked(found).open == []


def test_the_terminal_gets_the_answer_in_a_line():
    area = "auroc_category_mean"
    defect = {area: 0.9, f"{area}_low": 0.85, f"{area}_high": 0.95}
    defect |= {"recall": 0.5, "false_alarm_rate": None}
    test = {"images": 1, "category": {"accuracy": 0.75}, "defect": defect}

    def told(heads: dict) -> str:
        return report.summary(SimpleNamespace(judged={"test": heads}))

    first, second, third = told(test).split(", ")
    assert first == "1 test image: category accuracy 0.750"
    assert second == "defect AUROC 0.900 (0.850–0.950) as the mean over categories"
    assert third == "50.0% of the defects found with – false alarms"
    assert told({"images": 20, "category": {"accuracy": 1.0}}) == (
        "20 test images: category accuracy 1.000"
    )


def test_the_slider_counts_as_the_metrics_do_at_the_chosen_threshold(render, predictions):
    one = predictions.drop(columns=["category_predicted", "category_probability"])
    metrics, found = judge(one, RESAMPLES), curves(render(one))
    defect = metrics["test"]["defect"]
    test, at = found["test"], found["chosen"]
    assert test["defective"] == defect["defective"]
    assert test["found"][at] / test["defective"] == pytest.approx(defect["recall"])
    alarms = test["found"][at] + test["false"][at]
    assert test["found"][at] / alarms == pytest.approx(defect["precision"])
    assert found["steps"][at] == f"{metrics['threshold']:.4g}"


def test_the_costs_begin_with_numbers_and_a_threshold_can_become_the_default(page):
    assert f'data-in="rate" value="{threshold.DEFECT_RATE}"' in page
    assert f'data-in="cost" value="{threshold.MISS_COST}"' in page
    assert 'data-out="command"' in page and "evaluate.operating_point" in page
    assert all(0 <= float(value) <= 1 for value in curves(page)["exact"])


def test_a_higher_threshold_never_raises_more_alarms(page):
    test = curves(page)["test"]
    for name, most in (("found", test["defective"]), ("false", test["good"])):
        assert test[name][0] == most and test[name][-1] == 0
        assert test[name] == sorted(test[name], reverse=True)


def test_a_threshold_that_the_files_rounded_up_still_calls_what_it_called(predictions):
    """A probability in the table has fewer digits than the threshold that equals it."""
    table = predictions.assign(defect_predicted=predictions["defect_probability"] >= 0.4)
    least = table["defect_probability"][table["defect_predicted"]].min()
    assert threshold._least_alarm(table, least + 1e-9) == least


def test_every_mistake_has_its_photograph(page, predictions, metrics):
    test = evaluation.decide(predictions, metrics).query("split == 'test'")
    wrong = test[test["defective"] != test["defect_predicted"]]
    confused = test[test["category"] != test["category_predicted"]]
    gallery = re.search('<section id="mistakes">.*?</section>', page, re.S)[0]
    assert len(wrong) > 1 and gallery.count("<img") == len(wrong) + len(confused)
    assert all(escape(path) in gallery for path in [*wrong["path"], *confused["path"]])


@pytest.mark.parametrize("place", ["train", "test"])
def test_a_test_image_from_the_data_sets_train_folder_is_explained(render, predictions, place):
    moved = predictions.assign(path=f"bolt/{place}/good/" + predictions.index.astype(str))
    page = re.sub(r"\s+", " ", render(moved))
    assert ("the data set's folder, not the split" in page) == (place == "train")


def test_mistakes_beyond_the_bound_are_listed_and_said(render, monkeypatch, predictions, metrics):
    monkeypatch.setattr(mistakes, "MOST", 1)
    gallery = re.search('<section id="mistakes">.*?</section>', render(), re.S)[0]
    test = evaluation.decide(predictions, metrics).query("split == 'test'")
    wrong = test[test["defective"] != test["defect_predicted"]]
    assert gallery.count("<img") <= 3 and "the page shows 1 of a kind as pictures" in gallery
    assert all(escape(path) in gallery for path in wrong["path"])


def test_the_map_has_every_image_with_what_the_network_said(page, predictions):
    dots = re.findall(r"<circle [^>]*><title>([^<]*)</title></circle>", page)
    assert len(dots) == len(predictions)
    row = predictions.iloc[0]
    (said,) = [unescape(text) for text in dots if unescape(text).startswith(f"{row['path']}\n")]
    assert f"{row['category']}, {row['defect_type']} ({row['split']})" in said
    assert f"defect probability {row['defect_probability']:.1%}" in said


def test_a_map_of_too_many_images_is_drawn_in_part_and_says_so(render, monkeypatch):
    monkeypatch.setattr(embedding_map, "MOST", 20)
    drawn = re.search('<section id="map">.*?</section>', render(), re.S)[0]
    assert drawn.count("<circle") == 20 and "Each of 20 out of 58 images is a point" in drawn


def test_heat_maps_are_best_first_where_there_are_masks(page):
    heat = re.search('<section id="heat">.*?</section>', page, re.S)[0]
    assert heat.index("The best of those drawn") < heat.index("The worst of those drawn")


def test_without_masks_heat_maps_are_shown_and_not_ranked(render):
    heat = re.search('<section id="heat">.*?</section>', render(masks=False), re.S)[0]
    assert heat.count("<img") == 3 and "not scored" in heat and "The best" not in heat


def test_the_page_says_how_to_make_it_again(render, page):
    found = unescape(render(data={"root": "/photos/a b", "image_size": 64}))
    assert "-S 'data.root=\"/photos/a b\"'" in found and "-S data.image_size=64" in found
    assert "-S 'model.tasks=[category,defect]'" in found
    assert "sample.seed" not in found and "sample.seed" in page


def test_the_command_of_the_page_gives_its_params(tmp_path):
    """Read back as DVC reads them."""
    wanted = settings(data={"root": "/a b/$5, 'größe' [1]={2}\\"})
    tree = yaml.safe_load((REPOSITORY / paths.PARAMS).read_text(encoding="utf-8"))
    written = tmp_path / "params.yaml"
    written.write_text(yaml.safe_dump(tree), encoding="utf-8")
    apply_overrides(written, list(provenance.overrides(wanted)))
    assert params.load(written) == wanted


@pytest.mark.parametrize("images", [5_354, embedding_map.MOST])
def test_a_sheet_of_many_photographs_stays_small(images):
    noise = np.random.default_rng(0).integers(0, 256, (7, 48, 48, 3), np.uint8)
    source, side, columns = thumbnails.sheet(noise, np.arange(images) % 7)
    assert side * side * images <= thumbnails.SHEET_PIXELS and columns**2 >= images
    assert len(source) < 12_000_000  # noise takes three times what photographs do


def compared(digest: str) -> str:
    """docs/comparison.md as `make comparison` writes it, of these photographs."""
    known = dict(params.flat(params.relevant(settings())))
    own = comparison.made_of(digest, known)
    return f"{comparison.BEGIN}Data: ours\n\n{own}\n\n| a |\n|---|\n| 7 |\n{comparison.END}"


@pytest.mark.parametrize(
    ("shown", "of", "changes"),
    [
        (True, "these", {}),
        (True, "these", {"train": {"seed": 7}}),  # varied within the table
        (False, "these", {"train": {"epochs": 7}}),
        (False, "others", {}),
    ],
    ids=["same", "another seed", "other params", "other photographs"],
)
def test_the_comparison_is_shown_for_its_own_photographs_params_and_code(
    render, built, monkeypatch, shown, of, changes
):
    frame = built.frame if of == "these" else built.frame.iloc[1:]
    table = compared(layout.digest(frame))
    assert ("One network or two" in render(compared=table, **changes)) == shown
    monkeypatch.setattr(comparison, "DECIDING", ("model",))  # as if code had changed
    assert "One network or two" not in render(compared=table, **changes)


@pytest.mark.parametrize(
    ("shown", "changes"),
    [
        (True, {}),
        (True, {"split": {"train_defects": 2, "seed": 7}}),  # varied within the table
        (False, {"model": {"memory": 7}}),
    ],
    ids=["same", "another seed", "other params"],
)
def test_what_labels_add_is_shown_for_its_own_photographs_and_params(render, built, shown, changes):
    varied, title = comparison.BY_LABELS, "What labelled defects add"
    known = dict(params.flat(params.relevant(settings())))
    for frame, own in ((built.frame, True), (built.frame.iloc[1:], False)):
        line = comparison.made_of(layout.digest(frame), known, varied)
        page = render(
            labels=f"Data: ours\n\n{line}\n\n| 0 | all |\n|---|---|\n| 5 | 7 |\n", **changes
        )
        assert (title in page) == (shown and own)


def test_what_is_odd_about_the_data_is_counted_and_named(render):
    odd = [("skipped image", "bolt/test/<b>.png", "can't be decoded"), ("contradiction", "a", "b")]
    page = render(odd=odd)
    assert "1 image could not be read" in page and "&lt;b&gt;.png" in page
    assert "photographs with two labels: 1" in page
    many = render(odd=[("stray mask", f"{number}.png", "") for number in range(205)])
    assert "199.png" in many and "200.png" not in many
    assert "5 more are in data/remarks.csv" in many


def test_it_shows_what_the_review_would_ask_first(render, predictions):
    page = render()
    section = page.partition('<section id="loop">')[2].partition("</section>")[0]
    asked = set(predictions["path"][predictions["split"] != "test"])
    shown = {unescape(path) for path in re.findall(r"<small>(.*?)</small>", section)}
    assert shown and shown <= asked and "No label of this data set" in section


def test_what_is_asked_next_is_ordered_by_the_thresholds_that_decide(render, predictions):
    """As `review` has it: those of the category that was said."""
    names = sorted(set(predictions["category"]))
    taken = predictions.assign(category_predicted=names[0], reviewed="")
    asked = taken[taken["split"].isin(["train", "val"])]
    judged = {"threshold": 0.5, "thresholds": dict.fromkeys(names[1:], 0.99)}
    results = SimpleNamespace(said=taken, judged=judged)
    expected = queue.order(asked, pd.Series(0.5, asked.index))
    expected = expected[expected["reason"] != queue.SURE].head(loop.NEXT)
    assert loop._next(results).index.tolist() == expected.index.tolist()


def few_found(test: pd.DataFrame, name: str) -> pd.DataFrame:
    """A network that is right, but finds a fifth of one category's defects."""
    scores = 0.1 + 0.8 * test["defective"]
    missed = test[(test["category"] == name) & (test["defective"] == 1)].index[::5]
    lost = test.index.isin(test[test["category"] == name].index) & ~test.index.isin(missed)
    return test.assign(defect_probability=np.where(lost, 0.1, scores))


def test_a_category_below_its_peers_is_said_first_with_its_counts(render, predictions):
    test = predictions[predictions["split"] == "test"]
    counts = test[test["defective"] == 1].groupby("category").size()
    name = counts.idxmax()
    found = few_found(predictions, name)
    opening = render(found).partition("</header>")[0]
    weak = re.search(r"The lowest AUROC of a category is that of <b>(.*?)</b>", opening)
    assert unescape(weak[1]) == name and "defective test image" in opening


@pytest.mark.parametrize(("found", "said"), [(2, True), (9, False), (10, False)])
def test_a_category_is_below_its_peers_only_if_that_is_sure(found, said):
    """Ten defects in each of four categories; in three of them all are found."""
    rows = pd.DataFrame({
        "category": np.repeat(["a", "b", "c", "d"], 20), "defective": np.tile([1, 0], 40),
        "split": "test",
    })  # fmt: skip
    alarms = rows["defective"].to_numpy(copy=True)
    alarms[np.flatnonzero((rows["category"] == "a") & (rows["defective"] == 1))[found:]] = 0
    results = Results(None, {}, rows.assign(defect_predicted=alarms), *[None] * 4)
    told = report.metrics.below(results)
    assert bool(told) == said
    if said:
        assert told == [{"category": "a", "what": "found", "count": 2, "total": 10,
                         "others": 30, "others_total": 30}]  # fmt: skip
