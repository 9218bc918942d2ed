"""`TeacherMemory`: what the teacher said of a sample is computed once for all trainings that see that sample."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from whet.core.net import Net
from whet.support.structure import Tree, mapped, tensors

LIMIT_BYTES = 1 << 30
KEY_BYTES = 160
"""What a sample's hash and its place take, about: more than ten numbers of outputs."""


class TeacherMemory:
    """Keeps the outputs of one teacher by the content of each sample, so it is never wrong about which one it sees.

    The trainings of one optimization see the same samples: task and seed are the same; and where samples are not
    augmented, each epoch sees those of the one before. The teacher, a quarter to a half of the work, then costs a hash.
    What came first is kept when `limit_bytes` are full, since each training begins with the same batches. Inputs or
    outputs that have no row for each sample are kept by whole batches.

    >>> import whet
    >>> from whet.testing.networks import make
    >>> net = whet.lift(*make("encoder"))
    >>> memory = TeacherMemory(net)
    >>> x = net.example
    >>> torch.equal(memory.outputs(x, lambda: net(*x)), memory.outputs(x, lambda: 1 / 0))
    True
    """

    def __init__(self, teacher: Net, limit_bytes: int = LIMIT_BYTES) -> None:
        self.teacher = teacher
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._kept: dict[bytes, _Kept] = {}

    def outputs(self, inputs: tuple[Tensor, ...], compute: Callable[[], Tree]) -> Tree:
        """Return the teacher's outputs for `inputs`: those kept, or else what `compute` gives."""
        alike, computed = _alike(inputs), None
        if alike not in self._kept:
            computed = _detached(compute())
            rows = {len(t) if t.dim() else 0 for t in (*inputs, *tensors(computed))}
            self._kept[alike] = _Kept(computed, by_row=len(rows) == 1 and rows != {0})
        kept = self._kept[alike]
        keys = kept.keys(inputs)
        if all(key in kept.places for key in keys):
            return kept.at([kept.places[key] for key in keys])
        computed = _detached(compute()) if computed is None else computed
        self._add(kept, keys, computed)
        return computed

    def _add(self, kept: _Kept, keys: Sequence[bytes], computed: Tree) -> None:
        """Keep what is not known yet of a batch's outputs, as far as there is room."""
        size = sum(t.nbytes for t in tensors(computed)) // len(keys) + KEY_BYTES
        room = (self.limit_bytes - self.used_bytes) // size
        new = {key: row for row, key in enumerate(keys) if key not in kept.places}
        taken = dict(list(new.items())[: max(room, 0)])
        if taken:
            kept.add(taken, computed)
            self.used_bytes += size * len(taken)


class _Kept:
    """Outputs of inputs of one kind: rows of tensors that grow or, where samples have no rows, whole batches."""

    def __init__(self, example: Tree, by_row: bool) -> None:
        self.example, self.by_row = example, by_row
        self.places: dict[bytes, int] = {}
        self._rows: list[Tensor] = []
        self._batches: list[Tree] = []

    def keys(self, inputs: tuple[Tensor, ...]) -> list[bytes]:
        """Return a hash of the elements of each sample, or one of all of them."""
        flat = [x.detach().contiguous() for x in inputs]
        pieces = [x.view(len(x) if self.by_row else 1, -1).view(torch.uint8).numpy() for x in flat]
        shapes = b"" if self.by_row else repr([tuple(x.shape) for x in flat]).encode()
        found = []
        for parts in zip(*pieces, strict=True):
            digest = hashlib.blake2b(shapes, digest_size=16)
            for part in parts:
                digest.update(part.data)
            found.append(digest.digest())
        return found

    def add(self, rows: dict[bytes, int], computed: Tree) -> None:
        """Keep rows of a batch's outputs by their hashes."""
        begin = len(self.places)
        self.places.update({key: begin + i for i, key in enumerate(rows)})
        if not self.by_row:
            self._batches.append(mapped(lambda t: t.clone() if isinstance(t, Tensor) else t, computed))
            return
        chosen, end = torch.tensor(list(rows.values())), len(self.places)
        leaves = tensors(computed)
        self._rows = self._rows or [leaf.new_empty(0, *leaf.shape[1:]) for leaf in leaves]
        for i, leaf in enumerate(leaves):
            if end > len(self._rows[i]):  # doubled, so that it is rarely copied
                self._rows[i] = torch.cat([self._rows[i], leaf.new_empty(end, *leaf.shape[1:])])
            self._rows[i][begin:end] = leaf[chosen]

    def at(self, places: Sequence[int]) -> Tree:
        """Return the outputs at places, as the teacher returns them."""
        if not self.by_row:
            return self._batches[places[0]]
        found = iter([rows[torch.tensor(places)] for rows in self._rows])
        return mapped(lambda leaf: next(found) if isinstance(leaf, Tensor) else leaf, self.example)


def _alike(inputs: tuple[Tensor, ...]) -> bytes:
    """Return what outputs kept together have in common: dtypes, shapes of samples, the precision of autocast."""
    shapes = [(str(x.dtype), tuple(x.shape[1:]), x.dim()) for x in inputs]
    return repr((shapes, torch.is_autocast_enabled("cpu"))).encode()


def _detached(tree: Tree) -> Tree:
    return mapped(lambda t: t.detach() if isinstance(t, Tensor) else t, tree)
