"""Convolutions as sums of rank-one terms of bounded sensitivity: a 1 x 1 layer, one kernel a term, a 1 x 1 layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from whet.core.checks import whole
from whet.core.net import Net
from whet.core.passes import Result, Traits, changes
from whet.core.run import Run
from whet.core.space import Choice, Decision, Space
from whet.core.target import Target
from whet.graph.factors import FIRST, SECOND, put_chain
from whet.graph.fractions import aligned, all_alike, check_fractions
from whet.graph.readers import find_readers

MIDDLE = "kernel"
GONE = "no convolution of that name is left that can be a sum of rank-one terms."
EXACT = 1e-14
"""Of the kernel's energy: an error below it is rounding."""
HALVINGS = 60
Factors = tuple[Tensor, Tensor, Tensor]
"""A `(out, r)`, B `(in, r)` and C `(kernel, r)` of sum_r a_r o b_r o c_r."""


@dataclass(frozen=True)
class CanonicalPolyadic:
    """Replace a k x k convolution by three: `SITE:terms` in `fractions`, identity 1.0, the layer as it is.

        K[t, s, p] ~ sum_r a_r[t] b_r[s] c_r[p]:   1 x 1 to r channels (B), k x k on each of them (C), 1 x 1 (A)

    Sums of rank-one terms that come near to a kernel are often large and cancel each other, the nearer the larger; such
    networks neither train nor round well. So, by turns, alternating least squares looks for the least error, and for
    the error e that it reached the factors of the least sensitivity are taken, one factor after the other:

        min ss  s.t.  |K - K'|^2 <= e,    ss = sum_r T |b_r|^2 |c_r|^2 + S |a_r|^2 |c_r|^2 + P |a_r|^2 |b_r|^2

    ss is the expected squared error of the kernel when all factors have noise of variance 1, T, S and P its sizes. Each
    factor is a ridge regression whose ridge is the largest that the bound allows. At the end factors are balanced.

    A fraction q is of the number of terms at which three layers cost what the one did, so q of the multiply-accumulates
    stay: r = q T S P / (S s + P + T), s the product of the strides, in steps of `round_to`. Treated are undivided 2d
    convolutions of more than one position and at least `least` weights. Needs no data: what is left of the error a
    search solves into the last layer (`compress.repair`).

    Paper: Phan et al. 2020, Stable Low-rank Tensor Decomposition for Compression of Convolutional Neural Network. There
    the number of terms is searched by layer and a Tucker decomposition may come first; here ranks are choices.
    Raises: DecisionError for fractions that are no fractions or lack 1; ValueRangeError for fewer than one round.
    """

    fractions: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    rounds: int = 4
    sweeps: int = 25
    round_to: int = 8
    least: int = 4096
    paper = "phan2020stable"
    traits = Traits("structure")

    def __post_init__(self) -> None:
        check_fractions(self.fractions)
        whole("rounds", self.rounds), whole("sweeps", self.sweeps)

    def space(self, net: Net, target: Target) -> Space:
        return Space([Choice(f"{site}:terms", self.fractions, 1.0) for site in self._sites(net)])

    def obvious(self, net: Net, target: Target) -> list[Decision]:
        """Return each fraction for all layers at once, the largest first."""
        return all_alike([f"{site}:terms" for site in self._sites(net)], self.fractions)

    def shares(self, net: Net, run: Run) -> dict[str, list[dict[str, float]]]:
        """Return by choice, for each of its values, the share of its operations that it leaves the layer."""
        found = dict[str, list[dict[str, float]]]()
        for site, layer in self._sites(net).items():
            left = [1.0 if f == 1.0 else self.terms(layer, f) / _even(layer) for f in self.fractions]
            found[f"{site}:terms"] = [{site: share} for share in left]
        return found

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        wanted = {n.rpartition(":")[0]: float(q) for n, q in decision.items() if n.endswith(":terms") and q != 1.0}
        smaller, sites = net.copy(), self._sites(net)
        skipped, texts = dict.fromkeys(wanted.keys() - sites.keys(), GONE), {}
        for site in (s for s in wanted if s in sites):
            layer = sites[site]
            kernel = layer.weight.detach().double().flatten(2)
            terms = self.terms(layer, wanted[site])
            factors = stable(kernel, terms, self.rounds, self.sweeps)
            put_chain(smaller, site, _chain(layer, factors))
            lost = error(kernel, factors) / max(float(kernel.square().sum()), 1e-30)
            texts[site] = f"{terms} terms of rank one, {lost:.1%} of the kernel's energy lost"
        return Result(smaller.settle(), changes("lower rank", texts), skipped)

    def terms(self, layer: nn.Conv2d, fraction: float) -> int:
        """Return how many terms take `fraction` of the operations of the layer."""
        out, inside, kernel = layer.weight.flatten(2).shape
        most = out * inside * kernel // max(out, inside, kernel)
        return aligned(_even(layer), fraction, self.fractions, self.round_to, most)

    def _sites(self, net: Net) -> dict[str, nn.Conv2d]:
        layers = net.layers()
        found = {r.site: layers.get(r.site) for r in find_readers(net)[0].values()}
        return {n: x for n, x in found.items() if type(x) is nn.Conv2d and x.groups == 1 and self._large(x.weight)}

    def _large(self, weight: Tensor) -> bool:
        return weight.numel() >= self.least and weight[0, 0].numel() > 1


def _even(layer: nn.Conv2d) -> float:
    """Return the number of terms at which three layers cost what the one does."""
    out, inside, kernel = layer.weight.flatten(2).shape
    return out * inside * kernel / (inside * math.prod(layer.stride) + kernel + out)


def stable(kernel: Tensor, terms: int, rounds: int, sweeps: int, seed: int = 0) -> Factors:
    """Return factors of a kernel `(out, in, positions)` whose sensitivity is low for their error, balanced."""
    factors = started(kernel, terms, seed)
    for _ in range(rounds):
        factors = least_squares(kernel, factors, sweeps)
        factors = stabilized(kernel, factors, error(kernel, factors), max(1, sweeps // 5))
    return balanced(factors)


def started(kernel: Tensor, terms: int, seed: int = 0) -> Factors:
    """Return the leading singular vectors of each side of a kernel, and noise where there are too few.

    Shapes: kernel `(out, in, positions)`; `(out, terms)`, `(in, terms)`, `(positions, terms)`.
    """
    generator = torch.Generator().manual_seed(seed)

    def side(dim: int) -> Tensor:
        left = torch.linalg.svd(kernel.movedim(dim, 0).flatten(1), full_matrices=False).U[:, :terms]
        noise = torch.randn(len(left), terms - left.shape[1], generator=generator).to(left) / len(left) ** 0.5
        return torch.cat([left, noise], 1)

    return side(0), side(1), side(2)


def summed(factors: Factors) -> Tensor:
    """Return sum_r a_r o b_r o c_r, `(out, in, positions)`."""
    return torch.einsum("ar,br,cr->abc", *factors)


def error(kernel: Tensor, factors: Factors) -> float:
    """Return |K - sum_r a_r o b_r o c_r|^2 of a kernel `(out, in, positions)`."""
    return float((kernel - summed(factors)).square().sum())


def sensitivity(factors: Factors) -> float:
    """Return sum_r T |b_r|^2 |c_r|^2 + S |a_r|^2 |c_r|^2 + P |a_r|^2 |b_r|^2, T, S and P being the sizes.

    >>> a, b, c = torch.ones(2, 1), torch.ones(3, 1), torch.ones(4, 1)
    >>> sensitivity((a, b, c)) == 2 * 12 + 3 * 8 + 4 * 6
    True
    """
    return float(sum((factor.square().sum(0) * weights).sum() for factor, weights in _weighed(factors))) / 2


def _weighed(factors: Factors) -> list[tuple[Tensor, Tensor]]:
    """Return each factor X with w: what of the sensitivity X is in is sum_r w_r |x_r|^2, `(terms,)`."""
    squares, sizes = [f.square().sum(0) for f in factors], [len(f) for f in factors]
    others = [(1, 2), (0, 2), (0, 1)]
    return [(f, sizes[j] * squares[i] + sizes[i] * squares[j]) for f, (i, j) in zip(factors, others, strict=True)]


def _sides(kernel: Tensor, factors: Factors, dim: int) -> tuple[Tensor, Tensor]:
    """Return K Z `(size, terms)` and Z^T Z `(terms, terms)` for the products Z of the two other factors' columns."""
    letters, grams = "abc", [f.T @ f for f in factors]
    others = [i for i in range(3) if i != dim]
    words = ",".join(f"{letters[i]}r" for i in others)
    product = torch.einsum(f"abc,{words}->{letters[dim]}r", kernel, *(factors[i] for i in others))
    return product, grams[others[0]] * grams[others[1]]


def least_squares(kernel: Tensor, factors: Factors, sweeps: int) -> Factors:
    """Return factors of a kernel `(out, in, positions)` after `sweeps` in which each becomes best for the others."""
    found = list(factors)
    for _ in range(sweeps):
        for dim in range(3):
            product, gram = _sides(kernel, (found[0], found[1], found[2]), dim)
            ridge = 1e-12 * gram.diagonal().mean()
            found[dim] = torch.linalg.solve(gram + ridge * torch.eye(len(gram)).to(gram), product.T).T
    return found[0], found[1], found[2]


def stabilized(kernel: Tensor, factors: Factors, bound: float, sweeps: int) -> Factors:
    """Return factors of lower sensitivity whose error is at most `bound`, no less than that of the given ones.

    Shapes: kernel `(out, in, positions)`.

    Scaled to X W^(1/2), W being the weights of the sensitivity that X is in, a factor is to be of least norm, which is
    what a ridge regression gives; with the eigenvalues l of the others' products its error is

        |K|^2 - sum_j m_j^2 (l_j + 2 ridge) / (l_j + ridge)^2

    and rises with the ridge, which is found by halving an interval.
    """
    found, energy = list(factors), float(kernel.square().sum())
    bound = max(bound, EXACT * energy)
    for _ in range(sweeps):
        for dim in range(3):
            product, gram = _sides(kernel, (found[0], found[1], found[2]), dim)
            scale = _weighed((found[0], found[1], found[2]))[dim][1].clamp(min=1e-30).sqrt()
            values, vectors = torch.linalg.eigh(gram / scale / scale[:, None])
            values = values.clamp(min=0)
            turned = product / scale @ vectors
            ridge = _largest_ridge(turned.square().sum(0), values, energy, bound)
            if ridge > 0:
                found[dim] = turned / (values + ridge) @ vectors.T / scale
    return found[0], found[1], found[2]


def _largest_ridge(squares: Tensor, values: Tensor, energy: float, bound: float) -> float:
    """Return the largest ridge whose error is within the bound; 0 where rounding leaves none."""

    def within(ridge: float) -> bool:
        return energy - float((squares * (values + 2 * ridge) / (values + ridge).square()).sum()) <= bound

    low, high = 1e-15 * float(values.max()), 1e6 * float(values.max())
    if not low > 0 or not within(low):
        return 0.0
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if within(middle) else (low, middle)
    return low


def balanced(factors: Factors) -> Factors:
    """Return the same terms with the scales of least sensitivity: 3 (T S P)^(1/3) sum_r |term_r|^(4/3) in all.

    By the inequality of means that is where the three parts are equal: |a|^2 : |b|^2 : |c|^2 = T : S : P.
    """
    norms = [f.norm(dim=0).clamp(min=1e-150) for f in factors]
    sizes = [len(f) for f in factors]
    share = (torch.stack(norms).prod(0).square() / math.prod(sizes)) ** (1 / 3)
    a, b, c = (f / n * (size * share).sqrt() for f, n, size in zip(factors, norms, sizes, strict=True))
    return a, b, c


def _chain(layer: nn.Conv2d, factors: Factors) -> dict[str, nn.Module]:
    """Return the three layers, of which the last has the bias."""
    out, inside, terms = layer.out_channels, layer.in_channels, factors[0].shape[1]
    first = nn.Conv2d(inside, terms, 1, bias=False)
    like: dict[str, Any] = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    kernel: Any = layer.kernel_size
    middle = nn.Conv2d(terms, terms, kernel, groups=terms, bias=False, padding_mode=layer.padding_mode, **like)
    last = nn.Conv2d(terms, out, 1, bias=layer.bias is not None)
    for made, factor in ((last, factors[0]), (first, factors[1].T), (middle, factors[2].T)):
        made.weight = nn.Parameter(factor.float().reshape(made.weight.shape).contiguous())
    if layer.bias is not None:
        last.bias = nn.Parameter(layer.bias.detach().clone())
    return {FIRST: first, MIDDLE: middle, SECOND: last}
