"""Bodies and heads of agents' networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from whet.policies.networks import Scores, Single, body, orthogonal, prepared, seeded
from whet.policies.values import Squeezed


def test_without_hidden_layers_a_head_is_a_table() -> None:
    layers, features = body((4,), ())
    head = Single(features, 2, 1)
    found = Scores(nn.Sequential(layers, head), Squeezed())(torch.eye(4))
    assert torch.equal(found, head.layer.weight.T + head.layer.bias) and found.shape == (4, 2)


@pytest.mark.parametrize("shape, convolutions", [((10, 10, 4), 1), ((84, 84, 4), 3)])
def test_pictures_go_through_convolutions_by_their_size(shape: tuple[int, ...], convolutions: int) -> None:
    layers, features = body(shape, (32,))
    assert sum(isinstance(m, nn.Conv2d) for m in layers) == convolutions and features == 32
    picture = torch.zeros(2, *shape)
    picture[1, 1, 2, 3] = 1.0
    seen = layers[0](picture)
    assert seen[1, 3, 1, 2] == 1 and seen.sum() == 1 and layers(picture).shape == (2, 32)


def test_bytes_are_shares_and_all_else_stays() -> None:
    assert prepared(np.array([[0, 255]], np.uint8)).tolist() == [[0.0, 1.0]]
    assert prepared(np.array([[True, False]])).tolist() == [[1.0, 0.0]]
    assert prepared(np.array([[3.5]], np.float32)).tolist() == [[3.5]]


def test_orthogonal_weights_keep_lengths_but_for_the_gain() -> None:
    layer = orthogonal(nn.Linear(5, 5), 2.0)
    x = torch.randn(3, 5)
    assert torch.allclose(layer(x).norm(dim=1), 2 * x.norm(dim=1), atol=1e-5)


def test_layer_norms_stand_before_activations() -> None:
    layers, _ = body((4,), (8, 8), norm=True)
    assert [type(m) for m in layers] == [nn.Linear, nn.LayerNorm, nn.ReLU] * 2


def test_rows_are_one_vector_or_read_by_the_same_layers() -> None:
    layers, features = body((3, 2), (8,))
    assert features == 8 and layers(torch.randn(5, 3, 2)).shape == (5, 8)
    layers, features = body((3, 2), (8,), by_row=True)
    x, head = torch.randn(5, 3, 2), Single(features, 3, 4, by_row=True)
    found = head(layers(x))
    assert found.shape == (5, 3, 4) and torch.allclose(head(layers(x[:, [1, 2, 0]])), found[:, [1, 2, 0]], atol=1e-6)


def test_a_seed_holds_within_and_nothing_is_changed_without() -> None:
    before = torch.get_rng_state()
    with seeded(5):
        one = torch.rand(3)
    with seeded(5):
        two = torch.rand(3)
    assert torch.equal(one, two) and torch.equal(torch.get_rng_state(), before)
