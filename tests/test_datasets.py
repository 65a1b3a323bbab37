"""Data sets as they come: each is used as one would expect, or refused in a line that says why."""

import json
import math
import os
import shutil
from collections.abc import Callable
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import create_autospec
from zlib import crc32

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY, SHRUNK, SIZE, photograph, save
from dvc.repo import Repo
from PIL import Image

from twinhead import paths, tracking
from twinhead.attribution import localisation
from twinhead.dataset import catalog, pixels, tables
from twinhead.errors import InputError
from twinhead.ingest import decoding, layout, quality
from twinhead.ingest.images import read as read_image
from twinhead.model import training
from twinhead.plots import evaluation as plots
from twinhead.tracking.live import Live

STAGES = ("index", "split", "features", "train", "evaluate", "embed", "explain", "plots", "report")
COLOURS = ((150, 60, 50), (60, 140, 60), (60, 70, 160))


def category(root: Path, name: str, kinds: dict[str, int], colour=COLOURS[0], masks=True) -> Path:
    """Noisy photographs of one colour, so many in each folder; defects are bright discs."""
    rng = np.random.default_rng(crc32(name.encode()))
    for kind, images in kinds.items():
        for number in range(images):
            defective = not kind.endswith("good")
            image, disc = photograph(rng, colour, (40, 36), defective)
            save(image, root / name / kind / f"{number:03}.png")
            if defective and masks:
                truth = root / name / kind.replace("test/", "ground_truth/")
                save(np.uint8(255) * disc, truth / f"{number:03}_mask.png")
    return root


USUAL = {"train/good": 12, "test/good": 4, "test/cut": 8}


@pytest.fixture
def run(tmp_path, monkeypatch) -> Callable[..., SimpleNamespace]:
    """Run the stages one after the other in a workspace of their own, without MLflow."""

    @contextmanager
    def silent(stage, settings):
        yield create_autospec(Live, instance=True)

    monkeypatch.setattr(tracking, "running", silent)
    monkeypatch.setattr(tracking, "record", lambda *given, **named: None)
    monkeypatch.syspath_prepend(REPOSITORY)
    workspace = tmp_path / "workspace"
    for folder in ("data", "models", "reports", "metrics"):
        (workspace / folder).mkdir(parents=True)
    monkeypatch.chdir(workspace)

    def through(root: Path, last: str = "report", **changes: dict) -> SimpleNamespace:
        tree = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
        small = SHRUNK | {"data": {"root": str(root), "image_size": SIZE}, "features": {"views": 1}}
        for values in (small, changes):
            for section, fields in values.items():
                tree[section] |= fields
        paths.PARAMS.write_text(yaml.safe_dump(tree), encoding="utf-8")
        for name in STAGES[: STAGES.index(last) + 1]:
            getattr(import_module(f"stages.{name}"), name)()
        known = [name for name in STAGES if paths.metrics(name).exists()]
        metrics = {name: json.loads(paths.metrics(name).read_text("utf-8")) for name in known}
        return SimpleNamespace(**metrics, remarks=quality.read(paths.REMARKS))

    return through


def refused(work: Callable[[], object], root: Path) -> str:
    """What the one line says, without the place of the folder."""
    with pytest.raises(InputError) as caught:
        work()
    (line,) = str(caught.value).splitlines()
    return f"refused: `{line.replace(str(root), root.name)}`"


@pytest.mark.long
def test_one_category_and_no_good_images_to_train_on(run, case, tmp_path):
    root = category(tmp_path / "photos", "only", {"test/good": 12, "test/cut": 12})
    test = run(root, "evaluate", model={"backbone": "cnn"}).evaluate["test"]
    assert test["defect"]["auroc"] is not None
    case("Data sets", "no `train/good`", "used: all images are shared out anew")
    assert test["category"]["accuracy"] == 1
    case("Data sets", "one category", "used: the category is always right, the defects are learnt")


@pytest.mark.long
def test_no_defects_at_all(run, case, tmp_path):
    root = category(tmp_path / "photos", "a", {"train/good": 20})
    category(root, "b", {"train/good": 20}, COLOURS[1])
    paper = refused(lambda: run(root, "train", model={"backbone": "cnn"}), root)
    case("Data sets", "no defects at all, the paper's network", paper)
    found = run(root)
    test, point = found.evaluate["test"]["defect"], found.evaluate["operating_point"]
    assert point["rule"] == "false_alarm_rate" and test["auroc"] is test["recall"] is None
    assert test["accuracy"] > 0.5 and found.explain["pixel_auroc"] is None
    what = "used: compared with good ones; what only defects can show is not defined"
    case("Data sets", "no defects at all", what)
    one = {"model": {"backbone": "cnn", "tasks": ["category"]}, "explain": {"head": "category"}}
    found = run(root, **one | {"explain": one["explain"] | {"images_per_category": 1}})
    assert found.evaluate["test"]["category"]["accuracy"] > 0.9
    assert "defect" not in found.evaluate["test"]
    what = "used: the category head alone, page and plots without defects"
    case("Data sets", "no defects at all, `model.tasks: [category]`", what)


@pytest.mark.long
def test_good_images_alone_train_a_detector_of_defects(run, case, tmp_path):
    """MVTec AD's own protocol: the labelled defects of train and val are left aside."""
    root = category(tmp_path / "photos", "a", USUAL | {"train/good": 24})
    category(root, "b", USUAL | {"train/good": 24}, COLOURS[1])
    found = run(root, split={"train_defects": 0, "test_fraction": 0.4})
    metrics, test = found.evaluate, found.evaluate["test"]["defect"]
    assert test["auroc_category_mean"] > 0.9 and test["recall"] > 0.5
    for split in ("train", "val"):
        known = metrics[split]["defect"]
        assert known["defective"] == 0 and known["auroc"] is known["recall"] is known["f1"] is None
    split = pd.read_csv(paths.SPLITS)["split"]
    seen = split.isin(["train", "val"]).sum()  # val, and train by cross-fitting; all are good
    assert metrics["operating_point"] == {
        "rule": "false_alarm_rate",
        "value": pytest.approx(max(0.02, 1 / (seen + 1))),
        "lowest_false_alarm_rate": pytest.approx(1 / (seen + 1)),
    }
    assert metrics["test"]["unseen_types"]["images"] == test["defective"]
    assert found.explain["aupro"] is not None
    what = "used: good ones alone train it; a false-alarm rate that so many can promise is kept"
    case("Data sets", "good images alone to train on (`split.train_defects: 0`)", what)


def test_one_image(run, case, tmp_path):
    root = category(tmp_path / "photos", "a", {"train/good": 1})
    case("Data sets", "one image", refused(lambda: run(root, "split"), root))


@pytest.mark.long
def test_a_category_with_fewer_images_than_splits(run, case, tmp_path):
    root = category(tmp_path / "photos", "a", USUAL)
    category(root, "b", {"train/good": 1, "test/cut": 1}, COLOURS[1])
    found = run(root, "evaluate")
    by_category = found.evaluate["test"]["by_category"]
    assert by_category.get("b", {"defect": {"auroc": None}})["defect"]["auroc"] is None
    assert found.evaluate["test"]["defect"]["auroc_category_mean"] is not None
    what = "used: it trains the network, and what can't be judged of it is not defined"
    case("Data sets", "a category with fewer images than splits", what)


@pytest.mark.long
def test_two_hundred_categories(run, case, tmp_path):
    for number in range(200):
        rng = np.random.default_rng(number)
        colour = tuple(rng.integers(40, 200, 3).tolist())
        category(tmp_path / "photos", f"c{number:03}", {"train/good": 2, "test/cut": 1}, colour)
    paper = {"model": {"backbone": "cnn"}, "train": {"epochs": 1}}  # the plots are what is tried
    found = run(tmp_path / "photos", "evaluate", **paper)
    assert len(found.index["by_category"]) == 200
    names = catalog.categories(catalog.read(paths.CATALOG))
    plots.draw(tables.read(paths.PREDICTIONS), found.evaluate, names, tmp_path)
    confusion = Image.open(tmp_path / "confusion_category.png")
    assert max(confusion.size) < 4000
    case("Data sets", "200 categories", "used; the plots grow no wider than they can be read")


def test_masks_that_are_missing_of_another_size_empty_or_not_binary(run, case, tmp_path):
    root = category(tmp_path / "photos", "a", USUAL | {"test/cut": 12})
    truth = root / "a/ground_truth/cut"
    (truth / "000_mask.png").unlink()
    for number, size in ((1, (80, 72)), (2, (20, 18))):
        Image.open(truth / f"{number:03}_mask.png").resize(size).save(
            truth / f"{number:03}_mask.png"
        )
    save(np.zeros((36, 40), np.uint8), truth / "003_mask.png")
    grey = Image.open(truth / "004_mask.png").point(lambda value: value and 7)
    grey.save(truth / "004_mask.png")
    found = run(root, "index")
    assert found.index["masks"] == 11 and found.index["remarks"]["empty_mask"] == 1
    assert found.remarks["path"].tolist() == ["a/ground_truth/cut/003_mask.png"]
    case("Data sets", "masks missing", "used: heat maps are scored on the images that have one")
    frame = catalog.read(paths.CATALOG)
    masks = pixels.load_masks(paths.MASKS, frame)
    resized = frame[frame["mask"].str.contains("00[12]_mask")].assign(outcome="found")
    for number, path in resized["path"].items():
        # The disc is what shines in the photograph, whatever the mask's size.
        shines = read_image(root / path, SIZE).min(axis=2) > 200
        assert (masks[number] & shines).sum() > 0.5 * (masks[number] | shines).sum()
    heat = [masks[number].astype(np.float32) for number in resized.index]
    scored = localisation.score(resized, heat, masks, SIZE).metrics
    assert len(heat) == 2 and scored["pointing_hit"] == scored["pixel_auroc"] == 1
    case("Data sets", "masks in another size", "used: scaled to their images")
    case("Data sets", "an empty mask", "used as no mask; counted and listed as a remark")
    case("Data sets", "a mask that is not binary", "used: what isn't black is marked")


def test_a_mask_of_another_shape(run, case, tmp_path):
    root = category(tmp_path / "photos", "a", USUAL)
    save(np.zeros((36, 90), np.uint8), root / "a/ground_truth/cut/000_mask.png")
    said = refused(lambda: run(root, "index"), root)
    case("Data sets", "a mask of other proportions than its image", said)
    found = run(root, "index", data={"on_bad_image": "skip"})
    assert found.index["masks"] == 7 and found.index["remarks"]["skipped_mask"] == 1
    what = "the mask is skipped, counted and listed; the image stays"
    case("Data sets", "such a mask, `data.on_bad_image: skip`", what)


def test_masks_for_images_that_are_not_there(run, case, tmp_path, capsys):
    root = category(tmp_path / "photos", "a", USUAL)
    for number in (5, 6):
        (root / f"a/test/cut/{number:03}.png").unlink()
    found = run(root, "index")
    assert found.index["remarks"]["stray_mask"] == 2
    assert "index: masks without an image: 2 (a/ground_truth/cut/005" in capsys.readouterr().out
    case("Data sets", "masks for images that don't exist", "said, counted and listed as remarks")


def test_the_same_photograph_under_two_labels(run, case, tmp_path, capsys):
    root = category(tmp_path / "photos", "a", USUAL)
    shutil.copy(root / "a/train/good/003.png", root / "a/test/cut/900.png")
    found = run(root, "split")
    assert found.index["remarks"]["contradiction"] == 1
    assert found.remarks["remark"].tolist() == ["the same bytes as a/train/good/003.png"]
    assert "index: photographs with two labels: 1 (a/test/cut/900.png)" in capsys.readouterr().out
    split = pd.read_csv(paths.SPLITS).set_index("path")["split"]
    assert split["a/test/cut/900.png"] == split["a/train/good/003.png"]
    what = "said, counted and listed as a contradiction; both stand on one side of the split"
    case("Data sets", "the same photograph under two labels", what)


def test_duplicates_across_categories_and_splits(run, case, tmp_path):
    root = category(tmp_path / "photos", "a", USUAL)
    category(root, "b", USUAL, COLOURS[1])
    shutil.copy(root / "a/train/good/001.png", root / "b/train/good/901.png")
    picture = Image.open(root / "a/train/good/002.png")
    picture.save(root / "b/test/good/902.jpg", quality=97)
    found = run(root, "split")
    assert found.split["duplicates_kept_together"] == 1
    assert found.split["near_duplicates_kept_together"] == 1
    assert found.split["duplicates_across_categories"] == 2
    table = pd.read_csv(paths.SPLITS, keep_default_na=False).set_index("path")
    for one, other in (("a/train/good/001.png", "b/train/good/901.png"),
                       ("a/train/good/002.png", "b/test/good/902.jpg")):  # fmt: skip
        assert table.loc[other, "duplicate_of"] == one
        assert table.loc[one, "split"] == table.loc[other, "split"]
    case("Data sets", "exact duplicates, also across categories", "one side of the split; counted")
    what = (
        "found by perceptual hash: one side of the split; counted, and named in `data/splits.csv`"
    )
    case("Data sets", "near duplicates, also across categories", what)


def test_a_data_set_that_changes_while_it_is_read(run, case, tmp_path, monkeypatch):
    root = category(tmp_path / "photos", "a", USUAL)
    run(root, "index")
    kept = paths.CATALOG.read_bytes()
    collect = quality.collect

    def meanwhile(*given):
        save(np.zeros((36, 40, 3), np.uint8), root / "a/train/good/late.png")
        return collect(*given)

    monkeypatch.setattr(quality, "collect", meanwhile)
    said = refused(lambda: run(root, "index"), root)
    assert paths.CATALOG.read_bytes() == kept
    case("Data sets", "a data set that changes while `index` reads it", said)


@pytest.mark.long
def test_bad_images_stop_the_pipeline_or_are_skipped_and_one_defect_is_enough(
    run, case, tmp_path, capsys
):
    root = category(tmp_path / "photos", "a", USUAL | {"test/good": 11, "test/cut": 1})
    for number in (1, 2, 3):
        (root / f"a/train/good/{number:03}.png").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        run(root, "index")
    assert len(str(caught.value).splitlines()) == 3
    case("Data sets", "three bad images of 24", "refused: a line for each of the three, at once")
    found = run(root, data={"on_bad_image": "skip"})
    assert found.index["images"] == 21 and found.index["remarks"]["skipped_image"] == 3
    assert "index: skipped images that can't be read: 3 (a/" in capsys.readouterr().out
    page = paths.REPORT.read_text("utf-8")
    assert "3 images could not be read" in page and "a/train/good/002.png" in page
    what = "skipped: said, counted, listed in `data/remarks.csv` and shown in the report"
    case("Data sets", "three bad images of 24, `data.on_bad_image: skip`", what)
    test = found.evaluate["test"]["defect"]
    assert test["auroc"] is None and test["recall"] is None and "not defined" in page
    what = "used: it trains the network; test and val lack defects, so their AUROC is not defined"
    case("Data sets", "one defect", what)
    case("Numbers", "a split without defects", "AUROC and recall are not defined, never 0 or 1")


def named(root: Path, *names: str | bytes) -> Path:
    """Copies of one photograph under these names, beside three ordinary ones."""
    category(root, "a", {"train/good": 3})
    for name in names:
        target = os.fsencode(root / "a/train/good") + b"/" + os.fsencode(name)
        shutil.copy(os.fsencode(root / "a/train/good/000.png"), target)
    return root


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("a name with a newline", "a\nb.png"),
        ("a name with quotes and commas", "'a\", b.png"),
        ("a name with emoji", "🔩🙂.png"),
        ("a name of 250 bytes", f"{'x' * 246}.png"),
    ],
)
def test_odd_names(run, case, tmp_path, label, name):
    run(named(tmp_path / "photos", name), "index")
    assert f"a/train/good/{name}" in catalog.read(paths.CATALOG)["path"].tolist()
    case("Folders and files", label, "used")


def test_a_name_that_is_not_utf8(run, case, tmp_path):
    root = named(tmp_path / "photos", b"\xff.png")
    said = refused(lambda: run(root, "index"), root)
    case("Folders and files", "a name that is not UTF-8", said)


def test_names_that_differ_in_case_or_extension(run, case, tmp_path):
    root = category(tmp_path / "photos", "a", USUAL)
    for name in ("000.PNG", "000.bmp"):
        picture = photograph(np.random.default_rng(9), COLOURS[2], (40, 36), True)[0]
        Image.fromarray(picture).save(root / "a/test/cut" / name)
    run(root, "index")
    frame = catalog.read(paths.CATALOG).set_index("path")
    assert {"a/test/cut/000.PNG", "a/test/cut/000.bmp", "a/test/cut/000.png"} <= set(frame.index)
    assert (frame["mask"][frame.index.str.contains("/cut/000")].nunique()) == 1
    what = "used as different images; a mask belongs to all of its stem"
    case("Folders and files", "two names that differ only in case or extension", what)


def test_what_other_programs_leave(run, case, tmp_path):
    root = named(tmp_path / "photos", "Thumbs.db", ".DS_Store", "._000.png", "notes.txt")
    assert run(root, "index").index["images"] == 3
    case("Folders and files", "`Thumbs.db`, `.DS_Store`, other kinds of files", "left out")


def test_links(run, case, tmp_path):
    root, outside = category(tmp_path / "photos", "a", USUAL), tmp_path / "outside"
    save(photograph(np.random.default_rng(5), COLOURS[2], (40, 36), False)[0], outside / "1.png")
    link = root / "a/train/good/link.png"
    link.symlink_to(outside / "1.png")
    assert run(root, "index").index["images"] == 25
    repository = Repo.init(".", no_scm=True)
    Path("dvc.yaml").write_text(
        yaml.safe_dump({"stages": {"look": {"cmd": "true", "deps": [str(root)]}}}), encoding="utf-8"
    )
    repository.reproduce()
    assert repository.status() == {}
    save(photograph(np.random.default_rng(6), COLOURS[2], (40, 36), False)[0], outside / "1.png")
    assert list(repository.status()) == ["look"]
    case("Folders and files", "a link to an image elsewhere", "used; DVC notices if it changes")
    for label, target in (("a dangling link", "gone.png"), ("a link loop", "link.png")):
        link.unlink()
        link.symlink_to(target)
        case("Folders and files", label, refused(lambda: run(root, "index"), root))
    link.unlink()
    for label, target in (
        ("a link to a folder that leaves the data set", outside),
        ("a link to a folder above", ".."),
    ):
        (root / "a/test/linked").symlink_to(target)
        case("Folders and files", label, refused(lambda: run(root, "index"), root))
        (root / "a/test/linked").unlink()


@pytest.mark.long
def test_a_folder_of_a_hundred_thousand_images(case, tmp_path):
    """All are images, of eight contents; every hundredth is indexed, which would take minutes."""
    folder = tmp_path / "photos/a/train/good"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    firsts = [
        save(photograph(rng, COLOURS[0], (8, 8), False)[0], folder / f"{number:06}.png")
        for number in range(8)
    ]
    for number in range(8, 100_000):
        os.link(firsts[number % 8], folder / f"{number:06}.png")
    frame = layout.scan(tmp_path / "photos")
    assert len(frame) == 100_000 and frame["path"].is_monotonic_increasing
    some = frame.iloc[::100].reset_index(drop=True)
    places = (tmp_path / name for name in ("pixels", "masks", "seen.csv"))
    built = decoding.build(some, tmp_path / "photos", 8, *places)
    stored = pixels.load(tmp_path / "pixels")
    assert stored.shape == (1000, 8, 8, 3) and len(built.frame) == 1000
    assert (stored[2] == stored[0]).all() and (stored[1] != stored[0]).any()
    what = "all are listed; every hundredth was indexed"
    case("Folders and files", "a folder of 100,000 images", what)


def learnt(run, root: Path) -> dict:
    found = run(root, "evaluate", train={"epochs": 6}, split={"test_fraction": 0.5})
    return found.evaluate["test"]["defect"]


@pytest.mark.long
def test_a_defect_as_large_as_a_barn_is_learnt_and_shuffled_labels_are_not(run, case, tmp_path):
    rng, root = np.random.default_rng(3), tmp_path / "photos"
    for name, colour in (("a", COLOURS[0]), ("b", COLOURS[1])):
        for number in range(100):
            image = photograph(rng, colour, (36, 36), False)[0]
            if number % 3 == 0:
                image[8:28, 8:28] = 250
            kind = "test/cut" if number % 3 == 0 else "train/good"
            save(image, root / name / kind / f"{number:03}.png")
    assert learnt(run, root)["auroc_category_mean"] > 0.99
    case("Numbers", "a defect as large as a barn", "learnt: test AUROC above 0.99")
    for name in ("a", "b"):
        files = sorted((root / name).rglob("*.png"))
        for file, turn in zip(files, rng.permutation(len(files)), strict=True):
            file.rename(file.with_suffix(f".{turn:03}"))
        for turn, file in enumerate(sorted((root / name).rglob("*.???"), key=lambda f: f.suffix)):
            kind = "test/cut" if turn % 3 == 0 else "train/good"
            file.rename(root / name / kind / f"{turn:03}.png")
    found = learnt(run, root)
    assert found["auroc_category_mean_low"] < 0.5 < found["auroc_category_mean_high"]
    what = "nothing to learn: the 95% interval of the test AUROC holds 0.5"
    case("Numbers", "shuffled labels (a leak test)", what)


@pytest.mark.long
def test_a_network_that_diverges(run, case, tmp_path, monkeypatch):
    validate = training._validate
    monkeypatch.setattr(training, "_validate", lambda *g: validate(*g) | {"val_loss": math.nan})
    root = category(tmp_path / "photos", "a", USUAL)
    said = refused(lambda: run(root, "train"), root)
    case("Numbers", "a loss that is no number in the first epoch", said)
