"""All networks that the axes are tested on: structures, architectures, tiny models."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path

import torch
from models import MODELS, tiny
from silence import in_double
from structures import STRUCTURES, Sample, build

import whet
from whet.core.net import Net
from whet.graph.axes import Axes, analyze
from whet.testing.networks import make

sys.path.insert(0, str(Path(__file__).parents[1]))
architectures = import_module("architectures")
SUITE = ("unet", "decoder", "encoder_parallel")


def from_suite(name: str) -> Sample:
    return make(name.removeprefix("suite_"))


SOURCES: dict[str, Callable[[str], Sample]] = {
    **dict.fromkeys(STRUCTURES, build),
    **dict.fromkeys(architectures.ARCHITECTURES, architectures.build),
    **dict.fromkeys(MODELS, tiny),
    **dict.fromkeys((f"suite_{name}" for name in SUITE), from_suite),
}
"""Every network by name, with what builds it: small structures, architectures, more models, a few of the suites'."""


def disturb(net: Net) -> None:
    """Make every parameter and statistic matter: nothing is left at zero or one."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(0.1 * noise)
        for name, buffer in net.module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.3 * torch.randn(buffer.shape, generator=generator))
            if name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))


@cache
def prepared(name: str) -> tuple[Net, Axes]:
    known = name in architectures.ARCHITECTURES
    net = in_double(architectures.lifted(name)[2] if known else whet.lift(*SOURCES[name](name)))
    disturb(net)
    return net, analyze(net)
