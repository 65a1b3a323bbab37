"""The model as MLflow serves it. MLflow runs a copy of this file; nothing here imports it."""

import base64
import time

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext

from twinhead import stage
from twinhead.errors import InputError

MOST = 1000
"""Photographs that a request may have."""
MOST_BYTES = 2**28
"""That its files may have, all together."""
TOGETHER = 32
"""Photographs that are decoded at a time."""
SECONDS = 300
"""That a request may take: what isn't done by then is refused."""


class Served(PythonModel):
    """Answers for a table of photographs, as predictor.Predictor does."""

    def load_context(self, context: PythonModelContext) -> None:
        with stage.loading():
            from twinhead.model import network
            from twinhead.serving import metadata, predictor

        model = network.load(context.artifacts["network"])
        self.predictor = predictor.Predictor(model, metadata.read(context.artifacts["metadata"]))
        size = self.predictor.size
        # The first answer takes seconds longer: not one that somebody waits for.
        for count in (1, 2):
            self.predictor.answer(np.zeros((count, size, size, 3), np.uint8))

    def predict(  # type: ignore[override]  # MLflow lets the context be left out
        self, model_input: pd.DataFrame, params: dict | None = None
    ) -> list[dict]:
        """Return an answer per photograph; with the param `heat_map` also a PNG file as base64.

        The param `threshold`, a probability, takes the place of the model's own thresholds.

        model_input: its column `image` holds files, as bytes or base64 text. One that can't be read
        refuses the request, with status 400 and a message that names it.
        """
        from twinhead.ingest import images
        from twinhead.serving import batch, predictor

        size, total = self.predictor.size, len(model_input)
        threshold = (params or {}).get("threshold")
        heated = bool((params or {}).get("heat_map"))
        try:
            if total > MOST:
                raise InputError(f"{total} photographs; expected at most {MOST:,} in a request")
            if threshold is not None and not 0 <= threshold <= 1:
                raise InputError(f"threshold: expected a probability, 0 to 1, found {threshold:g}")
            files, left, end = [], MOST_BYTES, time.monotonic() + SECONDS
            for number, given in enumerate(model_input["image"], start=1):
                name = f"photograph {number} of {total}"
                data = predictor.file_bytes(given, name)
                left -= len(data)
                if left < 0:
                    raise InputError(f"{name}: more than {MOST_BYTES:,} bytes in a request")
                files.append((data, name))
            answers: list[dict] = []
            for start in range(0, total, TOGETHER):
                part = files[start : start + TOGETHER]
                if time.monotonic() > end:
                    late = f"more than {SECONDS} seconds; send fewer in a request"
                    raise InputError(f"{part[0][1]}: {late}")
                decoded = [images.decode(data, name, size) for data, name in part]
                answered = batch.answers(self.predictor, decoded, heated, threshold)
                for (data, name), (answer, heat) in zip(part, answered, strict=True):
                    if heat is not None:
                        png = self.predictor.draw(data, name, heat)
                        answer["heat_map"] = base64.b64encode(png).decode()
                    answers.append(answer)
        except InputError as error:
            refusal = MlflowException.invalid_parameter_value(str(error))
            # The scoring server writes the whole request before the message; this takes its place.
            refusal.json_kwargs = {"message": str(error)}
            raise refusal from None
        return answers


mlflow.models.set_model(Served())
