"""`Kind`: what an output means."""

from __future__ import annotations

from dataclasses import dataclass

from whet.core.errors import unknown

KINDS = ("logits", "probabilities", "embedding", "regression", "integers")


@dataclass(frozen=True)
class Kind:
    """What one output tensor means.

    `logits` and `probabilities` have a `class_axis`, counted from the front with the batch as 0; the rows of an
    `embedding` are compared by their angle; `integers` are classes or indices themselves; all else is `regression`.

    >>> str(Kind("logits", 1)), str(Kind("regression"))
    ('logits over axis 1', 'regression')
    """

    name: str
    class_axis: int | None = None

    def __post_init__(self) -> None:
        if self.name not in KINDS:
            raise unknown("kind of output", str(self.name), KINDS)
        if self.class_axis is None and self.name in ("logits", "probabilities"):
            object.__setattr__(self, "class_axis", -1)

    def __str__(self) -> str:
        return self.name if self.class_axis is None else f"{self.name} over axis {self.class_axis}"
