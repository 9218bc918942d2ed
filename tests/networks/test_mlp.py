"""The perceptron for tables: without its blocks it is a norm between two linear layers."""

import torch

from whet.networks.mlp import MLP


def test_blocks_that_give_nothing_leave_the_stem() -> None:
    torch.manual_seed(0)
    module = MLP(5, outputs=2, width=8, hidden=16, blocks=3).eval()
    for block in module.blocks:
        torch.nn.init.zeros_(block.contract.weight)
        torch.nn.init.zeros_(block.contract.bias)
    x = torch.randn(4, 5)
    torch.testing.assert_close(module(x), module.head(torch.relu(module.norm(module.stem(x)))))


def test_its_size_is_that_of_its_layers() -> None:
    width, hidden, blocks = 8, 16, 3
    count = sum(p.numel() for p in MLP(5, 2, width, hidden, blocks).parameters())
    block = 2 * width + (width + 1) * hidden + (hidden + 1) * width
    assert count == 6 * width + blocks * block + 2 * width + (width + 1) * 2
