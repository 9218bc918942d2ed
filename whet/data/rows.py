"""Rows of trees: the first of a batch, those of one length, those that are kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from whet.support.structure import Rows, Tree, is_rows, mapped_by_path


def first_rows(tree: Tree, count: int, rows: int) -> Tree:
    """Return the first `count` of a batch's `rows`; tensors with several entries a row keep all of each row's.

    >>> first_rows({"y": torch.arange(6), "name": ["a", "b", "c"]}, 2, rows=3)
    {'y': tensor([0, 1, 2, 3]), 'name': ['a', 'b']}
    """

    def first(path: str, leaf: Any) -> Any:
        if isinstance(leaf, Tensor) and leaf.dim():
            return leaf[: count * (len(leaf) // rows)]
        return Rows(leaf[:count]) if is_rows(leaf) else leaf

    return tree if count >= rows else mapped_by_path(first, tree)


def one_row(tree: Tree, index: int, rows: int) -> Tree:
    """Return one of a batch's `rows`, as a batch of one; of tensors with several entries a row all of it.

    >>> one_row({"y": torch.arange(6), "name": ["a", "b", "c"]}, 1, rows=3)
    {'y': tensor([2, 3]), 'name': ['b']}
    """

    def one(path: str, leaf: Any) -> Any:
        if isinstance(leaf, Tensor) and leaf.dim():
            each = len(leaf) // rows
            return leaf[index * each : (index + 1) * each]
        return Rows(leaf[index : index + 1]) if is_rows(leaf) else leaf

    return mapped_by_path(one, tree)


def has_rows(tree: Tree) -> bool:
    """Say whether joining left a list of rows in place of a tensor somewhere, since lengths differ."""
    return any(isinstance(leaf, Rows) for leaf in _parts(tree))


def by_length(*trees: Tree) -> list[tuple[Tree, ...]]:
    """Return the trees once for the rows of each length, stacked, where joining left lists of rows.

    >>> rows = Rows([torch.ones(3), torch.ones(5), torch.ones(3)])
    >>> [(tuple(o.shape), y.tolist()) for o, y in by_length(rows, torch.tensor([0, 1, 2]))]
    [((2, 3), [0, 2]), ((1, 5), [1])]
    """
    parts = [leaf for tree in trees for leaf in _parts(tree)]
    count = max(len(leaf) for leaf in parts if isinstance(leaf, Rows))
    groups: dict[tuple[Any, ...], list[int]] = {}
    for row in range(count):
        groups.setdefault(tuple(tuple(leaf[row].shape) for leaf in parts if _stackable(leaf)), []).append(row)
    return [tuple(_picked(tree, rows) for tree in trees) for rows in groups.values()]


def every(tree: Tree, step: int, begin: int) -> Tree:
    """Return the rows `begin`, `begin + step`, ... of a joined tree.

    >>> every({"y": torch.arange(7), "scale": torch.tensor(2.0)}, step=3, begin=1)
    {'y': tensor([1, 4]), 'scale': tensor(2.)}
    """
    count = max((len(leaf) for leaf in _parts(tree) if _has_rows(leaf)), default=0)
    return _picked(tree, list(range(begin, count, step)))


def _has_rows(leaf: Any) -> bool:
    return is_rows(leaf) or (isinstance(leaf, Tensor) and leaf.dim() > 0)


def _picked(tree: Tree, rows: list[int]) -> Tree:
    def pick(path: str, leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return leaf[rows] if leaf.dim() else leaf
        if not is_rows(leaf):
            return leaf
        some = [leaf[row] for row in rows]
        return torch.stack(some) if _stackable(leaf) else Rows(some)

    return mapped_by_path(pick, tree)


def _parts(tree: Tree) -> list[Any]:
    found: list[Any] = []
    mapped_by_path(lambda path, leaf: found.append(leaf), tree)
    return found


def _stackable(leaf: Any) -> bool:
    return isinstance(leaf, Rows) and all(isinstance(row, Tensor) for row in leaf)
