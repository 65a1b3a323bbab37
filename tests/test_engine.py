"""OpenVINO and TensorFlow give the same answers; where the one is missing, the other steps in."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from conftest import REPOSITORY, SIZE, Built

from twinhead import engine, params
from twinhead.backbones import extraction, pooling
from twinhead.dataset import features
from twinhead.model import network
from twinhead.model.memory import MemoryDistance

PROBABILITIES = {"category", "defect"}
TOLERANCE = 1e-4


def built_network(backbone: str, categories: int, precision: str = "float32") -> keras.Model:
    """An untrained network with both heads; one with a memory has patches of noise in it."""
    frozen = backbone != "cnn"
    settings = params.Model(
        backbone=backbone, weights="imagenet" if frozen else "random", frozen=frozen, memory=20,
        tasks=["category", "defect"],
    )  # fmt: skip
    model = network.build(settings, SIZE if not frozen else 64, categories, 0, precision)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, MemoryDistance):
            layer.assign([rng.random(layer.memory.shape[1:]) for _ in range(categories)])
    return model


def noise(model: keras.Model, count: int) -> np.ndarray:
    shape = (count, *model.input_shape[1:])
    return np.random.default_rng(count).integers(0, 256, shape, np.uint8)


@pytest.fixture(scope="module")
def detecting() -> keras.Model:
    return built_network("efficientnet_lite0", 3)


@pytest.fixture(scope="module")
def openvino(detecting) -> engine.OpenVino:
    """To convert and compile a network takes seconds."""
    return engine.OpenVino(detecting)


@pytest.mark.parametrize(
    ("backbone", "categories"),
    [("cnn", 3), pytest.param("efficientnet_lite0", 1, marks=pytest.mark.long)],
)
def test_both_engines_give_the_same_answers(backbone, categories):
    model = built_network(backbone, categories)
    compare(model, engine.OpenVino(model))


def test_both_engines_give_the_same_answers_of_patches(detecting, openvino):
    compare(detecting, openvino)


def compare(model: keras.Model, openvino: engine.OpenVino) -> None:
    images = noise(model, 5)
    fast, plain = (run(images) for run in (openvino, engine.TensorFlow(model)))
    assert set(fast) == set(plain) == set(model.output)
    for name, values in plain.items():
        assert fast[name].shape == values.shape and fast[name].dtype == values.dtype == np.float32
        scale = 1 if name in PROBABILITIES else np.abs(values).max()
        assert np.abs(fast[name] - values).max() <= TOLERANCE * scale, name


@pytest.mark.parametrize("side", [100, 1024])
def test_the_tint_of_a_large_photograph_is_exact_in_both_engines(side):
    """Values that are added up one by one are rounded: at 1024 pixels a side by half a percent."""
    image = keras.Input((side, side, 3), name="image")
    model = keras.Model(image, {"tint": pooling.Chromaticity(dtype="float32")(image)})
    photograph = np.full((1, side, side, 3), (201, 120, 97), np.float32)
    photograph[:, : side // 2] += np.float32([31.7, 55.3, 82.1])
    fast, plain = (run(model)(photograph)["tint"] for run in (engine.OpenVino, engine.TensorFlow))
    np.testing.assert_allclose(fast, plain, atol=2e-5)
    if side % pooling.CELL == 0:  # else the last cells are smaller, and count as much
        red, green, blue = np.log(photograph.mean(axis=(1, 2), dtype=np.float64)[0] + 1)
        np.testing.assert_allclose(plain[0], [red - green, blue - green], atol=2e-5)


def test_both_engines_see_the_same_in_a_photograph():
    trunk = extraction.trunk(64)
    images = noise(trunk, 3)
    fast, plain = (run(trunk)(images) for run in (engine.OpenVino, engine.TensorFlow))
    assert list(fast) == list(plain)
    for name, values in plain.items():
        assert fast[name].shape == values.shape and fast[name].dtype == values.dtype, name
        # One unit in the last place of float16 where that is what is kept.
        places = 2e-3 if values.dtype == np.float16 else 1e-4
        np.testing.assert_allclose(fast[name], values, rtol=places, atol=places)


def test_an_answer_is_the_same_bytes_however_many_are_asked_for(detecting, openvino):
    images = noise(detecting, 9)
    run, again = openvino, engine.OpenVino(detecting)
    together, alone = run(images), [again(images[n : n + 1]) for n in range(9)]
    for name, values in together.items():
        np.testing.assert_array_equal(values, np.concatenate([one[name] for one in alone]))
        np.testing.assert_array_equal(values[4:7], run(images[4:7])[name])
    assert {len(values) for values in run(images[:0]).values()} == {0}


def test_what_is_given_is_left_as_it_was(detecting, openvino):
    images = noise(detecting, 3).astype(np.float32)
    before = images.copy()
    openvino(images)
    openvino(images[:1])
    openvino(images[:, ::-1])
    np.testing.assert_array_equal(images, before)


def test_without_openvino_tensorflow_answers_and_a_line_says_so_once(
    detecting, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "openvino", None)
    engine._say.cache_clear()
    first, second = engine.fastest(detecting), engine.fastest(detecting)
    assert first.name == second.name and first.name.startswith("tensorflow ")
    said = capsys.readouterr().err
    assert said.startswith("OpenVINO can't be used (") and said.count("\n") == 1
    assert "TensorFlow takes its place" in said
    monkeypatch.undo()
    images, fast = noise(detecting, 4), engine.fastest(detecting)
    assert fast.name.startswith("openvino ")
    assert np.abs(fast(images)["defect"] - first(images)["defect"]).max() <= TOLERANCE
    assert capsys.readouterr().err == ""


def test_a_processor_that_openvino_does_not_know_is_no_hindrance(detecting, monkeypatch, capsys):
    def refuse(self: engine.OpenVino, streams: int) -> None:
        raise RuntimeError("Exception from core.cpp:117:\nno such\n\ndevice")

    monkeypatch.setattr(engine.OpenVino, "_compile", refuse)
    assert engine.fastest(detecting).name.startswith("tensorflow ")
    assert "(Exception from core.cpp:117: no such device)" in capsys.readouterr().err


def test_a_network_in_bfloat16_stays_with_tensorflow(capsys):
    model = built_network("cnn", 2, "mixed_bfloat16")
    assert engine.fastest(model).name.startswith("tensorflow ")
    assert "the network computes in bfloat16" in capsys.readouterr().err


def test_stored_features_do_not_depend_on_which_photographs_were_new(built: Built, tmp_path):
    trunk = extraction.trunk(SIZE)
    run = engine.fastest(trunk)
    assert run.name.startswith("openvino ")
    given = run, list(trunk.output), built.pixels, 2
    extraction.build(*given, tmp_path / "f", tmp_path / "f.csv", engine=run.name)
    stores = features.load(tmp_path / "f")
    alone = engine.fastest(trunk)(built.pixels[7:8])
    np.testing.assert_array_equal(stores["pooled"][7, 0], alone["pooled"][0])
    for name in set(alone) - {"pooled"}:
        np.testing.assert_array_equal(stores[name][7], alone[name][0])


def test_nothing_is_left_behind_and_nobody_is_told(tmp_path):
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    code = """
import sys, keras, numpy as np
from twinhead import engine, processor
image = keras.Input((8, 8, 3))
run = engine.OpenVino(keras.Model(image, {"mean": keras.layers.GlobalAveragePooling2D()(image)}))
run(np.zeros((3, 8, 8, 3), np.uint8))
print(sorted({"openvino_telemetry", processor.REPORTS} & set(sys.modules)))
"""
    for folder in (home, temporary):
        folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ
        | {"HOME": f"{home}", "TMPDIR": f"{temporary}", "PYTHONPATH": f"{REPOSITORY / 'src'}"}
        | {"PYTHONDONTWRITEBYTECODE": "1"},  # of what TensorFlow generates
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "[]", done.stderr
    left = {path.relative_to(tmp_path).parts[:2] for path in tmp_path.rglob("*") if path.is_file()}
    assert left <= {("home", ".keras"), ("home", ".cache"), ("home", ".config")}
