"""A space of small networks in which one gradient descent finds the weights and the architecture together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from whet.core.errors import SpecError, StudyError, TaskError
from whet.decisions.mixtures import trainable_gate

Loss = Callable[[Tensor, Tensor], Tensor]
"""A loss of outputs, shape (points, outputs), and targets."""
HIDDEN = 128
PROBES = 32
BATCH = 64
RATE = 2e-3
OPEN = 0.5
"""The gate of each neuron at which decoders begin; below zero it is closed."""


@dataclass(frozen=True)
class Networks:
    """Multi-layer perceptrons of one depth, padded to one width; a neuron whose gate is 0 is not there.

        h_l = gate_l * leaky_relu(W_l h_l-1 + b_l),   output = W h_depth + b

    Shapes: weights (networks, out, in) and biases (networks, out) a layer, gates (networks, depth, width).
    """

    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    gates: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Return each network's outputs, shape (networks, points, outputs), at x, shape (points, inputs)."""
        h, depth = x.expand(len(self.gates), *x.shape), self.gates.shape[1]
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = h @ weight.transpose(1, 2) + bias[:, None]
            if layer < depth:
                h = functional.leaky_relu(h) * self.gates[:, layer, None]
        return h

    def compact(self, index: int) -> nn.Sequential:
        """Return one of the networks as linear layers and activations, without the neurons that are not there."""
        hidden = [gates.nonzero()[:, 0] for gates in self.gates[index].unbind()]
        ends = [torch.arange(self.weights[0].shape[2]), *hidden, torch.arange(self.weights[-1].shape[1])]
        layers: list[nn.Module] = []
        for weight, bias, before, after in zip(self.weights, self.biases, ends[:-1], ends[1:], strict=True):
            linear = nn.Linear(len(before), len(after))
            with torch.no_grad():
                linear.weight.copy_(weight[index][after][:, before])
                linear.bias.copy_(bias[index][after])
            layers += [linear, nn.LeakyReLU()]
        return nn.Sequential(*layers[:-1])


@dataclass(frozen=True)
class Found:
    """Where a descent ended: the network, its loss, its hidden neurons, its depth and its embedding (dimension,)."""

    network: nn.Sequential
    loss: float
    neurons: int
    depth: int
    embedding: Tensor


class JointEmbedding(nn.Module):
    """An encoder E that embeds networks by what they compute, and for each depth s a decoder D_s back to a network.

        fit:      min over E, D of  mean over s  E_f |D_s(E(f))(x) - f(x)|^2,   f random networks, x ~ U(-1, 1)
        descend:  min over z, s of  loss(D_s(z)) + sparsity * neurons(D_s(z)),  E and D fixed

    A decoder gives weights, biases and a gate for each neuron, so a step in the embedding moves weights and widths
    together; the depth is that of the best decoder. Gates are 0 or 1 going forwards and have a gradient all the same
    (`whet.decisions.mixtures.trainable_gate`), so what is descended is what is delivered; the best neuron of a layer
    stays, or nothing would pass. `sparsity` is the loss that one neuron has to be worth.

    Paper: Huang, Montazerin and Srivastava 2024, Simultaneous Weight and Architecture Optimization for Neural Networks.
    In the published code of its successor (Huang et al. 2025, SWAT-NN) encoder and decoders are transformers
    over padded weights, each network trains only the decoder that fits it best, gates are sigmoids, activations are
    chosen too, and single weights are thresholded. Here decoders are perceptrons that learn every network, activations
    are leaky rectifiers, neurons alone are closed, and the encoder is a perceptron on a network's outputs at learnt
    probes (Kahana et al. 2025, Deep Linear Probe Generators for Weight Space Learning, without the generators), so
    networks that compute the same fall in one point by construction.

    Raises: SpecError for sizes that are not positive and a depth without a decoder; StudyError for a descent before
    `fit`; TaskError for data of other shapes.

    >>> space = JointEmbedding(1, 1, width=4, depths=(1,)).fit(steps=20)
    >>> x = torch.linspace(-1, 1, 20)[:, None]
    >>> found = space.descend(x, x.abs(), steps=20)
    >>> found.network(x).shape, 1 <= found.neurons <= 4
    (torch.Size([20, 1]), True)
    """

    def __init__(
        self, inputs: int, outputs: int, *, width: int = 8, depths: Sequence[int] = (1, 2), dimension: int = 32,
        seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        if not depths or min(inputs, outputs, width, dimension, *depths) < 1:
            raise SpecError(
                f"a joint embedding needs positive sizes and one or more positive depths; got inputs={inputs}, "
                f"outputs={outputs}, width={width}, dimension={dimension}, depths={tuple(depths)}."
            )
        self.inputs, self.outputs, self.width, self.dimension = inputs, outputs, width, dimension
        self.depths, self.seed, self.fitted = tuple(depths), seed, False
        source = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.probes = nn.Parameter(2 * torch.rand(PROBES, inputs) - 1)
            self.encoder = nn.Sequential(nn.Linear(PROBES * outputs, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, dimension))
            self.decoders = nn.ModuleDict({str(depth): self._decoder(depth, source) for depth in self.depths})

    def _decoder(self, depth: int, source: torch.Generator) -> nn.Sequential:
        """Return a decoder that begins near one network of random hidden layers, all open, whose output is zero.

        With all weights near zero a deep network has no gradient; with another output it would first unlearn that, by
        closing gates.
        """
        begun, gates = self._drawn(depth, 1, source)[0], depth * self.width
        begun[-gates:] = OPEN
        begun[-gates - self.outputs * (self.width + 1) : -gates] = 0.0
        last = nn.Linear(HIDDEN, len(begun))
        with torch.no_grad():
            last.bias.copy_(begun)
        return nn.Sequential(nn.Linear(self.dimension, HIDDEN), nn.SiLU(), last)

    def _sides(self, depth: int) -> list[tuple[int, int]]:
        """Return outputs and inputs of each layer."""
        sides = [self.inputs, *[self.width] * depth, self.outputs]
        return list(zip(sides[1:], sides[:-1], strict=True))

    def _drawn(self, depth: int, count: int, source: torch.Generator) -> Tensor:
        """Return random networks as vectors for `networks`: a share of neurons is closed, drawn for each."""
        parts: list[Tensor] = []
        for rows, columns in self._sides(depth):
            parts.append(torch.randn(count, rows * columns, generator=source) * math.sqrt(2 / columns))
            parts.append(torch.randn(count, rows, generator=source) * 0.5)
        share = torch.rand(count, 1, generator=source)
        closed = torch.rand(count, depth * self.width, generator=source) < 0.75 * share
        return torch.cat([*parts, torch.where(closed, -1.0, 1.0)], 1)

    def networks(self, vectors: Tensor, depth: int) -> Networks:
        """Return the networks of a depth that vectors hold: each layer's weights and biases, then the gates."""
        weights, biases, place = [], [], 0
        for rows, columns in self._sides(depth):
            weights.append(vectors[:, place : place + rows * columns].reshape(-1, rows, columns))
            place += rows * columns
            biases.append(vectors[:, place : place + rows])
            place += rows
        gates = vectors[:, place:].reshape(-1, depth, self.width)
        best = functional.one_hot(gates.argmax(-1), self.width).to(gates.dtype)
        return Networks(weights, biases, torch.maximum(trainable_gate(gates), best))

    def encode(self, networks: Networks) -> Tensor:
        """Return the embeddings of networks of any depth and width, shape (networks, dimension)."""
        embedded: Tensor = self.encoder(networks(self.probes).flatten(1))
        return embedded

    def decode(self, embeddings: Tensor, depth: int) -> Networks:
        """Return the networks of a depth that embeddings, shape (networks, dimension), stand for."""
        if depth not in self.depths:
            raise SpecError(f"there are decoders for the depths {self.depths}; got {depth}.")
        return self.networks(self.decoders[str(depth)](embeddings), depth)

    def fit(self, steps: int = 800) -> JointEmbedding:
        """Train encoder and decoders on random networks, `BATCH` of one depth a step."""
        source = torch.Generator().manual_seed(self.seed)
        optimizer = torch.optim.Adam(self.parameters(), RATE)
        for step in range(steps):
            depth = self.depths[step % len(self.depths)]
            given = self.networks(self._drawn(depth, BATCH, source), depth)
            x = 2 * torch.rand(BATCH, self.inputs, generator=source) - 1
            embeddings, wanted = self.encode(given), given(x)
            errors = [functional.mse_loss(self.decode(embeddings, d)(x), wanted) for d in self.depths]
            loss = torch.stack(errors).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        self.fitted = True
        return self

    def descend(
        self, x: Tensor, y: Tensor, loss: Loss = functional.mse_loss, *,
        sparsity: float = 1e-3, starts: int = 4, steps: int = 400, rate: float = 0.05,
    ) -> Found:  # fmt: skip
        """Return the best network found from `starts` random embeddings at each depth, of all steps.

        x is (points, inputs), best scaled to -1 to 1, where encoder and decoders learnt; `loss` takes outputs (points,
        outputs) and y.
        """
        if not self.fitted:
            raise StudyError("the joint embedding was asked to descend before it was fitted.")
        if x.dim() != 2 or x.shape[1] != self.inputs or len(x) != len(y):
            raise TaskError(
                f"inputs are (points, {self.inputs}), with a target each; got {tuple(x.shape)} and {tuple(y.shape)}."
            )
        if sparsity < 0 or min(starts, steps) < 1:
            raise SpecError(f"got sparsity={sparsity}, starts={starts}, steps={steps}; allowed are 0, 1 and 1 or more.")

        def price(networks: Networks) -> Tensor:
            losses = [loss(outputs, y) for outputs in networks(x).unbind()]
            return torch.stack(losses) + sparsity * networks.gates.sum((1, 2))

        ended = {depth: self._descended(depth, price, starts, steps, rate) for depth in self.depths}
        with torch.no_grad():
            depth = min(ended, key=lambda d: float(price(self.decode(ended[d], d))))
            best = self.decode(ended[depth], depth)
            reached = float(loss(best(x)[0], y))
        return Found(best.compact(0), reached, int(best.gates.sum()), depth, ended[depth][0])

    def _descended(
        self, depth: int, price: Callable[[Networks], Tensor], starts: int, steps: int, rate: float
    ) -> Tensor:
        """Return the cheapest embedding on the way from those of random networks, shape (1, dimension)."""
        source = torch.Generator().manual_seed(self.seed + depth)
        with torch.no_grad():
            z = self.encode(self.networks(self._drawn(depth, starts, source), depth))
        z.requires_grad_()
        optimizer = torch.optim.Adam([z], rate)
        best, lowest = z.detach()[:1].clone(), math.inf
        for step in range(steps):
            prices = price(self.decode(z, depth))
            seen = prices.detach()
            index = int(seen.argmin())
            if float(seen[index]) < lowest:
                best, lowest = z.detach()[index : index + 1].clone(), float(seen[index])
            z.grad = torch.autograd.grad(prices.sum(), z)[0]  # the decoders' own gradients are not wanted
            optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
            optimizer.step()
        return best
