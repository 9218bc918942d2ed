"""The conformance suite of passes: `check` raises `AssertionError` at the first broken promise."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import torch
from torch import Tensor

from whet.core.net import Net
from whet.core.passes import Pass, Result
from whet.core.run import Run
from whet.core.space import Decision, Space
from whet.core.target import Target
from whet.decisions.enumerate import draw, size

Fingerprint = tuple[str, dict[str, Tensor], bool]


def fingerprint(net: Net) -> Fingerprint:
    """Return what must not change in a net that a pass was given: graph, values, mode."""
    values = {name: value.clone() for name, value in net.module.state_dict().items()}
    return str(net.graph), values, net.module.training


def same(a: Fingerprint, b: Fingerprint) -> bool:
    """Say whether nothing changed between two fingerprints."""
    if a[0] != b[0] or a[2] != b[2] or a[1].keys() != b[1].keys():
        return False
    return all(torch.equal(value, b[1][name]) for name, value in a[1].items())


def outputs(net: Net, *inputs: Tensor) -> list[Tensor]:
    """Return the tensors `(rows, ...)` that `net` computes in eval mode, without changing its mode."""
    with net.evaluating(), torch.no_grad():
        out = net(*(inputs or net.example))
    return list(net.results(out))


def decisions(space: Space, count: int, seed: int = 0) -> Iterator[Decision]:
    """Yield each choice's end values alone, all first values together, and `count` random decisions."""
    seen: dict[Decision, None] = {space.canonical(Decision()): None}
    single = [Decision({c.name: v}) for c in space for v in (c.values[0], c.values[-1])]
    for decision in [*single, Decision({c.name: c.values[0] for c in space})]:
        canonical = space.canonical(decision)
        if canonical not in seen:
            seen[canonical] = None
            yield canonical
    rng = random.Random(seed)
    for _ in range(min(count, size(space) - len(seen))):
        found = draw(space, rng, seen)
        seen[found] = None
        yield found


def is_plain_data(item: Pass, space: Space, net: Net, target: Target) -> None:
    """Check that a pass is a frozen dataclass of JSON values whose space is the same each time."""
    parameters = getattr(type(item), "__dataclass_params__", None)
    fields = getattr(type(item), "__dataclass_fields__", {})
    assert parameters is not None and parameters.frozen, "a pass must be a frozen dataclass"
    json.dumps({name: getattr(item, name) for name in fields})
    described = json.dumps(space.describe())
    assert json.dumps(item.space(net, target).describe()) == described, "the space must be the same each time"
    for choice in space:
        assert choice.site, f"choice '{choice.name}' names no site"
        for value in choice.values:
            restored = json.loads(json.dumps(value))
            assert restored == value and type(restored) is type(value), f"{choice.name} = {value!r}: no JSON value"


def identity_is_the_identity(item: Pass, space: Space, net: Net, run: Run) -> None:
    """Check that a decision of identities returns a copy with the same outputs to the bit, and reports no change."""
    expected = outputs(net)
    for decision in (Decision(), space.identity()):
        result = item.apply(net, decision, run)
        assert result.net is not net, "a pass must return a copy"
        assert not result.changed, f"the identity decision changed {result.changed}"
        assert all(map(torch.equal, outputs(result.net), expected)), "identity must return the network to the bit"
        names = [n for n, _ in result.net.module.named_parameters()]
        assert names == [n for n, _ in net.module.named_parameters()], "identity must keep every parameter's name"


def result_works(result: Result, space: Space, decision: Decision, net: Net) -> None:
    """Check that the new net runs, on another batch size too, trains, and that the report is complete."""
    expected = outputs(net)
    got = outputs(result.net)
    assert [t.shape for t in got] == [t.shape for t in expected], f"{decision!r} changed the output's shape"
    assert all(t.isfinite().all() for t in got), f"{decision!r} made outputs that are not finite"
    for one, whole in zip(outputs(result.net, *(e[:1] for e in net.example)), got, strict=True):
        assert len(one) == 1, f"after {decision!r} the batch axis is not dynamic any more"
        torch.testing.assert_close(one, whole[:1], rtol=1e-3, atol=1e-4)
    assert decision == space.canonical(Decision()) or result.changed or result.skipped, (
        f"{decision!r} neither changed nor skipped anything"
    )
    for site, text in {**result.texts, **result.skipped}.items():
        assert site and text, f"{decision!r} reports {site!r}: {text!r}; wanted a site and a sentence"
    assert all(c.kind for c in result.changed), f"{decision!r} made changes of no kind: {result.changed!r}"


def gradients_arrive(result: Result, decision: Decision) -> None:
    """Check that every parameter that the new net holds takes part in its output."""
    copy = result.net.copy().train()
    found = copy.results(copy(*copy.example))
    total = sum((t.square().mean() for t in found if t.is_floating_point()), torch.zeros(()))
    total.backward()  # type: ignore[no-untyped-call]
    without = [n for n, p in copy.module.named_parameters() if p.requires_grad and p.grad is None]
    assert not without, f"after {decision!r} no gradient reaches {without}"


def check(item: Pass, net: Net, target: Target, run: Run, count: int = 6) -> Space:
    """Check `item` on `net`, under every extreme decision and `count` random ones, and return its space.

    Checked: frozen and serialisable; a stable JSON space; identity to the bit; the input net is never mutated;
    equal calls give equal nets; foreign choices are ignored; every result runs with any batch and trains.
    Raises: AssertionError.
    """
    before = fingerprint(net)
    space = item.space(net, target)
    is_plain_data(item, space, net, target)
    identity_is_the_identity(item, space, net, run)
    for decision in decisions(space, count):
        result = item.apply(net, decision, run)
        assert same(fingerprint(net), before), f"{decision!r} mutated the network that the pass was given"
        result_works(result, space, decision, net)
        again = item.apply(net, decision.merge({"elsewhere:some_other_kind": 1}), run)
        assert same(fingerprint(again.net), fingerprint(result.net)), (
            f"{decision!r} gave two different nets, or heeded another pass's choice"
        )
        gradients_arrive(result, decision)
    return space
