"""A hypernetwork that writes the weights of a network from its graph, so that it can be scored without training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from whet.core.errors import StudyError, TaskError, TrainingError, unknown
from whet.core.net import Net
from whet.core.task import Batch, Batches, Task, predict, split
from whet.decisions.genes import Vector
from whet.graph.fake_quantize import ActivationQuantizer, IntegerWeight
from whet.search.predictors.graph_features import KINDS, SIZES, ComputationGraph, encode, union

PROPAGATIONS = ("forward-backward", "synchronous")
GENERATED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
NORMS = (*BATCH_NORMS, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
TILE = 8
"""Channels out and in of the pieces that weights are put together from."""
AXES = 5
"""Coordinates of a piece: its channels out and in, and three of a kernel."""
WAVES = 64
"""Random cosines that tell the decoder where a piece lies: no two places look alike to it."""
HIDDEN = 128
BIAS = 0.1
"""What biases are multiplied by, so that a network begins near one without any."""
CLIP = 5.0

Step = tuple[Tensor, Tensor, Tensor]
"""Nodes that change together, the nodes that tell them something, and the places in the former of whom each tells."""


def schedule(graph: ComputationGraph, propagation: str) -> list[Step]:
    """Return the steps of one round of propagation.

    `forward-backward` goes through the nodes in the order of execution and then back, and each hears of the new states
    of those before it: one round carries anything anywhere along a path. Nodes of one step do not hear of each other,
    so the states are those of a pass node by node. In a `synchronous` round all nodes hear of their neighbours at once.
    """
    source, sink, nodes = graph.edges[0], graph.edges[1], len(graph.kinds)
    if propagation == "synchronous":
        return [(torch.arange(nodes), torch.cat([source, sink]), torch.cat([sink, source]))]
    return [*_levels(source, sink, nodes, reverse=False), *_levels(sink, source, nodes, reverse=True)]


def _levels(source: Tensor, sink: Tensor, nodes: int, *, reverse: bool) -> Iterator[Step]:
    """Yield the nodes by the length of the longest path that leads to them."""
    level = [0] * nodes
    # Sorted by their beginning, all edges into a node come before those out of it.
    for start, end in sorted(zip(source.tolist(), sink.tolist(), strict=True), reverse=reverse):
        level[end] = max(level[end], level[start] + 1)
    levels = torch.tensor(level)
    for depth in range(max(level) + 1):
        chosen = torch.nonzero(levels == depth).flatten()
        told = levels[sink] == depth
        yield chosen, source[told], torch.searchsorted(chosen, sink[told])


class GraphHyperNetwork(nn.Module):
    """The states of the nodes of a graph after propagation, and the tensors that they stand for.

    m_v = sum_{u -> v} M(h_u),  h_v <- GRU(m_v, h_v)         for every v in order, then along the edges reversed
    piece_p = D(h_v, cos(2 pi (F p + f))),  W = e^g(h_v) sqrt(2 / fan_in) pieces / rms(pieces)    at every place p
    """

    frequencies: Tensor
    phases: Tensor

    def __init__(self, width: int, rounds: int, propagation: str) -> None:
        super().__init__()
        self.rounds, self.propagation = rounds, propagation
        self.kinds = nn.Embedding(len(KINDS), width)
        self.sizes = nn.Linear(SIZES, width)
        self.message = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.update = nn.GRUCell(width, width)
        self.decode = nn.Sequential(
            nn.Linear(width + WAVES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(),
            nn.Linear(HIDDEN, TILE * TILE),
        )  # fmt: skip
        self.gain = nn.Linear(width, 1)
        self.register_buffer("frequencies", torch.rand(AXES, WAVES))
        self.register_buffer("phases", torch.rand(WAVES))
        for layer in self.decode:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(self.gain.weight)
        nn.init.zeros_(self.gain.bias)

    def forward(self, graph: ComputationGraph) -> Tensor:
        """Return the states of the nodes, shape (nodes, width)."""
        state: Tensor = self.kinds(graph.kinds) + self.sizes(graph.sizes)
        steps = schedule(graph, self.propagation)
        for _ in range(self.rounds):
            for nodes, tellers, told in steps:
                messages = state.new_zeros(len(nodes), state.shape[1])
                messages = messages.index_add(0, told, self.message(state[tellers]))
                state = state.index_copy(0, nodes, self.update(messages, state[nodes]))
        return state

    def pieces(self, state: Tensor, shape: Sequence[int], column: int = 0) -> Tensor:
        """Return a tensor of `shape` (out, in, kernel ...) from the state of one node, before it is scaled.

        Every piece of 8 x 8 channels at one place of the kernel is an output of one decoder, which is told where the
        piece lies, from `column` on along the channels in; what juts out is cut off.
        """
        counts = [-(-shape[0] // TILE), -(-shape[1] // TILE), *shape[2:]]
        grid = torch.cartesian_prod(*(torch.arange(count, dtype=torch.float32) for count in counts))
        places = torch.zeros(len(grid), AXES)
        places[:, : len(counts)] = grid
        places[:, 1] += column
        waves = torch.cos(2 * math.pi * (places @ self.frequencies + self.phases))
        tiles: Tensor = self.decode(torch.cat([state.expand(len(grid), -1), waves], 1))
        rank = len(shape)
        block = tiles.view(*counts, TILE, TILE).permute(0, rank, 1, rank + 1, *range(2, rank))
        return block.reshape(counts[0] * TILE, counts[1] * TILE, *shape[2:])[: shape[0], : shape[1]]

    def generate(self, net: Net, layers: Sequence[str], states: Tensor) -> dict[str, Tensor]:
        """Return the weights and biases of the convolutions and linear layers of a network by their names.

        `layers` are those of its graph, `states` of shape (nodes, width). A layer that is called twice is made where it
        is called first. Raises: StudyError for a network that has no such layer, or is quantized.
        """
        made: dict[str, Tensor] = {}
        for name, state in zip(layers, states.unbind(0), strict=True):
            layer = net.layer(name) if name else None
            if isinstance(layer, IntegerWeight | ActivationQuantizer):
                raise StudyError(f"layer '{name}' of net '{net.name}' is quantized, on a grid for other weights.")
            if not isinstance(layer, GENERATED) or f"{name}.weight" in made:
                continue
            raw = self.pieces(state, layer.weight.shape)
            scale = math.sqrt(2 / raw[0].numel()) * torch.rsqrt(raw.square().mean() + 1e-12)
            made[f"{name}.weight"] = raw * scale * self.gain(state).exp()
            if layer.bias is not None:
                made[f"{name}.bias"] = BIAS * self.pieces(state, (len(layer.bias), 1), column=-1)[:, 0]
        if not made:
            raise StudyError(f"net '{net.name}' has no convolution or linear layer whose weights could be generated.")
        return made


class HyperNetwork:
    """Scores networks by their validation metric with weights that a hypernetwork writes from their graphs.

        minimise  E_net E_batch  loss(net(inputs; H(graph of net)), targets)   over the hypernetwork H

    Each step of the training draws `networks` of the given ones and one batch. Thereafter a network that was never seen
    is scored at the cost of one pass over the validation data, by which candidates are ranked; a score is no estimate
    of what the network reaches when it is trained. Weights and biases of convolutions and linear layers are generated;
    norms use the statistics of each batch and neither scale nor shift, dropout is off, embeddings and other tensors
    keep what they have. The networks given are not changed, and what they had learnt in those layers does not matter.

    Raises: UnknownNameError for a propagation that is not in `PROPAGATIONS`; StudyError when asked before it has data,
    for no network, and for one that is quantized or has no convolution or linear layer; TaskError without training
    data; TrainingError where the loss is not finite.

    Paper: Zhang et al. 2019, Graph HyperNetworks for Neural Architecture Search. That nodes carry sizes and that
    weights of any shape are put together from pieces is ours. Its sharing between repeated motifs and its anytime
    prediction are left out.
    """

    def __init__(
        self, seed: int = 0, *, propagation: str = "forward-backward", width: int = 32, rounds: int = 1,
        steps: int = 2000, networks: int = 4, learning_rate: float = 3e-3,
    ) -> None:  # fmt: skip
        if propagation not in PROPAGATIONS:
            raise unknown("propagation", propagation, PROPAGATIONS)
        self.seed, self.propagation, self.width, self.rounds = seed, propagation, width, rounds
        self.steps, self.networks, self.learning_rate = steps, networks, learning_rate
        self._fitted: tuple[GraphHyperNetwork, Task] | None = None

    def fit(self, nets: Sequence[Net], task: Task) -> HyperNetwork:
        """Train the hypernetwork on networks drawn from `nets` and on the task's training data."""
        bodies = [_bare(net) for net in nets]
        if not bodies:
            raise StudyError("the hypernetwork was given no network to learn from.")
        graphs = [encode(net) for net in bodies]
        generator = torch.Generator().manual_seed(self.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model = GraphHyperNetwork(self.width, self.rounds, self.propagation)
        optimizer = torch.optim.Adam(model.parameters(), self.learning_rate, fused=True)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        for _, batch in zip(range(self.steps), _endless(task)):
            some = torch.randint(len(bodies), (self.networks,), generator=generator).tolist()
            loss = _loss(model, [bodies[i] for i in some], [graphs[i] for i in some], batch, task)
            if not bool(torch.isfinite(loss)):
                raise TrainingError(f"the loss of the hypernetwork is {float(loss)}; lower its learning rate.")
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            decay.step()
        self._fitted = model, task
        return self

    def weights(self, net: Net) -> dict[str, Tensor]:
        """Return the generated weights and biases of a network by their names."""
        model, _ = self._trained()
        graph = encode(net)
        with torch.no_grad():
            return model.generate(net, graph.layers, model(graph))

    def predict(self, nets: Sequence[Net]) -> Vector:
        """Return the validation metric of each network with generated weights."""
        self._trained()
        return np.array([self._score(net) for net in nets], dtype=np.float64)

    def _score(self, net: Net) -> float:
        task, weights, body = self._trained()[1], self.weights(net), _bare(net)
        outputs, targets = predict(lambda *inputs: _run(body, weights, inputs), task.val)
        return task.score(outputs, targets)

    def _trained(self) -> tuple[GraphHyperNetwork, Task]:
        if self._fitted is None:
            raise StudyError("the hypernetwork was asked before it had data.")
        return self._fitted


def _bare(net: Net) -> Net:
    """Return a copy whose norms know nothing: of the batches that it saw, and of how to scale and shift."""
    net = net.copy().eval()
    net.module.requires_grad_(False)
    for layer in net.module.modules():
        if isinstance(layer, NORMS):
            layer.reset_parameters()
        if isinstance(layer, BATCH_NORMS):
            layer.track_running_stats = False
            # Without them a batch norm takes those of the batch, in eval mode too.
            layer.register_buffer("running_mean", None)
            layer.register_buffer("running_var", None)
    return net


def _loss(
    model: GraphHyperNetwork, bodies: Sequence[Net], graphs: Sequence[ComputationGraph], batch: Batch, task: Task
) -> Tensor:
    """Return the mean loss of networks with generated weights on one batch; their graphs are propagated together."""
    graph, owner = union(graphs)
    states, (inputs, targets) = model(graph), split(batch)
    losses = [
        task.loss(_run(body, model.generate(body, own.layers, states[owner == place]), inputs), targets)
        for place, (body, own) in enumerate(zip(bodies, graphs, strict=True))
    ]
    return torch.stack(losses).mean()


def _run(net: Net, weights: dict[str, Tensor], inputs: tuple[Tensor, ...]) -> Tensor:
    output: Tensor = functional_call(net.module, weights, inputs, tie_weights=False)
    return output


def _endless(task: Task) -> Iterator[Batch]:
    """Yield the training batches of one epoch after the other."""
    epoch = 0
    while True:
        batches: Batches = task.training.at_epoch(epoch) if hasattr(task.training, "at_epoch") else task.training
        empty = True
        for batch in batches:
            empty = False
            yield batch
        if empty:
            raise TaskError(f"task '{task.name}' has no training batch: the hypernetwork has nothing to learn from.")
        epoch += 1
