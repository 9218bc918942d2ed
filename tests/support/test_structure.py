"""Trees of tensors: as loaders, networks and tasks give them."""

from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch

from whet.core.net import Port
from whet.support.structure import is_rows, items, joined, mapped, tensors, zipped

Pair = namedtuple("Pair", "left right")


@dataclass
class Output:
    logits: object = None
    state: object = None


TREES = {
    "tuple": (torch.ones(2), torch.zeros(2)),
    "list": [torch.ones(2), torch.zeros(2)],
    "dict": {"b": torch.ones(2), "a": torch.zeros(2)},
    "named tuple": Pair(torch.ones(2), torch.zeros(2)),
    "dataclass": Output(torch.ones(2), torch.zeros(2)),
    "nested": {"b": [torch.ones(2), None], "a": (torch.zeros(2),)},
}


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_mapping_keeps_the_kind_and_the_order(tree):
    doubled = mapped(lambda leaf: leaf if leaf is None else 2 * leaf, tree)
    assert type(doubled) is type(tree)
    assert [name for name, _ in items(doubled)] == [name for name, _ in items(tree)]
    assert [t.sum().item() for t in tensors(doubled)] == [4.0, 0.0]


def test_zipping_names_what_differs():
    with pytest.raises(ValueError, match=r"logits.*scores"):
        zipped(lambda a, b: a, {"logits": 1}, {"scores": 1})


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_joining_puts_batches_end_to_end(tree):
    both = joined([tree, tree])
    assert type(both) is type(tree)
    assert [t.tolist() for t in tensors(both)] == [[1.0] * 4, [0.0] * 4]


def test_rows_of_a_detection_loader_stay_rows():
    rows = [{"boxes": torch.ones(n, 4)} for n in (1, 3)]
    assert is_rows(rows) and not is_rows([torch.ones(2), torch.ones(2)])
    assert [len(row["boxes"]) for row in joined([rows, rows])] == [1, 3, 1, 3]


def test_batches_of_other_lengths_are_joined_row_by_row():
    both = joined([torch.ones(2, 3), torch.zeros(1, 5)])
    assert [tuple(row.shape) for row in both] == [(3,), (3,), (5,)]


@pytest.mark.parametrize("axis", [0, 1, 2, None])
def test_a_port_moves_the_batch_in_and_out(axis):
    port, value = Port("x", axis), torch.arange(24.0).reshape(2, 3, 4)
    inside = port.inside(value, rows=7)
    assert inside.shape[0] == (7 if axis is None else value.shape[axis])
    assert torch.equal(port.outside(inside), value)
