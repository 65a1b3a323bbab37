"""Digests of params, data set and model, by which the experiment's run is found."""

import json
from hashlib import sha256
from pathlib import Path

from twinhead import params, paths

PARAMS_TAG, DATA_TAG, MODEL_TAG = "twinhead.params", "twinhead.data", "twinhead.model"


def digests(settings: params.Params) -> dict[str, str]:
    return {
        PARAMS_TAG: params_digest(settings),
        DATA_TAG: data_digest(),
        MODEL_TAG: file_digest(paths.MODEL),
    }


def params_digest(settings: params.Params) -> str:
    """The identity of the params that decide the results: SHA-256, as the tag of a run has it."""
    return sha256(json.dumps(decisive(settings), sort_keys=True).encode()).hexdigest()


def decisive(settings: params.Params) -> dict:
    """The params that decide the results."""
    sections = params.relevant(settings)
    return {name: section for name, section in sections.items() if name != "tracking"}


def data_digest() -> str:
    return json.loads(paths.metrics("index").read_text(encoding="utf-8"))["digest"]


def file_digest(path: Path) -> str:
    if path.is_dir():
        return "".join(f"{file.name} {file_digest(file)}" for file in sorted(path.iterdir()))
    return sha256(path.read_bytes()).hexdigest()
