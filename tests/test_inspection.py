"""Photographs in, answers out: the pipeline's, whatever the file and whichever the heads."""

import base64
import io
import json
import shutil
import struct
import sys
import zlib
from dataclasses import replace

import mlflow
import numpy as np
import pandas as pd
import pytest
from conftest import SIZE, Workspace, apart, photograph, save
from mlflow.exceptions import MlflowException
from PIL import Image

from twinhead import params, paths
from twinhead.errors import InputError
from twinhead.ingest import images
from twinhead.model import network
from twinhead.serving import metadata, predictor, registry
from twinhead.serving.metadata import Metadata
from twinhead.serving.predictor import Predictor

CATEGORIES = ["bolt", "größe 2", "plain"]
KNOWN = Metadata(CATEGORIES, threshold=0.5, head="defect", method="best", scale=1.0)


@pytest.fixture(scope="module")
def model(finished: Workspace) -> Predictor:
    return predictor.load(finished.root / paths.MODEL)


def network_of(tasks: list[str]):
    """The paper's network with these heads, untrained."""
    settings = params.Model(backbone="cnn", weights="random", frozen=False, memory=10, tasks=tasks)
    return network.build(settings, SIZE, len(CATEGORIES), seed=0)


def test_the_answers_are_the_pipeline_s(finished, folder, model):
    table = pd.read_csv(finished.root / paths.PREDICTIONS)
    pixels = [images.read(folder / path, model.size) for path in table["path"]]
    found = pd.DataFrame(model.answer(np.array(pixels)))
    assert (found["category"] == table["category_predicted"]).all()
    assert (found["defective"] == table["defect_predicted"]).all()
    assert (found["known"] == table["known"]).all() and table["known"].any()
    for column, most in (
        ("category_probability", 1e-4),
        ("defect_probability", table["category_predicted"].map(apart)),
    ):
        assert (np.abs(found[column] - table[column]) < most).all()


def test_an_answer_does_not_depend_on_how_many_are_asked_for(model):
    pixels = np.random.default_rng(0).integers(0, 256, (70, SIZE, SIZE, 3), dtype=np.uint8)
    together = [answer["defect_probability"] for answer in model.answer(pixels)]
    alone = model.answer(pixels[69:])[0]["defect_probability"]
    assert len(together) == 70 and together[69] == pytest.approx(alone, abs=1e-5)
    assert model.answer(pixels[:0]) == [] and list(model.heat(pixels[:0])) == []


def test_a_photograph_is_decided_at_its_category_s_threshold_or_at_the_one_that_is_asked_for(model):
    network, pixels = model.model, np.zeros((1, SIZE, SIZE, 3), np.uint8)
    (told,) = model.answer(pixels)
    scored = told["defect_probability"]
    for own, defective in ((scored, True), (np.nextafter(scored, 2), False)):
        known = replace(model.metadata, threshold=0.5, thresholds={told["category"]: own})
        asked = Predictor(network, known)
        assert asked.answer(pixels)[0]["defective"] == defective
        assert asked.answer(pixels, scored)[0]["defective"]
        assert not asked.answer(pixels, np.nextafter(scored, 2))[0]["defective"]


def test_a_person_should_look_within_the_band_of_the_category(model):
    network, pixels = model.model, np.zeros((1, SIZE, SIZE, 3), np.uint8)
    (told,) = model.answer(pixels)
    assert "review" not in told
    within = {"low": told["defect_probability"], "high": 1.1}
    for own, expected in (({}, False), ({told["category"]: within}, True)):
        known = replace(model.metadata, review={"low": 1.1, "high": 1.1, "by_category": own})
        (answer,) = Predictor(network, known).answer(pixels)
        assert answer["review"] is expected


def test_facts_lie_beside_the_network_or_are_said_to_be_missing(finished, tmp_path):
    shutil.copytree(finished.root / "models", tmp_path / "models")
    with pytest.raises(InputError, match="params.yaml"):
        predictor.load(tmp_path / "models/model.keras")
    for name in ("params.yaml", paths.LABELS, paths.metrics("evaluate")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(finished.root / name, tmp_path / name)
    alone = predictor.load(tmp_path / "models/model.keras")
    with pytest.raises(InputError, match="explanations.csv is missing"):
        next(alone.heat(np.zeros((1, SIZE, SIZE, 3), np.uint8)))
    (tmp_path / paths.metrics("evaluate")).unlink()
    with pytest.raises(InputError, match="metrics/evaluate.json is missing; run `dvc repro`"):
        predictor.load(tmp_path / "models/model.keras")


def test_a_model_that_is_not_there_or_was_not_judged_is_one_line(finished, tmp_path):
    with pytest.raises(InputError, match="nowhere.keras is missing; run `dvc repro`"):
        predictor.load(tmp_path / "nowhere.keras")
    with pytest.raises(InputError, match="the one that the pipeline has judged"):
        predictor.load(finished.root / paths.CHECKPOINT)
    with pytest.raises(InputError, match="not a folder of an MLflow model"):
        predictor.load(tmp_path)
    (tmp_path / paths.MODEL.name).write_bytes(b"nonsense")
    with pytest.raises(InputError, match="model.keras: not a network"):
        predictor.load(tmp_path / paths.MODEL.name)


def test_facts_of_another_network_are_refused():
    model = network_of(["category", "defect"])
    with pytest.raises(InputError, match="3 categories, its labels 2"):
        Predictor(model, replace(KNOWN, categories=["bolt", "plain"]))
    with pytest.raises(InputError, match="no threshold"):
        Predictor(model, replace(KNOWN, threshold=None))


def test_facts_come_back_from_their_file(tmp_path):
    metadata.write(KNOWN, tmp_path / "metadata.json")
    assert metadata.read(tmp_path / "metadata.json") == KNOWN


DATA = b"\x89PNG, say"
TEXT = base64.b64encode(DATA).decode()


@pytest.mark.parametrize(
    "given",
    [DATA, bytearray(DATA), np.bytes_(DATA), TEXT, np.str_(TEXT), f"data:image/png;base64,{TEXT}",
     base64.encodebytes(DATA).decode()],
    ids=["bytes", "bytearray", "NumPy's bytes", "base64", "NumPy's text", "data URL", "with lines"],
)  # fmt: skip
def test_a_file_comes_as_bytes_or_as_base64(given):
    assert predictor.file_bytes(given, "it") == DATA


@pytest.mark.parametrize("given", ["%%%", "abc", "größe", "data:image/png,abc", None, 7, ["abcd"]])
def test_what_is_neither_is_refused_by_name(given):
    with pytest.raises(InputError, match="^photograph 2 of 3: (not base64|expected a file)"):
        predictor.file_bytes(given, "photograph 2 of 3")


@pytest.fixture
def model_of(finished, tmp_path, monkeypatch):
    """Makes the MLflow model of a workspace whose network has these heads, and loads it."""

    def make(tasks: list[str]) -> mlflow.pyfunc.PyFuncModel:
        for name in ("params.yaml", paths.LABELS, paths.EXPLANATIONS):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            shutil.copy(finished.root / name, tmp_path / name)
        shutil.copytree(finished.root / paths.PIXELS, tmp_path / paths.PIXELS)
        measured = {"test": dict.fromkeys(tasks, {})}
        measured |= {"threshold": 0.5} if "defect" in tasks else {}
        for folder in ("models", "metrics"):
            (tmp_path / folder).mkdir()
        settings = (tmp_path / "params.yaml").read_text(encoding="utf-8")
        told = settings.replace("head: defect", f"head: {tasks[-1]}")
        (tmp_path / "params.yaml").write_text(
            told.replace("- category\n  - defect", "\n  ".join(f"- {task}" for task in tasks)),
            encoding="utf-8",
        )
        (tmp_path / paths.metrics("evaluate")).write_text(json.dumps(measured))
        network.save(network_of(tasks), tmp_path / paths.MODEL)
        monkeypatch.chdir(tmp_path)
        registry.save(tmp_path / "served")
        monkeypatch.setattr(sys, "path", list(sys.path))  # loading puts the model's code first
        return mlflow.pyfunc.load_model(str(tmp_path / "served"))

    return make


def png(size: tuple[int, int] = (48, 24), mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, 128).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("tasks", "columns"),
    [
        (["category"], {"category", "category_probability"}),
        (["defect"], {"defect_probability", "defective"}),
        (["category", "defect"],
         {"category", "category_probability", "defect_probability", "defective"}),
    ],
    ids=["category", "defect", "both"],
)  # fmt: skip
def test_the_mlflow_model_takes_photographs_and_says_what_its_heads_know(model_of, tasks, columns):
    model = model_of(tasks)
    assert model.metadata.signature.inputs.input_names() == ["image"]
    required = {column.name for column in model.metadata.signature.outputs if column.required}
    assert required == columns
    sent = [png(), base64.b64encode(png((7, 200), "L")).decode(), png(mode="RGBA")]
    answers = model.predict(pd.DataFrame({"image": sent}))
    assert len(answers) == 3 and all(set(answer) == columns for answer in answers)
    (heated,) = model.predict(pd.DataFrame({"image": sent[:1]}), params={"heat_map": True})
    assert set(heated) == columns | {"heat_map"}
    drawn = Image.open(io.BytesIO(base64.b64decode(heated["heat_map"])))
    assert drawn.format == "PNG" and drawn.size == (48, 24)
    (example,) = model.predict(model.input_example)
    assert set(example) == columns
    if "defect" in tasks:
        (low,), (high,) = (
            model.predict(pd.DataFrame({"image": sent[:1]}), params={"threshold": probability})
            for probability in (0.0, 1.0)
        )
        assert low["defective"] and not high["defective"]
        with pytest.raises(MlflowException, match="a probability, 0 to 1, found 3"):
            model.predict(pd.DataFrame({"image": sent[:1]}), params={"threshold": 3.0})


def test_a_request_has_a_bound_on_photographs_and_on_bytes(model_of, monkeypatch):
    model = model_of(["defect"])
    many = pd.DataFrame({"image": [b""] * 1001})
    with pytest.raises(
        MlflowException, match="1001 photographs; expected at most 1,000"
    ) as refused:
        model.predict(many)
    assert refused.value.get_http_status_code() == 400
    large = pd.DataFrame({"image": [bytes(200_000_000), bytes(100_000_000)]})
    with pytest.raises(MlflowException, match="more than 268,435,456 bytes") as refused:
        model.predict(large)
    assert refused.value.get_http_status_code() == 400


def bomb() -> bytes:
    """A PNG file of a few bytes that claims to be 60,000 pixels a side."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = b""
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        checked = zlib.crc32(kind + data)
        chunks += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checked)
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_a_photograph_that_cannot_be_read_refuses_the_request_by_its_number(model_of):
    model = model_of(["defect"])
    for bad, said in [
        (b"", "the file is empty"),
        (b"no picture", "not a PNG, JPEG, BMP or TIFF file"),
        (png()[:60], "can't be decoded"),
        (bomb(), "pixels are not read"),
        ("%%%", "not base64"),
    ]:
        with pytest.raises(MlflowException, match=f"photograph 2 of 2: .*{said}") as refused:
            model.predict(pd.DataFrame({"image": pd.Series([png(), bad], dtype=object)}))
        assert refused.value.get_http_status_code() == 400


def test_the_mlflow_model_holds_nothing_that_is_pickled_and_no_built_files(model_of, tmp_path):
    model_of(["defect"])
    registry.save(tmp_path / "saved")  # where it is loaded, Python leaves bytecode
    kept = {path.name for path in (tmp_path / "saved").rglob("*") if path.is_file()}
    assert {"pyfunc.py", "model.keras", "metadata.json", "predictor.py"} <= kept
    assert not [name for name in kept if name.endswith((".pkl", ".pickle", ".pth", ".pyc"))]


def test_a_heat_map_lies_over_the_photograph_in_its_proportions(model, tmp_path):
    image, _ = photograph(np.random.default_rng(1), (150, 60, 50), (64, 40), defective=True)
    data = save(image, tmp_path / "a.png").read_bytes()
    pixels = images.decode(data, "a", model.size)[None]
    (heat,) = model.heat(pixels)
    # A number for each of the finest patches.
    assert heat.shape == model.model.output["anomaly_map"].shape[1:]
    drawn = np.asarray(Image.open(io.BytesIO(model.draw(data, "a", heat))))
    assert drawn.shape == image.shape


def test_what_no_category_looks_like_is_unknown_or_defective_and_never_good(model):
    """Frames without a product: black, white, grey, noise of every pixel and of every block."""
    rng, frames = np.random.default_rng(0), []
    for value in (0, 64, 128, 192, 255):
        frames.append(np.full((SIZE, SIZE, 3), value, np.uint8))
    for side in (1, 2, 4):
        blocks = rng.integers(0, 256, (10, SIZE // side, SIZE // side, 3), np.uint8)
        frames += list(blocks.repeat(side, axis=1).repeat(side, axis=2))
    answers = model.answer(np.array(frames))
    passed = [number for number, answer in enumerate(answers)
              if answer["known"] and not answer["defective"]]  # fmt: skip
    assert passed == []


def test_good_photographs_are_known(finished):
    table = pd.read_csv(finished.root / paths.PREDICTIONS)
    good = table[(table["defective"] == 0) & (table["split"] == "train")]
    assert good["known"].mean() > 0.95
