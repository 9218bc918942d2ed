"""State as tensors: modules, optimizers and generators go on exactly where they were."""

from __future__ import annotations

import torch
from torch import nn

from whet.agents.state import gathered, spread


def parts(seed: int) -> tuple[nn.Linear, torch.optim.Adam, torch.Generator]:
    torch.manual_seed(seed)
    network = nn.Linear(3, 2)
    return network, torch.optim.Adam(network.parameters(), 0.1), torch.Generator().manual_seed(seed)


def step(network: nn.Linear, optimizer: torch.optim.Adam, generator: torch.Generator) -> None:
    optimizer.zero_grad()
    network(torch.randn(4, 3, generator=generator)).square().sum().backward()
    optimizer.step()


def test_what_was_gathered_goes_on_the_same() -> None:
    (a, adam_a, gen_a), (b, adam_b, gen_b) = parts(0), parts(1)
    for _ in range(3):
        step(a, adam_a, gen_a)
    told = {k: v.clone() for k, v in gathered(net=a, adam=adam_a, random=gen_a).items()}
    spread(told, net=b, adam=adam_b, random=gen_b)
    for _ in range(3):
        step(a, adam_a, gen_a)
        step(b, adam_b, gen_b)
    assert torch.equal(a.weight, b.weight) and torch.equal(a.bias, b.bias)
    assert {"adam.0.exp_avg", "adam.0.step", "random.state", "net.weight"} <= set(told)
