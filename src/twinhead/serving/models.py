"""The model that a command names: of a workspace, of the registry, or exported for the edge."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Union

from twinhead import errors, paths, stage
from twinhead.errors import InputError
from twinhead.export import manifest
from twinhead.export.manifest import FLOAT, INT8, Manifest
from twinhead.serving import ARTIFACTS

if TYPE_CHECKING:
    from twinhead.edge import Runtime
    from twinhead.serving.predictor import Predictor

Answering = Union["Predictor", "Runtime"]


@dataclass
class Exported:
    """The export of a model, and the precision to answer in."""

    folder: Path
    known: Manifest
    precision: str

    @property
    def digest(self) -> str:
        return sha256((self.folder / manifest.FILE).read_bytes()).hexdigest()

    @property
    def files(self) -> list[Path]:
        """What an answer needs. Raises InputError naming one that is missing."""
        names = manifest.digests(self.folder, manifest.network(self.precision))
        return [self.folder / name for name in (manifest.FILE, *names)]


@contextmanager
def opened(name: str) -> Iterator[Answering]:
    """Load a model; TensorFlow and MLflow are loaded for those alone that need them.

    Raises InputError where there is none, or where a library is missing that it needs.
    """
    with located(name) as place:
        yield _load(place)


@contextmanager
def located(name: str) -> Iterator[Path]:
    """The file or folder of a model; one of the registry lies in a folder of its own meanwhile."""
    if not name.startswith(("models:/", "runs:/")):
        yield Path(name)
        return
    with _needing(name), stage.loading():
        from twinhead.serving import registry
    with tempfile.TemporaryDirectory() as folder:
        yield registry.fetch(name, Path(folder))


def exported(name: str, place: Path) -> Exported:
    """The export of a model, in the precision in which `predict` answers with the model.

    place: the folder of an export or of an MLflow model. Raises InputError where there is none.
    """
    kept = place / ARTIFACTS / paths.EDGE.name
    if (kept / manifest.FILE).is_file():
        folder, wanted = kept, [FLOAT]
    elif (place / manifest.FILE).is_file():
        folder, wanted = place, [INT8, FLOAT]
    else:
        raise InputError(
            f"{name}: no exported model; expected a folder such as {paths.EDGE},"
            " or an MLflow model that has one"
        )
    known = manifest.read(folder)
    precision = next((one for one in wanted if one in known.precisions), None)
    if precision is None:
        raise InputError(f"{name}: has no network ({known.gate.get('why', 'none is listed')})")
    return Exported(folder, known, precision)


def _load(place: Path) -> Answering:
    if (place / manifest.FILE).is_file():
        from twinhead import edge

        return edge.load(place)
    if not place.exists():
        raise errors.no_model(place)
    with _needing(str(place)), stage.loading():
        from twinhead.serving import predictor
    return predictor.load(place)


@contextmanager
def _needing(name: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(
            f"{name}: {errors.not_installed(error.name)}, or name an exported model with"
            f" --model {paths.EDGE}"
        ) from None
