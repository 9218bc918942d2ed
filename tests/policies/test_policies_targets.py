"""Targets: double Q-learning values what the other network chooses, and does not overestimate noise."""

from __future__ import annotations

import torch

from whet.policies.targets import double, highest
from whet.policies.values import Expected

MEAN = Expected().expected()


def test_one_network_chooses_and_the_other_values() -> None:
    target, online = torch.tensor([[[1.0], [5.0]]]), torch.tensor([[[3.0], [2.0]]])
    assert double(target, online, MEAN).tolist() == [[1.0]]
    assert highest(target, MEAN).tolist() == [[5.0]]


def test_noise_alone_is_overestimated_by_the_maximum_and_not_by_two_networks() -> None:
    """Of 4 actions worth 0 with normal noise the maximum is 1.03 on average; a second network's choice is 0."""
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(20_000, 4, 1, generator=generator) for _ in range(2))
    assert abs(float(highest(one, MEAN).mean()) - 1.029) < 0.02
    assert abs(float(double(one, other, MEAN).mean())) < 0.03
