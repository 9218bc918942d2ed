from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from written import check, model_of, onnx_runtime, written

import whet
from whet.compress.quantize.static import StaticQuantization
from whet.core.space import Decision
from whet.hardware import targets

sys.path.insert(0, str(Path(__file__).parents[2]))
from architectures import ARCHITECTURES, lifted


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_is_written_by_the_table(name: str) -> None:
    _, _, net = lifted(name)
    model = model_of(net)
    onnx.checker.check_model(model)
    run = onnx_runtime(model.SerializeToString())
    for batch in (1, 5):
        inputs = [torch.cat([x] * 3)[:batch] for x in net.example]
        with torch.no_grad():
            wanted = net.results(net(*inputs))
        found = run({port.name: x.numpy() for port, x in zip(net.inputs, inputs, strict=True)})
        for a, b in zip(found, wanted, strict=True):
            assert a.shape == b.shape
            assert np.abs(a - b.numpy()).max() <= 1e-4 * b.abs().max()


def quantized(name: str, way: str) -> whet.Net:
    net = lifted(name)[2]
    batches = [(tuple(torch.cat([x] * 8) for x in net.example), torch.zeros(16))]
    task = whet.Task("t", train=batches, val=batches, loss=lambda o, t: o.sum(), metric=lambda o, t: 0.0)
    run = types.SimpleNamespace(task=task, seed=0, target=targets.get("onnxruntime-cpu"))
    return StaticQuantization().apply(net, Decision({"network:int8": way}), run).net.eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["resnet20", "decoder"])
@pytest.mark.parametrize("way", ["all", "asymmetric"])
def test_quantized_networks_hold_integers(name: str, way: str) -> None:
    net = quantized(name, way)
    model = model_of(net)
    kinds = {t.name: t.data_type for t in model.graph.initializer}
    dequantized = [n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in kinds]
    layers = [m for m in net.module.modules() if hasattr(m, "weight_scale")]
    assert len(dequantized) == len(layers) > 5
    assert {kinds[n.input[0]] for n in dequantized} == {onnx.TensorProto.INT8}
    found = onnx_runtime(model.SerializeToString())({p.name: x.numpy() for p, x in zip(net.inputs, net.example)})[0]
    with torch.no_grad():
        wanted = net(*net.example).numpy()
    assert np.abs(found - wanted).max() <= 0.02 * np.abs(wanted).max()  # the last integer may round the other way


class Several(nn.Module):
    """Named outputs, one of them an input that is given back, one a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.table = nn.Linear(4, 3), nn.Parameter(torch.randn(3))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.layer(x)
        return {"scores": y, "again": y, "given": x, "fixed": self.table.expand(x.shape[0], 3)}


def test_outputs_keep_their_names_and_their_order() -> None:
    model = check(Several(), torch.randn(2, 4))
    assert [o.name for o in model.graph.output] == ["scores", "again", "given", "fixed"]
    assert [i.name for i in model.graph.input] == ["x"]


class Steps(nn.Module):
    """(steps, batch, features): the batch in dimension 1, steps free."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x - x.mean(0, keepdim=True)).relu()
        return self.head(y.flatten(0, 1)).view(x.shape[0], x.shape[1], 2).softmax(0)


def test_free_axes_and_other_layouts_stay_as_they_are_outside() -> None:
    module = Steps().eval()
    _, model = written(module, torch.randn(6, 2, 4), batch_axis=1, free_axes={"x": {0: "steps"}})
    shape = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert shape == ["steps", "batch", 4]
    run = onnx_runtime(model.SerializeToString())
    for steps, batch in ((6, 2), (3, 1), (9, 4)):
        x = torch.randn(steps, batch, 4)
        found = run({"x": x.numpy()})[0]
        assert np.abs(found - module(x).detach().numpy()).max() < 1e-5
