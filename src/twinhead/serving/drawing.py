"""Write a photograph with its heat map, for `predict` and `watch`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from twinhead import files
from twinhead.errors import InputError
from twinhead.ingest import images
from twinhead.serving import photographs
from twinhead.serving.models import Answering


def draw(
    model: Answering,
    file: Path,
    heat: np.ndarray,
    place: Path,
    taken: Callable[[Callable[[], int], str], int] = lambda write, name: write(),
) -> InputError | None:
    """Write it beside `place`, whole; return what is wrong with it, if something is.

    file: the photograph; heat: its map, as the model gives it. taken: calls what writes, and may
    call it again; it is given the target's name, too.
    """
    target = place.with_name(place.name + photographs.HEATED)
    try:
        png = model.draw(images.contents(file), file, heat)
    except InputError as error:  # it was there when it was decoded
        return error
    except OSError as error:
        return InputError(f"{file}: can't be read ({error.strerror})")

    def write() -> int:
        with files.whole(target) as part:
            return part.write_bytes(png)

    try:
        taken(write, str(target))
    except OSError as error:
        return InputError(f"{target}: can't be written ({error.strerror})")
    return None
