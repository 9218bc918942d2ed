"""Zeros among weights: which layers hold theirs, which values are the largest, how many numbers a network has left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

PRUNED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""The layers whose weights can have zeros that are held."""
HOLDS = "holds_zeros"


def hold(layer: nn.Module) -> None:
    """Mark a layer: weights of it that are zero stay so, when it is solved again and when it is trained."""
    setattr(layer, HOLDS, True)


def holds(layer: nn.Module) -> bool:
    """Say whether a layer holds its zeros. A copy does, and so does what quantization makes of it."""
    return bool(getattr(layer, HOLDS, False))


def held_weights(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the weights of the layers that hold their zeros, by the layer's name."""
    return {name: layer.get_parameter("weight") for name, layer in module.named_modules() if holds(layer)}


def zeros_of(layer: nn.Module) -> int:
    """Return how many zeros a layer holds."""
    if not holds(layer):
        return 0
    weight = layer.get_parameter("weight")
    return weight.numel() - int(torch.count_nonzero(weight))


def sparser(module: nn.Module, than: nn.Module) -> set[str]:
    """Return the layers that hold more zeros than those of the same name in another network."""
    before = dict(than.named_modules())
    return {n for n, layer in module.named_modules() if n in before and zeros_of(layer) > zeros_of(before[n])}


def numbers_stored(module: nn.Module) -> float:
    """Return how many numbers a file of a network holds: all but zeros that are held, which cost a bit each weight.

    >>> layer = nn.Linear(32, 2, bias=False)
    >>> layer.weight.data[0] = 0.0
    >>> hold(layer)
    >>> numbers_stored(nn.Sequential(layer))
    34.0
    """
    total = float(sum(p.numel() for p in module.parameters()))
    for weight in held_weights(module).values():
        total -= max(0.0, weight.numel() * (1 - 1 / 32) - float(torch.count_nonzero(weight)))
    return total


def largest(weights: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return which weights are left where so large a share of them all goes, those of least magnitude: true is left.

    floor(share * count + 1/2) go; of equal ones the first. Shapes are those of the weights.

    >>> largest({"a": torch.tensor([[1.0, -4.0]]), "b": torch.tensor([[-2.0, 3.0]])}, 0.5)
    {'a': tensor([[False,  True]]), 'b': tensor([[False,  True]])}
    """
    count = int(share * sum(w.numel() for w in weights.values()) + 0.5)
    return {name: ~gone for name, gone in least({n: w.detach().abs() for n, w in weights.items()}, count).items()}


def least(numbers: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Return which are the `count` least numbers of all tensors together, true, of each tensor's shape.

    Of equal ones the first.

    >>> least({"a": torch.tensor([3.0, 1.0]), "b": torch.tensor([2.0])}, 2)
    {'a': tensor([False,  True]), 'b': tensor([True])}
    """
    flat = torch.cat([x.flatten() for x in numbers.values()])
    found = torch.zeros(len(flat), dtype=torch.bool)
    found[torch.argsort(flat, stable=True)[:count]] = True
    parts = torch.split(found, [x.numel() for x in numbers.values()])
    return {name: part.view(x.shape) for (name, x), part in zip(numbers.items(), parts, strict=True)}


def largest_of_groups(weight: Tensor, share: float, group: int) -> Tensor:
    """Return which weights are left where of every `group` that follow one another in an output so large a share goes.

    Raises: ValueError where the group does not divide the weights of an output.

    >>> largest_of_groups(torch.tensor([[3.0, 1.0, -2.0, 0.5]]), 0.5, 4)
    tensor([[ True, False,  True, False]])
    """
    rows = weight.detach().abs().flatten(1)
    if rows.shape[1] % group:
        raise ValueError(f"groups of {group} do not divide the {rows.shape[1]} weights of an output")
    rows = rows.reshape(-1, group)
    left = torch.ones_like(rows, dtype=torch.bool)
    left.scatter_(1, torch.argsort(rows, dim=1, stable=True)[:, : int(share * group + 0.5)], False)
    return left.view(weight.shape)


def chosen(weights: Mapping[str, Tensor], share: float, group: int = 0, each: bool = False) -> dict[str, Tensor]:
    """Return which weights are left: of all together, of `each` layer, or of every `group` of a layer.

    Shapes are those of the weights. A layer whose outputs the group does not divide is left out.
    """
    if group:
        fitting = {name: w for name, w in weights.items() if w[0].numel() % group == 0}
        return {name: largest_of_groups(w, share, group) for name, w in fitting.items()}
    if each:
        return {name: largest({name: w}, share)[name] for name, w in weights.items()}
    return largest(weights, share) if weights else {}


@torch.no_grad()
def masked(weights: Mapping[str, Tensor], left: Mapping[str, Tensor]) -> None:
    """Set to zero, in place, what is not left; each mask has its weight's shape, and weights without one stay."""
    for name, mask in left.items():
        weights[name].mul_(mask)


def sites(layers: Mapping[str, nn.Module], least: int) -> Sequence[str]:
    """Return the layers with at least so many weights that can have zeros, by name."""
    return [
        n for n, layer in layers.items() if type(layer) in PRUNED and layer.get_parameter("weight").numel() >= least
    ]
