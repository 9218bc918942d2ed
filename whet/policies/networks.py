"""The networks of agents: a body that reads observations, and what turns its features into values or scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from whet.policies.spaces import Array

Layer = Callable[[int, int], nn.Module]
"""What makes a linear layer of so many inputs and outputs."""
SMALL = 36
"""Pictures of fewer pixels a side have one convolution of 3x3, as for MinAtar; larger ones three, as for Atari."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initialise networks by a seed within; torch's own random state is afterwards as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def prepared(observations: Array) -> Tensor:
    """Return observations (N, *shape) as float32, in the same shape; bytes become shares of 255."""
    tensor = torch.from_numpy(observations)
    return tensor.float() / 255 if tensor.dtype == torch.uint8 else tensor.float()


class ChannelsFirst(nn.Module):
    """Pictures (N, height, width, channels) as convolutions take them, (N, channels, height, width)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x (N, H, W, C) as (N, C, H, W)."""
        return x.permute(0, 3, 1, 2)


def body(
    shape: Sequence[int], hidden: Sequence[int], linear: Layer = nn.Linear,
    activation: Callable[[], nn.Module] = nn.ReLU, norm: bool = False, by_row: bool = False,
) -> tuple[nn.Sequential, int]:  # fmt: skip
    """Return layers for observations (N, *shape) and the number of features that they give, (N, features).

    `hidden` are the widths of the linear layers; without any, a vector goes on as it is, so that a head of one linear
    layer is a table where observations are states with a single 1. `norm` puts a layer norm before each activation.
    Observations of rows (N, rows, columns) are read as one vector, or, `by_row`, by the same layers for each row: then
    features are (N, rows, features).
    """
    layers: list[nn.Module] = []
    if len(shape) == 3:
        layers += [ChannelsFirst(), *_convolutions(shape[2], min(shape[:2]) < SMALL, norm), nn.Flatten()]
        with torch.no_grad():
            features = int(nn.Sequential(*layers)(torch.zeros(1, *shape)).shape[1])
    elif by_row:
        features = shape[-1]
    else:
        layers += [nn.Flatten()] if len(shape) == 2 else []
        features = math.prod(shape)
    for width in hidden:
        layers += [linear(features, width), *([nn.LayerNorm(width)] if norm else []), activation()]
        features = width
    return nn.Sequential(*layers), features


def _convolutions(channels: int, small: bool, norm: bool) -> list[nn.Module]:
    table = [(16, 3, 1)] if small else [(32, 8, 4), (64, 4, 2), (64, 3, 1)]
    layers: list[nn.Module] = []
    for filters, kernel, stride in table:
        norms = [nn.GroupNorm(1, filters)] if norm else []
        layers += [nn.Conv2d(channels, filters, kernel, stride), *norms, nn.ReLU()]
        channels = filters
    return layers


class Single(nn.Module):
    """A head of one linear layer: `outputs` numbers for each action, `by_row` from the features of its own row."""

    def __init__(
        self, features: int, actions: int, outputs: int, linear: Layer = nn.Linear, by_row: bool = False
    ) -> None:
        super().__init__()
        self.actions, self.outputs = actions, outputs
        self.layer = linear(features, (1 if by_row else actions) * outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (N, features) or (N, actions, features) as (N, actions, outputs)."""
        found: Tensor = self.layer(x).view(-1, self.actions, self.outputs)
        return found


class Scores(nn.Module):
    """A policy as it is deployed: `network`, then what turns its outputs into one score an action, (N, actions).

    The greedy action is the largest score's. Inputs are observations as float32, (N, *shape).
    """

    def __init__(self, network: nn.Module, expected: nn.Module) -> None:
        super().__init__()
        self.network, self.expected = network, expected

    def forward(self, observations: Tensor) -> Tensor:
        """Return the scores of actions, (N, actions)."""
        scores: Tensor = self.expected(self.network(observations))
        return scores


def orthogonal(layer: nn.Linear, gain: float = math.sqrt(2)) -> nn.Linear:
    """Give a linear layer orthogonal weights of a gain, and no bias; return it."""
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer
