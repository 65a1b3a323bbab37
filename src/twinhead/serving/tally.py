"""What came of the photographs that a command was asked about, in one line."""

from dataclasses import dataclass


@dataclass
class Tally:
    answered: int = 0
    defective: int = 0
    unknown: int = 0
    unread: int = 0
    undrawn: int = 0
    """Answered, but their heat maps could not be drawn."""
    before: int = 0
    """Answered by an earlier run."""

    def add(self, answer: dict) -> None:
        """Count an answer, which may be one about the category alone."""
        self.answered += 1
        self.defective += answer.get("defective", False)
        self.unknown += not answer.get("known", True)

    def line(self, judged: bool = True) -> str:
        """judged: whether the network has a defect head."""
        parts = [f"{self.answered} photograph{'' if self.answered == 1 else 's'}"]
        parts += [f"{self.defective} defective"] if judged else []
        for count, what in (
            (self.unknown, "unlike anything that was trained on"),
            (self.unread, "could not be read"),
            (self.undrawn, "heat maps could not be drawn"),
        ):
            parts += [f"{count} {what}"] if count else []
        earlier = f"; {self.before} had been answered before" if self.before else ""
        return ", ".join(parts) + earlier
