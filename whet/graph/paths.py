"""Dotted paths of modules and tensors: where they lead, with what is missing on the way."""

from __future__ import annotations

from torch import nn


def owner_at(root: nn.Module, path: str) -> tuple[nn.Module, str]:
    """Return the module that holds what lies at a dotted path, made where it is missing, and the path's last part.

    >>> root = nn.Module()
    >>> owner, last = owner_at(root, "layer1.conv.weight")
    >>> owner is root.get_submodule("layer1.conv"), last
    (True, 'weight')
    """
    *parents, last = path.split(".")
    owner = root
    for part in parents:
        if part not in owner._modules:
            owner.add_module(part, nn.Module())
        inner = owner._modules[part]
        assert inner is not None
        owner = inner
    return owner, last
