from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import whet
from whet.core.errors import TargetError
from whet.core.target import Artifact
from whet.hardware import targets
from whet.hardware.onnx_export import export_onnx

sys.path.insert(0, str(Path(__file__).parents[1]))
from architectures import build

NAMES = ["resnet20", "mobilenetv2", "ds_cnn", "mlp", "lstm", "encoder", "decoder", "hf_llama", "hf_swin"]


@pytest.mark.parametrize("name", NAMES)
def test_both_runtimes_compute_what_torch_computes(name: str, tmp_path: Path) -> None:
    module, example = build(name)
    net = whet.lift(module, example, check=False)
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
    module, example = build("resnet20")
    path = export_onnx(whet.lift(module, example, check=False), tmp_path / "model.onnx")
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
