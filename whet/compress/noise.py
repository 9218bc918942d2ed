"""Importance without data: the exact rise of the error, on inputs that are noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from whet.compress.importance import Scores, solved_rises, weight_norm
from whet.compress.moments import enough
from whet.core.net import Net
from whet.core.run import Run
from whet.core.task import Task
from whet.graph.axes import AtomGroup

BATCH = 64


def noise_rise(net: Net, groups: Sequence[AtomGroup], run: Run, samples: int) -> Scores:
    """Return `error_rise` on standard normal numbers, and on tokens that are drawn alike, in place of the task's data.

    What norms have learnt of the data shapes the noise on its way. Groups that no layer reads which could be solved get
    their `weight_norm`. A search still solves the layers that are left on calibration inputs, where a task has some;
    the paper updates them on its noise, too.

    Paper: Wang et al. 2024, Structurally Prune Anything, there OBSPA without data: coupled channels go together, by the
    sum of what Optimal Brain Surgeon says of all layers that read them.
    """
    task = Task("noise", None, [noise(net, 1)[0]], calibration=noise(net, enough(net, samples)))
    found = solved_rises(net, groups, replace(run, task=task, teacher=None), samples)
    return found | weight_norm(net, [g for g in groups if g.site not in found], run, samples)


def noise(net: Net, samples: int, seed: int = 0) -> list[tuple[tuple[Tensor, ...], None]]:
    """Return batches of inputs `(rows, ...)` shaped as the net's example, without targets: the same ones each time."""
    generator = torch.Generator().manual_seed(seed)
    counts = [min(BATCH, samples - at) for at in range(0, samples, BATCH)]
    most = [_tokens(net, i) for i in range(len(net.example))]

    def drawn(example: Tensor, most: int, count: int) -> Tensor:
        shape = (count, *example.shape[1:])
        if example.is_floating_point():
            return torch.randn(shape, generator=generator).to(example.dtype)
        return torch.randint(0, most, shape, generator=generator).to(example.dtype)

    return [(tuple(drawn(x, m, n) for x, m in zip(net.example, most, strict=True)), None) for n in counts]


def _tokens(net: Net, index: int) -> int:
    """Return how many values an input of integers has: those of the embedding that reads it, or of the example."""
    node = [n for n in net.graph.nodes if n.op == "placeholder"][index]
    layers = [net.layer(str(user.target)) for user in node.users if user.op == "call_module"]
    sizes = [layer.num_embeddings for layer in layers if isinstance(layer, nn.Embedding)]
    return min(sizes) if sizes else int(net.example[index].max()) + 1
