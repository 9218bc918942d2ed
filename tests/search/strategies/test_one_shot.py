"""Gradient descent on relaxed choices: conformance, that each mixing beats chance, and the mixture's features."""

from __future__ import annotations

from statistics import mean

import numpy as np
import pytest
import torch
from engines import NETWORK, areas

from whet.core.errors import UnknownNameError
from whet.core.space import Choice, Space
from whet.decisions.mixtures import MIXINGS
from whet.search import strategies
from whet.search.strategies.one_shot import Landscape, OneShot
from whet.testing.strategies import SPACES, WIDTHS, check


def test_conforms() -> None:
    assert check(lambda space, seed: OneShot(space, seed, steps=10, warm_up=9)) == list(SPACES)


@pytest.mark.parametrize("mixing", MIXINGS)
def test_each_mixing_beats_random_search(mixing: str) -> None:
    found = mean(areas(OneShot(NETWORK, seed, mixing=mixing), 28)[-1] for seed in range(2))
    chance = mean(areas(strategies.get("random", NETWORK, seed), 28)[-1] for seed in range(2))
    assert found > chance


def test_one_hot_mixtures_have_the_features_of_their_decision() -> None:
    strategy = OneShot(NETWORK)
    rows = strategy.genes.random(5, np.random.default_rng(0))
    for row, features in zip(rows, strategy.genes.features(rows), strict=True):
        one_hot = [torch.nn.functional.one_hot(torch.tensor(v), int(n)).float()
                   for v, n in zip(row, strategy.genes.lengths, strict=True)]  # fmt: skip
        assert torch.allclose(strategy._features(torch.cat(one_hot)), torch.tensor(features, dtype=torch.float32))


@pytest.mark.parametrize("mixing", MIXINGS)
def test_each_weighting_leads_to_its_own_end_of_the_front(mixing: str) -> None:
    """One objective is the sum of the features, the other its opposite: the descent ends at one end or the other."""
    space = Space([Choice(f"layer{i}:width", WIDTHS, 1.0) for i in range(4)])
    strategy, opposed = OneShot(space, mixing=mixing), torch.tensor([1.0, -1.0])
    for weights, end in (([1.0, 0.0], 0), ([0.0, 1.0], 3)):
        source = torch.Generator().manual_seed(0)
        found = strategy._descended(lambda f: f.sum() * opposed, torch.tensor(weights), source)  # type: ignore[arg-type]
        (row,) = strategy.genes.rows([found])
        assert abs(row - end).mean() <= 0.75, row


def test_the_landscape_is_the_regression_of_the_standardised_objectives() -> None:
    generator = np.random.default_rng(0)
    features = generator.random((60, 3))
    values = np.stack([features @ [3.0, -1.0, 0.5], 5.0 + features[:, 1] ** 2], axis=1)
    landscape = Landscape(features, values, seed=0)
    found = np.stack([landscape(torch.tensor(f, dtype=torch.float32)).numpy() for f in features])
    assert np.abs(found - (values - values.mean(0)) / values.std(0)).mean() < 0.15


def test_misspelt_mixing() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'gates'"):
        OneShot(NETWORK, mixing="gate")
