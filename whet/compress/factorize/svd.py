"""Low rank: a linear layer or convolution as two, of the least error on the inputs that it reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from whet.compress.moments import Moments, inputs_of, moments
from whet.core.net import Net
from whet.core.passes import Result, Traits, changes
from whet.core.run import Run
from whet.core.space import Choice, Decision, Space
from whet.core.target import Target
from whet.graph.factors import FIRST, SECOND, put_chain
from whet.graph.fractions import aligned, all_alike, check_fractions
from whet.graph.readers import Reader, find_readers

GONE = "no layer of that name is left that can have a lower rank."
RIDGE = 1e-7
"""The least variance that a direction is taken to have, in shares of the largest: what inputs never show."""


@dataclass(frozen=True)
class Svd:
    """Replace W x + b by U (V x) + b' of rank r: `SITE:rank` in `fractions`, identity 1.0, the whole layer.

        min E|W x - U V x - c|^2:   U V = [W S]_r S^-1,   c = (W - U V) E x,   S S = E (x - E x)(x - E x)^T

    [.]_r keeps the r largest singular values; the error is the sum of the squares of the others. Without a bias c has
    no place, and moments are about zero. A fraction q is of the rank at which two layers cost what the one did, so q of
    the multiply-accumulates and weights stay: r = q out d / (out + d) for W of shape (out, d), in steps of `round_to`.
    A k x k convolution becomes one to r channels, which keeps kernel, stride and padding, and a 1 x 1 one.

    Treated are linear layers and undivided 2d convolutions of at least `least` weights. Needs inputs, no labels.
    Raises: DecisionError for fractions that are no fractions or lack 1; CalibrationError where the task has no inputs.
    Paper: Wang et al. 2025, SVD-LLM, whose whitening by a Cholesky factor of the moments gives the same product.
    """

    fractions: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    samples: int = 256
    round_to: int = 8
    least: int = 4096
    paper = "wang2025svdllm"
    traits = Traits("structure", needs=("calibration",))

    def __post_init__(self) -> None:
        check_fractions(self.fractions)

    def space(self, net: Net, target: Target) -> Space:
        return Space([Choice(f"{site}:rank", self.fractions, 1.0) for site in self._readers(net)])

    def obvious(self, net: Net, target: Target) -> list[Decision]:
        """Return each fraction for all layers at once, the largest first."""
        return all_alike([f"{site}:rank" for site in self._readers(net)], self.fractions)

    def damages(self, net: Net, run: Run) -> dict[str, list[float]]:
        """Return by choice the error of each rank, in shares of the variance of the layer's outputs."""
        readers = self._readers(net)
        found = dict[str, list[float]]()
        for site, known in self._moments(net, readers.values(), run).items():
            energy = torch.linalg.svdvals(_whitened(readers[site].matrix(net)[0], known)[0]).square()
            ranks = [self.rank(readers[site].matrix(net)[0], f) for f in self.fractions]
            lost = [0.0 if f == 1.0 else float(energy[r:].sum()) for f, r in zip(self.fractions, ranks, strict=True)]
            found[f"{site}:rank"] = [e / max(float(known.yy.sum()), 1e-30) for e in lost]
        return found

    def shares(self, net: Net, run: Run) -> dict[str, list[dict[str, float]]]:
        """Return by choice, for each of its values, the share of its operations that it leaves the layer."""
        found = dict[str, list[dict[str, float]]]()
        for site, reader in self._readers(net).items():
            out, d = reader.matrix(net)[0].shape
            left = [1.0 if f == 1.0 else self.rank(reader.matrix(net)[0], f) * (out + d) / (out * d)
                    for f in self.fractions]  # fmt: skip
            found[f"{site}:rank"] = [{site: share} for share in left]
        return found

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        wanted = {n.rpartition(":")[0]: float(q) for n, q in decision.items() if n.endswith(":rank") and q != 1.0}
        smaller, readers = net.copy(), self._readers(net)
        skipped = dict.fromkeys(wanted.keys() - readers.keys(), GONE)
        chosen = {site: readers[site] for site in wanted if site in readers}
        known = self._moments(net, chosen.values(), run)
        texts = {}
        for site, reader in chosen.items():
            matrix = reader.matrix(net)[0]
            rank = self.rank(matrix, wanted[site])
            if site not in known:
                skipped[site] = "it has more inputs than moments are taken of."
                continue
            _replace(smaller, site, *low_rank(matrix, known[site], rank))
            texts[site] = f"rank {rank} of {min(matrix.shape)}"
        return Result(smaller.settle(), changes("lower rank", texts), skipped)

    def rank(self, matrix: Tensor, fraction: float) -> int:
        """Return the rank at which two layers take `fraction` of the operations of one; halves round up."""
        even = matrix.numel() / sum(matrix.shape)
        return aligned(even, fraction, self.fractions, self.round_to, min(map(int, matrix.shape)))

    def _readers(self, net: Net) -> dict[str, Reader]:
        layers = net.layers()
        return {r.site: r for r in find_readers(net)[0].values() if self._treats(layers.get(r.site))}

    def _treats(self, layer: nn.Module | None) -> bool:
        plain = type(layer) is nn.Linear or (type(layer) is nn.Conv2d and layer.groups == 1)
        return plain and layer is not None and layer.get_parameter("weight").numel() >= self.least

    def _moments(self, net: Net, readers: Iterable[Reader], run: Run) -> dict[str, Moments]:
        readers = list(readers)
        found = moments(net, inputs_of(run.task, self.samples), readers) if readers else {}
        return {r.site: found[r.site] if r.bias else found[r.site].raw() for r in readers if r.site in found}


def _whitened(matrix: Tensor, known: Moments) -> tuple[Tensor, Tensor]:
    """Return W S and S^-1 for the symmetric root S of the moments."""
    values, vectors = torch.linalg.eigh(known.xx[0])
    values = values.clamp(min=max(RIDGE * float(values[-1]), 1e-30))
    root, inverse = (vectors * values**power @ vectors.T for power in (0.5, -0.5))
    return matrix.double() @ root, inverse


def low_rank(matrix: Tensor, known: Moments, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return U `(out, rank)`, V `(rank, d)` and what the bias gains, of the least error on inputs of such moments."""
    whitened, inverse = _whitened(matrix, known)
    left, values, right = torch.linalg.svd(whitened, full_matrices=False)
    scale = values[:rank].sqrt()
    first, second = (scale[:, None] * right[:rank]) @ inverse, left[:, :rank] * scale
    shift = (matrix.double() - second @ first) @ known.mean[0]
    return second.float(), first.float(), shift.float()


def _replace(net: Net, site: str, second: Tensor, first: Tensor, shift: Tensor) -> None:
    """Put two layers in the place of one, `SITE.reduce` and `SITE.expand`."""
    layer = net.layer(site)
    bias = None if layer.bias is None else layer.get_parameter("bias").detach() + shift
    put_chain(net, site, {FIRST: _made(layer, first, None), SECOND: _made(layer, second, bias, outer=True)})


def _made(layer: nn.Module, matrix: Tensor, bias: Tensor | None, outer: bool = False) -> nn.Module:
    """Return a layer of the kind of another with a new matrix; an `outer` convolution looks at single positions."""
    out, d = matrix.shape
    if isinstance(layer, nn.Linear):
        made: nn.Module = nn.Linear(d, out, bias is not None)
    else:
        assert isinstance(layer, nn.Conv2d)
        like = {} if outer else {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation,
                                 "padding_mode": layer.padding_mode}  # fmt: skip
        kernel = (1, 1) if outer else layer.kernel_size
        channels = d if outer else layer.in_channels
        made = nn.Conv2d(channels, out, kernel, bias=bias is not None, **like)  # type: ignore[arg-type]
    made.weight = nn.Parameter(matrix.reshape(made.get_parameter("weight").shape).contiguous())
    if bias is not None:
        made.bias = nn.Parameter(bias)
    return made
