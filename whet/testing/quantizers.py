"""The conformance suite of quantizers: `check` raises `AssertionError` at the first broken promise.

It goes by what a pass returns and never by its class: a quantizer is a pass, with the decisions that stand for more and
more bits of a whole network.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from whet.core.net import Net
from whet.core.passes import Pass, Result
from whet.core.run import Run
from whet.core.space import Decision
from whet.graph.fake_quantize import IntegerWeight
from whet.testing.passes import fingerprint, outputs, same

HIGH = 0.02
"""The error, in deviations of the outputs, that the most bits may leave."""
WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd, nn.Bilinear, nn.RNNBase)


def check(item: Pass, decisions: Sequence[Decision], net: Net, run: Run) -> list[float]:
    """Check a quantizer by its decisions, those of the fewest bits first; return the error of each.

    Checked on inputs like the example's of normal numbers: at the most bits it is the identity but for `HIGH`; the
    error never rises with the bits; integers go into the file and come out exactly; equal calls give equal nets; every
    layer with weights is changed or skipped with a reason. Raises: AssertionError.
    """
    errors = []
    given = [like(x, i) for i, x in enumerate(net.example)]
    for decision in decisions:
        result = item.apply(net, decision, run)
        again = item.apply(net, decision, run)
        assert same(fingerprint(result.net), fingerprint(again.net)), f"{decision!r} gave two different nets"
        all_layers_are_told_of(result, net, decision)
        errors.append(error(net, result.net, given))
        exact_in_the_file(result.net.eval(), decision, run)
    for (fewer, more), decision in zip(itertools.pairwise(errors), decisions[1:], strict=True):
        assert more <= fewer * (1 + 1e-6), (
            f"{decision!r} has more bits and a larger error: {more:.3g} after {fewer:.3g}"
        )
    assert errors[-1] <= HIGH, f"{decisions[-1]!r} leaves an error of {errors[-1]:.3g}; at most {HIGH} is the identity"
    return errors


def like(x: Tensor, seed: int) -> Tensor:
    """Return normal numbers of an example's shape, `(rows, ...)`, 32 rows; of integers some of those that it holds."""
    generator, shape = torch.Generator().manual_seed(seed), (32, *x.shape[1:])
    if x.is_floating_point():
        return torch.randn(shape, generator=generator)
    return torch.randint(int(x.min()), int(x.max()) + 1, shape, generator=generator)


def error(net: Net, small: Net, given: Sequence[Tensor]) -> float:
    """Return the error of the first output in deviations of that output over rows."""
    wanted, found = (outputs(each, *given)[0].double() for each in (net, small))
    return float((wanted - found).square().mean().sqrt() / (wanted - wanted.mean(0)).square().mean().sqrt())


def all_layers_are_told_of(result: Result, net: Net, decision: Decision) -> None:
    """Check that every layer with a matrix of weights is changed or skipped."""
    told = {**result.texts, **result.skipped}
    silent = [n for n, m in net.layers().items() if isinstance(m, WEIGHTED) and not told.get(n)]
    assert not silent, f"{decision!r} says nothing of {silent}"
    assert result.changed, f"{decision!r} changed nothing: {result.skipped}"


def exact_in_the_file(net: Net, decision: Decision, run: Run) -> None:
    """Check that the integers of each layer, times their scales, come out of the file as they are in the network."""
    stored = {n: m for n, m in net.layers().items() if isinstance(m, IntegerWeight)}
    with tempfile.TemporaryDirectory(prefix="whet-") as folder:
        found = weights_of(run.target.save(net, Path(folder) / "model"), list(stored))
    for name, layer in stored.items():
        assert isinstance(layer, nn.Module)
        wanted = layer.integer_weight(layer.get_parameter("weight").detach())
        assert name in found, f"{decision!r}: the file has no integers of '{name}'"
        read = torch.from_numpy(found[name].copy())
        read = read.T if read.shape != wanted.shape else read
        exact = read.shape == wanted.shape and torch.allclose(read, wanted, rtol=1e-6, atol=1e-7)
        assert exact, f"{decision!r}: the weight of '{name}' comes out of the file otherwise"


def weights_of(path: Path, layers: Sequence[str]) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    """Return by layer the weight that an ONNX file multiplies, dequantized, as the file computes it from constants."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    model = onnx.load(path)
    constants, kept, made = {i.name for i in model.graph.initializer}, [], dict[str, str]()
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" and all(name in constants for name in node.input if name):
            constants |= set(node.output)
            kept.append(node)
            if node.op_type == "DequantizeLinear":
                owner = next((n for n in sorted(layers, key=len, reverse=True) if _reads(node, n, kept)), None)
                if owner is not None:
                    made[owner] = node.output[0]
    outputs_of = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in made.values()]
    graph = onnx.helper.make_graph(kept, "constants", [], outputs_of, list(model.graph.initializer))
    found = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=model.opset_import)).run(None, {})
    return dict(zip(made, found, strict=True))


def _reads(node, layer: str, before) -> bool:  # type: ignore[no-untyped-def]
    """Say whether a node's integers are those of a layer's weight, by the names of what they are made of."""
    waiting, makers = [node.input[0]], {out: n for n in before for out in n.output}
    while waiting:
        name = waiting.pop()
        if name.startswith(f"{layer}."):
            return True
        if name in makers and makers[name] is not node:
            waiting += list(makers[name].input[:1])
    return False
