"""Large embeddings as integers, and smoothing, from calibration to the file in both runtimes."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

import whet
from whet.compress.quantize.static import NETWORK, StaticQuantization
from whet.core.target import Artifact
from whet.graph.fake_quantize import LARGE_TABLE, ActivationQuantizer, QuantizedEmbedding
from whet.hardware import targets

WORDS, WIDTH, LENGTH = 2 * LARGE_TABLE // 64, 64, 8


class Reader(nn.Module):
    """Words and positions, an outlying feature as in trained transformers, and a sum that reads it too."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(WORDS, WIDTH), nn.Embedding(WORDS, WIDTH)
        self.norm, self.wide, self.narrow = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 96), nn.Linear(96, WIDTH)
        with torch.no_grad():
            self.norm.weight[5] *= 100
            self.wide.weight[:, 5] /= 100

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.words(words) + self.positions(torch.arange(LENGTH)))
        return x + self.narrow(torch.nn.functional.gelu(self.wide(x)))


@pytest.fixture(scope="module")
def quantized() -> tuple[whet.Net, whet.Result, torch.Tensor]:
    torch.manual_seed(0)
    words = torch.randint(WORDS, (64, LENGTH))
    net = whet.lift(Reader().eval(), words[:2])
    task = whet.Task("t", train=[(words, torch.zeros(64))], val=[(words, torch.zeros(64))], metric=lambda o, t: 0.0)
    run = whet.Run(task, targets.get("cpu"), net)
    return net, StaticQuantization().apply(net, whet.Decision({NETWORK: "asymmetric"}), run), words


def test_large_tables_are_int8_and_small_ones_are_not(quantized: tuple[whet.Net, whet.Result, torch.Tensor]) -> None:
    _, result, _ = quantized
    assert {"words", "positions", "wide", "narrow"} == result.texts.keys()
    assert isinstance(result.net.layer("words"), QuantizedEmbedding)
    x = torch.randint(65, (8, LENGTH))
    small = whet.lift(nn.Sequential(nn.Embedding(65, 16), nn.Linear(16, 4)).eval(), x)
    assert [c.site for c in StaticQuantization().space(small, targets.get("cpu"))] == ["network", "1"]


def test_outliers_that_are_read_elsewhere_are_smoothed_by_the_quantizer(
    quantized: tuple[whet.Net, whet.Result, torch.Tensor],
) -> None:
    net, result, words = quantized
    quantizer = result.net.layer("wide_input")
    assert isinstance(quantizer, ActivationQuantizer) and quantizer.factor is not None
    assert int(quantizer.factor.argmin()) == 5
    assert torch.equal(result.net.layer("norm").weight, net.layer("norm").weight)  # type: ignore[arg-type]
    found, wanted = result.net(words).detach(), net(words).detach()
    rest = torch.arange(WIDTH) != 5  # without smoothing the others get a hundredth of the grid
    assert float((found - wanted)[..., rest].norm() / wanted[..., rest].norm()) < 0.02


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_the_file_is_small_and_gives_what_was_simulated(
    quantized: tuple[whet.Net, whet.Result, torch.Tensor], runtime: str, tmp_path: Path
) -> None:
    _, result, words = quantized
    path = targets.get("cpu").save(result.net.eval(), tmp_path)
    tables = {t.name: t for t in onnx.load(path).graph.initializer}
    assert tables["words.weight.int8"].data_type == onnx.TensorProto.INT8
    rows = [list(t.dims) for name, t in tables.items() if name.startswith("positions.weight.int8")]
    assert rows == [[LENGTH, WIDTH]], "of positions only those that are read are stored"
    assert path.stat().st_size < WORDS * (WIDTH + 4) + 2 * 96 * WIDTH + 12_000
    artifact = Artifact(path, {"runtime": runtime, "precision": "f32", "threads": 1})
    found = torch.from_numpy(targets.get("cpu").open(artifact, 64)(words.numpy()))
    wanted = result.net(words).detach()
    assert float((found - wanted).norm() / wanted.norm()) < 0.003
