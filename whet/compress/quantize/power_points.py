"""Weights of few values that lie by a power function: dense about zero, as weights are, by one exponent a layer."""

from __future__ import annotations

import torch
from torch import Tensor

EXPONENTS = torch.linspace(0.2, 2.0, 19, dtype=torch.float64)
"""Among which the search begins: at 0.2 half of 15 levels are less than 2 % of the largest, at 2 they crowd there."""
GOLDEN = (5**0.5 - 1) / 2
NARROWED = 12
"""Golden sections of the interval about the best of these: to 0.001."""


def power_points(values: Tensor, power: Tensor, count: int, with_zero: bool = False) -> Tensor:
    """Return whole numbers that values are near to, at most `count`, ascending, zero among them: levels of a power.

        q = k for a weight about sign(k) r (|k| / K)^(1/a),    k = -K..K,    r = max|w|
        a* = argmin over a of sum_i p_i (w_i - Q_a(w_i))^2

    In the paper w^a, x^a are what integers stand for, as (w x)^a = w^a x^a is the only form of levels that products
    survive; it puts rounding to where |w|^a is halfway, learns a with the weights by gradients, and undoes the power
    behind each layer. Here weights alone have the levels, as integers of eight bits which any kernel multiplies. They
    go to the level of least error, over all of them and not only to the two beside (`quantize.path-following`); `power`
    says what each squared error weighs. One number a layer says where its levels are, but for their rounding to whole
    numbers; a training moves each by itself (`train.learned-points`). Its text was known here by the abstract, and by
    that of PowerQuant, which it extends.

    Shapes: values and power `(n,)`; returned `(points,)`, in float64. There is a level at zero whatever `with_zero` is.
    Paper: Yvinec et al. 2025, NUPES: Non-Uniform Post-Training Quantization via Power Exponent Search.

    >>> power_points(torch.tensor([-8.0, -4.0, 0.0, 4.0, 8.0]), torch.ones(5), 5).tolist()
    [-8.0, -4.0, 0.0, 4.0, 8.0]
    """
    x, most = values.double(), (count - 1) // 2
    exponent = best_exponent(x, power.double(), most)
    found: Tensor = torch.unique((levels(exponent, most) * x.abs().max()).round())
    return found


def levels(exponent: float, most: int) -> Tensor:
    """Return sign(k) (|k| / most)^(1 / exponent) for k from -most to most, `(2 most + 1,)`, in float64.

    >>> levels(0.5, 2).tolist()
    [-1.0, -0.25, 0.0, 0.25, 1.0]
    """
    k = torch.arange(-most, most + 1, dtype=torch.float64)
    return k.sign() * (k.abs() / most) ** (1 / exponent)


def best_exponent(values: Tensor, power: Tensor, most: int) -> float:
    """Return the exponent of least weighted squared error, which near it has no other minimum, by golden sections.

    Shapes: values and power `(n,)`, in float64.
    """
    size = values.abs() / values.abs().max().clamp(min=1e-30)

    def lost(exponent: float) -> float:
        wanted = levels(exponent, most)[most:]
        nearest = wanted[torch.bucketize(size, (wanted[1:] + wanted[:-1]) / 2)]
        return float((power * (size - nearest).square()).sum())

    each = [lost(a) for a in EXPONENTS.tolist()]
    at = min(range(len(each)), key=each.__getitem__)
    low, high = (float(EXPONENTS[min(max(at + side, 0), len(each) - 1)]) for side in (-1, 1))
    inner = [high - GOLDEN * (high - low), low + GOLDEN * (high - low)]
    errors = [lost(a) for a in inner]
    for _ in range(NARROWED):
        if errors[0] <= errors[1]:
            high, inner[1], errors[1] = inner[1], inner[0], errors[0]
            inner[0] = high - GOLDEN * (high - low)
            errors[0] = lost(inner[0])
        else:
            low, inner[0], errors[0] = inner[0], inner[1], errors[1]
            inner[1] = low + GOLDEN * (high - low)
            errors[1] = lost(inner[1])
    best = min([(e, a) for e, a in zip(errors, inner, strict=True)] + [(each[at], float(EXPONENTS[at]))])
    return best[1]
