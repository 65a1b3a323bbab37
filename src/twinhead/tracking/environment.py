"""What a result's last digits depend on beside its inputs: processor, versions, precision."""

import os
import platform
from importlib.metadata import version

from twinhead.model import precision

VERSIONS = ("tensorflow", "keras", "numpy", "scikit-learn", "pillow")


def facts() -> dict[str, str]:
    """Processor, cores, system, versions and whether oneDNN's kernels are on, by name."""
    return {
        "processor": precision.field("model name") or platform.processor() or platform.machine(),
        "cores": str(cores()),
        "system": platform.platform(),
        "bfloat16": str(precision.has_bfloat16()).lower(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "on"),
        "python": platform.python_version(),
        **{name: version(name) for name in VERSIONS},
    }


def cores() -> int:
    """How many cores this process may use; all of the machine's where the system doesn't say."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS, nor on Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
