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
        ("search.alternating", "whet.search.strategies.alternating:Alternating", "strategy", "Cummings et al. 2022, A Hardware-Aware Framework for Accelerating Neural Architecture Search Across Modalities"),
        ("search.bayesian", "whet.search.strategies.bayesian:Bayesian", "strategy", "Li et al. 2023, A Study of Bayesian Neural Network Surrogates for Bayesian Optimization"),
        ("search.sweep", "whet.search.strategies.sweep:Sweep", "strategy", "Dong et al. 2021, HAO: Hardware-aware Neural Architecture Optimization for Efficient Inference"),
        ("search.early-exit", "whet.search.strategies.early_exit:EarlyExitEvolution", "strategy", "Termritthikun et al. 2021, EEEA-Net: An Early Exit Evolutionary Neural Architecture Search"),
        ("search.tree", "whet.search.strategies.tree:TreeSearch", "strategy", "Negrinho and Gordon 2017, DeepArchitect: Automatically Designing and Training Deep Architectures"),
        ("search.bandits", "whet.search.strategies.bandits:Bandits", "strategy", "Carlucci et al. 2019, MANAS: Multi-Agent Neural Architecture Search"),
        ("search.programme.integer", "whet.search.programme:by_integer_programme", "selection", "Yao et al. 2021, HAWQ-V3: Dyadic Neural Network Quantization"),
        ("search.programme.dynamic", "whet.search.programme:by_dynamic_programme", "selection", "Kim et al. 2024, LayerMerge: Neural Network Depth Compression through Layer Pruning and Merging"),
        ("search.optuna", "whet.search.strategies.optuna:OptunaStrategy", "strategy", "Akiba et al. 2019, Optuna: A Next-generation Hyperparameter Optimization Framework"),
        ("predictors.linear", "whet.search.predictors.linear:LinearForecast", "predictor", "Hoerl and Kennard 1970, Ridge Regression"),
        ("predictors.regression", "whet.search.predictors.regression:Regression", "predictor", "Sarah et al. 2022, A Hardware-Aware System for Accelerating Deep Neural Network Optimization"),
        ("predictors.gaussian-process", "whet.search.predictors.gaussian_process:GaussianProcess", "surrogate", "Dernoncourt and Lee 2016, Optimizing Neural Network Hyperparameters with Gaussian Processes for Dialog Act Classification"),
        ("predictors.infinite-width", "whet.search.predictors.infinite_width:InfiniteWidth", "surrogate", "Lee et al. 2018, Deep Neural Networks as Gaussian Processes"),
        ("predictors.ensemble", "whet.search.predictors.ensemble:Ensemble", "surrogate", "Lakshminarayanan et al. 2017, Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles"),
        ("predictors.bayesian-network", "whet.search.predictors.bayesian_network:BayesianNetwork", "surrogate", "Neal 2011, MCMC using Hamiltonian Dynamics"),
        ("predictors.weisfeiler-lehman", "whet.search.predictors.weisfeiler_lehman:WeisfeilerLehman", "predictor", "Ru et al. 2021, Interpretable Neural Architecture Search via Bayesian Optimisation with Weisfeiler-Lehman Kernels"),
        ("predictors.transfer", "whet.search.predictors.transfer:Transfer", "predictor", "Wang et al. 2020, APQ: Joint Search for Network Architecture, Pruning and Quantization Policy"),
        ("train.memory", "whet.train.memory:TeacherMemory", "training", ""),
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
