"""`Plan`: how the budget is cut up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Plan:
    """How the budget is cut up: shares of the time, or of the training samples when the budget is in epochs.

    With `elastic_until` above zero, all candidates are trained at once until then, in place of one by one; a chain of
    few is trained for longer (`whet.schedule.legs.CHOSEN_UNTIL`).
    """

    probe_share: float = 0.12
    explore_until: float = 0.28
    short_share: float = 0.012
    short_seconds: float = 2.0
    elastic_until: float = 0.0
    elastic_explore_share: float = 0.08
    elastic_samples: int | None = None
    usual_rounds: int = 3
    most_rounds: int = 5
    round_seconds: float = 250.0
    round_epochs: float = 8.0
    quantized_share: float = 0.2
    reserve_share: float = 0.05
    short_samples: int | None = None
    full_samples: int | None = None

    @classmethod
    def of_epochs(cls, epochs: float, train_samples: int, trials: int) -> Plan:
        """Return the plan that trains on `epochs` times the training data in all, however long that takes."""
        total = epochs * train_samples
        return cls(
            short_samples=max(1, int(0.4 * total / trials)),
            elastic_samples=max(1, int(0.4 * total)),
            full_samples=max(1, int(0.6 * total / cls.usual_rounds)),
        )

    def rounds(self, budget_seconds: float, epochs: float = 0.0) -> int:
        """Return how many structures are trained in earnest, from two to `most_rounds`.

        One for each `round_seconds` of the budget, or for each `round_epochs` of the `epochs` that there is time for.
        More training of one structure soon gives little: what is left of its drop is what the structure lacks.

        >>> Plan().rounds(180.0), Plan().rounds(1200.0), Plan().rounds(180.0, epochs=58.0)
        (2, 4, 5)
        """
        if math.isinf(budget_seconds):
            return self.usual_rounds
        wanted = max(budget_seconds / self.round_seconds, epochs / self.round_epochs)
        return max(2, min(self.most_rounds, int(wanted)))


def limit(seconds: float, samples: float | None) -> dict[str, Any]:
    """Return how long a training may be, as options of `fit`: samples where the budget is in epochs.

    >>> limit(3.0, None), limit(3.0, 64.5)
    ({'seconds': 3.0}, {'samples': 64})
    """
    return {"seconds": seconds} if samples is None else {"samples": max(1, int(samples))}
