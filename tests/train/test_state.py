from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from whet.core.errors import ArtifactError
from whet.train.recalibrate import recalibrate
from whet.train.state import load_state, read_tensors, save_state, write_tensors


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def test_round_trip_with_metadata(tmp_path: Path) -> None:
    one, two = net(), net()
    save_state(one, tmp_path / "a.safetensors", {"samples": 7})
    assert load_state(tmp_path / "a.safetensors", two) == {"samples": 7}
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, two.state_dict()[name])
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_pickles_are_not_read(tmp_path: Path) -> None:
    torch.save({"a": 1}, tmp_path / "zip.safetensors")
    (tmp_path / "plain.safetensors").write_bytes(pickle.dumps({"a": 1}))
    for name in ("zip", "plain"):
        with pytest.raises(ArtifactError, match=rf"{name}\.safetensors' is a pickle and is not read"):
            read_tensors(tmp_path / f"{name}.safetensors")


def test_truncated_absent_and_foreign_files_are_named(tmp_path: Path) -> None:
    path = save_state(net(), tmp_path / "a.safetensors")
    whole = path.read_bytes()
    for end in (0, 4, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(ArtifactError, match=r"a\.safetensors' is truncated"):
            load_state(path, net())
    with pytest.raises(ArtifactError, match="do not exist"):
        load_state(tmp_path / "b.safetensors", net())
    path.write_bytes(whole)
    with pytest.raises(ArtifactError, match=r"'0\.bias' has shape \(4,\); expected \(5,\)"):
        load_state(path, nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5)))
    with pytest.raises(ArtifactError, match=r"has '1\.bias', which the network has not"):
        load_state(path, nn.Sequential(nn.Linear(3, 4)))


def test_recalibrated_statistics_are_those_of_the_data() -> None:
    module = net()
    x = torch.randn(512, 3)
    batches = [(x[i : i + 64], x[i : i + 64]) for i in range(0, 512, 64)]
    assert recalibrate(module, batches, samples=512) == 512
    hidden = module[0](x)
    torch.testing.assert_close(module[1].running_mean, hidden.mean(0).detach(), rtol=1e-4, atol=1e-5)
    means = torch.stack([module[0](b).var(0) for b, _ in batches]).mean(0)
    torch.testing.assert_close(module[1].running_var, means.detach(), rtol=1e-4, atol=1e-5)
    assert module[1].momentum == 0.1 and not module.training
    assert recalibrate(nn.Linear(3, 3), [], samples=10) == 0


def test_no_length_of_the_header_is_taken_for_a_pickle(tmp_path: Path) -> None:
    """A header of 0x0280 to 0x0580 bytes begins with the bytes of a pickle's protocol; all lengths are read."""
    starts = set()
    for size in range(300, 1500, 8):
        path = write_tensors({"a": torch.ones(2)}, tmp_path / "a.safetensors", {"note": "x" * size})
        starts.add(path.read_bytes()[:2])
        assert read_tensors(path)[1] == {"note": "x" * size}
    assert {b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"} <= starts
