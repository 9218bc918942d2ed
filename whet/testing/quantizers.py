"""The conformance suite of quantizers: `check` raises `AssertionError` at the first broken promise.

What every pass promises is `whet.testing.passes`; here is what comes on top where weights or inputs are put on grids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

from whet.compress.depth import Depth
from whet.compress.factorize.svd import Svd
from whet.compress.width import Width
from whet.core.errors import TargetError
from whet.core.net import Net
from whet.core.passes import Chain, Pass, Result
from whet.core.run import Run
from whet.core.space import Decision
from whet.graph.fake_quantize import IntegerWeight
from whet.graph.fold import fold_batch_norms
from whet.graph.lift import lift
from whet.hardware.onnx_export import export_onnx
from whet.testing.passes import fingerprint, outputs, same
from whet.testing.runs import planning_run

ERROR = 3.0
"""How far outputs may be off, in shares of their norm and of the step of so many bits, 2^(1 - bits)."""
HARDLY = 1.02
"""What chance may turn around between neighbouring forms, a factor."""
SAMPLES = 128


@dataclass(frozen=True)
class Form:
    """A pass with a decision for a whole network, on grids of so many bits; `simulated` where no runtime has them."""

    bits: float
    item: Pass
    decision: Decision
    simulated: bool = False


class Mixed(nn.Module):
    """A transposed convolution, which no quantizer here has a form for, between linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.transposed, self.last = nn.Linear(8, 32), nn.ConvTranspose1d(4, 4, 3), nn.Linear(40, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, 10) of vectors (N, 8)."""
        return torch.as_tensor(self.last(self.transposed(self.first(x).relu().unflatten(1, (4, 8))).flatten(1)))


def gaussian(net: Net, seed: int = 0) -> Net:
    """Return a copy of a net whose weights are Gaussian, with a second moment of 2 / fan-in each."""
    copy, generator = net.copy(), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in copy.module.parameters():
            if value.ndim > 1:
                value.copy_(torch.randn(value.shape, generator=generator) * (2 / value[0].numel()) ** 0.5)
    return copy


def error(net: Net, small: Net, seed: int = 0) -> float:
    """Return how far outputs are off on Gaussian inputs, in shares of their norm."""
    generator = torch.Generator().manual_seed(seed)
    inputs = [torch.randn(SAMPLES, *x.shape[1:], generator=generator) for x in net.example]
    pairs = list(zip(outputs(small, *inputs), outputs(net, *inputs), strict=True))
    return max(float((a - b).norm() / b.norm()) for a, b in pairs)


def errors_fall_with_bits(forms: Sequence[Form], net: Net, made: Sequence[Result]) -> list[float]:
    """Check that errors are those of the bits, and none where bits are more is larger; return them, fewest bits first.

    At eight bits outputs may be off by 2 %, at four by 38 %.
    """
    found = [error(net, result.net) for result in made]
    for form, off in zip(forms, found, strict=True):
        most = ERROR * 2 ** (1 - form.bits)
        assert 0 < off <= most, f"{form.decision!r}: outputs are off by {off:.4f}; {form.bits:g} bits allow {most:.4f}"
    for (fewer, before), (more, after) in pairwise(zip(forms, found, strict=True)):
        assert after <= HARDLY * before, (
            f"{more.decision!r} is off by {after:.4f}, and {fewer.decision!r}, of fewer bits, by {before:.4f}"
        )
    return found


def equal_calls_give_equal_nets(form: Form, net: Net, run: Run) -> Result:
    """Check that a form made twice is the same to the bit, and what it was made of as it was; return the result."""
    before = fingerprint(net)
    first = form.item.apply(net, form.decision, run)
    assert same(fingerprint(net), before), f"{form.decision!r} mutated the network that the pass was given"
    second = form.item.apply(net, form.decision, run)
    assert same(fingerprint(first.net), fingerprint(second.net)), f"{form.decision!r} gave two different nets"
    return first


def integers_survive_the_file(form: Form, net: Net, result: Result, folder: Path) -> int:
    """Check that each integer weight of a net is in its file, to the last integer; return how many there are.

    A simulated form is refused.
    """
    if form.simulated:
        try:
            export_onnx(result.net, folder / "simulated.onnx")
        except TargetError:
            return 0
        raise AssertionError(f"{form.decision!r} is only simulated, and a file was written of it")
    held = constants(export_onnx(result.net, folder / "model.onnx"), net)
    folded = fold_batch_norms(result.net).eval().layers()
    layers: dict[str, IntegerWeight] = {n: m for n, m in folded.items() if isinstance(m, IntegerWeight)}
    for name, layer in layers.items():
        weight = folded[name].get_parameter("weight").detach()
        # Where integers are multiplied the file need not decode them.
        wanted = layer.integer_weight(weight).numpy(), layer.grid.integers(weight, layer.weight_scale).float().numpy()
        assert any(holds(array, own) for array in held for own in wanted), (
            f"the file does not hold the weight of '{name}'"
        )
    return len(layers)


def constants(path: Path, net: Net) -> list[NDArray[np.float32]]:
    """Return a file's weights of eight bits, and all floats that it computes of nothing but weights, each of its shape.

    The latter as ONNX Runtime computes them, without optimizing.
    """
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    graph = model.graph
    floats = {v.name for v in graph.value_info if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    known = {tensor.name for tensor in graph.initializer} | {""}
    for node in graph.node:
        if known.issuperset(node.input):
            known.update(node.output)
    asked = sorted(known & floats)
    graph.output.extend(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in asked)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = {port.name: port.outside(x).numpy() for port, x in zip(net.inputs, net.example, strict=True)}
    stored = [numpy_helper.to_array(t) for t in graph.initializer if t.data_type == TensorProto.INT8]
    return [*(array.astype(np.float32) for array in stored), *session.run(asked, inputs)]


def holds(array: NDArray[np.float32], wanted: NDArray[np.float32]) -> bool:
    """Say whether an array has the wanted numbers, in any layout, up to the last places of floats.

    >>> holds(np.float32([[1, 2], [3, 4]]), np.float32([[1, 3], [2, 4]]))
    True
    """
    if array.size != wanted.size:
        return False
    return bool(np.allclose(np.sort(array, None), np.sort(wanted, None), rtol=1e-5, atol=1e-7))


def what_is_left_is_reported(form: Form) -> None:
    """Check that a layer that has no form with integers is named with a reason, and the others are treated."""
    torch.manual_seed(0)
    net = lift(Mixed().eval(), (torch.randn(2, 8),))
    result = form.item.apply(net, form.decision, planning_run(net))
    said = result.skipped.get("transposed")
    assert said, f"{form.decision!r} says nothing of a transposed convolution: {result.skipped!r}"
    sites = {change.site for change in result.changed}
    assert "transposed" not in sites and sites, f"{form.decision!r} changed {sites or 'nothing'}"


def follows_structure(form: Form, net: Net, run: Run) -> Result:
    """Check that a form is applied to what is left of a net that lost width, depth and rank, and the result works."""
    structure = Chain((Depth(), Width(), Svd(fractions=(0.5, 1.0), least=64)))
    space = structure.space(net, run.target)
    one = {c.name.rpartition(":")[2]: c for c in reversed(list(space))}
    assert set(one) == {"keep", "width", "rank"}, f"the net has no choice of depth, width or rank: {sorted(one)}"
    cut = Decision({c.name: next(v for v in c.values if v != c.identity) for c in one.values()})
    small = structure.apply(net, space.canonical(cut), run)
    result = form.item.apply(small.net, form.decision, run)
    assert result.changed, f"{form.decision!r} found nothing to put on a grid in what is left: {result.skipped!r}"
    off = error(small.net, result.net)
    assert off <= ERROR * 2 ** (1 - form.bits), f"{form.decision!r} is off by {off:.4f} after structure was cut"
    return result


def check(forms: Sequence[Form], net: Net, run: Run, folder: Path) -> list[float]:
    """Check forms of one quantizer on a net, fewest bits first, and return how far each is off.

    Checked: on Gaussian weights and inputs, errors as small as the bits allow, none larger where bits are more; equal
    calls give equal nets; every integer is in the file, and what is simulated has none; what has no form is reported;
    after depth, width and rank a form still works.
    Raises: AssertionError.
    """
    smooth = gaussian(net)
    made = [equal_calls_give_equal_nets(form, smooth, run) for form in forms]
    found = errors_fall_with_bits(forms, smooth, made)
    for number, (form, result) in enumerate(zip(forms, made, strict=True)):
        (folder / str(number)).mkdir()
        integers_survive_the_file(form, smooth, result, folder / str(number))
    what_is_left_is_reported(forms[-1])
    follows_structure(forms[-1], smooth, run)
    return found
