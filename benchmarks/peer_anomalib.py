"""One anomalib model, fitted or asked in a process of its own: a part of benchmarks/peer.py.

It runs in the environment of benchmarks/peer.lock, and knows nothing of Twinhead. It reads and
writes arrays in a folder, and prints what it took as JSON.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import process_memory
import torch

try:
    importlib.import_module("torchvision")
except RuntimeError:
    # A CPU build of torch can't load the operators of PyPI's torchvision; none is used here.
    operators = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operators.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")

from anomalib.models.image.padim.torch_model import PadimModel
from anomalib.models.image.patchcore.torch_model import PatchcoreModel

BACKBONE = "tf_efficientnet_lite0"
STAGES = {"blocks.1": "stage2", "blocks.2": "stage3", "blocks.4": "stage5"}
"""By timm's names: Twinhead's."""
CORESETS = {"patchcore-10%": 0.1, "patchcore-1%": 0.01}
"""Share of the patches that is kept; 10% is anomalib's default."""
FEATURES = 100
"""PaDiM's default for its smallest backbone; the three maps have 176."""
BATCH = 32
"""anomalib's default."""
MEAN, SCALE = 127.0, 128.0
"""What Twinhead's backbone takes off its pixels, and divides them by."""
ALIKE = 1e-4
"""How far the features may lie from Twinhead's, as a share of the largest."""


def main(task: str, way: str, folder: Path, seed: int) -> None:
    model = _model(way, folder, seed)
    threads = _choose_threads(model, folder)
    found = (fit if task == "fit" else answer)(model, way, folder)
    print(json.dumps(found | {f"{task}_threads": threads}))


def fit(model: torch.nn.Module, way: str, folder: Path) -> dict[str, float]:
    """Check the features, fit to train.npy, and keep the model's state."""
    apart = parity(model.feature_extractor, folder)
    pixels = np.load(folder / "train.npy", mmap_mode="r")
    started, core = time.perf_counter(), time.process_time()
    model.train()
    with torch.no_grad():
        for start in range(0, len(pixels), BATCH):
            model(_tensor(pixels[start : start + BATCH]))
        if way in CORESETS:
            model.subsample_embedding(CORESETS[way])
        else:
            model.fit()
    took = {"fit": time.perf_counter() - started, "fit_core": time.process_time() - core}
    torch.save(model.state_dict(), folder / f"{way}.pt")
    return took | {
        "fit_memory": process_memory.peak() / 1e6,
        "files": (folder / f"{way}.pt").stat().st_size / 1e6,
        "apart": apart,
    }


def answer(model: torch.nn.Module, way: str, folder: Path) -> dict[str, float]:
    """Answer for test.npy; keep scores and maps; tell the pace one at a time and in batches."""
    state = torch.load(folder / f"{way}.pt")
    for name, values in state.items():  # buffers that are empty until there is a fit
        owner, _, own = name.rpartition(".")
        setattr(model.get_submodule(owner), own, values) if "feature_extractor" not in name else 0
    model.eval()
    pixels = np.load(folder / "test.npy")
    with torch.inference_mode():
        model(_tensor(pixels[:1]))
        singles, single_core = [], time.process_time()
        for image in pixels:
            before = time.perf_counter()
            model(_tensor(image[None]))
            singles.append(time.perf_counter() - before)
        single_core = (time.process_time() - single_core) / len(pixels)
        model(_tensor(pixels[:BATCH]))
        before, core, scores, maps = time.perf_counter(), time.process_time(), [], []
        for start in range(0, len(pixels), BATCH):
            found = model(_tensor(pixels[start : start + BATCH]))
            scores.append(found.pred_score.reshape(-1).numpy())
            maps.append(found.anomaly_map[:, 0].numpy())
        batches = time.perf_counter() - before
        core = time.process_time() - core
    memory = process_memory.peak() / 1e6
    np.savez(folder / f"{way}.npz", scores=np.concatenate(scores), maps=np.concatenate(maps))
    return {
        "single": 1 / float(np.median(singles)),
        "single_core": 1e3 * single_core,
        "batches": len(pixels) / batches,
        "core": 1e3 * core / len(pixels),
        "memory": memory,
        "openvino": _by_openvino(model, pixels),
    }


def parity(extractor: torch.nn.Module, folder: Path) -> float:
    """How far the backbone's maps lie from Twinhead's, at most; SystemExit if beyond ALIKE."""
    expected = np.load(folder / "parity.npz")
    with torch.no_grad():
        found = extractor(_tensor(expected["pixels"]))
    apart = 0.0
    for name, values in found.items():
        own, theirs = expected[STAGES[name]], values.permute(0, 2, 3, 1).numpy()
        assert own.shape == theirs.shape, (own.shape, theirs.shape)
        apart = max(apart, float(np.abs(own - theirs).max() / np.abs(own).max()))
    if apart > ALIKE:
        raise SystemExit(f"the features differ by {apart:.1e} of the largest: not one backbone")
    return apart


def _model(way: str, folder: Path, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    np.random.seed(seed)
    stages = list(STAGES)
    if way in CORESETS:
        model = PatchcoreModel(stages[1:], BACKBONE, pre_trained=False)
    else:
        model = PadimModel(BACKBONE, stages, pre_trained=False, n_features=FEATURES)
    weights = {name: torch.tensor(x) for name, x in np.load(folder / "backbone.npz").items()}
    inner = model.feature_extractor.feature_extractor
    wanted = inner.state_dict()
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}
    inner.load_state_dict({n: weights[n] for n in wanted if n not in counters}, strict=False)
    return model


def _choose_threads(model: torch.nn.Module, folder: Path) -> int:
    """Take as many threads as are fastest now: on a busy machine torch's wait for each other."""
    given, took = _tensor(np.load(folder / "parity.npz")["pixels"][:1]), {}
    for threads in range(1, len(os.sched_getaffinity(0)) + 1):
        torch.set_num_threads(threads)
        turns = []
        with torch.inference_mode():
            for _ in range(12):
                before = time.perf_counter()
                model.feature_extractor(given)
                turns.append(time.perf_counter() - before)
        took[threads] = float(np.median(turns[2:]))
    best = min(took, key=took.__getitem__)
    torch.set_num_threads(best)
    return best


def _tensor(pixels: np.ndarray) -> torch.Tensor:
    """(images, size, size, 3), uint8, as the backbone takes them."""
    given = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float()
    return (given - MEAN) / SCALE


class _Plain(torch.nn.Module):
    """A model whose answer is a pair, as OpenVINO's reader wants it."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = self.model(images)
        return found.pred_score, found.anomaly_map


def _by_openvino(model: torch.nn.Module, pixels: np.ndarray) -> float:
    """Images a second, one at a time, of the same model exported to OpenVINO; NaN if it can't."""
    import openvino

    size = pixels.shape[1]
    try:
        shape = [1, 3, size, size]
        graph = openvino.convert_model(
            _Plain(model), input=shape, example_input=_tensor(pixels[:1])
        )
        compiled = openvino.compile_model(graph, "CPU")
    except Exception as error:  # of many kinds
        print(f"{type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
        return float("nan")
    compiled(_tensor(pixels[:1]).numpy())
    took = []
    for image in pixels:
        before = time.perf_counter()
        compiled(_tensor(image[None]).numpy())
        took.append(time.perf_counter() - before)
    return 1 / float(np.median(took))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
