"""The ahead-of-time compiled files: what they compute, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from whet.core.errors import ArtifactError, TargetError
from whet.core.net import Net
from whet.core.target import Artifact
from whet.hardware import targets
from whet.hardware.device import fingerprint
from whet.hardware.targets import BF16_FLAGS

needs_bf16 = pytest.mark.skipif(not fingerprint().has_any(BF16_FLAGS), reason="the processor has no bf16")


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    ).eval()  # fmt: skip


def net_of(module: nn.Module, *example: Tensor) -> Net:
    return Net(fx.symbolic_trace(module.eval()), example)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["f32", pytest.param("bf16", marks=needs_bf16)])
def test_inductor_serves_any_batch_with_the_threads_asked_for(tmp_path: Path, precision: str) -> None:
    chosen = targets.get("inductor-cpu")
    module = small_net()
    settings = {"runtime": "inductor", "precision": precision, "threads": fingerprint().cores}
    path = chosen.save(net_of(module, torch.randn(2, 3, 16, 16)), tmp_path, settings)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    before = torch.get_num_threads()
    for batch in (1, 3):
        x = torch.randn(batch, 3, 16, 16)
        expected = module(x).detach().numpy()
        output = chosen.open(Artifact(path, settings), batch)(x.numpy())
        error = np.abs(output - expected).max() / np.abs(expected).max()
        assert (1e-5 < error < 2e-2) if precision == "bf16" else error < 1e-5
    assert torch.get_num_threads() == before
    other = {**settings, "precision": {"f32": "bf16", "bf16": "f32"}[precision]}
    with pytest.raises(ArtifactError, match=f"compiled for {precision}"):
        chosen.open(Artifact(path, other), 1)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtifactError, match=path.name):
        chosen.open(Artifact(path, settings), 1)
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes(64) + whole[middle + 64 :])
    with pytest.raises(ArtifactError, match="damaged in its member"):
        chosen.open(Artifact(path, settings), 1)


class Rounded(nn.Linear):
    """A layer that is none of torch's own."""


def test_inductor_refuses_quantized_layers(tmp_path: Path) -> None:
    class Tracer(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, qualified_name: str) -> bool:
            return isinstance(m, nn.Linear)

    module = nn.Sequential(nn.Linear(4, 4), Rounded(4, 4)).eval()
    net = Net(fx.GraphModule(module, Tracer().trace(module)), (torch.randn(2, 4),))
    with pytest.raises(TargetError, match="layer '1' is a Rounded: inductor-cpu runs float layers only"):
        targets.get("inductor-cpu").save(net, tmp_path)

    class Fake(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127)

    with pytest.raises(TargetError, match="fake_quantize_per_tensor_affine"):
        targets.get("inductor-cpu").save(net_of(Fake(), torch.randn(2, 4)), tmp_path)
    assert not list(tmp_path.iterdir())
