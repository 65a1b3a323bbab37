"""The exported model: the same answers as the trained one, without its libraries."""

import json
import os
import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import small
from conftest import CATEGORIES, SIZE, Built, Workspace, apart
from matplotlib import colormaps
from test_hostile_images import REFUSED

from twinhead import edge, params, paths, processor
from twinhead.edge import compiled
from twinhead.errors import InputError
from twinhead.export import conversion, manifest, package, parity, quantisation, reference
from twinhead.export.decisions import Rules
from twinhead.ingest import images
from twinhead.model import inference, network
from twinhead.plots import inferno


@dataclass(frozen=True)
class Made:
    folder: Path
    metrics: dict
    again: Path
    """The same once more."""


@pytest.fixture(scope="module")
def judged(built: Built, split: pd.Series) -> tuple[keras.Model, package.Judged]:
    """The paper's network, untrained."""
    settings = params.Model(
        backbone="cnn", weights="random", frozen=False, memory=20, tasks=["category", "defect"]
    )
    model = network.build(settings, SIZE, len(CATEGORIES), 0)
    answers = inference.predict(
        model, inference.Source(built.pixels), built.frame, split, sorted(CATEGORIES)
    )
    threshold = float(answers["defect_probability"].median()) + 1e-6
    answers["defect_predicted"] = (answers["defect_probability"] >= threshold).astype(int)
    return model, package.Judged(
        built.frame, split, answers, Rules(threshold), None, 1, "of no file"
    )


@pytest.fixture(scope="module")
def made(built: Built, judged, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """That network as `export` leaves it."""
    folders = [tmp_path_factory.mktemp("edge") for _ in range(2)]
    metrics = [
        package.write(judged[0], built.pixels, built.masks, judged[1], True, folder, print)
        for folder in folders
    ]
    assert metrics[0] == metrics[1]
    return Made(folders[0], metrics[0], folders[1])


@pytest.fixture(scope="module")
def exported(finished: Workspace) -> Path:
    """The pipeline's."""
    return finished.root / paths.EDGE


def test_the_export_answers_as_the_pipeline_has_judged(exported, finished, folder):
    table = pd.read_csv(finished.root / paths.PREDICTIONS)
    found = edge.load(exported).answer([folder / path for path in table["path"]])
    for answer, row in zip(found, table.to_dict("records"), strict=True):
        assert answer["category"] == row["category_predicted"]
        near = {"category_probability": 1e-4, "defect_probability": apart(answer["category"])}
        for name, most in near.items():
            assert answer[name] == pytest.approx(row[name], abs=most)
        assert (answer["defective"], answer["known"]) == (row["defect_predicted"], row["known"])
    gate = json.loads((finished.root / paths.metrics("export")).read_text(encoding="utf-8"))
    assert gate["float"] == {"auroc": 0, "auroc_category_mean": 0, "equal_decisions": 1,
                             "equal_known": 1, "pixel_auroc": None}  # fmt: skip
    assert gate["int8"] is None and gate["why"] == "export.int8 is false"


def test_the_gate_judges_int8_on_val(made, split):
    assert made.metrics["images"] == (split == "val").sum()
    assert set(made.metrics["int8"]) == set(parity.LIMITS)
    assert made.metrics["int8"]["pixel_auroc"] is None  # the paper's network has no map
    passed = not parity.failures(made.metrics["int8"])
    assert made.metrics["kept"] == ("float and int8" if passed else "float")
    assert (made.folder / "int8.bin").exists() == passed and made.metrics["why"]


def test_where_int8_cannot_be_made_float_is_kept(built, judged, tmp_path, monkeypatch):
    def quantise(*arguments: object) -> None:
        raise KeyError("no such node")

    monkeypatch.setattr(quantisation, "quantise", quantise)
    model, known = judged
    found = package.write(model, built.pixels, built.masks, known, True, tmp_path, print)
    assert found["int8"] is None and found["calibration_images"] == 0
    assert (found["kept"], found["why"]) == ("float", "int8 can't be made ('no such node')")
    assert edge.load(tmp_path).precision == "float"
    monkeypatch.setattr(quantisation, "quantise", lambda *arguments: bytearray(2**62))
    with pytest.raises(MemoryError):
        package.write(model, built.pixels, built.masks, known, True, tmp_path, print)


def test_where_float_answers_otherwise_it_is_kept_and_says_so(built, judged, tmp_path):
    model, known = judged
    other = known.predictions.assign(defect_predicted=1 - known.predictions["defect_predicted"])
    known = replace(known, predictions=other)
    found = package.write(model, built.pixels, built.masks, known, False, tmp_path, print)
    assert found["kept"] == "float" and found["float"]["pixel_auroc"] is None
    assert found["why"].startswith("export.int8 is false; float answers otherwise than models/")
    assert "0.0% of the decisions are equal, expected 99.5%" in found["why"]


def test_without_openvino_the_list_says_that_there_is_no_network(
    built, judged, tmp_path, monkeypatch
):
    model, known = judged
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "openvino", None)
        found = package.write(model, built.pixels, built.masks, known, True, tmp_path, print)
    assert found["kept"] == "none" and found["float"] is found["int8"] is None
    assert [file.name for file in tmp_path.iterdir()] == [manifest.FILE]
    with pytest.raises(InputError, match=r"has no network \(the network can't be exported: "):
        edge.load(tmp_path)


def test_a_list_without_what_decides_is_refused_and_so_is_one_of_another_shape(made, tmp_path):
    shutil.copytree(made.folder, tmp_path, dirs_exist_ok=True)
    file = tmp_path / manifest.FILE
    listed = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(listed | {"rules": {"threshold": None}}))
    with pytest.raises(InputError, match=r"edge.json: lacks rules.threshold"):
        edge.load(tmp_path, "float")
    files = {name: digest for name, digest in listed["files"].items() if name != "float.bin"}
    file.write_text(json.dumps(listed | {"files": files}))
    with pytest.raises(InputError, match=r"float.bin isn't the file that edge.json lists"):
        edge.load(tmp_path, "float")
    file.write_text(json.dumps({"version": 2, "networks": []}))
    with pytest.raises(InputError, match="of version 2; this twinhead reads 1"):
        edge.load(tmp_path)


def test_what_was_trained_in_bfloat16_is_exported_in_float32():
    settings = params.Model(
        backbone="cnn", weights="random", frozen=False, memory=20, tasks=["defect"]
    )
    model = network.build(settings, SIZE, 1, 0, "mixed_bfloat16")
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    found = processor.Network(conversion.convert(model))(pixels)["defect"]
    np.testing.assert_allclose(found, model(pixels.astype(np.float32))["defect"], atol=0.02)


def test_a_gate_that_fails_says_by_how_much():
    good = dict.fromkeys(parity.LIMITS, 0.0) | dict.fromkeys(parity.SHARES, 1.0)
    assert parity.failures(good) == []
    assert parity.failures(dict.fromkeys(good)) == []
    said = parity.failures({"auroc": 0.004, "auroc_category_mean": 0.003, "equal_decisions": 0.99,
                            "equal_known": 0.99, "pixel_auroc": None})  # fmt: skip
    assert said == ["auroc differs by 0.0040, expected at most 0.003",
                    "99.0% of the decisions are equal, expected 99.5%"]  # fmt: skip


def test_the_same_network_is_exported_to_the_same_bytes(made):
    for file in sorted(made.folder.iterdir()):
        assert (made.again / file.name).read_bytes() == file.read_bytes(), file.name


def test_ranges_are_set_by_training_photographs_of_each_category_in_turn(built: Built, split):
    train = np.flatnonzero(split == "train")
    chosen = quantisation.calibration(built.frame, train)
    assert set(chosen) <= set(train) and len(chosen) <= quantisation.CALIBRATION
    few = built.frame.iloc[quantisation.calibration(built.frame, train[:20])]
    assert len(few) == 20 and (np.diff(few.index) > 0).all()


def test_only_convolutions_are_in_int8(exported, built: Built):
    """The memory's distances, and all that is calibrated, are computed in float."""
    graph = processor.load().Core().read_model(exported / "float.xml")
    found = quantisation.quantise(graph, lambda row: built.pixels[row], np.arange(2))
    after = {
        other.get_node().get_type_name()
        for one in found.get_ordered_ops()
        if one.get_type_name() == "FakeQuantize"
        for other in one.output(0).get_target_inputs()
    }
    assert {"Convolution", "GroupConvolution"} <= after
    # A transposition would be of the photograph, before the first convolution.
    assert not after & {
        "MatMul",
        "Divide",
        "Log",
        "Power",
        "ReduceMin",
        "ReduceMean",
        "Transpose",
        "AvgPool",
    }


def test_the_next_start_takes_the_compiled_form_and_answers_the_same(made, tmp_path, monkeypatch):
    monkeypatch.setenv("TWINHEAD_CACHE", str(tmp_path))
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    first = edge.load(made.folder, "float").look(pixels)
    kept = {file: file.read_bytes() for file in tmp_path.iterdir()}
    assert [file.suffix for file in kept] == [compiled.ENDING] * 2  # for one photograph, for many

    def compile_anew(*arguments: object) -> None:
        raise AssertionError("compiled anew")

    def from_kept() -> dict[str, np.ndarray]:
        with monkeypatch.context() as only_kept:
            only_kept.setattr(processor.Network, "_compiled", compile_anew)
            return edge.load(made.folder, "float").look(pixels)

    again = from_kept()
    for file in kept:
        file.write_bytes(kept[file][:-9])
    torn = edge.load(made.folder, "float").look(pixels)
    mended = from_kept()  # not by their bytes, which OpenVINO doesn't repeat each time
    assert set(tmp_path.iterdir()) == set(kept)
    monkeypatch.setenv("TWINHEAD_CACHE", str(made.folder / manifest.FILE / "no-folder"))
    without = edge.load(made.folder, "float").look(pixels)
    for name, values in first.items():
        for other in (again, torn, mended, without):
            assert other[name].tobytes() == values.tobytes()


def test_few_compiled_forms_are_kept(made, tmp_path, monkeypatch):
    monkeypatch.setenv("TWINHEAD_CACHE", str(tmp_path))
    for number in range(compiled.KEPT):
        (tmp_path / f"{number}.blob").write_bytes(b"of another model")
        os.utime(tmp_path / f"{number}.blob", (number, number))
    edge.load(made.folder, "float")
    names = {file.stem for file in tmp_path.iterdir()}
    assert len(names) == compiled.KEPT and "0" not in names and "1" in names


@pytest.mark.parametrize("name", ["float.bin", "float.xml", "edge.json"])
def test_a_folder_that_is_not_whole_is_named(exported, tmp_path, name):
    broken = Path(shutil.copytree(exported, tmp_path / "edge"))
    (broken / name).write_bytes((broken / name).read_bytes()[:-9])
    with pytest.raises(InputError, match=name):
        edge.load(broken, "float")
    (broken / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        edge.load(broken, "float")


def test_a_list_of_another_version_is_refused(exported, tmp_path):
    other = json.loads((exported / manifest.FILE).read_text(encoding="utf-8"))
    (tmp_path / manifest.FILE).write_text(json.dumps(other | {"version": 2}))
    with pytest.raises(InputError, match="of version 2; this twinhead reads 1"):
        edge.load(tmp_path)
    with pytest.raises(InputError, match="has no bfloat16; it has float"):
        edge.load(exported, "bfloat16")


def test_files_bytes_and_pixels_get_the_same_answer(exported, folder):
    file = folder / "bolt/test/good/000.png"
    model, pixels = edge.load(exported), images.read(file, SIZE)
    found = model.answer([file, str(file), file.read_bytes()]) + model.answer(pixels[None])
    assert found == found[:1] * 4 and list(found[0]) == model.columns
    assert model.answer([]) == []
    with pytest.raises(InputError, match="photograph 1: can't be decoded"):
        model.answer([b"no picture"])


def test_heat_maps_have_the_colours_of_matplotlib():
    heat = np.linspace(0, 1, 4001)
    theirs = colormaps[inferno.NAME](heat)[:, :3] * 255
    assert np.abs(inferno.colours(heat) - theirs).max() <= 0.5


def test_three_lines_of_python_need_no_other_library(exported, folder):
    code = """
from twinhead import edge
model = edge.load(sys.argv[1])
print(model.answer([sys.argv[2]]))
"""
    file = folder / "bolt/test/good/000.png"
    done, out, err = small.run("import sys\n" + code, exported, file, folder=folder)
    assert done == 0, err
    assert out.strip() == str(edge.load(exported).answer([file]))


def test_predict_needs_no_other_library(exported, folder, tmp_path):
    arguments = ("predict", folder, "--model", exported, "--overlays", tmp_path / "heat")
    done, _, err = small.run(
        small.TWINHEAD, *arguments, "--jsonl", tmp_path / "a.jsonl", folder=tmp_path
    )
    assert done == 0, err
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == len(list((tmp_path / "heat").rglob("*.heat.png"))) == 58
    model = edge.load(exported)
    assert rows[0] == {"path": rows[0]["path"]} | model.answer([rows[0]["path"]])[0]


def test_a_model_that_needs_more_says_what_to_install(exported, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/model.keras").write_bytes(b"")
    save = tmp_path / "a.png"
    save.write_bytes(b"")
    code, _, err = small.run(small.TWINHEAD, "predict", save, folder=tmp_path)
    assert code == 2 and len(err.splitlines()) == 1
    assert "pip install '.[pipeline]', or name an exported model" in err
    code, _, err = small.run(small.TWINHEAD, "predict", save, "--model", "gone", folder=tmp_path)
    assert code == 2 and err.startswith("predict: error: gone is missing; run `dvc repro`")
    code, _, err = small.run(
        small.TWINHEAD, "drift", tmp_path, "--model", exported, folder=tmp_path
    )
    told = "drift: error: pandas isn't installed: in a clone of Twinhead, pip install '.[pipeline]'"
    assert (code, err) == (2, f"{told}\n")


@pytest.mark.long
def test_the_paper_s_network_has_answers_and_no_heat_maps(paper, folder):
    model = edge.load(paper.root / paths.EDGE)
    (answer,) = model.answer([folder / "bolt/test/good/000.png"])
    assert list(answer) == ["category", "category_probability", "defect_probability", "defective"]
    with pytest.raises(InputError, match="this export has no heat maps"):
        model.check_scale()
    with pytest.raises(InputError, match="has no reference.csv to compare with"):
        reference.read(paper.root / paths.EDGE, model.manifest)


def test_a_killed_run_is_gone_on_with_to_the_same_bytes(exported, folder, tmp_path):
    (tmp_path / "many").mkdir()
    for number in range(150):
        os.link(folder / "bolt/test/good/000.png", tmp_path / f"many/{number:03}.png")
    arguments = ("predict", "many", "--model", exported, "--csv")
    killed = small.start(small.TWINHEAD, *arguments, "killed.csv", folder=tmp_path)
    file = tmp_path / "killed.csv"
    while killed.poll() is None and not (file.exists() and file.stat().st_size):
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    code, _, err = small.run(small.TWINHEAD, *arguments, "killed.csv", "--resume", folder=tmp_path)
    assert code == 0 and err.rstrip().endswith("had been answered before")
    assert small.run(small.TWINHEAD, *arguments, "whole.csv", folder=tmp_path)[0] == 0
    assert file.read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.filterwarnings("ignore:::PIL")
def test_hostile_photographs_are_refused_in_one_line_each(made, folder, case):
    runtime = edge.load(made.folder)
    for make in REFUSED.values():
        with pytest.raises(InputError) as caught:
            runtime.answer([make()])
        assert str(caught.value).isprintable()
    assert len(runtime.answer([folder / "bolt/test/good/000.png"])) == 1
    case("Images", "the edge runtime meets each of those that are refused", "refused in one line")
