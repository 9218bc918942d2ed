"""`TeacherMemory`: what the teacher said of a batch is computed once for all trainings that see that batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

from whet.core.net import Net
from whet.support.structure import Tree, mapped, tensors

LIMIT_BYTES = 1 << 30


class TeacherMemory:
    """Keeps the outputs of one teacher by the content of its inputs, so it is never wrong about which batch it sees.

    The trainings of one optimization see the same batches in the same order: task and seed are the same. From the
    second training on the teacher, a quarter to a half of the work, costs a hash. What came first is kept when
    `limit_bytes` are full, since each training begins with the same batches.

    >>> from whet.testing.networks import make
    >>> net = make("mlp")
    >>> memory = TeacherMemory(net)
    >>> x = net.example
    >>> torch.equal(memory.outputs(x, lambda: net(*x)), memory.outputs(x, lambda: 1 / 0))
    True
    """

    def __init__(self, teacher: Net, limit_bytes: int = LIMIT_BYTES) -> None:
        self.teacher = teacher
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._kept: dict[bytes, Tree] = {}

    def outputs(self, inputs: tuple[Tensor, ...], compute: Callable[[], Tree]) -> Tree:
        """Return the teacher's outputs for `inputs`: those kept, or else what `compute` gives."""
        key = _digest(inputs)
        if key not in self._kept:
            computed = compute()
            size = sum(t.nbytes for t in tensors(computed))
            if self.used_bytes + size > self.limit_bytes:
                return computed
            self._kept[key] = mapped(lambda t: t.detach().clone() if isinstance(t, Tensor) else t, computed)
            self.used_bytes += size
        return self._kept[key]


def _digest(inputs: tuple[Tensor, ...]) -> bytes:
    """Return a hash of dtypes, shapes and elements, and of the precision that autocast gives."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr([(str(x.dtype), tuple(x.shape)) for x in inputs]).encode())
    digest.update(str(torch.is_autocast_enabled("cpu")).encode())
    for x in inputs:
        digest.update(x.detach().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.digest()
