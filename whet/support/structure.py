"""Inputs, outputs and targets of any shape: tensors in tuples, lists, dictionaries and dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Tree = Any
"""A tensor, or a tuple, list, dictionary or dataclass of trees; other values are leaves that nobody touches."""


def tensors(tree: Tree) -> list[Tensor]:
    """Return the tensors of a tree, of any shapes, in its order.

    >>> [t.item() for t in tensors({"logits": torch.tensor(1), "state": (torch.tensor(2), None)})]
    [1, 2]
    """
    return [value for _, value in items(tree) if isinstance(value, Tensor)]


def items(tree: Tree, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each leaf with its dotted path: keys, field names and positions.

    >>> [name for name, _ in items({"logits": 0, "state": (1, 2)})]
    ['logits', 'state.0', 'state.1']
    """
    children = parts_of(tree)
    if children is None:
        yield path, tree
        return
    for key, child in children:
        yield from items(child, f"{path}.{key}" if path else str(key))


def mapped(function: Callable[[Any], Any], tree: Tree) -> Tree:
    """Return a tree of the same kind whose leaves are `function` of the old ones.

    >>> mapped(lambda x: x + 1, {"a": 1, "b": [2, 3]})
    {'a': 2, 'b': [3, 4]}
    """
    return zipped(lambda leaf: function(leaf), tree)


def mapped_by_path(
    function: Callable[[str, Any], Any], tree: Tree, is_leaf: Callable[[Any], bool] | None = None, path: str = ""
) -> Tree:
    """Return a tree of the same kind whose leaves are `function(path, leaf)`; `is_leaf` stops at more, by default rows.

    >>> mapped_by_path(lambda path, leaf: path, {"a": 1, "b": [2, 3]})
    {'a': 'a', 'b': ['b.0', 'b.1']}
    """
    children = None if (is_leaf or is_rows)(tree) else parts_of(tree)
    if children is None:
        return function(path, tree)
    inner = ((key, child, f"{path}.{key}" if path else str(key)) for key, child in children)
    return _like(tree, {key: mapped_by_path(function, child, is_leaf, place) for key, child, place in inner})


def zipped(function: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """Return a tree like the first whose leaves are `function` of the leaves at one place of all trees.

    Raises: ValueError, naming the place, where the trees have not the same keys or lengths.
    """
    children = parts_of(tree)
    if children is None:
        return function(tree, *others)
    parts = [dict(parts_of(other) or ()) for other in others]
    for part in parts:
        if part.keys() != dict(children).keys():
            raise ValueError(f"one has {sorted(map(str, dict(children)))}, another {sorted(map(str, part))}")
    made = {key: zipped(function, child, *(part[key] for part in parts)) for key, child in children}
    return _like(tree, made)


def joined(trees: Sequence[Tree]) -> Tree:
    """Return one tree of all rows: tensors are concatenated in dimension 0, the batch.

    A list with one entry a row (as detection loaders give them) is a leaf here, and the lists are put end to end; so
    are tensors whose other dimensions differ from batch to batch, row by row, as a list of tensors.

    >>> joined([{"y": torch.ones(2, 3)}, {"y": torch.ones(1, 3)}])["y"].shape
    torch.Size([3, 3])
    """
    first = trees[0]
    if isinstance(first, Tensor):
        if any(t.dim() == 0 for t in trees):
            return torch.stack([t.reshape(()) for t in trees])
        if all(t.shape[1:] == first.shape[1:] for t in trees):
            return torch.cat(list(trees))
        return Rows(row for t in trees for row in t)
    if is_rows(first):
        return Rows(row for tree in trees for row in tree)
    children = parts_of(first)
    if children is None:
        return first
    made = {key: joined([dict(parts_of(tree) or ())[key] for tree in trees]) for key, _ in children}
    return _like(first, made)


class Rows(list[Any]):
    """A list that is known to hold one entry a row, whatever the entries are: tensors of different lengths."""


def is_rows(tree: Tree) -> bool:
    """Say whether a list holds one entry a row: dictionaries or strings, or anything in `Rows`.

    >>> is_rows([{"boxes": torch.ones(2, 4)}, {"boxes": torch.ones(1, 4)}]), is_rows([torch.ones(3), torch.ones(3)])
    (True, False)
    """
    if isinstance(tree, Rows):
        return True
    return isinstance(tree, list) and bool(tree) and all(isinstance(row, Mapping | str) for row in tree)


def parts_of(tree: Tree) -> list[tuple[Any, Any]] | None:
    """Return keys and children of an inner node, or None for a leaf."""
    if isinstance(tree, Mapping):
        return list(tree.items())
    if isinstance(tree, tuple | list) and not isinstance(tree, torch.Size):
        names = getattr(tree, "_fields", None) or range(len(tree))
        return list(zip(names, tree, strict=True))
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return [(f.name, getattr(tree, f.name)) for f in dataclasses.fields(tree)]
    return None


def _like(tree: Tree, children: Mapping[Any, Any]) -> Tree:
    """Return a node of the kind of `tree` with other children."""
    make: Any = type(tree)
    if make is dict:
        return dict(children)
    if isinstance(tree, Mapping) or dataclasses.is_dataclass(tree):
        return make(**children)
    return make(*children.values()) if hasattr(tree, "_fields") else make(children.values())
