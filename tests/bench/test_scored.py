"""What suites of files share: the first samples, rows that are kept under their commit, folders, the best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import whet
from whet.bench import scored
from whet.bench.scored import Scored, best_of, samples
from whet.testing.runs import classification


def work(out: Path, validation: int = 20) -> Scored:
    torch.manual_seed(0)
    net = whet.lift(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval(), torch.randn(2, 6))
    return Scored.of("some", net, classification(net), "onnxruntime-cpu", out, validation)


def test_the_first_samples_are_cut_to_what_is_wanted() -> None:
    batches = [(torch.arange(4.0).view(4, 1) + 4 * i, torch.arange(4) + 4 * i) for i in range(3)]
    found = samples(batches, 6)
    assert torch.cat([x for (x,), _ in found]).flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.cat([y for _, y in found]).tolist() == [0, 1, 2, 3, 4, 5]


def test_rows_are_made_once_for_a_commit_and_as_many_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def make(key: str) -> dict[str, Any]:
        made.append(key)
        return {"key": key}

    monkeypatch.setattr(scored, "commit", lambda: "one")
    assert work(tmp_path).rows(["a", "b"], make, print) == [{"key": "a"}, {"key": "b"}]
    assert work(tmp_path).rows(["b", "c"], make, print) == [{"key": "b"}, {"key": "c"}] and made == ["a", "b", "c"]
    work(tmp_path, 10).rows(["a"], make, print)
    monkeypatch.setattr(scored, "commit", lambda: "two")
    work(tmp_path).rows(["a"], make, print)
    assert made == ["a", "b", "c", "a", "a"]


def test_a_file_is_scored_as_the_network_it_holds(tmp_path: Path) -> None:
    given = work(tmp_path)
    path = given.save(given.net, "weights, magnitude, 0.5")
    quality, size = given.score(path)
    x, y = torch.cat([x[0] for x, _ in given.val]), torch.cat([y for _, y in given.val])
    assert len(y) == given.validation_samples == 20 and size == path.stat().st_size
    assert quality == pytest.approx(float((given.net(x).argmax(-1) == y).float().mean()))
    assert path.parent.parent == tmp_path / given.stem and given.place("a, b") != given.place("a, c")


def test_the_best_goes_by_the_direction_and_may_be_none() -> None:
    rows = [{"quality": 0.5}, {"quality": 0.75}, {"quality": None}]
    assert (best_of(rows, "quality", "max"), best_of(rows, "quality", "min")) == (0.75, 0.5)
    assert best_of([{"quality": None}], "quality", "max") is None
