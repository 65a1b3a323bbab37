"""The model that a command names: of a workspace, of the registry, or exported for the edge."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Union

from twinhead import paths, stage
from twinhead.errors import InputError
from twinhead.export import manifest

if TYPE_CHECKING:
    from twinhead.edge import Runtime
    from twinhead.serving.predictor import Predictor

Answering = Union["Predictor", "Runtime"]


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


def _load(place: Path) -> Answering:
    if (place / manifest.FILE).is_file():
        from twinhead import edge

        return edge.load(place)
    with _needing(str(place)), stage.loading():
        from twinhead.serving import predictor
    return predictor.load(place)


@contextmanager
def _needing(name: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(
            f"{name} needs {error.name}, which isn't installed: pip install 'twinhead[pipeline]',"
            f" or name an exported model with --model {paths.EDGE}"
        ) from None
