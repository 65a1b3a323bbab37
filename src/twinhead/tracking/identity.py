"""What tells the experiment's run from others: params, data set, model, code and workspace."""

import json
from hashlib import sha256
from pathlib import Path

from twinhead import files, params, paths
from twinhead.model import training_code
from twinhead.tracking import workspace

PARAMS_TAG, DATA_TAG, MODEL_TAG = "twinhead.params", "twinhead.data", "twinhead.model"
CODE_TAG, WORKSPACE_TAG = "twinhead.code", "twinhead.workspace"


def inputs(settings: params.Params) -> dict[str, str]:
    """What a training makes its model of, and whose it is."""
    return {
        PARAMS_TAG: params_digest(settings),
        DATA_TAG: data_digest(),
        CODE_TAG: training_code.digest(),
        WORKSPACE_TAG: workspace.current(),
    }


def result(settings: params.Params) -> dict[str, str]:
    """What the model was made of, and its bytes, whoever has made it."""
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
    return files.read_json(paths.metrics("index"))["digest"]


def file_digest(path: Path) -> str:
    if path.is_dir():
        return "".join(f"{file.name} {file_digest(file)}" for file in sorted(path.iterdir()))
    return sha256(path.read_bytes()).hexdigest()
