"""A watch of a search, for tests: it counts, and ends the search after so many answers."""

from dataclasses import dataclass, field

from isologit.equivalence.argmax import Witness


@dataclass
class Counting:
    """Say yes so many times; remember what was planned and done."""

    answers: float = float("inf")
    plans: list[tuple[Witness, int]] = field(default_factory=list)
    estimates: list[tuple[float | None, float | None]] = field(default_factory=list)
    done: int = 0

    def planned(
        self, kind: Witness, n_tokens: int, least_seconds: float | None, most_seconds: float | None
    ) -> None:
        """Remember it."""
        self.plans.append((kind, n_tokens))
        self.estimates.append((least_seconds, most_seconds))

    def advanced(self, n_tokens: int) -> None:
        """Count it."""
        self.done += n_tokens

    def going_on(self, needed_seconds: float = 0.0) -> bool:
        """Answer."""
        self.answers -= 1
        return self.answers >= 0
