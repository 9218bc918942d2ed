"""Dynamic int8: a grid over what each call reads, and products of integers in the runtime that has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from shared_nets import shared_net
from torch import nn

import whet
from whet.compress.quantize.dynamic import EACH, NETWORK, DynamicQuantization
from whet.core.passes import Chain
from whet.core.target import Artifact, Target
from whet.graph.fake_quantize import DynamicLinear, asymmetric_grid, fake_quantize
from whet.graph.grids import INT8
from whet.hardware import targets
from whet.networks.transformer import Encoder
from whet.testing.runs import planning_run

WHOLE = whet.Decision({NETWORK: "int8"})
ORT = targets.get("onnxruntime-cpu")


def made(net: whet.Net, decision: whet.Decision = WHOLE, target: Target | None = None) -> whet.Result:
    run = planning_run(net)
    run.target = target or run.target
    result = DynamicQuantization().apply(net, decision, run)
    result.net.eval()
    return result


@pytest.mark.parametrize("shift", [-3.0, 0.0, 0.7, 40.0])
def test_no_number_moves_by_more_than_half_a_step(shift: float) -> None:
    """Jacob et al. 2018, r = S (q - Z): |x - S (q - Z)| <= S / 2 over the whole range, a tensor's or a channel's."""
    torch.manual_seed(0)
    x = torch.randn(64, 32) + shift
    scale, zero = asymmetric_grid(x.min(), x.max())
    assert float(scale) == pytest.approx(float(x.max().clamp(min=0) - x.min().clamp(max=0)) / 255)
    moved = (fake_quantize(x, scale, zero, -1, 0, 255) - x).abs().max()
    assert moved <= scale / 2 * 1.0001, "where the zero point is rounded up, the largest value is cut by what that adds"
    steps = INT8.scale(x)
    assert ((INT8.integers(x, steps) * steps[:, None] - x).abs() <= steps[:, None] * 0.5001).all()


def test_a_layer_computes_with_both_grids_and_trains_through_them() -> None:
    torch.manual_seed(0)
    plain = nn.Linear(16, 8)
    layer = made(whet.lift(nn.Sequential(plain).eval(), (torch.randn(2, 16),))).net.layer("0")
    assert type(layer) is DynamicLinear
    for x in (torch.rand(4, 16), 100 * torch.randn(4, 16)):  # each call has a range of its own
        low, high = min(0.0, float(x.min())), float(x.max())
        step = (high - low) / 255
        zero = round(-low / step)
        inputs = (torch.round(x / step) + zero).clamp(0, 255) - zero
        scale = plain.weight.detach().abs().amax(1) / 127
        expected = inputs @ torch.round(plain.weight.detach() / scale[:, None]).t() * (step * scale) + plain.bias
        torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)
    layer.train()(x).sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.abs().sum() > 0


def test_the_file_gives_the_networks_outputs_and_multiplies_integers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 12, 16)
    net = whet.lift(Encoder(16, 5, 12, 32, 4, 1).eval(), x[:2])
    small = made(net, target=ORT)  # its processor says how many bits weights may have
    path = ORT.save(small.net, tmp_path)
    session = ORT.open(Artifact(path, {"runtime": "onnxruntime", "precision": "f32", "threads": 1}), 4)
    found, expected = session(x.numpy()), small.net(x).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4 * float(np.abs(expected).max()))
    options = ort.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "optimized.onnx"), 3
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    integer = kinds.count("DynamicQuantizeMatMul") + kinds.count("MatMulIntegerToFloat")
    assert integer == len(small.changed) == 6 and "Gemm" not in kinds
    plain = ORT.save(net.eval(), tmp_path / "plain")
    weights = sum(m.weight.numel() for m in net.layers().values() if isinstance(m, nn.Linear))
    assert plain.stat().st_size - path.stat().st_size > 0.9 * 3 * weights


def test_openvino_computes_such_a_file_in_floats_so_it_is_not_offered_there(tmp_path: Path) -> None:
    import openvino as ov

    net = whet.lift(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 7)).eval(), (torch.randn(2, 64),))
    model = ov.Core().read_model(str(ORT.save(made(net).net, tmp_path)))
    model.reshape([2, 64])
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    infos = [op.get_rt_info() for op in compiled.get_runtime_model().get_ordered_ops()]
    kinds = [(i["layerType"].astype(str), i["runtimePrecision"].astype(str)) for i in infos]
    assert [precision for kind, precision in kinds if kind in ("FullyConnected", "MatMul")] == ["f32", "f32"]
    for name, offered in {"onnxruntime-cpu": True, "cpu": False, "openvino-cpu": False}.items():
        target = targets.get(name)
        assert ("dynamic int8" in target.kernels()) is offered
        assert (len(DynamicQuantization().space(net, target)) == 1 + 2) is offered
        assert DynamicQuantization().obvious(net, target) == [WHOLE][:offered]


def test_what_it_cannot_treat_is_skipped_with_its_reason() -> None:
    net = shared_net("resnet20")
    result = made(net)
    assert list(result.texts) == ["fc"] and "a convolution" in result.skipped["conv1"]
    again = made(result.net)
    assert again.skipped["fc"] == "its weights are in int8 already." and "no layer is left" in again.skipped["network"]


def test_layers_are_chosen_one_by_one() -> None:
    net = whet.lift(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 7)).eval(), (torch.randn(2, 64),))
    result = made(net, whet.Decision({NETWORK: EACH, "2:dynamic": "int8", "0:dynamic": "off", "gone:dynamic": "int8"}))
    assert list(result.texts) == ["2"] and result.skipped == {"gone": "not in the network any more"}
    assert type(result.net.layer("0")) is nn.Linear and {c.kind for c in result.changed} == {"dynamic int8"}


def test_it_needs_no_data_and_leaves_what_another_pass_has_quantized() -> None:
    from whet.compress.quantize.weight_only import WeightOnly

    net = shared_net("encoder")
    chain = Chain((WeightOnly(), DynamicQuantization()))
    result = chain.apply(net, whet.Decision({"network:weights": "int4", NETWORK: "int8"}), planning_run(net))
    assert not any(isinstance(m, DynamicLinear) for m in result.net.layers().values())
    assert all("int4 already" in why for site, why in result.skipped.items() if site != "network")
    assert DynamicQuantization().traits.needs == ()
