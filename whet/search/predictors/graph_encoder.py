"""A predictor for networks of many families: a contrastive graph encoder, fuzzy clusters, one regression for each."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from whet.core.errors import StudyError
from whet.core.net import Net
from whet.decisions.genes import Features, Vector
from whet.search.predictors.graph_features import KINDS, SIZES, ComputationGraph, encode, spectrum, union

EIGENVALUES = 21
TEMPERATURE = 0.1
PROJECTED = 16
HIDDEN = 64
BATCH = 128
"""Networks in one step of the pretraining."""
ITERATIONS = 1000
ASKED = "the graph encoder was asked before it had data."


class Encoder(nn.Module):
    """Message passing over computation graphs, read out as means over nodes, and a projection for the contrast.

        h_v <- h_v + relu(A h_v + B sum_{u -> v} h_u + C sum_{v -> w} h_w)

    What is read is the mean of h over the nodes after every round, and the logarithm of their number.
    """

    def __init__(self, width: int, rounds: int) -> None:
        super().__init__()
        self.kinds = nn.Embedding(len(KINDS), width)
        self.sizes = nn.Linear(SIZES, width)
        self.own = nn.ModuleList(nn.Linear(width, width) for _ in range(rounds))
        self.before = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(rounds))
        self.after = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(rounds))
        self.project = nn.Sequential(
            nn.Linear(width * (rounds + 1) + 1, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PROJECTED)
        )

    def forward(self, graphs: Sequence[ComputationGraph]) -> tuple[Tensor, Tensor]:
        """Return what is read, shape (graphs, features), and its projection of length one, shape (graphs, 16)."""
        graph, owner = union(graphs)
        source, sink = graph.edges[0], graph.edges[1]
        state: Tensor = self.kinds(graph.kinds) + self.sizes(graph.sizes)
        read = [state]
        for own, before, after in zip(self.own, self.before, self.after, strict=True):
            inward = torch.zeros_like(state).index_add(0, sink, state[source])
            outward = torch.zeros_like(state).index_add(0, source, state[sink])
            state = state + functional.relu(own(state) + before(inward) + after(outward))
            read.append(state)
        every = torch.cat(read, 1)
        counts = torch.bincount(owner, minlength=len(graphs)).unsqueeze(1).to(every.dtype)
        mean = torch.zeros(len(graphs), every.shape[1]).index_add(0, owner, every) / counts
        features = torch.cat([mean, counts.log()], 1)
        return features, functional.normalize(self.project(features), dim=1)


def positives(spectra: Tensor, families: Tensor | None = None) -> Tensor:
    """Return how much each other network is a positive example of each: near in topology, of the same family.

        a_ir = exp(-|s_i - s_r| / mean distance) / sum_q ...   over r != i, of the family of i where those are given

    Shapes: spectra (nets, eigenvalues), families (nets,), weights (nets, nets). Rows sum to one, or to zero where a
    network is alone in its family.
    """
    distance = (spectra.unsqueeze(1) - spectra).square().sum(2).sqrt()
    allowed = ~torch.eye(len(spectra), dtype=torch.bool)
    if families is not None:
        allowed = allowed & (families.unsqueeze(1) == families)
    scores = (-distance / distance.mean().clamp_min(1e-9)).masked_fill(~allowed, -math.inf)
    return torch.where(allowed.any(1, keepdim=True), scores.softmax(1), 0.0)


def contrastive(embeddings: Tensor, weights: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Return the contrastive loss of embeddings of length one, with several weighted positive examples for each.

        loss = -1/N sum_i sum_{r != i} a_ir log( exp(z_i.z_r / t) / sum_{q != i} exp(z_i.z_q / t) )

    It is a cross-entropy, so it is never below the mean entropy of the rows of `weights`, shape (nets, nets).
    """
    alone = torch.eye(len(embeddings), dtype=torch.bool)
    scores = (embeddings @ embeddings.T / temperature).masked_fill(alone, -math.inf)
    return -(weights * scores.log_softmax(1).masked_fill(alone, 0.0)).sum(1).mean()


def memberships(points: Tensor, centres: Tensor, fuzziness: float = 2.0) -> Tensor:
    """Return how much each point is of each cluster, shape (points, clusters): what minimises the sum of c-means.

        u_ik = 1 / sum_j (|x_i - c_k| / |x_i - c_j|)^(2 / (m - 1))

    >>> memberships(torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [4.0]])).round(decimals=3).tolist()
    [[1.0, 0.0], [0.5, 0.5]]
    """
    squared = (points.unsqueeze(1) - centres).square().sum(2).clamp_min(1e-12)
    return (squared.log() / (1.0 - fuzziness)).softmax(1)


def fuzzy_means(points: Tensor, clusters: int, fuzziness: float = 2.0) -> Tensor:
    """Return the centres of fuzzy c-means, shape (clusters, dimensions), from starts that are far from each other.

        minimise  sum_ik u_ik^m |x_i - c_k|^2   by   c_k = sum_i u_ik^m x_i / sum_i u_ik^m   and   `memberships`

    Paper: Bezdek 1981, Pattern Recognition with Fuzzy Objective Function Algorithms.
    """
    centres = points[(points - points.mean(0)).square().sum(1).argmax()].unsqueeze(0)
    while len(centres) < clusters:
        nearest = (points.unsqueeze(1) - centres).square().sum(2).amin(1)
        centres = torch.cat([centres, points[nearest.argmax()].unsqueeze(0)])
    for _ in range(ITERATIONS):
        shares = memberships(points, centres, fuzziness) ** fuzziness
        moved = shares.T @ points / shares.sum(0).unsqueeze(1)
        still = bool((moved - centres).abs().max() < 1e-10)
        centres = moved
        if still:
            break
    return centres


class _Heads(nn.Module):
    """One regression a cluster; their outputs are averaged by membership."""

    def __init__(self, inputs: int, clusters: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1)) for _ in range(clusters)
        )

    def forward(self, features: Tensor, shares: Tensor) -> Tensor:
        return (torch.cat([head(features) for head in self.heads], 1) * shares).sum(1)


class GraphEncoder:
    """Forecasts one number of networks of any family from their graphs of atomic operations alone.

        forecast(net) = sum_k u_k(z) head_k(h)

    An `Encoder` is pretrained without any measurement by the loss `contrastive`, whose `positives` are networks near in
    topology and, where families are given, of the same family. Fuzzy c-means over the projections z of the measured
    networks gives the memberships u; the heads, one a cluster, are trained together on what the encoder reads, h, while
    the encoder stays as it is. `fit` pretrains on the networks that it is given, unless `pretrain` was called before,
    with as many networks as one likes.

    Raises: StudyError when asked before it has data, for fewer than two networks, for values or families of another
    number than the networks, for a fuzziness of one or less, and for no cluster.

    Paper: Mills et al. 2023, GENNAPE: Towards Generalized Neural Architecture Performance Estimators. It
    pretrains on NAS-Bench-101; here the networks at hand are all there is. Its released code holds the graphs and a
    plain graph network, no contrast and no clusters: the weights of the positives and all sizes are ours.
    """

    def __init__(
        self, seed: int = 0, *, clusters: int = 4, fuzziness: float = 2.0, width: int = 32, rounds: int = 3,
        pretraining_steps: int = 200, steps: int = 400,
    ) -> None:  # fmt: skip
        if fuzziness <= 1.0 or clusters < 1:
            raise StudyError(f"fuzziness must be above 1 and clusters at least 1; got {fuzziness} and {clusters}.")
        self.seed, self.clusters, self.fuzziness = seed, clusters, fuzziness
        self.width, self.rounds = width, rounds
        self.pretraining_steps, self.steps = pretraining_steps, steps
        self._encoder: Encoder | None = None
        self._heads: _Heads | None = None

    def pretrain(self, nets: Sequence[Net], families: Sequence[str] | None = None) -> GraphEncoder:
        """Learn to tell networks apart by their topology, without any measurement; what was fitted is forgotten."""
        if len(nets) < 2:
            raise StudyError(f"a contrast needs two networks or more; got {len(nets)}.")
        if families is not None and len(families) != len(nets):
            raise StudyError(f"each network needs one family; got {len(nets)} networks and {len(families)} families.")
        graphs = [encode(net) for net in nets]
        spectra = torch.stack([spectrum(graph, EIGENVALUES) for graph in graphs])
        numbers = {name: number for number, name in enumerate(sorted(set(families or ())))}
        labels = None if families is None else torch.tensor([numbers[name] for name in families])
        generator = torch.Generator().manual_seed(self.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            encoder = Encoder(self.width, self.rounds)
        optimizer = torch.optim.Adam(encoder.parameters(), 3e-3)
        for _ in range(self.pretraining_steps):
            some = torch.randperm(len(graphs), generator=generator)[:BATCH]
            weights = positives(spectra[some], None if labels is None else labels[some]).float()
            loss = contrastive(encoder([graphs[i] for i in some.tolist()])[1], weights)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        self._encoder, self._heads = encoder, None
        return self

    def embeddings(self, nets: Sequence[Net]) -> Tensor:
        """Return the projection of each network, of length one: shape (nets, 16)."""
        return self._read(nets)[1]

    def memberships(self, nets: Sequence[Net]) -> Features:
        """Return how much each network is of each cluster, shape (nets, clusters); rows sum to one."""
        self._fitted()
        shares: Features = self._shares(self.embeddings(nets)).numpy()
        return shares

    def fit(self, nets: Sequence[Net], values: Vector) -> GraphEncoder:
        """Learn from networks and their values. Values have the shape (networks,)."""
        if len(nets) < 2 or len(nets) != len(values):
            raise StudyError(
                f"the graph encoder learns from two networks or more with a value each; got {len(nets)} networks and "
                f"{len(values)} values."
            )
        if self._encoder is None:
            self.pretrain(nets)
        features, embeddings = self._read(nets)
        self._centres = fuzzy_means(embeddings.double(), min(self.clusters, len(nets)), self.fuzziness)
        self._standard = features.mean(0), features.std(0).clamp_min(1e-3)
        self._mean, self._scale = float(values.mean()), float(values.std()) or 1.0
        targets = torch.as_tensor((values - self._mean) / self._scale, dtype=torch.float32)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            heads = _Heads(features.shape[1], len(self._centres))
        optimizer = torch.optim.AdamW(heads.parameters(), 1e-2, weight_decay=1e-2)
        inputs, shares = self._inputs(features), self._shares(embeddings).float()
        for _ in range(self.steps):
            loss: Tensor = (heads(inputs, shares) - targets).square().mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        self._heads = heads
        return self

    def predict(self, nets: Sequence[Net]) -> Vector:
        """Return one forecast a network. Shape (networks,)."""
        heads = self._fitted()
        features, embeddings = self._read(nets)
        with torch.no_grad():
            outputs: Tensor = heads(self._inputs(features), self._shares(embeddings).float())
        forecast: Vector = (outputs.double() * self._scale + self._mean).numpy()
        return forecast

    def _fitted(self) -> _Heads:
        if self._heads is None:
            raise StudyError(ASKED)
        return self._heads

    def _read(self, nets: Sequence[Net]) -> tuple[Tensor, Tensor]:
        if self._encoder is None:
            raise StudyError(ASKED)
        with torch.no_grad():
            read: tuple[Tensor, Tensor] = self._encoder([encode(net) for net in nets])
        return read

    def _inputs(self, features: Tensor) -> Tensor:
        mean, deviation = self._standard
        # A kind of operation that fitting never saw would else stand far outside of what the heads know.
        return ((features - mean) / deviation).clamp(-5.0, 5.0)

    def _shares(self, embeddings: Tensor) -> Tensor:
        return memberships(embeddings.double(), self._centres, self.fuzziness)
