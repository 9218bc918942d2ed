"""Routing: a small network that names the sub-network of a supernet to run under any budget.

The sub-networks are those of `Supernet` and `Relaxation`: heads and neurons sorted once by an importance
(`Width(importance=Frozen.of(net, "taylor", run), tie="none", streams=False)`) nest as Flextron's do. Its routing of
single tokens is left out: a supernet selects from parameters, for a whole batch at once, where each token needs a
selection of its own from the activations between two layers, and a lifted graph has no place to sort tokens by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from whet.core.errors import SpecError, TaskError, TrainingError
from whet.core.run import Run
from whet.core.space import Choice, Decision, Space
from whet.core.task import Batch, Loss, split
from whet.decisions.mixtures import gumbel_noise
from whet.elastic.relaxation import Relaxation
from whet.elastic.supernet import Supernet

STEEPNESS = 8.0
"""How fast a hidden unit turns at the start; the units turn one after the other between settings 0 and 1."""
SLOPE = 0.1
"""The least slope of every step, so that settings far enough out give the smallest sub-network and the whole."""
FAR = 1e6
BISECTIONS = 64
HELD_OUT = 4
"""One of so many measured sub-networks is not fitted, and tells the surrogate's error."""
SETTINGS = 32


def parameter_savings(supernet: Supernet) -> dict[str, tuple[float, ...]]:
    """Return, for each choice by name, the share of the whole network's parameters that each of its values saves.

    Shares add up where choices cut different parameters, as those of heads and of neurons do, and not those of a
    residual stream and of what writes to it, or of a block and of its inside.
    """

    def saved(decision: Decision) -> float:
        return 1 - supernet.sub(decision).net.parameter_count / supernet.whole.parameter_count

    return {c.name: tuple(saved(Decision({c.name: v})) for v in c.values) for c in supernet.space}


@dataclass(frozen=True)
class Plan:
    """How a router is trained.

    In each of `rounds` the loss of `decisions` sub-networks is measured on `batches` training batches, the surrogate
    takes `steps` steps on all losses so far and, if its error is at most `threshold` standard deviations, the router
    takes as many on the surrogate. The gap between expected and wanted cost costs `price` for each choice beyond
    `tolerance`, a share of the range of costs; logits are multiplied by 1 at the first step, by `sharpest` at the last.
    """

    rounds: int = 4
    decisions: int = 64
    steps: int = 250
    batches: int = 1
    threshold: float = 0.5
    tolerance: float = 0.02
    price: float = 3.0
    sharpest: float = 10.0
    learning_rate: float = 0.02


class Router(nn.Module):
    """A small network from a budget to one value for each choice; a larger budget takes nothing away.

        logit_cv(z) = sum_{u <= v} d_cu(z),    d(z) = W tanh(a z + s) + b z + k,    W, a >= 0,  b > 0

    The setting z is 0 for the cost of the smallest sub-network and 1 for that of the whole; v counts the values of a
    choice from the one that saves most to the identity. Every d rises with z, hence also the likeliest value of each
    choice: the sub-networks of larger budgets contain those of smaller ones. `savings` hold, for each choice by name,
    the share of the whole network's cost, in parameters or in measured latency, that each value saves:

        cost = 1 - sum_c savings_c(value of c)

    Shapes: settings (n,) to logits (n, values), one tensor a choice. Raises: SpecError for savings of another length,
    below 0, or other than 0 for the identity, and where no value saves anything.

    Paper: Cai et al. 2024, Flextron, whose routers see one-hot targets and are taken at their word; here targets
    are continuous, weights never negative, and `decision` keeps the budget.
    """

    def __init__(self, space: Space, savings: Mapping[str, Sequence[float]], hidden: int = 32) -> None:
        super().__init__()
        self.space, self.choices = space, list(space)
        self.savings = [_checked(c, savings.get(c.name, ())) for c in self.choices]
        self.smallest = 1.0 - sum(max(saved) for saved in self.savings)
        if not self.smallest < 1:
            raise SpecError(f"no value of the {len(self.choices)} choices saves anything: there is nothing to route.")
        self.tables = [torch.tensor(saved) for saved in self.savings]
        self.ranks = [table.argsort(descending=True, stable=True).argsort() for table in self.tables]
        self.counts = [len(c.values) - 1 for c in self.choices]
        self.rates = nn.Parameter(torch.full((hidden,), STEEPNESS))
        self.shifts = nn.Parameter(-STEEPNESS * torch.linspace(0, 1, hidden))
        self.weights = nn.Parameter(torch.full((hidden, sum(self.counts)), -4.0))
        self.slopes, self.offsets = (nn.Parameter(torch.zeros(sum(self.counts))) for _ in range(2))

    def forward(self, settings: Tensor) -> list[Tensor]:
        """Return the logits of each choice's values, one tensor (n, values) a choice, for settings (n,) from 0 to 1."""
        z = settings[:, None]
        inner = (functional.softplus(self.rates) * z + self.shifts).tanh()
        # a sum of products and no matrix product, which autocast would round to eight bits
        steps = (inner[:, :, None] * functional.softplus(self.weights)).sum(1)
        steps = steps + (SLOPE + functional.softplus(self.slopes)) * z + self.offsets
        parts = zip(torch.split(steps, self.counts, dim=1), self.ranks, strict=True)
        return [functional.pad(part, (1, 0)).cumsum(1)[:, rank] for part, rank in parts]

    def gap(self, logits: Sequence[Tensor], settings: Tensor, tolerance: float) -> Tensor:
        """Return the mean distance of expected from wanted costs beyond `tolerance`, as a share of their range."""
        saved = [(one.softmax(-1) * table).sum(-1) for one, table in zip(logits, self.tables, strict=True)]
        expected = (1 - torch.stack(saved).sum(0) - self.smallest) / (1 - self.smallest)
        return ((expected - settings).abs() - tolerance).relu().mean()

    def cost(self, decision: Decision) -> float:
        """Return the cost of a decision, as a share of the whole network's."""
        values = zip(self.choices, self.savings, strict=True)
        return 1.0 - sum(saved[c.values.index(decision.of(c))] for c, saved in values)

    @torch.no_grad()
    def at(self, setting: float) -> Decision:
        """Return the decision of each choice's likeliest value."""
        logits: list[Tensor] = self(torch.tensor([setting]))
        likeliest = {c.name: c.values[int(one.argmax())] for c, one in zip(self.choices, logits, strict=True)}
        return self.space.canonical(Decision(likeliest))

    def decision(self, budget: float) -> Decision:
        """Return the sub-network of the highest setting that costs at most `budget`, a share of the whole's cost.

        Raises: SpecError for a budget below the cost of the smallest sub-network.
        """
        if budget < self.smallest:
            raise SpecError(f"the smallest sub-network costs {self.smallest:.3g}; got a budget of {budget}.")
        if budget >= 1:
            return Decision()
        low, high = -FAR, FAR
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.cost(self.at(middle)) <= budget else (low, middle)
        return self.at(low)


def _checked(choice: Choice, saved: Sequence[float]) -> tuple[float, ...]:
    if len(saved) != len(choice.values) or min(saved) < 0 or saved[choice.values.index(choice.identity)] != 0:
        wanted = f"one number for each of {choice.values!r}, 0 for the identity {choice.identity!r}, none below"
        raise SpecError(f"the savings of choice '{choice.name}' must be {wanted}; got {tuple(saved)!r}.")
    return tuple(map(float, saved))


def gumbel_softmax(logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return one-hot draws from `softmax(logits)`, (n, values), with the gradient of `softmax(logits - log(-log u))`.

    >>> gumbel_softmax(torch.tensor([[0.0, 200.0]])).tolist()
    [[0.0, 1.0]]
    """
    soft = (logits + gumbel_noise(logits, generator)).softmax(-1)
    return functional.one_hot(soft.argmax(-1), logits.shape[-1]) + soft - soft.detach()


class Surrogate(nn.Module):
    """Forecasts standardised losses of sub-networks from their mixtures side by side, (n, all values)."""

    def __init__(self, inputs: int, source: torch.Generator, hidden: int = 64) -> None:
        super().__init__()
        self.inner = nn.Parameter(torch.randn(inputs, hidden, generator=source) / inputs**0.5)
        self.outer = nn.Parameter(torch.zeros(hidden))

    def forward(self, mixtures: Tensor) -> Tensor:
        """Return forecasts (n, objectives) of standardised losses for mixtures (n, all values)."""
        return (mixtures @ self.inner).tanh() @ self.outer

    def fit(self, mixtures: Tensor, losses: Tensor, plan: Plan) -> float:
        """Learn from three quarters; return the root mean square error on the others, in standard deviations."""
        wanted = (losses - losses.mean()) / losses.std().clamp_min(1e-12)
        held = torch.arange(len(losses)) % HELD_OUT == 0
        optimizer = torch.optim.Adam(self.parameters(), plan.learning_rate, weight_decay=1e-3)
        for _ in range(plan.steps):
            optimizer.zero_grad()
            functional.mse_loss(self(mixtures[~held]), wanted[~held]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return float(functional.mse_loss(self(mixtures[held]), wanted[held]).detach().sqrt())


@torch.no_grad()
def measured(relaxation: Relaxation, mixtures: Sequence[Tensor], batches: Sequence[Batch], loss: Loss) -> Tensor:
    """Return the mean loss over batches of n sub-networks, shape (n,), from mixtures (n, values), one a choice."""
    relaxation.eval()
    rows, given = zip(*(one.unbind() for one in mixtures), strict=True), [split(batch) for batch in batches]
    return torch.stack([torch.stack([loss(relaxation(r, *x), y) for x, y in given]).mean() for r in rows])


def train_router(router: Router, relaxation: Relaxation, run: Run, plan: Plan | None = None) -> list[float]:
    """Train a router on a surrogate of the supernet's loss, for all budgets at once; return the surrogate's errors.

        surrogate(mixtures drawn at z) + price * choices * max(0, |expected cost(z) - z| - tolerance),   z ~ U(0, 1)

    The supernet is only run; its weights stay. The first round measures sub-networks drawn uniformly, the others those
    that the router draws. Raises: TaskError without training batches; TrainingError if no surrogate was good enough.

    Paper: Cai et al. 2024, Flextron, whose surrogate learns from the routers' logits while it guides them; how
    cost and loss are weighed here is not the paper's.
    """
    plan, source, errors = plan or Plan(), torch.Generator().manual_seed(run.seed), list[float]()
    batches = list(islice(run.task.training, plan.batches))
    if not batches:
        raise TaskError(f"task '{run.task.name}' gives no training batch to measure sub-networks on.")
    surrogate = Surrogate(sum(len(c.values) for c in router.choices), source)
    seen, losses = torch.zeros(0, len(surrogate.inner)), torch.zeros(0)
    for turn in range(plan.rounds):
        with torch.no_grad():
            logits = [one * min(turn, 1) for one in router(torch.rand(plan.decisions, generator=source))]
            mixtures = [gumbel_softmax(one, source) for one in logits]
        seen = torch.cat([seen, torch.cat(mixtures, 1)])
        losses = torch.cat([losses, measured(relaxation, mixtures, batches, run.task.loss)])
        errors.append(surrogate.fit(seen, losses, plan))
        if errors[-1] <= plan.threshold:
            _descend(router, surrogate, plan, source)
    if not any(error <= plan.threshold for error in errors):
        raise TrainingError(f"the surrogate's errors were {errors}: none is within the threshold of {plan.threshold}.")
    return errors


def _descend(router: Router, surrogate: Surrogate, plan: Plan, source: torch.Generator) -> None:
    optimizer = torch.optim.Adam(router.parameters(), plan.learning_rate)
    for step in range(plan.steps):
        settings = torch.rand(SETTINGS, generator=source)
        logits = [(1 + (plan.sharpest - 1) * step / plan.steps) * one for one in router(settings)]
        drawn = torch.cat([gumbel_softmax(one, source) for one in logits], 1)
        gap = router.gap(logits, settings, plan.tolerance)
        loss: Tensor = surrogate(drawn).mean() + plan.price * len(router.choices) * gap
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


class Routed(nn.Module):
    """A supernet with its router: runs the sub-network of `budget`; in training, of a setting drawn for each step."""

    def __init__(self, relaxation: Relaxation, router: Router, budget: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        self.relaxation, self.router, self.budget = relaxation, router, budget
        self.source = torch.Generator().manual_seed(seed)
        self.sharpness, self.settings, self.logits = Plan.sharpest, torch.zeros(1), list[Tensor]()

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return outputs `(n, ...)` of the sub-network of `budget`; in training of a mixture for a drawn setting."""
        if not self.training:
            self.relaxation.supernet.active = self.router.decision(self.budget)
            output: Tensor = self.relaxation.supernet(*inputs)
            return output
        self.settings = torch.rand(1, generator=self.source)
        self.logits = [self.sharpness * one for one in self.router(self.settings)]
        routed: Tensor = self.relaxation([gumbel_softmax(one, self.source)[0] for one in self.logits], *inputs)
        return routed


def finetune(routed: Routed, run: Run, plan: Plan | None = None, *, recipe: Any = None, **limit: Any) -> Any:
    """Train weights and router together, as long as `limit` says, with the gap's price of `train_router` added."""
    plan, router, own = plan or Plan(), routed.router, run.task.loss
    routed.sharpness, tolerance, price = plan.sharpest, plan.tolerance, plan.price * len(router.choices)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return own(output, target) + price * router.gap(routed.logits, routed.settings, tolerance)

    return replace(run, task=replace(run.task, loss=loss)).fit(routed, recipe=recipe, **limit)
