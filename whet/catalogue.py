"""Every method: its name, where it is, its paper, its family and status. Strings only: nothing is imported."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from whet import references
from whet.core.errors import unknown


@dataclass(frozen=True)
class Method:
    """One row. `where` is `module:attribute`; `paper` is a key of `references.bib`, empty where the method has none.

    `missing` says what a method lacks: between it and a command, where none uses it, or of its paper.
    """

    name: str
    where: str
    family: str
    paper: str = ""
    status: Literal["trial", "stable"] = "trial"
    missing: str = ""

    @property
    def citation(self) -> str:
        return references.get(self.paper).citation if self.paper else ""

    def load(self) -> Any:
        module, _, attribute = self.where.partition(":")
        return getattr(import_module(module), attribute)


MISSING = {
    "search.scaling": "a command that takes a factor and a space",
    "search.amended": "a search that updates weights and choices by it: this is the gradient alone",
    "search.relaxed": "a search that updates weights and choices by it: this is the descent of flat vectors alone",
    "search.joint-embedding": "a way from a given network into the embedding: it finds small perceptrons for data",
    "search.freeze-thaw": "a scheduler that pauses and resumes trainings as it chooses",
    "predictors.weisfeiler-lehman": "a strategy whose forecasts are of graphs, not of decisions",
    "predictors.graph-encoder": "a strategy whose forecasts are of graphs, not of decisions",
    "predictors.hypernetwork": "a search that scores candidates with predicted weights",
    "predictors.checkpointed": "a search over networks that were trained before, with their checkpoints",
    "predictors.transfer": "a search that measures many structures in full precision before it quantizes few",
    "elastic.relaxation": "a command: `elastic.one-shot` and `elastic.routing` train it",
    "elastic.one-shot": "a command that trains choices and weights together; `--elastic` trains a chain",
    "elastic.multi-sampling": "a command that trains several sub-networks a step; `--elastic` trains one",
    "elastic.routing": "a command and a file format for a network that chooses by its input",
}
"""Of rows by name: what a method lacks. A row that no command, import or benchmark comes to is in here."""
METHODS = tuple(
    Method(name, where, family, paper, missing=MISSING.get(name, ""))
    for name, where, family, paper in [
        # name, where, family, paper
        ("compress.depth", "whet.compress.depth:Depth", "pass", "men2024shortgpt"),
        ("compress.width", "whet.compress.width:Width", "pass", "li2017filters"),
        ("compress.kernel", "whet.compress.kernel:Kernel", "pass", "cai2020ofa"),
        ("compress.error-rise", "whet.compress.importance:error_rise", "importance", "frantar2022obc"),
        ("compress.repair", "whet.compress.repair:Repair", "pass", "he2017channel"),
        ("quantize.static", "whet.compress.quantize.static:StaticQuantization", "pass", "jacob2018quantization"),
        ("quantize.smoothing", "whet.compress.quantize.smoothing:smoothed", "calibration", "xiao2023smoothquant"),
        ("quantize.correction", "whet.compress.quantize.correction:corrected", "calibration", "nagel2019data"),
        ("search.random", "whet.search.strategies.random:RandomStrategy", "strategy", "bergstra2012random"),
        ("search.sensitivity", "whet.search.strategies.sensitivity:Sensitivity", "strategy", "yao2021hawqv3"),
        ("search.improvement", "whet.search.strategies.improvement:Improvement", "strategy", "emmerich2006improvement"),
        ("search.alternating", "whet.search.strategies.alternating:Alternating", "strategy", "cummings2022hardware"),
        ("search.bayesian", "whet.search.strategies.bayesian:Bayesian", "strategy", "li2023surrogates"),
        ("search.sweep", "whet.search.strategies.sweep:Sweep", "strategy", "dong2021hao"),
        ("search.early-exit", "whet.search.strategies.early_exit:EarlyExitEvolution", "strategy", "termritthikun2021eeea"),
        ("search.tree", "whet.search.strategies.tree:TreeSearch", "strategy", "negrinho2017deeparchitect"),
        ("search.bandits", "whet.search.strategies.bandits:Bandits", "strategy", "carlucci2019manas"),
        ("search.divided", "whet.search.strategies.divided:Divided", "strategy", "shang2023joint"),
        ("search.regular", "whet.search.strategies.regular:Regular", "strategy", "radosavovic2020design"),
        ("search.one-shot", "whet.search.strategies.one_shot:OneShot", "strategy", "cai2019proxyless"),
        ("search.llama-nas", "whet.search.strategies.llama_nas:LlamaNas", "strategy", "sarah2024llamanas"),
        # Two methods of the literature wait for bits a layer, which no target offers yet: the joint search of bits and
        # sub-networks on light predictors (Sridhar et al. 2023, SimQ-NAS; `search.alternating` is its engine), and bits
        # by a linear programme over the orthogonality of layers (Ma et al. 2023, OMPQ; `search.programme.integer`).
        ("search.scaling", "whet.search.scaling:scaled", "selection", "dollar2021scaling"),
        ("search.gates", "whet.decisions.mixtures:binary_gates", "relaxation", "cai2019proxyless"),
        ("search.interpolation", "whet.decisions.mixtures:sampled_interpolation", "relaxation", "dong2019transformable"),
        ("search.trainable-gate", "whet.decisions.mixtures:trainable_gate", "relaxation", "kim2020gate"),
        ("search.amended", "whet.search.bilevel:amended_gradient", "relaxation", "bi2019amended"),
        ("search.relaxed", "whet.search.bilevel:Relaxed", "relaxation", "xue2022rarts"),
        ("search.joint-embedding", "whet.search.joint_embedding:JointEmbedding", "relaxation", "huang2024simultaneous"),
        ("search.programme.integer", "whet.search.programme:by_integer_programme", "selection", "yao2021hawqv3"),
        ("search.programme.dynamic", "whet.search.programme:by_dynamic_programme", "selection", "kim2024layermerge"),
        ("search.recovery", "whet.flow.forecast:Recovery", "selection", "schonlau1998constrained"),
        ("search.freeze-thaw", "whet.search.freeze_thaw:FreezeThaw", "selection", "rakotoarison2024freeze"),
        ("search.table", "whet.search.tabular:Table", "benchmark", "klein2019tabular"),
        ("search.optuna", "whet.search.strategies.optuna:OptunaStrategy", "strategy", "akiba2019optuna"),
        ("predictors.linear", "whet.search.predictors.linear:LinearForecast", "predictor", "hoerl1970ridge"),
        ("predictors.power", "whet.search.predictors.power:PowerForecast", "predictor", "hoerl1970ridge"),
        ("predictors.regression", "whet.search.predictors.regression:Regression", "predictor", "sarah2022hardware"),
        ("predictors.gaussian-process", "whet.search.predictors.gaussian_process:GaussianProcess", "surrogate", "dernoncourt2016gaussian"),
        ("predictors.infinite-width", "whet.search.predictors.infinite_width:InfiniteWidth", "surrogate", "lee2018gaussian"),
        ("predictors.ensemble", "whet.search.predictors.ensemble:Ensemble", "surrogate", "lakshminarayanan2017ensembles"),
        ("predictors.bayesian-network", "whet.search.predictors.bayesian_network:BayesianNetwork", "surrogate", "neal2011hmc"),
        ("predictors.weisfeiler-lehman", "whet.search.predictors.weisfeiler_lehman:WeisfeilerLehman", "predictor", "ru2021interpretable"),
        ("predictors.latency", "whet.search.predictors.latency:LatencyModel", "predictor", "cai2019proxyless"),
        ("predictors.graph-encoder", "whet.search.predictors.graph_encoder:GraphEncoder", "predictor", "mills2023gennape"),
        ("predictors.hypernetwork", "whet.search.predictors.hypernetwork:HyperNetwork", "predictor", "zhang2019graph"),
        ("predictors.checkpointed", "whet.search.predictors.checkpointed:Checkpointed", "predictor", "mehta2024checkpointed"),
        ("predictors.transfer", "whet.search.predictors.transfer:Transfer", "predictor", "wang2020apq"),
        ("train.memory", "whet.data.memory:TeacherMemory", "training", ""),
        ("train.fit", "whet.train.fit:fit", "training", "hinton2015distilling"),
        ("train.hints", "whet.train.hints:alike_layers", "training", "romero2015fitnets"),
        ("train.average", "whet.train.average:averaged", "training", "izmailov2018averaging"),
        ("train.recalibrate", "whet.train.recalibrate:recalibrate", "training", "yu2019slimmable"),
        ("train.restore-norms", "whet.train.restore_norms:restore_batch_norms", "training", "ioffe2015batch"),
        ("train.range-test", "whet.train.range_test:RangeTest", "training", "smith2017cyclical"),
        ("elastic.relaxation", "whet.elastic.relaxation:Relaxation", "elastic", ""),
        ("elastic.one-shot", "whet.elastic.gated:one_shot", "elastic", "cai2019proxyless"),
        ("elastic.noise", "whet.elastic.noise:with_noise", "elastic", "shvetsov2022quantnas"),
        ("elastic.rounding", "whet.elastic.rounding:Rounding", "elastic", "wang2023spaceevo"),
        ("elastic.chain", "whet.flow.elastic:ElasticExplore", "elastic", "valipour2023sortednet"),
        ("elastic.multi-sampling", "whet.elastic.multi_sampling:MultiSampled", "elastic", "liao2021vitresnas"),
        ("elastic.resolution", "whet.elastic.resolution:Resolution", "elastic", "cai2020ofa"),
        ("elastic.routing", "whet.elastic.routing:Router", "elastic", "cai2024flextron"),
        ("elastic.supernet", "whet.elastic.supernet:Supernet", "elastic", "cai2020ofa"),
    ]
)  # fmt: skip


def get(name: str) -> Method:
    """Return the row of a method."""
    rows = {m.name: m for m in METHODS}
    if name not in rows:
        raise unknown("method", name, rows)
    return rows[name]


def _status(method: Method) -> str:
    return f"{method.status}; missing: {method.missing}" if method.missing else method.status


def markdown() -> str:
    """Return the table of all methods for the documentation: `whet list --markdown > docs/methods.md`."""
    lines = [
        "# Methods",
        "",
        "Made by `whet list --markdown`; `whet explain NAME` prints what a method does and its paper's BibTeX.",
        "",
        "| name | family | status | paper |",
        "|---|---|---|---|",
    ]
    return "\n".join([*lines, *(f"| `{m.name}` | {m.family} | {_status(m)} | {m.citation} |" for m in METHODS), ""])
