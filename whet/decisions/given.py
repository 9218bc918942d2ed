"""What is left to decide where some choices are decided: late choices of a structure that is trained already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from whet.core.space import Decision, Space, Value


def restricted(space: Space, given: Mapping[str, Value]) -> Space:
    """Return the space in which what is given can take no other value; its decisions are silent of that.

    Raises: UnknownNameError and DecisionError for a name or value that the space does not have.

    >>> from whet.core.space import Choice
    >>> space = Space([Choice("a:width", (0.5, 1.0), 1.0), Choice("a:bits", (8, 32), 32)])
    >>> [(c.name, c.values, c.identity) for c in restricted(space, {"a:width": 0.5})]
    [('a:width', (0.5,), 0.5), ('a:bits', (8, 32), 32)]
    """
    space.check(Decision(given))
    return Space([replace(c, values=(given[c.name],), identity=given[c.name]) if c.name in given else c for c in space])


def whole(space: Space, free: Mapping[str, Value], given: Mapping[str, Value]) -> Decision:
    """Return the canonical decision of `space` that has what is given and, beside it, what is `free`."""
    return space.canonical(Decision({**free, **given}))


def agrees(space: Space, decision: Decision, given: Mapping[str, Value]) -> bool:
    """Say whether a canonical decision has what is given; what is not active under it says nothing.

    >>> from whet.core.space import Choice
    >>> space = Space([Choice("a:width", (0.5, 1.0), 1.0)])
    >>> agrees(space, Decision(), {"a:width": 1.0}), agrees(space, Decision(), {"a:width": 0.5})
    (True, False)
    """
    return whole(space, decision, given) == decision


def free(inner: Space, decision: Decision, given: Mapping[str, Value]) -> Decision:
    """Return what a decision says of the restricted space `inner`, in its canonical form: the reverse of `whole`."""
    return inner.canonical(Decision({name: value for name, value in decision.items() if name not in given}))
