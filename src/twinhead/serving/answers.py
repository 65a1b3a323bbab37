"""An answer as people read it, from what a network gives."""

from collections.abc import Collection, Sequence

import numpy as np


def columns(outputs: Collection[str]) -> list[str]:
    """What an answer of a network with these outputs has, in this order."""
    return [
        *(("category", "category_probability") if "category" in outputs else ()),
        *(("defect_probability", "defective") if "defect" in outputs else ()),
        *(("known",) if "unusual" in outputs else ()),
    ]


def read(
    given: dict[str, np.ndarray],
    categories: Sequence[str],
    threshold: float | None,
    unusual: float | None,
) -> list[dict]:
    """Answers for photographs, by `columns`; given: what the network gave, (images, …) by output.

    `defective` is whether the probability reaches the threshold, `known` whether the photograph is
    like any good one that the network has learned from: at most so unusual.
    """
    answers: list[dict] = [{} for _ in next(iter(given.values()))]
    for row, answer in enumerate(answers):
        if "category" in given:
            probabilities = given["category"][row]
            answer["category"] = categories[probabilities.argmax()]
            answer["category_probability"] = float(probabilities.max())
        if "defect" in given:
            probability = float(given["defect"][row, 0])
            assert threshold is not None  # whoever has loaded the network has seen to it
            answer["defect_probability"] = probability
            answer["defective"] = probability >= threshold
        if "unusual" in given:
            assert unusual is not None
            answer["known"] = bool(given["unusual"][row, 0] <= unusual)
    return answers
