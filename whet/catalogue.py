"""Every method: its name, where it is, its paper, its family and status. Strings only: nothing is imported."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from whet.core.errors import unknown


@dataclass(frozen=True)
class Method:
    """One row. `where` is `module:attribute`; `paper` is a citation, empty where the method has none."""

    name: str
    where: str
    family: str
    paper: str = ""
    status: Literal["trial", "stable"] = "trial"

    def load(self) -> Any:
        module, _, attribute = self.where.partition(":")
        return getattr(import_module(module), attribute)


METHODS = tuple(
    Method(name, where, family, paper)
    for name, where, family, paper in [
        # name, where, family, paper
        ("compress.depth", "whet.compress.depth:Depth", "pass", "Men et al. 2024, ShortGPT: Layers in Large Language Models are More Redundant Than You Expect"),
        ("compress.width", "whet.compress.width:Width", "pass", "Li et al. 2017, Pruning Filters for Efficient ConvNets"),
        ("quantize.static", "whet.compress.quantize.static:StaticQuantization", "pass", "Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference"),
        ("search.random", "whet.search.strategies.random:RandomStrategy", "strategy", "Bergstra and Bengio 2012, Random Search for Hyper-Parameter Optimization"),
        ("search.sensitivity", "whet.search.strategies.sensitivity:Sensitivity", "strategy", "Yao et al. 2021, HAWQ-V3: Dyadic Neural Network Quantization"),
        ("search.optuna", "whet.search.strategies.optuna:OptunaStrategy", "strategy", "Akiba et al. 2019, Optuna: A Next-generation Hyperparameter Optimization Framework"),
        ("predictors.linear", "whet.search.predictors.linear:LinearForecast", "predictor", "Hoerl and Kennard 1970, Ridge Regression"),
        ("train.fit", "whet.train.fit:fit", "training", "Hinton et al. 2015, Distilling the Knowledge in a Neural Network"),
        ("train.hints", "whet.train.hints:alike_layers", "training", "Romero et al. 2015, FitNets: Hints for Thin Deep Nets"),
        ("train.recalibrate", "whet.train.recalibrate:recalibrate", "training", "Yu and Huang 2019, Universally Slimmable Networks"),
        ("elastic.supernet", "whet.elastic.supernet:Supernet", "elastic", "Cai et al. 2020, Once-for-All: Train One Network and Specialize it for Efficient Deployment"),
    ]
)  # fmt: skip


def get(name: str) -> Method:
    """Return the row of a method."""
    rows = {m.name: m for m in METHODS}
    if name not in rows:
        raise unknown("method", name, rows)
    return rows[name]
