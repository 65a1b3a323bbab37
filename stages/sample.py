"""Render the embedded data set: fifteen categories named as in MVTec AD."""

from twinhead import params, paths, stage
from twinhead.errors import InputError
from twinhead.sample import render


def sample() -> None:
    settings = params.load().sample
    try:
        render(paths.SAMPLE, **settings.model_dump(), progress=stage.progress("sample"))
    except (ValueError, FileExistsError) as error:
        raise InputError(f"params.yaml: sample: {error}") from None
