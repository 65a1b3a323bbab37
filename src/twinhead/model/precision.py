"""Whether this processor computes in bfloat16."""

from pathlib import Path

PROCESSORS = Path("/proc/cpuinfo")
BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""What a processor's flags call it: x86-64 twice, and ARM."""


def available(wanted: str) -> str:
    """The precision to compute in: "float32" where the processor knows no bfloat16."""
    return wanted if wanted == "float32" or has_bfloat16() else "float32"


def has_bfloat16() -> bool:
    """Whether the processor, or a graphics processor, multiplies bfloat16 by itself."""
    flags = field("flags") or field("Features")
    return bool(BFLOAT16 & set(flags.split())) or _has_graphics()


def _has_graphics() -> bool:
    import tensorflow as tf  # only here: nothing else of this needs seconds to load

    found = tf.config.list_physical_devices("GPU")
    able = [tf.config.experimental.get_device_details(x).get("compute_capability") for x in found]
    return any(known and known >= (8, 0) for known in able)  # NVIDIA since Ampere


def field(name: str) -> str:
    """A field of the first processor, empty where the system doesn't tell."""
    try:
        lines = PROCESSORS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
