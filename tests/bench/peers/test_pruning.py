"""Which layers torch-pruning is told to spare: the output, what it cannot follow, and what holds heads."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from whet.bench.peers.pruning import pruned
from whet.networks.resnet import resnet
from whet.networks.transformer import Encoder


def spared(module: nn.Module, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the names of the layers that are spared."""
    seen: dict[str, Any] = {}

    def pruner(module: nn.Module, inputs: Any, **options: Any) -> Any:
        return seen.update(options) or SimpleNamespace(step=lambda: None)

    monkeypatch.setitem(sys.modules, "torch_pruning", SimpleNamespace(pruner=SimpleNamespace(BasePruner=pruner)))
    work: Any = SimpleNamespace(
        module=lambda: (module, (torch.zeros(1),)), is_transformer=isinstance(module, Encoder)
    )  # fmt: skip
    assert pruned(work, 0.5, "importance") is module
    assert seen["round_to"] == 8 and seen["pruning_ratio"] == 0.5
    ignored = {id(layer) for layer in seen["ignored_layers"]}
    return {name for name, layer in module.named_modules() if id(layer) in ignored}


def test_of_a_resnet_the_channels_inside_of_blocks_go(monkeypatch: pytest.MonkeyPatch) -> None:
    module = resnet(8)
    convolutions = {n for n, m in module.named_modules() if isinstance(m, nn.Conv2d)}
    assert spared(module, monkeypatch) == {n for n in convolutions if not n.endswith("0.conv1")} | {"linear"}


def test_of_a_transformer_the_feed_forward_layers_go(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Encoder(8, 3, 4, 16, 2, 1)
    linears = {n for n, m in module.named_modules() if isinstance(m, nn.Linear)}
    assert linears - spared(module, monkeypatch) == {"blocks.0.mlp.0"}
