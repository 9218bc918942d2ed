"""Importance by explanation: how much of what a network says each atom has a share in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from whet.compress.importance import Scores, calibration
from whet.core.kinds import Kind
from whet.core.net import Net
from whet.core.run import Run
from whet.data.bind import Original
from whet.graph.axes import AtomGroup
from whet.graph.fold import fold_batch_norms
from whet.graph.readers import Reader, reader_of
from whet.graph.rows import operator_name
from whet.graph.sides import reads
from whet.support.structure import Tree, tensors

LEAST = 1e-9
"""Nothing as small is divided by: the relevance of an output without a positive part ends there."""
CURVES = frozenset(("gelu", "silu", "sigmoid", "tanh", "relu6", "hardtanh", "clamp", "hardswish", "hardsigmoid",
                    "mish", "elu", "selu", "softplus", "log_sigmoid"))  # fmt: skip
PRODUCTS = frozenset(("mul", "matmul", "bmm"))
ATTENTION = "scaled_dot_product_attention"
SOFTMAX = frozenset(("softmax", "_softmax"))


def relevance(net: Net, groups: Sequence[AtomGroup], run: Run, samples: int) -> Scores:
    """Return the sum of |R| of an atom where layers read it, over all positions of `samples` samples.

        R_i = sum_j (x_i w_ij)^+ / sum_k (x_k w_kj)^+  R_j

    takes relevance from a layer's outputs j to its inputs i. At the network's end it is the output of the labelled
    class alone; of the class that the network decides for where there are no labels, and all of the outputs where they
    are no classes. Activations hand it on, sums and poolings share it out by what each gives, the two sides of a
    product have half each, attention and norms count as weights. So it is conserved from layer to layer, but for what
    was added that does not depend on the inputs (such as positions), for outputs that nothing positive flows into, and
    in recurrent layers, where the slope times x stands for it. Batch norms are folded first. Sites that no matrix reads
    are left out.

    Deviations from the paper: it ranks the filters of all layers together and prunes in small steps, with this anew
    each time; `width` ranks site by site. It has convolutions, linear layers and sums; the rule of products is that of
    Achtibat et al. 2024 (AttnLRP), those of attention and norms are of Ali et al. 2022 (XAI for Transformers), both
    from summaries.

    Paper: Yeom et al. 2021, Pruning by Explaining: A Novel Criterion for Deep Neural Network Pruning.
    Raises: CalibrationError if the task has no data.
    """
    folded = fold_batch_norms(net).eval()
    sums: dict[str, Tensor] = {}
    readers = {node.name: found for node in folded.graph.nodes if (found := _reader(folded, node)) is not None}
    for inputs, targets in calibration(run.task, samples):
        for name, shared in relevances(folded, inputs, targets, run.task.kinds).items():
            rows = shared.abs().double().movedim(readers[name].channel_axis, 0).flatten(1).sum(1)
            sums[name] = sums[name] + rows if name in sums else rows
    scores: Scores = {}
    for group in groups:
        total = np.zeros(group.size)
        for member in (m for m in group.members if reads(net, m)):
            kept = member.atom >= 0
            for name in (n for n in sums if readers[n].weight == member.parameter):
                shares = sums[name].view(-1, len(kept)).sum(0).numpy()  # groups of a convolution have the same atoms
                total += np.bincount(member.atom[kept], shares[kept], minlength=group.size)
        if total.any():
            scores[group.site] = total
    return scores


def relevances(net: Net, inputs: Sequence[Tensor], targets: Tree, kinds: Sequence[Kind] = ()) -> dict[str, Tensor]:
    """Return by the node of each layer the relevance of what it reads, of that tensor's shape, in eval mode.

    Layers that the outputs do not depend on are left out.
    """
    given = [x.detach().requires_grad_() if x.is_floating_point() else x for x in inputs]
    with torch.enable_grad(), net.evaluating():
        walk = _Walk(net)
        top = told(walk.run(*given), targets, kinds)
        slopes = torch.autograd.grad(top, list(walk.read.values()), allow_unused=True)
    pairs = zip(walk.read.items(), slopes, strict=True)
    return {name: (x * slope).detach() for (name, x), slope in pairs if slope is not None}


def told(outputs: Tree, targets: Tree, kinds: Sequence[Kind] = ()) -> Tensor:
    """Return the sum of the outputs that relevance begins at, a scalar.

    Of labels `(...)` and outputs `(..., classes)` or `(N, classes, ...)` those of the labelled classes; labels below 0
    have none. Without labels (`Original`) those of the own first choice where `kinds` say logits.

    >>> told(torch.tensor([[3.0, -1.0], [0.5, 2.0]]), torch.tensor([1, 1])).item()
    1.0
    """
    found = [x for x in tensors(outputs) if x.is_floating_point()]
    if isinstance(targets, Tensor) and not targets.is_floating_point() and found:
        first = found[0]
        for last in (first, first.movedim(1, -1) if first.ndim > 1 else first):
            if last.shape[:-1] == targets.shape:
                labelled = last.gather(-1, targets.clamp(min=0).long().unsqueeze(-1)).squeeze(-1)
                return (labelled * (targets >= 0)).sum()
    if isinstance(targets, Original) and len(kinds) == len(found):
        axes = [k.class_axis if k.name == "logits" else None for k in kinds]
        found = [x if axis is None else x.amax(axis) for x, axis in zip(found, axes, strict=True)]
    return torch.stack([x.sum() for x in found]).sum()


def _reader(net: Net, node: fx.Node) -> Reader | None:
    """Return the layer at a node that is one matrix product a position of what it reads."""
    found = reader_of(net, node)
    return None if found is None or found.kind == "recurrent" else found


class _Walk(fx.Interpreter):
    """Run a net so that each tensor's gradient times itself is its relevance: values are the net's own."""

    def __init__(self, net: Net) -> None:
        super().__init__(net.module)
        self.net, self.read = net, dict[str, Tensor]()

    def run_node(self, n: fx.Node) -> Any:
        out = super().run_node(n)
        if not isinstance(out, Tensor) or not out.is_floating_point() or n.op in ("placeholder", "output"):
            return out
        if n.op == "get_attr":
            return out.detach()
        reader = _reader(self.net, n)
        if reader is not None:
            return self.layer(n, reader, out.detach())
        inputs = [self.env[x] for x in n.all_input_nodes if isinstance(self.env[x], Tensor)]
        if n.op == "call_module":
            return _of_module(self.net.layer(str(n.target)), inputs[0], out)
        return self.function(n, inputs, out)

    def layer(self, node: fx.Node, reader: Reader, y: Tensor) -> Tensor:
        """Return y, whose relevance goes to the layer's inputs by the positive parts of what they give."""
        (source,) = (x for x in node.all_input_nodes if x.name == reader.source)
        x = self.env[source]
        x = self.read[node.name] = x.view_as(x) if x.requires_grad else x.detach().requires_grad_()
        weight = self.net.module.get_parameter(reader.weight).detach()
        parts = [self.product(node, reader, x.clamp(min=0), weight.clamp(min=0))]
        parts += [self.product(node, reader, x.clamp(max=0), weight.clamp(max=0))]
        positive = parts[0] + parts[1]
        return _with_slope(positive, torch.where(positive > LEAST, y / positive.clamp(min=LEAST), 0.0), y)

    def product(self, node: fx.Node, reader: Reader, x: Tensor, weight: Tensor) -> Tensor:
        """Return what the layer gives for x with another weight and no bias."""
        if node.op == "call_module":
            layer = self.net.layer(str(node.target))
            none = {name: torch.zeros_like(p) for name, p in layer.named_parameters() if name == "bias"}
            found: Tensor = functional_call(layer, {"weight": weight, **none}, (x,))
            return found
        return x @ (weight if reader.kind == "product" else weight.mT)

    def function(self, node: fx.Node, inputs: Sequence[Tensor], y: Tensor) -> Tensor:
        """Return y, whose relevance goes to the inputs of an operation without weights."""
        name = operator_name(node.target).rstrip("_")
        moving = [x for x in inputs if x.requires_grad]
        if name in CURVES and len(moving) == 1:
            return _handed_on(moving[0], y)
        if name in PRODUCTS and len(moving) > 1:
            return y / 2 + (y / 2).detach()
        if name in SOFTMAX:
            return y.detach()
        if name == ATTENTION:
            query, key, *others = self.fetch_args_kwargs_from_env(node)[0]
            kwargs = self.fetch_args_kwargs_from_env(node)[1]
            return node.target(query.detach(), key.detach(), *others, **kwargs)  # type: ignore[operator, no-any-return]
        return y


def _of_module(layer: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return y, whose relevance goes to the input of a layer without a matrix."""
    if isinstance(layer, nn.Embedding):
        return y.detach().requires_grad_()
    if isinstance(layer, (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)):
        return _steady(layer, x, y)
    return y


def _steady(layer: nn.LayerNorm | nn.RMSNorm | nn.GroupNorm, x: Tensor, y: Tensor) -> Tensor:
    """Return y with the slope of a norm whose deviations are constants: of weight (x - mean) / deviation."""
    if isinstance(layer, nn.GroupNorm):
        flat, first, shape = x.reshape(len(x), layer.num_groups, -1), -1, (-1, *[1] * (x.ndim - 2))
    else:
        flat, first, shape = x, -len(layer.normalized_shape), tuple(layer.normalized_shape)
    dims = tuple(range(first, 0))
    centred = flat if isinstance(layer, nn.RMSNorm) else flat - flat.mean(dims, keepdim=True)
    eps = layer.eps if layer.eps is not None else torch.finfo(x.dtype).eps
    scaled = centred * (centred.square().mean(dims, keepdim=True) + eps).rsqrt().detach()
    scaled = scaled.reshape(x.shape)
    if layer.weight is not None:
        scaled = scaled * layer.weight.detach().view(shape)
    return scaled + (y - scaled).detach()


def _handed_on(x: Tensor, y: Tensor) -> Tensor:
    """Return y, whose relevance is that of x element by element."""
    return _with_slope(x, torch.where(x.abs() > LEAST, y / torch.where(x.abs() > LEAST, x, 1.0), 0.0), y)


def _with_slope(x: Tensor, slope: Tensor, y: Tensor) -> Tensor:
    """Return y with the gradient `slope` by x, all of one shape."""
    moved = x * slope.detach()
    return moved + (y - moved).detach()
