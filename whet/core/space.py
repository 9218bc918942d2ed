"""`Space`, `Choice`, `Decision`: what may be decided, and one point of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from whet.core.errors import DecisionError, unknown

Value = int | float | str | bool


@dataclass(frozen=True)
class Choice:
    """One named, ordered choice, e.g. `layer2.0.conv1:bits` in (8, 32).

    `name` is `site:kind`; the site is a layer, atom or block of the original network, or a runtime. `identity` is the
    value that leaves the network as it is. With `when` it is active only if the other choice takes a given value.
    `lasting` is how many times more of the damage that it does outlasts a short training than of a dropped block's.

    >>> Choice("layer1.0:keep", (True, False), identity=True).site
    'layer1.0'
    """

    name: str
    values: tuple[Value, ...]
    identity: Value
    when: tuple[str, tuple[Value, ...]] | None = None
    lasting: float = 1.0

    def __post_init__(self) -> None:
        if ":" not in self.name:
            raise DecisionError(f"choice '{self.name}' must be named 'site:kind'.")
        if not self.values or len(set(map(repr, self.values))) != len(self.values):
            raise DecisionError(f"choice '{self.name}' needs distinct values; got {self.values!r}.")
        if self.identity not in self.values:
            raise DecisionError(f"choice '{self.name}': identity {self.identity!r} is not in {self.values!r}.")

    @property
    def site(self) -> str:
        return self.name.rpartition(":")[0]

    @property
    def kind(self) -> str:
        return self.name.rpartition(":")[2]


class Decision(Mapping[str, Value]):
    """An immutable JSON point; a choice that it does not name takes its identity value.

    >>> Decision({"a:bits": 8}) == Decision.from_json('{"a:bits": 8}')
    True
    """

    def __init__(self, values: Mapping[str, Value] | None = None) -> None:
        self._values = dict(sorted((values or {}).items()))
        self._json = json.dumps(self._values)

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Decision({self._values!r})"

    def __hash__(self) -> int:
        return hash(self._json)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Decision) and self._json == other._json

    def of(self, choice: Choice) -> Value:
        """Return the value for `choice`, its identity when the decision is silent."""
        return self._values.get(choice.name, choice.identity)

    def merge(self, other: Mapping[str, Value]) -> Decision:
        """Return a new decision with the values of both, those of `other` where both name a choice."""
        return Decision({**self._values, **other})

    def to_json(self) -> str:
        return self._json

    @classmethod
    def from_json(cls, text: str) -> Decision:
        """Read what `to_json` wrote; raises DecisionError for JSON that is no object."""
        values = json.loads(text)
        if not isinstance(values, dict):
            raise DecisionError(f"a decision is a JSON object; got {type(values).__name__}.")
        return cls(values)

    @property
    def key(self) -> str:
        """A short stable name of this point, for files and logs."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]


class Space:
    """An ordered set of choices; spaces of passes and targets add up.

    >>> space = Space([Choice("a:bits", (8, 32), 32)]) + Space([Choice("b:bits", (8, 32), 32)])
    >>> space.identity() == Decision({"a:bits": 32, "b:bits": 32})
    True
    """

    def __init__(self, choices: Iterator[Choice] | list[Choice] | tuple[Choice, ...] = ()) -> None:
        self.choices: dict[str, Choice] = {}
        for choice in choices:
            if choice.name in self.choices:
                raise DecisionError(f"choice '{choice.name}' is declared twice: make its passes alternatives, `OneOf`.")
            if choice.when and choice.when[0] not in self.choices:
                raise DecisionError(f"choice '{choice.name}' depends on '{choice.when[0]}', declared later or never.")
            self.choices[choice.name] = choice

    def __iter__(self) -> Iterator[Choice]:
        return iter(self.choices.values())

    def __len__(self) -> int:
        return len(self.choices)

    def __add__(self, other: Space) -> Space:
        return Space([*self, *other])

    def identity(self) -> Decision:
        """Return the decision that names every choice and changes nothing: the uncompressed network."""
        return Decision({c.name: c.identity for c in self})

    def active(self, choice: Choice, decision: Decision) -> bool:
        """Say whether `choice` counts under `decision`."""
        if choice.when is None:
            return True
        parent = self.choices[choice.when[0]]
        return self.active(parent, decision) and decision.of(parent) in choice.when[1]

    def canonical(self, decision: Decision) -> Decision:
        """Drop what equals the identity or is inactive, so that equal candidates have equal decisions."""
        self.check(decision)
        kept = {c.name: decision.of(c) for c in self if self.active(c, decision) and decision.of(c) != c.identity}
        return Decision(kept)

    def check(self, decision: Decision) -> None:
        """Raise `DecisionError` unless every name and value of `decision` is legal here."""
        for name, value in decision.items():
            if name not in self.choices:
                raise unknown("choice", name, self.choices)
            if value not in self.choices[name].values:
                allowed = self.choices[name].values
                raise DecisionError(f"choice '{name}' must be one of {allowed!r}; got {value!r}.")

    def describe(self) -> list[dict[str, object]]:
        """Return plain data that identifies the space, for the study's record."""
        return [
            {"name": c.name, "values": list(c.values), "identity": c.identity, "when": c.when and list(c.when)}
            for c in self
        ]
