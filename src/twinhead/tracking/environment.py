"""What a result's last digits depend on beside its inputs: processor, versions, precision."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from twinhead import cores
from twinhead.model import precision

VERSIONS = ("tensorflow", "keras", "openvino", "numpy", "scikit-learn", "pillow")


def facts() -> dict[str, str]:
    """Processor, cores, system, versions and whether oneDNN's kernels are on, by name."""
    return {
        "processor": precision.field("model name") or platform.processor() or platform.machine(),
        "cores": str(cores.available()),
        "system": platform.platform(),
        "bfloat16": str(precision.has_bfloat16()).lower(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "on"),
        "python": platform.python_version(),
        **{name: _version(name) for name in VERSIONS},
    }


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:  # as OpenVINO may be, which has a stand-in
        return "none"
