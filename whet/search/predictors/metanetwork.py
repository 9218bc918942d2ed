"""`Metanetwork`: networks embedded by their weights, alike for every order of their hidden neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from whet.core.errors import StudyError

State = Mapping[str, Tensor]
Layer = tuple[Tensor, Tensor]
"""Weights (..., out, in, positions) and biases (..., out); positions are a kernel's, or those of a flattened map."""
Stack = tuple[list[int], list[Layer]]
"""Networks of one architecture: which rows they are, and their layers, stacked in the first dimension."""
WIDTH = 16
ROUNDS = 2


def chain(state: State) -> list[Layer]:
    """Return the layers of a state dict in their order, a linear layer after a convolution by channels and positions.

    >>> [tuple(weight.shape) for weight, _ in chain(nn.Sequential(nn.Conv1d(2, 4, 3), nn.Linear(20, 1)).state_dict())]
    [(4, 2, 3), (1, 4, 5)]

    Raises: StudyError for anything but a chain of linear and ungrouped convolutional layers.
    """
    weights = {name: value for name, value in state.items() if name.endswith("weight") and value.dim() >= 2}
    known = {*weights, *(name.removesuffix("weight") + "bias" for name in weights)}
    strange = [name for name in state if name not in known]
    if strange or not weights:
        given = f"'{strange[0]}' of shape {tuple(state[strange[0]].shape)}" if strange else "no weight"
        raise StudyError(f"a checkpoint holds weights and biases of linear and convolutional layers; got {given}.")
    layers: list[Layer] = []
    before = next(iter(weights.values())).shape[1]
    for name, weight in weights.items():
        count, inputs = weight.shape[:2]
        if inputs != before and (weight.dim() > 2 or inputs % before):
            raise StudyError(f"a checkpoint's layers form a chain; '{name}' reads {inputs} channels, not {before}.")
        bias = state.get(name.removesuffix("weight") + "bias", torch.zeros(count))
        layers.append((weight.detach().double().reshape(count, before, -1), bias.detach().double()))
        before = count
    return layers


def stacked(states: Sequence[State]) -> list[Stack]:
    """Return the layers of state dicts, those of one architecture together. Raises: StudyError as `chain`."""
    chains = [chain(state) for state in states]
    groups: dict[tuple[torch.Size, ...], list[int]] = {}
    for row, layers in enumerate(chains):
        groups.setdefault(tuple(weight.shape for weight, _ in layers), []).append(row)

    def joined(rows: list[int], depth: int) -> Layer:
        return torch.stack([chains[i][depth][0] for i in rows]), torch.stack([chains[i][depth][1] for i in rows])

    return [(rows, [joined(rows, depth) for depth in range(len(shapes))]) for shapes, rows in groups.items()]


class Round(nn.Module):
    """One round of messages: each edge e reads its two neurons, then each neuron h the means of its edges.

    e_uv <- e_uv + silu(A e_uv + B h_u + C h_v),   h_v <- h_v + silu(D h_v + E mean_u e_uv + F mean_w e_vw)
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.edge, self.source, self.sink = (nn.Linear(width, width) for _ in range(3))
        self.neuron, self.incoming, self.outgoing = (nn.Linear(width, width) for _ in range(3))

    def forward(self, neurons: list[Tensor], edges: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return new neurons, (rows, count, width) a layer, and edges, (rows, out, in, positions, width) a layer."""
        edges = [
            e + functional.silu(self.edge(e) + self.source(u)[:, None, :, None] + self.sink(v)[:, :, None, None])
            for e, u, v in zip(edges, neurons[:-1], neurons[1:], strict=True)
        ]
        arriving = [torch.zeros_like(neurons[0]), *(self.incoming(e.mean((2, 3))) for e in edges)]
        leaving = [*(self.outgoing(e.mean((1, 3))) for e in edges), torch.zeros_like(neurons[-1])]
        neurons = [
            h + functional.silu(self.neuron(h) + below + above)
            for h, below, above in zip(neurons, arriving, leaving, strict=True)
        ]
        return neurons, edges


class Metanetwork(nn.Module):
    """Embeds a network by its weights, alike for every order of its hidden neurons.

    The graph has a node for each neuron, which begins with its bias, and an edge for each weight, which begins with the
    weight and its place in the kernel; both know their depth, and only inputs and outputs know their number. After
    `ROUNDS` rounds of messages the embedding, shape (rows, 2 width), holds the means over neurons and over edges, of
    each layer first and then of the layers, so networks of any width and depth can be compared. Memory goes as
    rows * weights * width.

    >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> Metanetwork(width=4)(stacked([network.state_dict()])).shape
    torch.Size([1, 8])
    """

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.neuron, self.edge = nn.Linear(3, width), nn.Linear(3, width)
        self.rounds = nn.ModuleList(Round(width) for _ in range(ROUNDS))
        self.read_neuron, self.read_edge = nn.Linear(width, width), nn.Linear(width, width)
        self.double()  # as the Gaussian process, whose covariances of nearly equal rows need it

    def forward(self, stacks: Sequence[Stack]) -> Tensor:
        """Return one embedding a row, in the order of the rows."""
        order = torch.tensor([row for rows, _ in stacks for row in rows])
        return torch.cat([self._embedded(layers) for _, layers in stacks])[order.argsort()]

    def _embedded(self, layers: Sequence[Layer]) -> Tensor:
        neurons, edges = self._begun(layers)
        for messages in self.rounds:
            neurons, edges = messages(neurons, edges)
        pooled = [functional.silu(self.read_neuron(h)).mean(1) for h in neurons]
        weighed = [functional.silu(self.read_edge(e)).mean((1, 2, 3)) for e in edges]
        return torch.cat([torch.stack(pooled).mean(0), torch.stack(weighed).mean(0)], 1)

    def _begun(self, layers: Sequence[Layer]) -> tuple[list[Tensor], list[Tensor]]:
        first, last = layers[0][0], len(layers)
        neurons: list[Tensor] = []
        for depth, bias in enumerate([first.new_zeros(first.shape[0], first.shape[2]), *(b for _, b in layers)]):
            number = torch.arange(1, bias.shape[1] + 1).to(bias) / bias.shape[1] * float(depth in (0, last))
            marks = [bias, number.expand_as(bias), torch.full_like(bias, depth / last)]
            neurons.append(functional.silu(self.neuron(torch.stack(marks, -1))))
        edges: list[Tensor] = []
        for depth, (weight, _) in enumerate(layers):
            place = torch.linspace(0, 1, weight.shape[-1]).to(weight)
            marks = [weight, place.expand_as(weight), torch.full_like(weight, depth / last)]
            edges.append(functional.silu(self.edge(torch.stack(marks, -1))))
        return neurons, edges
