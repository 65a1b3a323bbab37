"""An answer as people read it, from what a network gives and what makes a decision of it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Rules:
    """What makes decisions of a network's numbers."""

    threshold: float | None
    """The defect probability that makes a product defective; None without that head."""
    thresholds: dict[str, float] = field(default_factory=dict)
    """Of categories that have one of their own."""
    review: dict | None = None
    """From which probability, `low`, to which, `high`, a person should look; and `by_category`."""
    unusual: float | None = None
    """A photograph that is more unusual than that is unknown; None where the network can't tell."""

    def threshold_of(self, category: str | None) -> float:
        assert self.threshold is not None  # whoever has loaded the network has seen to it
        return self.thresholds.get(category or "", self.threshold)

    def asks(self, category: str | None, probability: float) -> bool:
        """Whether a person should look."""
        assert self.review is not None
        own = self.review["by_category"].get(category, self.review)
        return own["low"] <= probability < own["high"]


def columns(outputs: Collection[str], rules: Rules) -> list[str]:
    """What an answer of a network with these outputs has, in this order."""
    return [
        *(("category", "category_probability") if "category" in outputs else ()),
        *(("defect_probability", "defective") if "defect" in outputs else ()),
        *(("known",) if "unusual" in outputs else ()),
        *(("review",) if "defect" in outputs and rules.review else ()),
    ]


def read(
    given: dict[str, np.ndarray],
    categories: Sequence[str],
    rules: Rules,
    threshold: float | None = None,
) -> list[dict]:
    """Answers for photographs, by `columns`; given: what the network gave, (images, …) by output.

    `defective` is whether the probability reaches the category's threshold, or the one that is
    given for all; `known`, whether the photograph is like any good one that the network has learned
    from; `review`, whether a person should look: not with a threshold that is given, which the band
    wasn't chosen for.
    """
    answers: list[dict] = [{} for _ in next(iter(given.values()))]
    for row, answer in enumerate(answers):
        if "category" in given:
            probabilities = given["category"][row]
            answer["category"] = categories[probabilities.argmax()]
            answer["category_probability"] = float(probabilities.max())
        category = answer.get("category")
        if "defect" in given:
            probability = float(given["defect"][row, 0])
            limit = rules.threshold_of(category) if threshold is None else threshold
            answer["defect_probability"] = probability
            answer["defective"] = probability >= limit
        if "unusual" in given:
            assert rules.unusual is not None
            answer["known"] = bool(given["unusual"][row, 0] <= rules.unusual)
        if "defect" in given and rules.review:
            answer["review"] = threshold is None and rules.asks(category, probability)
    return answers
