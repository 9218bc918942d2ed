"""Parts are disjoint, whole and stratified, or as they were given."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from whet.core.errors import TaskError
from whet.data.sources.source import Options, Part
from whet.data.sources.splits import PILE, divided, files_of, split_of


def pile(counts: list[int]) -> Part:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return Part({"x": torch.arange(len(labels))}, labels)


def rows(part: Part) -> set[int]:
    return set(part.inputs["x"][:].tolist())


def test_every_sample_is_in_one_part_and_each_class_in_proportion() -> None:
    parts, how = divided({PILE: pile([100, 30, 10])}, Options(), by_class=True)
    assert [torch.bincount(part.targets).tolist() for part in parts.values()] == [[80, 24, 8], [10, 3, 1], [10, 3, 1]]
    assert set.union(*map(rows, parts.values())) == set(range(140)) and sum(map(len, parts.values())) == 140
    assert "drawn 80/10/10 %" in how and "same proportion" in how and "looks better than it is" in how
    again, _ = divided({PILE: pile([100, 30, 10])}, Options(), by_class=True)
    other, _ = divided({PILE: pile([100, 30, 10])}, Options(seed=1), by_class=True)
    assert rows(again["val"]) == rows(parts["val"]) != rows(other["val"])


def test_fractions_that_are_named_hold_and_none_is_no_part() -> None:
    parts, how = divided({PILE: pile([100])}, Options(split=(0.5, 0.5, 0.0)))
    assert {name: len(part) for name, part in parts.items()} == {"train": 50, "val": 50} and "50/50/0 %" in how


def test_test_data_are_halved_where_no_validation_data_are_given() -> None:
    parts, how = divided({"train": pile([8, 8]), "test": pile([20, 10])}, Options(), by_class=True)
    assert torch.bincount(parts["val"].targets).tolist() == [10, 5] == torch.bincount(parts["test"].targets).tolist()
    assert len(parts["train"]) == 16 and not rows(parts["val"]) & rows(parts["test"]) and "halves" in how


def test_what_is_given_stays() -> None:
    given = {"test": pile([5]), "train": pile([9]), "val": pile([3])}
    parts, how = divided(given, Options())
    assert list(parts) == ["train", "val", "test"] and all(parts[name] is given[name] for name in given)
    assert how == "train, val, test as given"
    alone, how = divided({"test": pile([5])}, Options())
    assert list(alone) == ["val"] and "no training data" in how


def test_a_class_with_too_few_samples_is_named() -> None:
    with pytest.raises(TaskError, match="class 'ibis' has only 2 samples, and 3 parts"):
        divided({PILE: pile([50, 2])}, Options(), by_class=True, names=("cat", "ibis"))


def test_splits_go_by_usual_names(tmp_path: Path) -> None:
    assert [split_of(name) for name in ("Train", "dev", "validation", "testing", "tests")] == [
        "train", "val", "val", "test", None,
    ]  # fmt: skip
    for name in ("train.csv", "valid.csv", "notes.csv", "test.txt"):
        (tmp_path / name).touch()
    assert files_of(tmp_path, (".csv",)) == {"train": tmp_path / "train.csv", "val": tmp_path / "valid.csv"}
    assert files_of(tmp_path / "train.csv", (".csv",)) == {PILE: tmp_path / "train.csv"}
