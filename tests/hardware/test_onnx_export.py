from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import whet
from whet.core.errors import TargetError
from whet.core.net import Net, Port
from whet.core.target import Artifact
from whet.hardware import targets
from whet.hardware.onnx_export import export_onnx
from whet.hardware.targets import inputs_of

sys.path.insert(0, str(Path(__file__).parents[1]))
from architectures import lifted

NAMES = ["resnet20", "mobilenetv2", "ds_cnn", "mlp", "lstm", "encoder", "decoder", "hf_llama", "hf_swin"]


@pytest.mark.parametrize("name", NAMES)
def test_both_runtimes_compute_what_torch_computes(name: str, tmp_path: Path) -> None:
    module, example, net = lifted(name)
    path = export_onnx(net, tmp_path / "model.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    for runtime in ("openvino", "onnxruntime"):
        artifact = Artifact(path, {"runtime": runtime, "precision": "f32", "threads": 1})
        for batch in (1, 5):
            given = [torch.cat([x] * 3)[:batch] for x in example]
            found = targets.get("cpu").open(artifact, batch)(*[x.numpy() for x in given])
            with torch.no_grad():
                expected = module(*given).numpy()
            assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max(), (runtime, batch)


def test_file_holds_nothing_but_the_network(tmp_path: Path) -> None:
    path = export_onnx(lifted("resnet20")[2], tmp_path / "model.onnx")
    model = onnx.load(path)
    weights = sum(int(np.prod(t.dims)) * 4 for t in model.graph.initializer)
    assert path.stat().st_size < weights + 40_000
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert "BatchNormalization" not in {n.op_type for n in model.graph.node}
    text = path.read_bytes()
    assert str(Path(__file__).parents[2]).encode() not in text, "the file tells where it was made"


@torch.library.custom_op("whet_test::odd", mutates_args=())
def odd(x: Tensor) -> Tensor:
    return x * 2


@odd.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Odd(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return odd(x)


def test_what_onnx_lacks_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    net = whet.lift(Odd(), torch.randn(2, 3))
    with pytest.raises(TargetError, match=r"cannot be written as ONNX(.|\n)*odd"):
        export_onnx(net, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


class Stream(nn.Module):
    """A step of a recurrent network: two inputs, a nested structure of outputs, one of them twice, one an input."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm, self.unread = nn.Linear(6, 4), nn.LayerNorm(4), nn.Linear(2, 2)

    def forward(self, x: Tensor, state: Tensor) -> dict[str, Any]:
        y = self.norm(self.linear(x)).sum(1) + state.sum(1)
        return {"scores": y, "next": (state + 1, None), "rank": y.argsort(-1), "again": y, "given": x}


def stream_net() -> Net:
    """Return the net of `Stream`, whose file has the state as (3, batch, 4) and a free length."""
    torch.manual_seed(0)
    net = whet.lift(Stream().eval(), (torch.randn(2, 5, 6), torch.randn(2, 3, 4)))
    inputs = (Port("linear", 0, ((1, "length"),)), Port("state in", 1))
    outputs = (Port("scores:0"), Port("next", 1), Port("rank"), Port("again"), Port("linear"))
    return replace(net, inputs=inputs, outputs=outputs)


def dims(value: Any) -> list[Any]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_the_file_has_the_names_layout_free_axes_and_outputs_of_the_source(tmp_path: Path) -> None:
    net = stream_net()
    path = export_onnx(net, tmp_path / "model.onnx")
    graph = onnx.load(path).graph
    assert {v.name: dims(v) for v in graph.input} == {"linear": ["batch", "length", 6], "state in": [3, "batch", 4]}
    # An output that has the name of an input gets another: a file cannot have both.
    assert [v.name for v in graph.output] == ["scores:0", "next", "rank", "again", "linear_1"]
    assert [dims(v) for v in graph.output][:2] == [["batch", 4], [3, "batch", 4]]
    onnx.checker.check_model(str(path), full_check=True)
    x, state = torch.randn(3, 7, 6), torch.randn(3, 3, 4)
    with torch.no_grad():
        wanted = net.results(net_source(net)(x, state))
    for runtime in ("openvino", "onnxruntime"):
        artifact = Artifact(path, {"runtime": runtime, "precision": "f32", "threads": 1})
        open_session = targets.get("cpu").open
        outside = state.movedim(0, 1).contiguous().numpy()
        found = open_session(artifact, 3, {"linear": (3, 7, 6)})(x.numpy(), outside)
        for port, value, expected in zip(net.outputs, found, wanted, strict=True):
            np.testing.assert_allclose(value, port.outside(expected).numpy(), atol=1e-5, err_msg=port.name)
        # The example's length is on record.
        assert open_session(artifact, 1)(x[:1, :5].numpy(), outside[:, :1])[0].shape == (1, 4)


def net_source(net: Net) -> nn.Module:
    source = Stream().eval()
    source.load_state_dict({**source.state_dict(), **net.module.state_dict()})
    return source


def test_a_length_that_the_network_fixes_is_fixed_in_the_file(tmp_path: Path) -> None:
    net = whet.lift(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), torch.randn(2, 4, 3))
    net = replace(net, inputs=(Port("x", 0, ((1, "time"),)),))
    graph = onnx.load(export_onnx(net, tmp_path / "model.onnx")).graph
    assert dims(graph.input[0]) == ["batch", 4, 3]


class Scaled(nn.Module):
    def forward(self, x: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        return x * gain[:, None], gain + 1


def test_inputs_and_outputs_without_a_batch(tmp_path: Path) -> None:
    net = whet.lift(Scaled(), (torch.randn(2, 3), torch.randn(2)))
    module = net.copy()
    _first, second = (n for n in module.graph.nodes if n.op == "placeholder")
    with module.graph.inserting_after(second):
        one = module.graph.call_function(torch.ops.aten.select.int, (second, 0, 0))
    with module.graph.inserting_after(one):
        line = module.graph.call_function(torch.ops.aten.expand.default, (one, [2]))
    second.replace_all_uses_with(line, lambda user: user is not one)
    net = replace(net, inputs=(Port("x"), Port("gain", None)), outputs=(Port("y"), Port("next gain", None)))
    path = export_onnx(net, tmp_path / "model.onnx")
    graph = onnx.load(path).graph
    assert [dims(v) for v in (*graph.input, *graph.output)] == [["batch", 3], [], ["batch", 3], []]
    assert inputs_of(net)[1].shape == ()
    for runtime in ("openvino", "onnxruntime"):
        artifact = Artifact(path, {"runtime": runtime, "precision": "f32", "threads": 1})
        x = np.ones((4, 3), np.float32)
        y, gain = targets.get("cpu").open(artifact, 4)(x, np.float32(2))
        np.testing.assert_array_equal(y, x * 2)
        assert gain.shape == () and gain == 3


FFTS: dict[str, Callable[[Tensor], Tensor]] = {
    "rfft": lambda x: torch.fft.irfft(torch.fft.rfft(x, n=24) * 2, n=24)[..., :12],
    "odd": lambda x: torch.fft.irfft(torch.fft.rfft(x[:, :9], norm="ortho"), n=9, norm="ortho"),
    "channels": lambda x: torch.fft.rfft(x.reshape(-1, 4, 3), dim=1).abs(),
    "fft2": lambda x: torch.fft.ifft2(torch.fft.fft2(x.reshape(-1, 3, 4)) * 2).real,
    "stft": lambda x: torch.stft(x, 8, 2, window=torch.hann_window(8), return_complex=True).abs(),
}


class Spectrum(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        return FFTS[self.kind](x)


@pytest.mark.parametrize("kind", FFTS)
def test_fourier_transforms_are_written_and_read_again(kind: str, tmp_path: Path) -> None:
    module, x = Spectrum(kind), torch.randn(2, 12)
    path = export_onnx(whet.lift(module, x), tmp_path / "model.onnx")
    for runtime in ("openvino", "onnxruntime"):
        artifact = Artifact(path, {"runtime": runtime, "precision": "f32", "threads": 1})
        for rows in (2, 1, 3):
            given = torch.cat([x, x])[:rows]
            found = targets.get("cpu").open(artifact, rows)(given.numpy())
            np.testing.assert_allclose(found, module(given).numpy(), atol=1e-4, err_msg=runtime)
    again = whet.lift(str(path))
    torch.testing.assert_close(again(x), module(x), atol=1e-4, rtol=1e-4)


class Tagger(nn.Module):
    """(steps, batch, features), the steps fixed by a table of positions."""

    def __init__(self) -> None:
        super().__init__()
        self.positions, self.layer = nn.Parameter(torch.randn(7, 1, 4)), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x + self.positions)


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_fixed_first_size_is_no_batch_where_the_batch_is_free_elsewhere(runtime: str, tmp_path: Path) -> None:
    module = Tagger().eval()
    path = export_onnx(whet.lift(module, torch.randn(7, 2, 4), batch_axis=1), tmp_path / "model.onnx")
    for batch in (1, 3):
        x = torch.randn(7, batch, 4)
        artifact = Artifact(path, {"runtime": runtime, "precision": "f32", "threads": 1})
        found = targets.get("cpu").open(artifact, batch)(x.numpy())
        np.testing.assert_allclose(found, module(x).detach().numpy(), atol=1e-5)
