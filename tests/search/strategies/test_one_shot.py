"""Gradient descent on relaxed choices: conformance, that each mixing beats chance, and the mixture's features."""

from __future__ import annotations

from statistics import mean

import numpy as np
import pytest
import torch
from engines import NETWORK, areas

from whet.core.errors import UnknownNameError
from whet.core.mixtures import MIXINGS
from whet.search import strategies
from whet.search.strategies.one_shot import OneShot
from whet.testing.strategies import SPACES, check


def test_conforms() -> None:
    assert check(lambda space, seed: OneShot(space, seed, steps=10, warm_up=6)) == list(SPACES)


@pytest.mark.parametrize("mixing", MIXINGS)
def test_each_mixing_beats_random_search(mixing: str) -> None:
    found = mean(areas(OneShot(NETWORK, seed, mixing=mixing), 40)[-1] for seed in range(2))
    chance = mean(areas(strategies.get("random", NETWORK, seed), 40)[-1] for seed in range(2))
    assert found > chance


def test_one_hot_mixtures_have_the_features_of_their_decision() -> None:
    strategy = OneShot(NETWORK)
    rows = strategy.genes.random(5, np.random.default_rng(0))
    for row, features in zip(rows, strategy.genes.features(rows), strict=True):
        one_hot = [torch.nn.functional.one_hot(torch.tensor(v), int(n)).float()
                   for v, n in zip(row, strategy.genes.lengths, strict=True)]  # fmt: skip
        assert torch.allclose(strategy._features(one_hot), torch.tensor(features, dtype=torch.float32))


def test_misspelt_mixing() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'gates'"):
        OneShot(NETWORK, mixing="gate")
