from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from written import Function, check

IMAGE = torch.randn(2, 8, 6, 10, generator=torch.Generator().manual_seed(0))
CASES: dict[str, Callable[[Tensor], Tensor]] = {
    "views": lambda x: x.view(x.shape[0], 2, 4, 60).transpose(1, 2).reshape(-1, 8, 60).flatten(1),
    "unflatten": lambda x: x.unflatten(1, (2, -1)).unsqueeze(-1),
    "a batch in the middle": lambda x: x.permute(1, 0, 2, 3).reshape(4, 2 * x.shape[0], 60).reshape(8, -1, 6, 10)
    .permute(1, 0, 2, 3),
    "windows": lambda x: x.view(-1, 8, 2, 3, 2, 5).permute(0, 2, 4, 1, 3, 5).reshape(-1, 8 * 15).mean(1).view(-1, 4),
    "movedim": lambda x: x.movedim(1, -1).movedim((1, 2), (2, 1)),
    "cat, stack": lambda x: torch.cat([x, torch.stack([x, -x], 2).sum(2)], 1),
    "split, chunk, unbind": lambda x: torch.cat(x.split([3, 5], 1)[::-1], 1) + sum(x.unbind(1)[2:4])[:, None]
    + torch.cat(x.chunk(4, 1)[::-1], 1),
    "slices": lambda x: x[:, 1::2, :-1, 2:7] + x.narrow(1, 2, 4)[..., 1:6, 0:5] + x[:, 3:4, -5:, 5:],
    "select": lambda x: x[:, 0] + x[:, -1] + x.select(1, 2),
    "index": lambda x: x[:, torch.tensor([3, 0, 3])] + x.index_select(1, torch.tensor([1, 2, 4])),
    "rows by two indices": lambda x: x[torch.arange(x.shape[0])[:, None], torch.tensor([[0, 5]])],
    "gather": lambda x: x.gather(1, (x > 0).long()),
    "expand": lambda x: x.mean((2, 3), keepdim=True).expand_as(x) + x[:, :1].expand(-1, 8, -1, -1)
    + x[:, :, :1, :1].expand(x.shape[0], 8, 6, 10),
    "repeat": lambda x: x.repeat(1, 2, 1, 1) + torch.tile(x, (2, 1, 1)),
    "roll, flip": lambda x: x.roll((1, -2), (1, 3)) + x.flip(1, 3),
    "differences": lambda x: x.diff(dim=2) + torch.diff(x, dim=1, prepend=x[:, :1])[:, :, 1:],
    "padding": lambda x: functional.pad(x, (1, 2, 0, 1), value=3.0) + functional.pad(x, (1, 2, 0, 1), mode="reflect")
    + functional.pad(x, (1, 2, 0, 1), mode="replicate"),
    "made of the batch": lambda x: x + torch.ones(x.shape[0], 1, 1, 1) * torch.arange(x.shape[0]).view(-1, 1, 1, 1)
    + torch.full((x.shape[0], 1, 1, 10), 0.5) + x.new_zeros(x.shape) + torch.zeros_like(x),
    "triangles": lambda x: x.tril() - x.triu(2),
    "pixel shuffle": lambda x: functional.pixel_shuffle(x, 2),
    "channel shuffle": lambda x: functional.channel_shuffle(x, 4),
    "larger, nearest": lambda x: functional.interpolate(x, scale_factor=2) + 1,
    "other size, nearest": lambda x: functional.interpolate(x, size=(12, 5)),
    "other size": lambda x: functional.interpolate(x, size=(5, 17), mode="bilinear"),
    "other size, corners aligned": lambda x: functional.interpolate(x, (9, 20), mode="bilinear", align_corners=True),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operators(name: str) -> None:
    check(Function(CASES[name]), IMAGE)
