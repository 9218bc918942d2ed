"""Rows of trees: the first of them, and those of one length."""

import torch

from whet.data.rows import by_length, first_rows, has_rows
from whet.support.structure import Rows


def test_all_entries_of_a_row_stay_together_and_what_has_no_rows_stays() -> None:
    tree = {"boxes": torch.arange(6), "ids": ["a", "b", "c"], "rate": torch.tensor(3.0)}
    first = first_rows(tree, 1, rows=3)
    assert first["boxes"].tolist() == [0, 1] and first["ids"] == ["a"] and first["rate"] == 3.0
    assert first_rows(tree, 3, rows=3) is tree


def test_each_length_comes_once_with_the_rows_that_have_it() -> None:
    rows, labels = Rows([torch.ones(2), torch.zeros(3), torch.full((2,), 5.0)]), torch.tensor([7, 8, 9])
    assert has_rows({"x": rows}) and not has_rows({"x": labels})
    (two, two_labels), (three, three_labels) = by_length(rows, labels)
    assert two.tolist() == [[1, 1], [5, 5]] and two_labels.tolist() == [7, 9]
    assert three.shape == (1, 3) and three_labels.tolist() == [8]


def test_rows_that_are_no_tensors_stay_rows() -> None:
    boxes = Rows([{"n": 1}, {"n": 2}])
    lengths = Rows([torch.ones(2), torch.ones(3)])
    assert [list(target) for _, target in by_length(lengths, boxes)] == [[{"n": 1}], [{"n": 2}]]
