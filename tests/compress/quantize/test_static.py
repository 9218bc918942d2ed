from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import whet
from whet import tasks
from whet.compress.quantize.static import NETWORK, StaticQuantization
from whet.core.errors import CalibrationError, TaskError, UnknownNameError
from whet.core.target import Artifact
from whet.graph.fake_quantize import QUANTIZED, ActivationQuantizer, IntegerWeight
from whet.hardware import targets
from whet.networks.transformer import Decoder, Encoder
from whet.testing import passes
from whet.testing.runs import AlignedTarget
from whet.verify.equivalence import evaluate

ALL = whet.Decision({NETWORK: "all"})


def run_on(x: torch.Tensor, net: whet.Net, calibration: bool = True) -> whet.Run:
    batches = [(x, torch.zeros(len(x), dtype=torch.long))]
    task = whet.Task(
        "t", train=batches if calibration else None, val=batches, loss=functional.cross_entropy, metric=whet.accuracy
    )
    return whet.Run(task, targets.get("cpu"), net)


@pytest.fixture(scope="module")
def resnet() -> tuple[whet.Net, Any]:
    try:
        bundle = tasks.get("cifar10")
    except TaskError as error:
        pytest.skip(str(error))
    module, example = bundle.trained("resnet20")
    return whet.lift(module, example), bundle


@pytest.fixture(scope="module")
def quantized(resnet: tuple[whet.Net, Any]) -> whet.Result:
    net, bundle = resnet
    return StaticQuantization().apply(net, ALL, whet.Run(bundle.task, targets.get("cpu"), net))


@pytest.fixture(scope="module")
def file(quantized: whet.Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return targets.get("cpu").save(quantized.net, tmp_path_factory.mktemp("int8"))


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_resnet_keeps_within_a_point_in_its_runtime(resnet: tuple[whet.Net, Any], file: Path, runtime: str) -> None:
    net, bundle = resnet
    cpu = targets.get("cpu")
    val = list(bundle.task.val)[:3]
    artifact = Artifact(file, {"runtime": runtime, "precision": "f32", "threads": 1})
    outputs, wanted = evaluate(partial(cpu.open, artifact), val, 100, net)
    with torch.no_grad():
        expected = torch.cat([net(x) for x, _ in val])
    assert whet.accuracy(outputs, wanted) >= whet.accuracy(expected, wanted) - 0.01
    assert whet.accuracy(outputs, expected.argmax(1)) > 0.96


def test_runtime_does_what_was_simulated(quantized: whet.Result, resnet: tuple[whet.Net, Any], file: Path) -> None:
    x, _ = next(iter(resnet[1].task.val))
    artifact = Artifact(file, {"runtime": "onnxruntime", "precision": "f32", "threads": 1})
    found = torch.from_numpy(targets.get("cpu").open(artifact, 100)(x[:100].numpy()))
    with torch.no_grad():
        simulated = quantized.net(x[:100])
    assert float((found - simulated).norm() / simulated.norm()) < 0.03


def test_openvino_runs_every_convolution_on_integers(file: Path) -> None:
    import openvino as ov

    core = ov.Core()
    model = core.read_model(str(file))
    model.reshape([1, 3, 32, 32])
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    kinds = [
        op.get_rt_info()["runtimePrecision"].astype(str)
        for op in compiled.get_runtime_model().get_ordered_ops()
        if op.get_rt_info()["layerType"].astype(str) == "Convolution"
    ]
    assert len(kinds) == 19
    assert set(kinds) <= {"u8", "i8"}


def kinds_in_onnxruntime(path: Path, folder: Path, batch: int | None = None) -> list[str]:
    """Return the kinds of operations that ONNX Runtime makes of a file, for a batch of that size if one is given."""
    import onnx
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    if batch is not None:
        options.add_free_dimension_override_by_name("batch", batch)
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node]


def test_onnxruntime_runs_convolutions_between_quantizers_on_integers(file: Path, tmp_path: Path) -> None:
    kinds = kinds_in_onnxruntime(file, tmp_path)
    # Sums too, but for the two whose shortcuts are slices and zeros.
    assert kinds.count("QLinearConv") == 19 and kinds.count("QLinearAdd") == 7


def test_weights_are_stored_as_integers(file: Path) -> None:
    import onnx

    stored = onnx.load(file).graph.initializer
    small = sum(t.data_type == onnx.TensorProto.INT8 and len(t.dims) >= 2 for t in stored)
    assert small == 20
    assert not [t.name for t in stored if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) >= 2]
    assert file.stat().st_size < 0.4 * 4 * 269_722


def test_a_six_layer_encoder_keeps_its_outputs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 128, 64)
    net = whet.lift(Encoder().eval(), x[:2])
    result = StaticQuantization().apply(net, ALL, run_on(x, net))
    assert len(result.changed) == 26
    path = targets.get("cpu").save(result.net, tmp_path)
    artifact = Artifact(path, {"runtime": "openvino", "precision": "f32", "threads": 1})
    found = torch.from_numpy(targets.get("cpu").open(artifact, 8)(x.numpy()))
    with torch.no_grad():
        expected = net(x)
    assert float((found - expected).norm() / expected.norm()) < 0.03


def test_files_hold_signed_integers_around_zero_or_unsigned_ones_from_zero(tmp_path: Path) -> None:
    import onnx
    from onnx.numpy_helper import to_array

    net, x = small()
    result = StaticQuantization().apply(net, ALL, run_on(x, net))
    path = targets.get("cpu").save(result.net.eval(), tmp_path)
    graph = onnx.load(path).graph
    stored = {t.name: to_array(t) for t in graph.initializer}
    zeros = {node.output[0]: stored[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"}
    assert sorted(z.dtype.name for z in zeros.values()) == ["int8", "int8", "uint8"]  # the image; a map; behind ReLU
    assert not any(z.any() for z in zeros.values())
    with torch.no_grad():
        expected = result.net(x)
    for runtime in ("openvino", "onnxruntime"):
        artifact = Artifact(path, {"runtime": runtime, "precision": "f32", "threads": 1})
        found = torch.from_numpy(targets.get("cpu").open(artifact, 16)(x.numpy()))
        assert float((found - expected).norm() / expected.norm()) < 0.03, runtime


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_decoder_in_signed_integers_is_served(runtime: str, tmp_path: Path) -> None:
    """ONNX Runtime refuses its own rewriting of a biased product of a fixed batch from ONNX 21 on."""
    torch.manual_seed(0)
    tokens = torch.randint(65, (4, 32))
    net = whet.lift(Decoder(65, context=32).eval(), tokens)
    result = StaticQuantization().apply(net, ALL, run_on(tokens, net))
    path = targets.get("cpu").save(result.net.eval(), tmp_path)
    artifact = Artifact(path, {"runtime": runtime, "precision": "f32", "threads": 1})
    found = torch.from_numpy(targets.get("cpu").open(artifact, len(tokens))(tokens.numpy()))
    with torch.no_grad():
        expected = result.net(tokens)
    assert float((found - expected).norm() / expected.norm()) < 0.03


def test_onnxruntime_multiplies_all_matrices_of_a_transformer_as_integers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 128, 64)
    net = whet.lift(Encoder(layers=2).eval(), x)
    path = targets.get("cpu").save(StaticQuantization().apply(net, ALL, run_on(x, net)).net.eval(), tmp_path)
    kinds = kinds_in_onnxruntime(path, tmp_path, batch=1)
    # All but the last, which reads a matrix and is a Gemm from the beginning.
    assert kinds.count("MatMulIntegerToFloat") == 1 + 2 * 4 and kinds.count("Gemm") == 1


def small() -> tuple[whet.Net, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.randn(16, 3, 8, 8)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten())
    return whet.lift(nn.Sequential(module, nn.Linear(128, 4)).eval(), x[:2]), x


def test_conforms() -> None:
    net, x = small()
    run = run_on(x, net)
    assert len(passes.check(StaticQuantization(), net, run.target, run))


def quantizer_of(x: torch.Tensor, scope: str, observer: str = "min_max") -> tuple[ActivationQuantizer, whet.Net]:
    """Quantise a linear layer whose second output is a thousand times as large; return its input's quantizer.

    Its columns are equally large: with features that are so too, there is nothing to smooth.
    """
    torch.manual_seed(0)
    layer = nn.Linear(x.shape[1], 2)
    with torch.no_grad():
        layer.weight.copy_(0.3 * layer.weight.sign())
        layer.weight[1] *= 1000
    net = whet.lift(nn.Sequential(layer).eval(), x[:2])
    result = StaticQuantization(observer).apply(net, whet.Decision({NETWORK: scope}), run_on(x, net))
    (quantizer,) = (m for m in result.net.layers().values() if isinstance(m, ActivationQuantizer))
    return quantizer, result.net


def test_the_asymmetric_grid_uses_all_its_steps_and_the_symmetric_one_needs_no_zero_point() -> None:
    """Jacob et al. 2018, r = S (q - Z): of a range from -1 to 9, S is a 255th of ten, and Z a tenth of the steps."""
    x = torch.rand(256, 4) * 10 - 1
    x[0, :2] = torch.tensor([-1.0, 9.0])
    whole, half = (quantizer_of(x, scope)[0] for scope in ("asymmetric", "all"))
    assert float(whole.scale) == pytest.approx(10 / 255) and int(whole.zero_point) == 26
    assert float(half.scale) == pytest.approx(9 / 127) and int(half.zero_point) == 128
    positive, _ = quantizer_of(x.clamp(min=0), "all")
    assert float(positive.scale) == pytest.approx(9 / 255) and int(positive.zero_point) == 0


def test_the_observer_that_is_asked_for_gives_the_range() -> None:
    x = torch.rand(30_000, 4, generator=torch.Generator().manual_seed(0))
    x[7] = 2.0  # which a sample of values misses and extremes do not
    scales = {name: float(quantizer_of(x, "all", name)[0].scale) for name in ("min_max", "mean_squared_error")}
    assert scales["min_max"] == pytest.approx(2 / 255)
    assert scales["mean_squared_error"] == pytest.approx(1 / 255, rel=0.06)


def test_each_output_channel_has_a_scale_of_its_own_and_norms_are_folded_first() -> None:
    """With one scale for both outputs, the smaller one's weights would all round to nothing."""
    x = torch.rand(256, 4)
    _, net = quantizer_of(x, "all")
    plain = whet.lift(nn.Sequential(nn.Linear(4, 2)).eval(), x[:2])
    plain.module.load_state_dict({k: v for k, v in net.module.state_dict().items() if k in ("0.weight", "0.bias")})
    wanted, found = plain(x).detach(), net(x).detach()
    assert ((found - wanted).norm(dim=0) / wanted.norm(dim=0)).max() < 0.02
    other, images = small()
    result = StaticQuantization().apply(other, ALL, run_on(images, other))
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in result.net.layers().values())


def test_layers_are_chosen_one_by_one() -> None:
    net, x = small()
    decision = whet.Decision({NETWORK: "per-layer", "0.3:bits": 8, "gone:bits": 8})
    result = StaticQuantization().apply(net, decision, run_on(x, net))
    assert list(result.texts) == ["0.3"]
    assert result.skipped == {"gone": "not in the network any more"}
    kinds = {n: type(m) for n, m in result.net.layers().items()}
    assert kinds["0.3"] in QUANTIZED.values() and kinds["0.0"] is nn.Conv2d
    assert kinds["0.3_input"] is ActivationQuantizer


def test_readers_of_one_tensor_share_a_quantizer() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 12, 16)
    net = whet.lift(Encoder(16, 5, 12, 32, 4, 1).eval(), x[:2])
    before = len([m for m in net.layers().values() if type(m) in QUANTIZED])
    result = StaticQuantization().apply(net, ALL, run_on(x, net))
    quantizers = [m for m in result.net.layers().values() if isinstance(m, ActivationQuantizer)]
    assert len(result.changed) == before == 6 and len(quantizers) == 6
    shared = whet.lift(Twice().eval(), torch.randn(2, 8))
    result = StaticQuantization().apply(shared, ALL, run_on(torch.randn(64, 8), shared))
    assert set(result.texts) == {"left", "right"}
    assert sum(isinstance(m, ActivationQuantizer) for m in result.net.layers().values()) == 1


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(8, 4), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.left(x) + self.right(x)


def test_without_calibration_data_it_says_so() -> None:
    net, x = small()
    with pytest.raises(CalibrationError, match="task 't' has no calibration batches"):
        StaticQuantization().apply(net, ALL, run_on(x, net, calibration=False))


def test_an_input_that_is_always_zero_is_skipped() -> None:
    net, x = small()
    result = StaticQuantization().apply(net, ALL, run_on(torch.zeros_like(x), net))
    assert "zero on all calibration data" in result.skipped["0.0"]


def test_layers_of_other_kinds_are_skipped_with_their_kind() -> None:
    x = torch.randn(8, 2, 4, 4, 4)
    net = whet.lift(nn.Sequential(nn.Conv3d(2, 3, 3), nn.Flatten(), nn.Linear(24, 4)).eval(), x[:2])
    result = StaticQuantization().apply(net, ALL, run_on(x, net))
    assert list(result.texts) == ["2"]
    assert result.skipped == {"0": "int8 is for Conv1d, Conv2d, Linear; this is a Conv3d"}


def test_a_misspelt_observer_is_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'percentile'"):
        StaticQuantization(observer="percentil")


def test_where_the_processor_sums_in_sixteen_bits_weights_have_seven() -> None:
    net, x = small()
    for bits, asked, most in ((8, 8, 127), (7, 8, 63), (7, 4, 7)):
        run = run_on(x, net)
        run.target = AlignedTarget(weight_bits=bits)  # type: ignore[assignment]
        result = StaticQuantization(weight_bits=asked).apply(net, ALL, run)
        layers = [layer for layer in result.net.layers().values() if isinstance(layer, IntegerWeight)]
        assert layers and {layer.grid.most for layer in layers} == {most}
        said = "int8" if most == 127 else f"int8, weights int{min(bits, asked)}"
        assert set(result.texts.values()) == {said}
