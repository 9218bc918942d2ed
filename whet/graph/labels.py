"""`Labels`: which elements of which tensor dimensions stand or fall together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Dim = NDArray[np.int64]
"""The labels of the elements of one tensor dimension."""

FROZEN = 0


class Labels:
    """Labels under equality, products and freezing.

    A label stands for a set of *leaves*; an element of a tensor is removed if any leaf of its label is cut.
    The empty set (`FROZEN`, label 0) can never be removed. `unify(x, y)` demands that two labels stand for
    the same set. A leaf that is found to vary along two dimensions of a reshape is *refined*: it becomes the
    product of two finer leaves. What cannot be expressed is frozen, which is always sound.

    >>> labels = Labels()
    >>> width = labels.fresh(6)
    >>> heads, features = labels.reshape([width], (2, 3))
    >>> [labels.leaves(int(x)) for x in width[:3]] == [(int(heads[0]), int(f)) for f in features]
    True
    """

    def __init__(self) -> None:
        self._parent = np.zeros(1024, np.int64)
        self._composite = np.zeros(1024, np.bool_)
        self._factors: dict[int, tuple[int, ...]] = {}
        self._products: dict[tuple[int, ...], int] = {}
        self.count = 1

    def fresh(self, size: int) -> Dim:
        """Return `size` new leaves; a dimension of one element is frozen, for cutting it would empty it."""
        return self._new(size) if size > 1 else np.zeros(size, np.int64)

    def _new(self, size: int) -> Dim:
        while self.count + size > len(self._parent):
            self._parent = np.concatenate([self._parent, np.zeros_like(self._parent)])
            self._composite = np.concatenate([self._composite, np.zeros_like(self._composite)])
        new = np.arange(self.count, self.count + size, dtype=np.int64)
        self._parent[new] = new
        self.count += size
        return new

    def roots(self, dim: Dim) -> Dim:
        """Return for each label of `dim`, (elements,), the one that stands for all labels equal to it."""
        root = self._parent[dim]
        while True:
            above = self._parent[root]
            if np.array_equal(above, root):
                return root
            root = above

    def _root(self, label: int) -> int:
        parent = self._parent
        while (above := int(parent[label])) != label:
            parent[label] = parent[above]
            label = above
        return label

    def leaves(self, label: int) -> tuple[int, ...]:
        """Return the distinct leaves that `label` stands for, outermost first."""
        root = self._root(label)
        if root == FROZEN:
            return ()
        factors = self._factors.get(root)
        if factors is None:
            return (root,)
        return tuple(dict.fromkeys(leaf for factor in factors for leaf in self.leaves(factor)))

    def columns(self, dim: Dim) -> Dim:
        """Return the leaves of each element of `dim` as rows of a matrix, filled up with FROZEN."""
        roots, inverse = np.unique(self.roots(dim), return_inverse=True)
        rows = [self.leaves(int(root)) for root in roots]
        matrix = np.zeros((len(rows), max([1, *map(len, rows)])), np.int64)
        for i, row in enumerate(rows):
            matrix[i, : len(row)] = row
        return matrix[inverse.reshape(-1)]

    def frozen(self, dim: Dim) -> bool:
        """Say whether no element of `dim` can be removed."""
        roots = self.roots(dim)
        return not roots.any() or not any(self.leaves(int(root)) for root in np.unique(roots))

    def freeze(self, *dims: Dim) -> None:
        """Make every element of `dims` one that can never be removed."""
        for dim in dims:
            for root in np.unique(self.roots(dim)):
                for leaf in self.leaves(int(root)):
                    self._parent[leaf] = FROZEN

    def common(self, dim: Dim) -> set[int]:
        """Return the leaves that every element of `dim` holds: one of them cut would empty it.

        >>> labels = Labels()
        >>> heads, features = labels.reshape([width := labels.fresh(6)], (2, 3))
        >>> labels.common(width[:3]) == {int(heads[0])}, labels.common(width)
        (True, set())
        """
        shared: set[int] | None = None
        for root in np.unique(self.roots(dim)):
            leaves = set(self.leaves(int(root)))
            shared = leaves if shared is None else shared & leaves
            if not shared:
                break
        return shared or set()

    def spread(self, gone: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return for each label whether any of its leaves is `gone`."""
        gone = gone.copy()
        for label in self._factors:
            gone[label] = any(gone[leaf] for leaf in self.leaves(label))
        return gone[self.roots(np.arange(self.count))]

    def unify(self, *dims: Dim) -> Dim:
        """Make the elements of equally long `dims` equal one by one, and return the first."""
        first = dims[0]
        for other in dims[1:]:
            if first is other:
                continue
            if len(first) != len(other):
                self.freeze(first, other)
                continue
            a, b = self.roots(first), self.roots(other)
            differ = a != b
            if differ.any():
                pairs = np.unique(np.stack([a[differ], b[differ]], 1), axis=0)
                if self._independent(pairs):
                    self._parent[pairs[:, 0]] = pairs[:, 1]
                else:
                    for x, y in pairs:
                        self._unify(int(x), int(y))
        return first

    def _independent(self, pairs: NDArray[np.int64]) -> bool:
        """Say whether each pair's first label is a leaf that no other pair names: one after another is all at once."""
        x, y = pairs.T
        if not x[0] or self._composite[pairs].any() or (x[1:] == x[:-1]).any():
            return False
        return not np.isin(y, x).any()

    def _unify(self, x: int, y: int) -> None:
        left, right = self.leaves(x), self.leaves(y)
        a = [leaf for leaf in left if leaf not in right]
        b = [leaf for leaf in right if leaf not in left]
        if len(a) == len(b):
            for p, q in zip(a, b, strict=True):
                self._parent[self._root(p)] = self._root(q)
        elif len(a) == 1 and b:
            self._parent[a[0]] = self.product(b)
        elif len(b) == 1 and a:
            self._parent[b[0]] = self.product(a)
        else:
            for leaf in a + b:
                self._parent[self._root(leaf)] = FROZEN

    def product(self, labels: Sequence[int]) -> int:
        """Return the label that stands for the union of the leaves of `labels`."""
        key = tuple(dict.fromkeys(leaf for label in labels for leaf in self.leaves(int(label))))
        if len(key) < 2:
            return key[0] if key else FROZEN
        if key not in self._products:
            new = int(self._new(1)[0])
            self._factors[new], self._composite[new] = key, True
            self._products[key] = new
        return self._products[key]

    def products(self, columns: Sequence[Dim]) -> Dim:
        """Return the elementwise product of equally long label arrays."""
        if len(columns) == 1:
            return columns[0]
        rows, inverse = np.unique(np.stack([self.roots(c) for c in columns], 1), axis=0, return_inverse=True)
        return np.array([self.product(row) for row in rows], np.int64)[inverse.reshape(-1)]

    def reshape(self, dims: Sequence[Dim], shape: Sequence[int]) -> list[Dim]:
        """Return the labels of the dimensions of a tensor after a reshape from `dims` to `shape`.

        Dimensions are grouped where both sides' cumulative sizes agree; within a group each column of leaves,
        laid out over the new shape, belongs to the axis along which it varies, and is refined if it varies
        along several.
        """
        result = [np.zeros(size, np.int64) for size in shape]
        ins = [dim for dim in dims if len(dim) != 1]
        outs = [i for i, size in enumerate(shape) if size != 1]
        if any(len(dim) == 0 for dim in ins):
            self.freeze(*ins)
            return result
        while ins and outs:
            group, axes = [ins.pop(0)], [outs.pop(0)]
            while (a := _size(group)) != (b := int(np.prod([shape[i] for i in axes]))):
                if a < b:
                    group.append(ins.pop(0))
                else:
                    axes.append(outs.pop(0))
            new = self._regroup(group, tuple(shape[i] for i in axes))
            for axis, dim in zip(axes, new, strict=True):
                result[axis] = dim
        return result

    def _regroup(self, group: list[Dim], shape: tuple[int, ...]) -> list[Dim]:
        if len(group) == len(shape) == 1:
            return [group[0]]
        if all(self.frozen(dim) for dim in group):
            return [np.zeros(size, np.int64) for size in shape]
        owned: list[list[Dim]] = [[] for _ in shape]
        for column in self._layout(group, shape):
            axes = _varies(column)
            if not axes:
                self.freeze(column.reshape(-1)[:1])
                continue
            corner = column[tuple(slice(None) if i in axes else 0 for i in range(len(shape)))]
            parts = [corner] if len(axes) == 1 else self._refine(corner)
            for axis, part in zip(axes, parts, strict=True):
                owned[axis].append(part)
        empty = [np.zeros(size, np.int64) for size in shape]
        return [self.products(parts) if parts else zero for parts, zero in zip(owned, empty, strict=True)]

    def _layout(self, group: list[Dim], shape: tuple[int, ...]) -> list[Dim]:
        """Return every column of leaves of `group`, spread over the merged elements, in `shape`."""
        sizes = tuple(len(dim) for dim in group)
        result = []
        for axis, dim in enumerate(group):
            for column in self.columns(dim).T:
                if column.any():
                    view = column.reshape([-1 if i == axis else 1 for i in range(len(sizes))])
                    result.append(np.broadcast_to(view, sizes).reshape(shape))
        return result

    def _refine(self, grid: Dim) -> list[Dim]:
        """Make the leaves of `grid` products of one fresh leaf an axis, and return those."""
        axes = [self.fresh(size) for size in grid.shape]
        index = np.indices(grid.shape).reshape(grid.ndim, -1)
        self.unify(grid.reshape(-1), self.products([axis[i] for axis, i in zip(axes, index, strict=True)]))
        return axes


def _size(dims: Sequence[Dim]) -> int:
    return int(np.prod([len(dim) for dim in dims]))


def _varies(grid: Dim) -> list[int]:
    """Return the axes along which `grid` is not constant."""
    return [i for i in range(grid.ndim) if (grid != grid.take([0], axis=i)).any()]
