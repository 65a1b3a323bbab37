"""A network whose compiled form is kept, so that the next start takes half of the seconds."""

import io
import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from twinhead import files, processor

KEPT = 8
"""Compiled forms that are kept, the latest used: one for single photographs, one for many."""
MACHINE = "FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES"
"""What OpenVINO says of the processor."""
ENDING = ".blob"
DIGEST = sha256().digest_size


class Network(processor.Network):
    """A network that takes its compiled form from the user's cache, or leaves it there.

    What can't be kept or isn't whole is compiled anew; the answers are the same bytes.
    """

    def __init__(self, model: Any, digest: str) -> None:
        """model: an openvino.Model; digest: of the files that it was read from. Raises as
        processor.Network."""
        self._digest = digest
        super().__init__(model)

    def _compiled(self, settings: dict) -> Any:
        core = self._openvino.Core()
        key = self._key(core, settings)
        with suppress(OSError, RuntimeError):
            return core.import_model(io.BytesIO(_read(key)), "CPU", settings)
        compiled = super()._compiled(settings)
        with suppress(OSError, RuntimeError):  # no room, no home, or a processor that can't
            _write(key, compiled.export_model().getvalue())
        return compiled

    def _key(self, core: Any, settings: dict) -> str:
        """Name all that decides the compiled form."""
        machine = (core.get_property("CPU", name) for name in MACHINE)
        facts = [self._digest, self._openvino.__version__, *map(str, machine)]
        facts += sorted(f"{name} {value}" for name, value in settings.items())
        return sha256("\n".join(facts).encode()).hexdigest()[:32]


def folder() -> Path:
    """Where compiled forms are kept: $TWINHEAD_CACHE, or `twinhead` in the user's cache, which is
    where the XDG Base Directory Specification has it."""
    if chosen := os.environ.get("TWINHEAD_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "twinhead"


def _read(key: str) -> bytes:
    """What was kept. Raises OSError if it isn't there, or isn't whole."""
    file = _file(key)
    with file.open("rb") as stream:
        digest, data = stream.read(DIGEST), stream.read()
    if sha256(data).digest() != digest:
        raise OSError(f"{file} isn't whole")
    os.utime(file)
    return data


def _write(key: str, data: bytes) -> None:
    file = _file(key)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with files.whole(file) as part:
        part.write_bytes(sha256(data).digest() + data)
    known = sorted(file.parent.glob(f"*{ENDING}"), key=lambda one: one.stat().st_mtime)
    for old in known[:-KEPT]:
        old.unlink()


def _file(key: str) -> Path:
    return folder() / f"{key}{ENDING}"
