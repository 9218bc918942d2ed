from __future__ import annotations

import copy
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import whet
from whet.core.errors import LiftError
from whet.graph.axes import analyze

sys.path.insert(0, str(Path(__file__).parents[1]))
from architectures import ARCHITECTURES, lifted


def test_there_are_at_least_twenty_four() -> None:
    assert len(ARCHITECTURES) >= 24


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_lifted_network_is_the_same_and_trains(name: str) -> None:
    module, example, net = lifted(name)
    for batch in (1, 2, 3):
        given = tuple(torch.cat([x, x])[:batch] for x in example)
        with torch.no_grad():
            expected, found = module(*given), net(*given)
        assert found.shape == expected.shape
        assert float((found - expected).abs().max()) <= 1e-5 * float(expected.abs().max())
    source = copy.deepcopy(module).train()
    source(*example).square().mean().backward()
    trained = {n for n, p in source.named_parameters() if p.grad is not None}
    net = net.copy()
    norms = [m for m in net.module.modules() if isinstance(m, nn.BatchNorm2d | nn.Dropout)]
    net.train()
    assert all(m.training for m in norms)
    net(*example).square().mean().backward()
    reached = {n for n, p in net.module.named_parameters() if p.grad is not None}
    own = {id(p): n for n, p in net.module.named_parameters()}
    assert len(reached) == len(own)
    count = sum(p.numel() for n, p in module.named_parameters() if n in trained)
    assert sum(p.numel() for n, p in net.module.named_parameters() if n in reached) == count
    assert not any(m.training for m in net.eval().module.modules())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_layers_keep_their_names(name: str) -> None:
    module, _, net = lifted(name)
    kinds = (nn.Conv2d, nn.Conv1d, nn.Linear, nn.LayerNorm, nn.BatchNorm2d, nn.Embedding, nn.GroupNorm)

    def kind(layer: nn.Module) -> str:
        return next(k.__name__ for k in kinds if isinstance(layer, k))

    source = {n: kind(m) for n, m in module.named_modules() if isinstance(m, kinds)}
    found = {n: kind(m) for n, m in net.layers().items() if isinstance(m, kinds)}
    assert found and found.items() <= source.items()


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embed(x))


def test_tied_weights_stay_tied() -> None:
    net = whet.lift(Tied(), torch.randint(0, 20, (2, 5)))
    assert net.layer("embed").weight is net.layer("head").weight
    copied = net.copy()
    assert copied.layer("embed").weight is copied.layer("head").weight
    assert net.parameter_count == 160


class OneScale(nn.Module):
    """Two norms with one scale between them, and statistics of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.first = nn.BatchNorm1d(4), nn.Module()
        self.first.register_buffer("running_mean", torch.randn(4))
        self.first.register_buffer("running_var", torch.rand(4) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm
        y = nn.functional.batch_norm(x, self.first.running_mean, self.first.running_var, norm.weight, norm.bias)
        return norm(y)


def test_a_layer_does_not_hide_the_tensors_of_another_of_its_name() -> None:
    net = whet.lift(OneScale().eval(), torch.randn(2, 4))
    assert isinstance(net.layers()["norm"], nn.BatchNorm1d) and len(net.layers()) == 1


def test_source_is_left_alone() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2)).train()
    net = whet.lift(module, torch.randn(1, 4))
    assert module.training and module[1].training
    with torch.no_grad():
        net.layer("0").weight.zero_()
    assert module[0].weight.abs().sum() > 0


def test_a_thousand_nodes_in_fifteen_seconds() -> None:
    layers = [nn.Sequential(nn.Linear(16, 16), nn.ReLU()) for _ in range(500)]
    start = time.monotonic()
    net = whet.lift(nn.Sequential(*layers), torch.randn(2, 16), check=False)
    analyze(net)
    assert len(net.graph.nodes) >= 1000
    assert time.monotonic() - start < 15


def test_pt2_file_and_python_entry(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval()
    program = torch.export.export(module, (torch.randn(2, 4),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    torch.export.save(program, tmp_path / "net.pt2")
    x = torch.randn(5, 4)
    assert torch.equal(whet.lift(tmp_path / "net.pt2")(x), module(x))
    (tmp_path / "mine.py").write_text(
        "import torch\ndef build():\n    return torch.nn.Linear(4, 3), (torch.randn(2, 4),)\n"
    )
    assert whet.lift(f"{tmp_path / 'mine.py'}:build")(x).shape == (5, 3)
    with pytest.raises(LiftError, match=r"no function 'bild'; it defines: build"):
        whet.lift(f"{tmp_path / 'mine.py'}:bild")


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x + 1
        return x - 1


def test_what_does_not_export_is_named_with_its_line() -> None:
    line = next(i for i, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "if x.sum() > 0" in text)
    with pytest.raises(LiftError, match=rf"Branches cannot be exported(.|\n)*test_lift\.py:{line}") as caught:
        whet.lift(Branches(), torch.randn(2, 3))
    assert "x.sum() > 0" in str(caught.value)


@pytest.mark.parametrize("name", ["weights.pt", "net.pth", "model.pkl"])
def test_pickles_are_refused(tmp_path: Path, name: str) -> None:
    torch.save({"a": 1}, tmp_path / name)
    with pytest.raises(LiftError, match="pickle, and nothing is unpickled"):
        whet.lift(tmp_path / name, torch.randn(2, 3))


def test_wrong_inputs_say_what_is_allowed(tmp_path: Path) -> None:
    module = nn.Linear(3, 3)
    with pytest.raises(LiftError, match="the example holds no tensor but tuple"):
        whet.lift(module, ([1.0, 2.0],))
    with pytest.raises(LiftError, match="needs example inputs"):
        whet.lift(module)
    with pytest.raises(LiftError, match="does not exist"):
        whet.lift(tmp_path / "absent.pt2")
    (tmp_path / "cut.pt2").write_bytes(b"PK\x03\x04half")
    with pytest.raises(LiftError, match=r"truncated or no torch\.export file"):
        whet.lift(tmp_path / "cut.pt2")
