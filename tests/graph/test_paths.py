"""A path leads to the module that holds its end; what is missing on the way is made, once."""

from __future__ import annotations

from torch import nn

from whet.graph.paths import owner_at


def test_modules_on_the_way_are_made_once() -> None:
    root = nn.Module()
    first, _ = owner_at(root, "a.b.weight")
    second, last = owner_at(root, "a.b.bias")
    assert first is second and last == "bias" and owner_at(root, "x")[0] is root
