"""What the commands of benchmarks/ promise beside their figures."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY, built_in

from twinhead import params, paths
from twinhead.backbones import weights
from twinhead.dataset import catalog, features, pixels
from twinhead.ingest import layout
from twinhead.report import comparison


def load(name: str) -> ModuleType:
    """A command's module, under a name that no library has; it finds those beside it."""
    file = REPOSITORY / f"benchmarks/{name}.py"
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    spec = spec_from_file_location(f"benchmark_{name}", file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


coverage, detector, manifest = load("coverage"), load("detector"), load("manifest")
size = load("size")


def test_a_manifest_names_the_category_that_differs(tmp_path):
    for name in ("bolt", "nut"):
        (tmp_path / name / "train/good").mkdir(parents=True)
        (tmp_path / name / "train/good/0.png").write_bytes(name.encode())
    before = manifest.digests(tmp_path)
    assert manifest.differences(manifest.digests(tmp_path), before) == []
    (tmp_path / "bolt/train/good/0.png").rename(tmp_path / "bolt/train/good/1.png")
    (tmp_path / "pin").mkdir()
    changed = manifest.differences(manifest.digests(tmp_path), before)
    assert [line.partition(":")[0] for line in changed] == ["bolt", "pin"]


@pytest.mark.parametrize("name", ["real15", "more"])
def test_the_photographs_of_the_documents_have_a_manifest(name):
    listed = manifest.read(REPOSITORY / f"benchmarks/{name}.sha256")
    assert len(listed) == {"real15": 15, "more": 4}[name]
    assert all(len(rest.partition("  ")[0]) == 64 for rest in listed.values())


def test_rendered_stores_are_what_the_stages_read(tmp_path):
    from twinhead.backbones.outputs import PATCH_STAGES

    settings = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    settings["data"]["image_size"] = 64
    size.write_stores(tmp_path, 45, settings)
    frame = catalog.read(tmp_path / paths.CATALOG)
    stores = features.load(tmp_path / paths.FEATURES)
    assert sorted(stores) == sorted([features.POOLED, features.CHROMATICITY, *PATCH_STAGES])
    assert {len(frame), *map(len, stores.values())} == {45}
    assert stores["stage5"].shape[1:3] == (4, 4) and stores["stage5"].dtype == np.float16
    assert len(pixels.load(tmp_path / paths.PIXELS)) == 45
    assert sum(1 for _ in pixels.load_masks(tmp_path / paths.MASKS, frame)) == sum(
        frame["mask"] != ""
    )


def test_what_labels_add_is_written_as_the_report_reads_it(built, tmp_path, monkeypatch):
    rows = pd.DataFrame([
        {"seed": seed, "labelled": k, "reading": reading, "category": name, "auroc": area,
         "f1": 0.5, "ece": 0.1}
        for seed, area in ((0, 0.75), (1, 0.85))
        for k in detector.ORDER
        for reading in detector.FEW_READINGS
        for name in ("all", "bolt")
    ])  # fmt: skip
    settings = params.load(REPOSITORY / paths.PARAMS)
    detector.write_few(rows, built.frame, settings, tmp_path / paths.ADDED_BY_LABELS)
    monkeypatch.chdir(tmp_path)
    text = (paths.ADDED_BY_LABELS / "table.md").read_text(encoding="utf-8")
    metrics = {"index": {"digest": layout.digest(built.frame)}}
    found = comparison.labels(SimpleNamespace(labels=text, metrics=metrics, settings=settings))
    assert found["head"] == ["labelled defects a category", "0", "1", "2", "5", "10", "all"]
    assert [row[0] for row in found["rows"]][-2:] == ["learned per patch alone, mean", "bolt"]
    assert found["rows"][-2][1:3] == ["–", "0.800 (0.750–0.850)"]  # without labels there is none
    assert found["curve"].startswith("data:image/png")


@pytest.mark.parametrize("area", [0.9, 0.99])
@pytest.mark.parametrize("grouped", [False, True])
def test_intervals_of_few_images_a_category_hold_the_truth(area, grouped):
    """Of 60 data sets of four categories with two defects each, 57 or so are held."""
    case = {"images": (6, 2), "categories": 4, "mixed": True, "grouped": grouped}
    found = coverage.covered(np.random.default_rng(0), 60, area, **case)
    assert min(held for held, _ in found.values()) >= 0.9


def test_an_equally_good_challenger_seldom_wins():
    case = {"images": (15, 9), "categories": 4, "mixed": False, "grouped": True}
    assert coverage.crowned(np.random.default_rng(0), 100, 0.9, **case) <= 0.05


def test_altered_photographs_keep_their_shape_and_repeat():
    stress = load("stress")
    image = np.random.default_rng(0).integers(60, 200, (128, 128, 3), np.uint8)
    for name, alter in stress.ALTERATIONS.items():
        altered, again = (alter(image, np.random.default_rng(1)) for _ in range(2))
        assert altered.shape == image.shape and altered.dtype == np.uint8, name
        assert np.array_equal(altered, again), name
        assert np.array_equal(altered, image) == (name == stress.AS_IT_IS), name
    darker = stress.ALTERATIONS["brightness -40%"](image, np.random.default_rng(1))
    assert np.abs(darker - 0.6 * image).max() <= 0.5


def test_a_varied_data_set_keeps_the_splits_and_has_copies_of_good_ones(built, split, tmp_path):
    load("stress").vary(built.frame, split, built.pixels, built.root, tmp_path / "varied")
    made = built_in(tmp_path / "made", tmp_path / "varied").frame.set_index("path")
    before = built.frame.assign(split=split).set_index("path")
    assert (made["given"][before.index] == before["split"]).all()
    assert (made["sha256"][before.index] == before["sha256"]).all()
    copies = made.drop(before.index)
    of = before.loc[copies.index.str.removesuffix(".varied.png")]
    assert (copies["given"].to_numpy() == of["split"].to_numpy()).all()
    copied = (before["defective"] == 0) & before["split"].isin(["train", "val"])
    assert sorted(of.index) == sorted(before.index[copied])
    assert not set(copies["sha256"]) & set(before["sha256"])


def test_the_repository_of_ten_photographs_more_has_all_that_a_stage_reads():
    pipeline = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))
    given = set(load("additions").COPIED)
    for described in pipeline["stages"].values():
        read = {dep for dep in described["deps"] if (REPOSITORY / dep).is_file()}
        tracked = {dep for dep in read if not dep.startswith(("src/", "stages/"))}
        assert tracked <= given
        given |= {out if isinstance(out, str) else next(iter(out)) for out in described["outs"]}


def test_the_page_on_scale_has_what_its_command_computes():
    page = (REPOSITORY / "docs/scale.md").read_text(encoding="utf-8")
    assert load("scale").with_tables(page) == page


def test_bytes_that_the_page_on_scale_counts_are_those_of_the_committed_data_set():
    scale = load("scale")
    lock = yaml.safe_load((REPOSITORY / "dvc.lock").read_text(encoding="utf-8"))
    outs = [out for stage in lock["stages"].values() for out in stage["outs"]]
    stored = {out["path"]: out["size"] for out in outs}
    assert 600 * scale.PIXELS == pytest.approx(stored["data/pixels"], rel=0.002)
    assert 600 * (scale.DESCRIBED - scale.EXTRACTED) == pytest.approx(
        stored["data/features"], rel=0.002
    )
    for path, images, counted in (
        ("data/extracted.csv", 600, scale.EXTRACTED),
        ("data/splits.csv", 600, scale.SPLITS),
        ("reports/predictions.csv", 600, scale.PREDICTIONS),
        ("reports/crossfit.csv", 416, scale.CROSSFIT),
        ("reports/explanations.csv", 121, scale.EXPLANATIONS),
    ):
        assert stored[path] / images == pytest.approx(counted, rel=0.02), path
    assert stored["models/model.keras"] == pytest.approx(scale.MODEL, rel=0.01)
    assert stored["models/edge"] == pytest.approx(scale.EDGE, rel=0.01)
    lists = stored["data/catalog.csv"] + stored["data/decoded.csv"]
    assert lists / 600 == pytest.approx(scale.LISTS, rel=0.02)
    drawn = sum(
        stored[path] for path in stored if path.startswith(("reports/heatmaps", "reports/plots"))
    )
    assert drawn == pytest.approx(scale.OVERLAYS, rel=0.02)
    assert stored["reports/index.html"] == pytest.approx(scale.PAGE_BYTES, rel=0.02)


def test_the_peer_gets_the_whole_backbone_under_its_own_names():
    """By timm's EfficientNet: the first block has no expansion; five tensors a normalisation."""
    peer = load("peer")
    tensors = weights.load()
    found = peer.timm_names(tensors)
    assert len(found) == len([name for name in tensors if not name.startswith("_fc")])
    assert found["conv_stem.weight"] is tensors["_conv_stem.weight"]
    assert found["blocks.0.0.conv_pw.weight"] is tensors["_blocks.0._project_conv.weight"]
    assert found["blocks.2.1.bn3.running_var"] is tensors["_blocks.4._bn2.running_var"]
    assert found["blocks.6.0.conv_pwl.weight"].shape == (320, 1152, 1, 1)


def test_what_is_best_on_the_other_products_is_not_chosen_on_the_product_itself():
    patches = load("patches")
    areas = pd.DataFrame(
        {"as shipped": [0.8, 0.8, 0.8], "other": [0.99, 0.79, 0.79]}, ["bolt", "nut", "pin"]
    )
    *_, other, shipped, chosen = patches.tabulated(areas, "ways").splitlines()
    assert other.startswith("| other | 0.8567") and shipped.endswith("| – | – |")
    # On the two others `other` is worse, so the bolt doesn't get it; they get it for the bolt.
    assert "| 0.7933 |" in chosen
