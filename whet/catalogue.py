"""Every method: its name, where it is, its paper, its family and status. Strings only: nothing is imported.

`make("width(tie='network')")` makes one from words, as the command line has them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from whet import references
from whet.core.errors import MethodError, unknown
from whet.words import options


@dataclass(frozen=True)
class Method:
    """One row. `where` is `module:attribute`; `paper` is a key of `references.bib`, empty where the method has none.

    `missing` says what a method lacks: between it and a command, where only Python comes to it, or of its paper.
    """

    name: str
    where: str
    family: str
    paper: str = ""
    status: Literal["trial", "stable"] = "trial"
    missing: str = ""

    @property
    def reach(self) -> str:
        """How a user comes to it: words of a command, `default of the search`, or what to call in Python."""
        short = next((s for s, (row, options) in SHORT.items() if row == self.name and not options), "")
        several = [s for s, (row, options) in SHORT.items() if row == self.name and options]
        name = short or "|".join(several) or self.name.partition(".")[2]
        called = self.where.replace(":", ".") + "(...)"
        return REACH.get(self.name) or (ASKED_FOR[self.family].format(name) if self.family in ASKED_FOR else called)

    @property
    def citation(self) -> str:
        """The paper as it is cited, empty where the method has none."""
        return references.get(self.paper).citation if self.paper else ""

    def load(self) -> Any:
        """Import the module of the row and return what the row names in it."""
        module, _, attribute = self.where.partition(":")
        return getattr(import_module(module), attribute)


ASKED_FOR = {
    "pass": "whet optimize --passes {}",
    "strategy": "whet optimize --strategy {}",
    "surrogate": "whet optimize --strategy \"bayesian(model='{}')\"",
    "optimizer": "whet optimize --recipe \"optimizer='{}'\"",
    "task": "whet optimize --task {}",
    "network": "whet optimize {} --task TASK",
    "runtime": "whet measure --target {}-cpu",
    "agent": "whet agent train {} --env CartPole-v1",
}
"""How methods of a family are asked for, by name, in the place of the braces."""
DEFAULT = "default of the search"
REACH = {
    "compress.error-rise": "whet optimize --passes \"width(importance='error_rise')\"",
    "quantize.few-bit-inputs": "whet bench quantize --train 20000",
    "compress.noise-rise": "whet optimize --passes \"width(importance='noise_rise')\"",
    "prune.least-squares": "whet optimize --passes \"magnitude(by='least-squares')\"",
    "prune.entropic": "whet optimize --passes \"magnitude(by='entropic')\"",
    "prune.matrix-free": "whet optimize --passes \"magnitude(by='matrix-free')\"",
    "quantize.smoothing": DEFAULT,
    "quantize.correction": DEFAULT,
    "quantize.rounding": DEFAULT,
    "quantize.path-following": "whet optimize --passes \"weight-only(rounding='path-following')\"",
    "quantize.data-free": "whet optimize --passes \"weight-only(rounding='nearest', corrected=True)\"",
    "quantize.similarity": "whet optimize --passes \"weight-only(rounding='similarity')\"",
    "quantize.equalization": "whet optimize --passes \"weight-only(rounding='nearest', equalized=True, corrected=True)\"",
    "quantize.distilled": "whet optimize --passes \"quantize(calibration='distilled')\"",
    "quantize.perturbation": "whet optimize --passes \"mixed-bits(engine='perturbation')\"",
    "quantize.dependencies": "whet optimize --passes \"mixed-bits(engine='dependencies')\"",
    "quantize.orthogonality": "whet optimize --passes \"mixed-bits(engine='orthogonality')\"",
    "code.mask": DEFAULT,
    "code.digits": DEFAULT,
    "code.contexts": "whet pack model.onnx",
    "code.rate": "whet pack resnet20 --task cifar10 --distortion 0.01",
    "search.gates": "whet optimize --strategy \"one-shot(mixing='gates')\"",
    "search.interpolation": "whet optimize --strategy \"one-shot(mixing='interpolation')\"",
    "search.trainable-gate": "whet optimize --strategy \"one-shot(mixing='trainable-gate')\"",
    "search.programme.integer": DEFAULT,
    "search.programme.dynamic": "whet optimize --strategy \"sweep(programme='dynamic')\"",
    "search.programme.cut": DEFAULT,
    "search.recovery": DEFAULT,
    "search.table": "python benchmarks/tables/compare.py",
    "predictors.linear": DEFAULT,
    "predictors.power": DEFAULT,
    "predictors.regression": "whet optimize --strategy \"alternating(predictors=('ridge',))\"",
    "predictors.latency": "whet bench latency",
    "train.memory": DEFAULT,
    "train.fit": DEFAULT,
    "train.hints": "whet optimize --recipe \"hints='auto'\"",
    "train.gradual-pruning": "whet optimize --recipe \"techniques=('gradual-pruning(share=0.5)',)\"",
    "train.learned-steps": DEFAULT,
    "train.critical-channels": "whet optimize --recipe \"techniques=('critical-channels(share=0.25)',)\"",
    "train.global-sparse-momentum": "whet optimize --recipe \"techniques=('global-sparse-momentum(share=0.5)',)\"",
    "train.half-space": "whet optimize --recipe \"techniques=('half-space(share=0.5)',)\"",
    "train.trained-gates": "whet optimize --recipe \"techniques=('trained-gates(share=0.5)',)\"",
    "train.ordered-ranks": "whet optimize --passes svd --recipe \"techniques=('ordered-ranks()',)\"",
    "train.bounded-sums": "whet optimize --recipe \"techniques=('bounded-sums(bits=16)',)\"",
    "train.square-wave": "whet optimize --recipe \"techniques=('square-wave(frequency=20)',)\"",
    "train.bit-attention": "whet optimize --recipe \"techniques=('bit-attention(higher=(8, 4))',)\"",
    "train.powers-of-two": "whet optimize --recipe \"techniques=('powers-of-two()',)\"",
    "train.average": DEFAULT,
    "train.moving-average": DEFAULT,
    "train.recalibrate": DEFAULT,
    "train.restore-norms": DEFAULT,
    "train.range-test": "whet.optimize(recipe=None)",
    "tasks.policy": "whet optimize --task \"policy(folder='runs/agents/dqn-CartPole-v1-0')\"",
    "agents.double": 'whet agent train "dqn(double=True)" --env CartPole-v1',
    "agents.dueling": 'whet agent train "dqn(dueling=True)" --env CartPole-v1',
    "agents.prioritized": 'whet agent train "dqn(prioritized=True)" --env CartPole-v1',
    "agents.n-step": 'whet agent train "dqn(n_steps=3)" --env CartPole-v1',
    "agents.noisy": 'whet agent train "dqn(noisy=True)" --env CartPole-v1',
    "agents.categorical": "whet agent train \"dqn(distribution='categorical', low=0, high=100)\" --env CartPole-v1",
    "agents.quantile": "whet agent train \"dqn(distribution='quantile')\" --env CartPole-v1",
    "agents.cold-rl": "whet agent train cold-rl --env whet/CacheEviction-v0",
    "agents.gae": 'whet agent train "a2c(trace=0.95)" --env CartPole-v1',
    "elastic.noise": "whet.elastic.supernet.Supernet(noise_bits=...)",
    "elastic.rounding": "whet.elastic.supernet.Supernet(rounding=...)",
    "elastic.chain": "whet optimize --elastic",
    "elastic.supernet": "whet optimize --elastic",
}
"""Of rows by name: how a user comes to what a family's words do not name. Others are called in Python."""
PARTS = ("task", "network", "runtime")
"""Families that are no methods but what methods work on."""
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
"""Of rows by name: what a method lacks. A row that only Python comes to is in here."""
METHODS = tuple(
    Method(name, where, family, paper, missing=MISSING.get(name, ""))
    for name, where, family, paper in [
        # name, where, family, paper
        ("compress.depth", "whet.compress.depth:Depth", "pass", "men2024shortgpt"),
        ("compress.stand-in", "whet.compress.stand_in:StandIn", "pass", "shopkhoev2025replaceme"),
        ("compress.width", "whet.compress.width:Width", "pass", "li2017filters"),
        ("compress.kernel", "whet.compress.kernel:Kernel", "pass", "cai2020ofa"),
        ("compress.merging", "whet.compress.merging:Merging", "pass", "chen2024going"),
        ("compress.error-rise", "whet.compress.importance:error_rise", "importance", "frantar2022obc"),
        ("compress.noise-rise", "whet.compress.noise:noise_rise", "importance", "wang2024structurally"),
        ("compress.repair", "whet.compress.repair:Repair", "pass", "he2017channel"),
        ("quantize.static", "whet.compress.quantize.static:StaticQuantization", "pass", "jacob2018quantization"),
        ("quantize.dynamic", "whet.compress.quantize.dynamic:DynamicQuantization", "pass", "jacob2018quantization"),
        ("quantize.weight-only", "whet.compress.quantize.weight_only:WeightOnly", "pass", "choukroun2019low"),
        ("quantize.few-bit-inputs", "whet.compress.quantize.few_bit_inputs:FewBitInputs", "pass", "esser2020learned"),
        ("quantize.smoothing", "whet.compress.quantize.smoothing:smoothed", "calibration", "xiao2023smoothquant"),
        ("quantize.correction", "whet.compress.quantize.correction:corrected", "calibration", "nagel2019data"),
        ("quantize.rounding", "whet.compress.quantize.rounding:compensated", "calibration", "frantar2022gptq"),
        ("quantize.path-following", "whet.compress.quantize.path_following:followed", "calibration", "zhang2023provable"),
        ("quantize.similarity", "whet.compress.quantize.similarity:similarity", "calibration", "wu2020easyquant"),
        ("quantize.data-free", "whet.compress.quantize.data_free:corrected_by_norms", "calibration", "nagel2019data"),
        ("quantize.equalization", "whet.compress.quantize.equalization:equalized", "calibration", "nagel2019data"),
        ("quantize.distilled", "whet.compress.quantize.distilled:distilled", "calibration", "cai2020zeroq"),
        ("quantize.expansion", "whet.compress.quantize.expansion:Expansion", "pass", "yvinec2023rex"),
        ("quantize.vector-wise", "whet.compress.quantize.vector_wise:VectorWise", "pass", "dettmers2022llmint8"),
        ("quantize.mixed-bits", "whet.compress.quantize.mixed_bits:MixedBits", "pass", ""),
        ("quantize.perturbation", "whet.compress.quantize.perturbation:by_perturbation", "allocation", "yao2021hawqv3"),
        ("quantize.dependencies", "whet.compress.quantize.dependencies:by_dependencies", "allocation", "schaefer2023augmenting"),
        ("quantize.orthogonality", "whet.compress.quantize.orthogonality:by_orthogonality", "allocation", "ma2023ompq"),
        ("factorize.svd", "whet.compress.factorize.svd:Svd", "pass", "wang2025svdllm"),
        ("factorize.cp", "whet.compress.factorize.cp:CanonicalPolyadic", "pass", "phan2020stable"),
        ("prune.magnitude", "whet.compress.prune.magnitude:Magnitude", "pass", "zhu2017prune"),
        ("prune.least-squares", "whet.compress.prune.least_squares:least_squares", "importance", "benbaki2023fast"),
        ("prune.entropic", "whet.compress.prune.entropic:entropic", "importance", "you2024swap"),
        ("prune.matrix-free", "whet.compress.prune.matrix_free:matrix_free", "importance", "frantar2021mfac"),
        ("code.mask", "whet.hardware.onnx_writer.sparse:pack_zeros", "code", ""),
        ("code.digits", "whet.hardware.onnx_writer.digits:pack_digits", "code", ""),
        ("code.contexts", "whet.pack.files:pack", "code", "wiedemann2020deepcabac"),
        ("code.rate", "whet.pack.rate:cheaper", "code", "wiedemann2020deepcabac"),
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
        # A method of the literature waits for bits a layer, which no target offers yet: the joint search of bits and
        # sub-networks on light predictors (Sridhar et al. 2023, SimQ-NAS; `search.alternating` is its engine).
        ("search.scaling", "whet.search.scaling:scaled", "selection", "dollar2021scaling"),
        ("search.gates", "whet.decisions.mixtures:binary_gates", "relaxation", "cai2019proxyless"),
        ("search.interpolation", "whet.decisions.mixtures:sampled_interpolation", "relaxation", "dong2019transformable"),
        ("search.trainable-gate", "whet.decisions.mixtures:trainable_gate", "relaxation", "kim2020gate"),
        ("search.amended", "whet.search.bilevel:amended_gradient", "relaxation", "bi2019amended"),
        ("search.relaxed", "whet.search.bilevel:Relaxed", "relaxation", "xue2022rarts"),
        ("search.joint-embedding", "whet.search.joint_embedding:JointEmbedding", "relaxation", "huang2024simultaneous"),
        ("search.programme.integer", "whet.search.programme:by_integer_programme", "selection", "yao2021hawqv3"),
        ("search.programme.dynamic", "whet.search.programme:by_dynamic_programme", "selection", "kim2024layermerge"),
        ("search.programme.cut", "whet.search.cuts:by_minimum_cut", "selection", "greig1989exact"),
        ("search.recovery", "whet.schedule.recovery:Recovery", "selection", "schonlau1998constrained"),
        ("search.freeze-thaw", "whet.search.freeze_thaw:FreezeThaw", "selection", "rakotoarison2024freeze"),
        ("search.table", "whet.bench.tabular:Table", "benchmark", "klein2019tabular"),
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
        ("train.gradual-pruning", "whet.train.zeros:GradualPruning", "training", "zhu2017prune"),
        ("train.learned-steps", "whet.train.learned_steps:LearnedSteps", "training", "esser2020learned"),
        ("train.critical-channels", "whet.train.critical_channels:CriticalChannels", "training", "ashkboos2024efqat"),
        ("train.global-sparse-momentum", "whet.train.global_sparse_momentum:GlobalSparseMomentum", "training", "ding2019global"),
        ("train.half-space", "whet.train.half_space:HalfSpace", "training", "chen2021only"),
        ("train.trained-gates", "whet.train.trained_gates:TrainedGates", "training", "kim2020gate"),
        ("train.ordered-ranks", "whet.train.ordered_ranks:OrderedRanks", "training", "horvath2024maestro"),
        ("train.bounded-sums", "whet.train.bounded_sums:BoundedSums", "training", "colbert2023a2q"),
        ("train.square-wave", "whet.train.square_wave:SquareWave", "training", "vargas2024biper"),
        ("train.bit-attention", "whet.train.bit_attention:BitAttention", "training", "boukli2021dqa"),
        ("train.powers-of-two", "whet.train.powers_of_two:PowersOfTwo", "training", "li2023denseshift"),
        ("train.average", "whet.train.average:averaged", "training", "izmailov2018averaging"),
        ("train.moving-average", "whet.train.moving_average:MovingAverage", "training", "karras2024analyzing"),
        ("train.recalibrate", "whet.train.recalibrate:recalibrate", "training", "yu2019slimmable"),
        ("train.restore-norms", "whet.train.restore_norms:restore_batch_norms", "training", "ioffe2015batch"),
        ("train.range-test", "whet.train.range_test:RangeTest", "training", "smith2017cyclical"),
        ("elastic.relaxation", "whet.elastic.relaxation:Relaxation", "elastic", ""),
        ("elastic.one-shot", "whet.elastic.gated:one_shot", "elastic", "cai2019proxyless"),
        ("elastic.noise", "whet.elastic.noise:with_noise", "elastic", "shvetsov2022quantnas"),
        ("elastic.rounding", "whet.elastic.rounding:Rounding", "elastic", "wang2023spaceevo"),
        ("elastic.chain", "whet.schedule.together:Together", "elastic", "valipour2023sortednet"),
        ("elastic.multi-sampling", "whet.elastic.multi_sampling:MultiSampled", "elastic", "liao2021vitresnas"),
        ("elastic.resolution", "whet.elastic.resolution:Resolution", "pass", "cai2020ofa"),
        ("elastic.routing", "whet.elastic.routing:Router", "elastic", "cai2024flextron"),
        ("elastic.supernet", "whet.elastic.supernet:Supernet", "elastic", "cai2020ofa"),
        ("agents.dqn", "whet.agents.dqn:DQN", "agent", "mnih2013playing"),
        ("agents.double", "whet.agents.targets:double", "agent-part", "vanhasselt2016double"),
        ("agents.dueling", "whet.agents.dueling:Dueling", "agent-part", "wang2016dueling"),
        ("agents.prioritized", "whet.agents.prioritized:Prioritized", "agent-part", "schaul2016prioritized"),
        ("agents.n-step", "whet.agents.n_step:NStep", "agent-part", "sutton1988learning"),
        ("agents.noisy", "whet.agents.noisy:NoisyLinear", "agent-part", "fortunato2018noisy"),
        ("agents.categorical", "whet.agents.categorical:Categorical", "agent-part", "bellemare2017distributional"),
        ("agents.quantile", "whet.agents.quantile:Quantiles", "agent-part", "dabney2018distributional"),
        ("agents.rainbow", "whet.agents.rainbow:Rainbow", "agent", "hessel2018rainbow"),
        ("agents.cold-rl", "whet.agents.cold_rl:ColdRL", "agent", "gupta2025cold"),
        ("agents.reinforce", "whet.agents.reinforce:Reinforce", "agent", "williams1992simple"),
        ("agents.a2c", "whet.agents.a2c:A2C", "agent", "mnih2016asynchronous"),
        ("agents.gae", "whet.agents.gae:advantages", "agent-part", "schulman2016high"),
        ("agents.ppo", "whet.agents.ppo:PPO", "agent", "schulman2017proximal"),
        ("agents.pqn", "whet.agents.pqn:PQN", "agent", "gallici2025simplifying"),
        ("optimizers.sgd", "whet.train.optimizers:sgd", "optimizer", "sutskever2013importance"),
        ("optimizers.adamw", "whet.train.optimizers:adamw", "optimizer", "loshchilov2019decoupled"),
        ("tasks.digits", "whet.tasks.digits:digits", "task", ""),
        ("tasks.cifar10", "whet.tasks.cifar10:cifar10", "task", ""),
        ("tasks.shakespeare", "whet.tasks.shakespeare:shakespeare", "task", ""),
        ("tasks.protein", "whet.tasks.uci:protein", "task", ""),
        ("tasks.parkinsons", "whet.tasks.uci:parkinsons", "task", ""),
        ("tasks.policy", "whet.tasks.policy:policy", "task", ""),
        ("networks.digits-cnn", "whet.networks.digits_cnn:DigitsCNN", "network", ""),
        ("networks.ds-cnn", "whet.networks.ds_cnn:DSCNN", "network", ""),
        ("networks.lstm", "whet.networks.lstm:LSTM", "network", ""),
        ("networks.mlp", "whet.networks.mlp:MLP", "network", ""),
        ("networks.mobilenetv2", "whet.networks.mobilenetv2:MobileNetV2", "network", ""),
        ("networks.resnet", "whet.networks.resnet:resnet", "network", ""),
        ("networks.encoder", "whet.networks.transformer:Encoder", "network", ""),
        ("networks.decoder", "whet.networks.transformer:Decoder", "network", ""),
        ("runtimes.openvino", "whet.hardware.openvino:OpenVINO", "runtime", ""),
        ("runtimes.onnxruntime", "whet.hardware.onnxruntime:OnnxRuntime", "runtime", ""),
        ("runtimes.inductor", "whet.hardware.inductor:Inductor", "runtime", ""),
    ]
)  # fmt: skip


SHORT: dict[str, tuple[str, dict[str, Any]]] = {
    "quantize": ("quantize.static", {}),
    "tpe": ("search.optuna", {"sampler": "tpe"}),
    "gp": ("search.optuna", {"sampler": "gp"}),
    "nsga2": ("search.optuna", {"sampler": "nsga2"}),
    "nsga3": ("search.optuna", {"sampler": "nsga3"}),
    "cmaes": ("search.optuna", {"sampler": "cmaes"}),
}
"""Names beside those of the rows: the row and the options that they stand for."""
DEFAULT_PASSES = {
    "speed": ("depth", "width", "quantize"),
    "size": ("depth", "width", "quantize", "weight-only"),
    "memory": ("depth", "width", "quantize", "weight-only"),
}
"""What is searched for each objective where no passes are given."""
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
WORDS = re.compile(r"\s*([\w.-]+)\s*(\(.*\))?\s*", re.DOTALL)


@dataclass(frozen=True)
class Call:
    """A method and the options that it was asked for with."""

    method: Method
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, *given: Any, **more: Any) -> Any:
        """Make it; the words' options come before those of the caller.

        Raises: MethodError for an option that the method does not have, or one that it needs and did not get.
        """
        item = self.method.load()
        takes = inspect.signature(item).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in takes.values()):
            for name in self.options:
                if name not in takes:
                    raise MethodError(f"'{self.method.name}': {unknown('option', name, takes)}")
        left = [n for n, p in list(takes.items())[len(given) :] if p.default is p.empty and p.kind in NAMED]
        if needed := [n for n in left if n not in {**more, **self.options}]:
            short = self.method.name.partition(".")[2]
            raise MethodError(f"'{short}' needs {', '.join(needed)}: write \"{short}({needed[0]}=...)\".")
        return item(*given, **{**more, **self.options})


def names(*families: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return what methods of these families may be called, without the name of their folder, short names too.

    >>> "width" in names("pass"), "quantize" in names("pass"), names("strategy")["tpe"]
    (True, True, ('search.optuna', {'sampler': 'tpe'}))
    """
    rows = {m.name: m for m in METHODS if m.family in families}
    variants = {row for row, options in SHORT.values() if options}
    own = {name.partition(".")[2]: (name, dict[str, Any]()) for name in rows if name not in variants}
    return own | {short: named for short, named in SHORT.items() if named[0] in rows}


def default_passes(objectives: Iterable[str]) -> tuple[str, ...]:
    """Return the passes that are searched for some objectives where none are given."""
    return tuple(dict.fromkeys(name for objective in objectives for name in DEFAULT_PASSES.get(objective, ())))


def read(words: str, *families: str) -> Call:
    """Return the method, and its options, that words such as `width(tie='network')` name; of all families by default.

    A name is a row's, with or without its folder. Nothing is imported.
    Raises: UnknownNameError for the name; MethodError for words that are no name with `option=value` in parentheses.
    """
    families = families or tuple(dict.fromkeys(m.family for m in METHODS))
    found, short = WORDS.fullmatch(words), names(*families)
    if found is None:
        raise MethodError(f"'{words}' cannot be read: write a name, or NAME(option=value, ...).")
    name, given = found[1], options(found[2] or "()", words)
    whole = {m.name: (m.name, dict[str, Any]()) for m in METHODS if m.family in families}
    if name not in short | whole:
        raise unknown(families[0] if len(families) == 1 else "method", name, _shown(short | whole, name))
    row, always = (short | whole)[name]
    return Call(get(row), {**always, **given})


def _shown(known: Collection[str], name: str) -> list[str]:
    return [n for n in known if ("." in n) == ("." in name)]


def make(words: str, *families: str) -> Any:
    """Return what words name, made with their options: `make("width(tie='network')")`.

    >>> make("depth(tie='network')", "pass")
    Depth(tie='network', samples=128)
    """
    return read(words, *families)()


def get(name: str) -> Method:
    """Return the row of a method."""
    rows = {m.name: m for m in METHODS}
    if name not in rows:
        raise unknown("method", name, rows)
    return rows[name]
