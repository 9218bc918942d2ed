"""What a cache asks the process beside it, and what that answers: two kinds of messages of fixed sizes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from whet.agents.cache.eviction import Question

COLUMNS = 6
HEAD, ANSWER = struct.Struct("<II q"), struct.Struct("<IQ")
"""A question begins with its number, how many candidates it has and the bytes that are needed; sizes (K,) in int64 and
features (K, 6) in float32 follow. An answer is the question's number and a mask of victims, 0 for none."""
MOST_CANDIDATES = 64


@dataclass(frozen=True)
class Numbered:
    """A question with its number."""

    number: int
    question: Question


def size_bytes(candidates: int) -> int:
    """Return how long a question of so many candidates is.

    >>> size_bytes(16)
    528
    """
    return HEAD.size + candidates * (8 + 4 * COLUMNS)


def packed(asked: Numbered) -> bytes:
    """Return a question as bytes."""
    q = asked.question
    head = HEAD.pack(asked.number, len(q.sizes_bytes), q.needed_bytes)
    return head + q.sizes_bytes.astype("<i8").tobytes() + q.features.astype("<f4").tobytes()


def unpacked(data: bytes) -> Numbered:
    """Return the question that bytes tell: features (K, 6) and sizes (K,).

    Raises: ValueError where they are not as many as they say.
    """
    number, candidates, needed = HEAD.unpack_from(data)
    if not 0 < candidates <= MOST_CANDIDATES or len(data) != size_bytes(candidates):
        raise ValueError(f"{len(data)} bytes are no question of {candidates} candidates")
    sizes = np.frombuffer(data, "<i8", candidates, HEAD.size)
    features = np.frombuffer(data, "<f4", candidates * COLUMNS, HEAD.size + 8 * candidates)
    return Numbered(number, Question(features.reshape(candidates, COLUMNS), sizes, needed))


def sound(mask: int, question: Question) -> bool:
    """Say whether a mask names something, and candidates only."""
    there = sum(1 << i for i, size in enumerate(question.sizes_bytes.tolist()) if size > 0)
    return mask != 0 and mask & ~there == 0
