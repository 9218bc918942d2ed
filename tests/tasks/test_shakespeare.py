"""The plays: windows in the order of the text, bits of a character."""

import math
from pathlib import Path

import pytest
import torch
from loaded import bundle

from whet.core.errors import TaskError
from whet.tasks.shakespeare import CONTEXT, bits_per_character, next_character_loss, shakespeare


def test_shakespeare_is_split_in_order() -> None:
    b = bundle("shakespeare")
    x, y = next(iter(b.task.val))
    assert torch.equal(x[:, 1:], y[:, :-1]) and x.shape[1] == 128
    even = torch.zeros(2, 5, 4)
    assert bits_per_character(even, torch.zeros(2, 5, dtype=torch.long)) == pytest.approx(2.0)


def test_a_character_foreseen_costs_nothing_and_bits_are_nats_over_log_two() -> None:
    targets = torch.tensor([[0, 1]])
    sure = 100 * torch.eye(4)[targets]
    assert bits_per_character(sure, targets) == pytest.approx(0.0, abs=1e-6)
    logits = torch.randn(3, 5, 4)
    targets = torch.randint(0, 4, (3, 5))
    nats = float(next_character_loss(logits, targets))
    assert bits_per_character(logits, targets) == pytest.approx(nats / math.log(2))


def test_a_text_of_ones_own_is_split_in_order_without_overlap(tmp_path: Path) -> None:
    folder = tmp_path / "tinyshakespeare"
    folder.mkdir()
    (folder / "input.txt").write_text("abcd" * (40 * CONTEXT))
    task = shakespeare(tmp_path).task
    assert task.val.inputs.shape[1] == CONTEXT and int(task.train.targets.max()) == 3
    total = 160 * CONTEXT
    assert len(task.test.inputs) == (total - int(0.9 * total) - 1) // CONTEXT


def test_too_short_a_text_and_no_text_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "tinyshakespeare"
    folder.mkdir()
    (folder / "input.txt").write_text("to be")
    with pytest.raises(TaskError, match=f"holds 5 characters; at least {100 * CONTEXT} are needed"):
        shakespeare(tmp_path)
    (folder / "input.txt").write_bytes(bytes([255, 254, 0]))
    with pytest.raises(TaskError, match="is no UTF-8 text"):
        shakespeare(tmp_path)
