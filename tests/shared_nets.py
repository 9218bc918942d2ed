"""The networks of the suites of passes, lifted once for all tests of a process: it takes longer than most tests."""

from __future__ import annotations

from functools import cache

import torch

import whet
from whet.testing.networks import make


def shared_net(name: str) -> whet.Net:
    """Return a copy of network `name` of `whet.testing.networks`; the seed is what it is after building it anew."""
    net, state = _lifted(name)
    torch.set_rng_state(state)
    return net.copy()


@cache
def _lifted(name: str) -> tuple[whet.Net, torch.Tensor]:
    net = whet.lift(*make(name))
    return net, torch.get_rng_state()
