"""Vector-wise int8: a step for each row, outliers in floats, integers in the runtime, and what cannot be treated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from shared_nets import shared_net
from torch import Tensor, nn

import whet
from whet.compress.quantize.dynamic import NETWORK as DYNAMIC
from whet.compress.quantize.dynamic import DynamicQuantization
from whet.compress.quantize.vector_wise import NETWORK, VectorWise
from whet.core.checks import ValueRangeError
from whet.core.net import Net
from whet.core.run import Run
from whet.core.space import Decision
from whet.hardware import targets
from whet.testing.passes import check, outputs
from whet.testing.runs import AlignedTarget, planning_run

WHOLE = Decision({NETWORK: "int8"})


def linear(bias: bool = True) -> Net:
    torch.manual_seed(0)
    return whet.lift(nn.Sequential(nn.Linear(32, 16, bias)).eval(), (torch.randn(2, 4, 32),))


def run_on(net: Net, x: Tensor) -> Run:
    run = planning_run(net)
    return replace(run, task=replace(run.task, calibration=[((x,), None)]))


def outlying(rows: int = 200) -> Tensor:
    """Return rows of very different sizes, in which two features are far larger than all others."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, 4, 32, generator=generator) * torch.logspace(-2, 0, 4).view(1, 4, 1)
    x[..., [3, 20]] = 30 * torch.randn(rows, 4, 2, generator=generator)
    return x


@pytest.mark.parametrize("bias", [True, False])
def test_each_row_is_within_the_step_of_its_own_range(bias: bool) -> None:
    """|y - W x| of a row goes by this row's largest value, however large others are; outliers are exact."""
    net, x = linear(bias), outlying()
    result = VectorWise().apply(net, WHOLE, run_on(net, x))
    assert result.texts == {"0": "int8 by rows, 2 of 32 features in floats"}
    (found,), (wanted,) = outputs(result.net, x), outputs(net, x)
    kept = [i for i in range(32) if i not in (3, 20)]
    weight, largest = (
        net.layer("0").get_parameter("weight").detach()[:, kept],
        x[..., kept].abs().amax(-1, keepdim=True),
    )
    steps = weight.abs().amax(1) / 127
    bound = largest / 127 * weight.abs().sum(1) + 0.5 * steps * x[..., kept].abs().sum(-1, keepdim=True)
    assert ((found - wanted).abs() <= bound * 1.01 + 1e-6 * wanted.abs()).all()
    small = (found - wanted)[:, 0].abs().mean()
    per_tensor = DynamicQuantization().apply(net, Decision({DYNAMIC: "int8"}), run_on(net, x)).net
    assert small < 0.02 * (outputs(per_tensor, x)[0] - wanted)[:, 0].abs().mean(), "one range for all loses small rows"


def test_outliers_are_those_that_reach_the_threshold_anywhere() -> None:
    net, x = linear(), torch.zeros(10, 4, 32)
    x[0, 0, 7], x[5, 2, 8] = -6.0, 5.9
    found = VectorWise().apply(net, WHOLE, run_on(net, x)).net
    assert found.module.get_buffer("0_input_outliers_places").tolist() == [7]
    assert VectorWise(threshold=50.0).apply(net, WHOLE, run_on(net, x)).texts["0"].startswith("int8 by rows, 0 of")
    every = VectorWise(threshold=1.0).apply(net, WHOLE, run_on(net, torch.full((4, 4, 32), 2.0)))
    assert every.skipped["0"] == "all 32 features that it reads reach 1"
    with pytest.raises(ValueRangeError, match="threshold must be above 0; got 0"):
        VectorWise(threshold=0)


def test_the_file_gives_the_networks_outputs_by_products_of_integers(tmp_path: Path) -> None:
    """Kernels of processors without products of bytes saturate, so outputs are those of the file without kernels."""
    import onnx
    import onnxruntime as ort

    net = shared_net("encoder")
    result = VectorWise(threshold=2.0).apply(net, WHOLE, planning_run(net))
    assert any(" 0 of" not in text for text in result.texts.values())
    path = targets.get("openvino-cpu").save(result.net.eval(), tmp_path)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_inputs()]
    (found,) = session.run(None, dict(zip(names, (x.numpy() for x in net.example), strict=True)))
    expected = outputs(result.net)[0].numpy()
    np.testing.assert_allclose(found, expected, atol=0.01 * float(np.abs(expected).max()))
    stored = [i.name for i in onnx.load(path).graph.initializer if i.name.endswith("_integers.weight.int8")]
    assert len(stored) == len(result.changed)


def test_conforms_and_says_what_it_cannot_treat() -> None:
    net = shared_net("encoder")
    check(VectorWise(threshold=2.0), net, AlignedTarget(), planning_run(net), count=1)  # type: ignore[arg-type]
    images = shared_net("resnet20")
    result = VectorWise().apply(images, WHOLE, planning_run(images))
    assert (
        list(result.texts) == ["fc"] and result.skipped["conv1"] == "vector-wise int8 is for Linear; this is a Conv2d."
    )
    again = VectorWise().apply(result.net, WHOLE, planning_run(images))
    assert again.skipped["network"] == "no linear layer is left in floats" and not again.changed


def test_layers_right_behind_each_other_are_treated_both() -> None:
    """As a layer of low rank leaves them: what the second reads is what the first has become."""
    torch.manual_seed(0)
    layers = nn.Linear(16, 8, False), nn.Linear(8, 8), nn.Linear(8, 4)
    net = whet.lift(nn.Sequential(*layers).eval(), (torch.randn(2, 16),))
    result = VectorWise().apply(net, WHOLE, planning_run(net))
    assert set(result.texts) == {"0", "1", "2"}
    found, wanted = outputs(result.net)[0], outputs(net)[0]
    assert (found - wanted).norm() < 0.03 * wanted.norm()
