"""`Strategy`: what proposes decisions; `Observation`: what it is told; counting and drawing decisions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from whet.core.errors import StudyError
from whet.core.space import Decision


@dataclass(frozen=True)
class Observation:
    """What became of a decision: one value per objective, and by how much it breaks the limits.

    `values` is empty for a candidate that failed (did not compile, ran out of memory): strategies avoid it
    without learning a number. `violation` above zero means that the limits are not met, and by how much.
    """

    decision: Decision
    values: tuple[float, ...] = ()
    violation: float = 0.0

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (*self.values, self.violation))):
            raise StudyError(
                f"an observation needs finite numbers, or no values for a failed candidate; got values "
                f"{self.values!r} and violation {self.violation!r} for {self.decision!r}."
            )

    @property
    def feasible(self) -> bool:
        """Say whether it was measured and breaks no limit."""
        return bool(self.values) and self.violation <= 0

    def to_dict(self) -> dict[str, Any]:
        return {"decision": dict(self.decision), "values": list(self.values), "violation": self.violation}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Observation:
        return cls(Decision(record["decision"]), tuple(record["values"]), record["violation"])


@runtime_checkable
class Strategy(Protocol):
    """Proposes canonical decisions of a space, never one that it proposed or was told before.

    What `ask` returns is a function of the seed and of the decisions asked and told so far, in order. So a
    study resumes with `restore(state)`, or by telling a new strategy of the same seed the logged trials
    again: a decision that was in flight when the process died is then proposed once more.
    """

    def ask(self, n: int = 1, given: Decision | None = None) -> list[Decision]:
        """Return up to `n` decisions, with the choices that are `given` as they are; fewer when the space is exhausted.

        So late choices, of bits and the runtime, are proposed for a structure that is trained already.
        """
        ...

    def tell(self, trials: Iterable[Observation]) -> None:
        """Learn results; a second result for the same decision replaces the first."""
        ...

    def enqueue(self, decisions: Iterable[Decision]) -> None:
        """Propose these first, in this order, skipping those already proposed."""
        ...

    def state(self) -> dict[str, Any]:
        """Return JSON data from which `restore` continues exactly."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None: ...
