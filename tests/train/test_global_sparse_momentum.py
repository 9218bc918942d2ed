"""Weights with the largest |w dL/dw| have their gradients; all others fade to zero, and zeros are held."""

from __future__ import annotations

import math
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from toy_training import F32, network, task

from whet.core.checks import ValueRangeError
from whet.graph.zeros import holds, zeros_of
from whet.train.fit import fit
from whet.train.global_sparse_momentum import GlobalSparseMomentum, largest_products
from whet.train.technique import Hooks, Session

PLAIN = replace(F32, weight_decay=0.0, momentum=0.0, clip_norm=0.0, warmup=0.0, schedule="constant")
HEAVY = replace(PLAIN, momentum=0.9, weight_decay=0.1)


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: m.weight.detach() for name, m in module.named_modules() if isinstance(m, nn.Linear)}


@dataclass(frozen=True)
class Watch:
    """Notes the weights behind each step."""

    seen: list[dict[str, Tensor]]

    def begin(self, session: Session) -> Hooks:
        def look() -> None:
            self.seen.append({name: weight.clone() for name, weight in weights_of(session.module).items()})

        return Hooks(after_step=look)


class Blind(nn.Module):
    """Hides the first two inputs from what follows, whose weights on them never have a gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0, 1.0])


def test_where_all_have_their_gradients_it_is_plain_training_to_the_bit() -> None:
    plain, whole = network(), network()
    fit(plain, task(), recipe=HEAVY, samples=320)
    fit(whole, task(), recipe=HEAVY, samples=320, techniques=(GlobalSparseMomentum(0.0, least=64),))
    assert all(map(torch.equal, plain.state_dict().values(), whole.state_dict().values()))


def test_in_a_step_the_largest_products_of_all_layers_move_as_they_would_and_no_other() -> None:
    free: list[dict[str, Tensor]] = []
    seen: list[dict[str, Tensor]] = []
    fit(network(), task(), recipe=PLAIN, samples=64, techniques=(Watch(free),))
    item = GlobalSparseMomentum(0.75, fade=0.0, least=64)
    fit(network(), task(), recipe=PLAIN, samples=640, techniques=(item, Watch(seen)))
    before = weights_of(network())
    products = {name: ((free[0][name] - w) * w).abs() for name, w in before.items()}
    threshold = torch.cat([p.flatten() for p in products.values()]).sort().values[-72]
    for name, weight in before.items():
        wanted = torch.where(products[name] >= threshold, free[0][name], weight)
        assert torch.equal(seen[0][name], wanted) and not torch.equal(wanted, weight)


def test_equals_and_weights_without_gradients_are_not_chosen() -> None:
    weights = {"a": torch.tensor([1.0, -2.0, 3.0, 1.0]), "b": torch.tensor([9.0])}
    weights["a"].grad = torch.tensor([0.5, 0.25, -1.0, 0.0])
    assert [m.tolist() for m in largest_products(weights, 0.6).values()] == [[False, False, True, False], [False]]
    assert all(m.all() for m in largest_products(weights, 0.0).values())


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_weight_that_is_never_chosen_fades_as_the_recipe_and_the_fade_say(momentum: float) -> None:
    """By the recipe alone it is w = w - lr (g + mu v), v = mu v + g, g = decay w: Nesterov's with no gradient."""
    module, recipe = nn.Sequential(Blind(), *network()), replace(HEAVY, momentum=momentum)
    w = module[1].get_parameter("weight").detach()[:, :2].double().clone()
    seen: list[dict[str, Tensor]] = []
    fit(module, task(), recipe=recipe, samples=640, techniques=(GlobalSparseMomentum(0.5, 3.0, 0.8, 64), Watch(seen)))
    v = torch.zeros_like(w)
    for step in range(15):
        v = momentum * v + 0.1 * w
        w = (w - 0.05 * (0.1 * w + momentum * v)) * math.exp(-3.0 / 16)
        assert torch.allclose(seen[step]["1"][:, :2].double(), w, rtol=1e-5), step
    assert not seen[15]["1"][:, :2].any() and not seen[-1]["1"][:, :2].any(), "zero once zeros were drawn"


def test_what_is_never_chosen_is_what_goes_and_layers_shares_come_out() -> None:
    module = nn.Sequential(Blind(), *network())
    report = fit(module, task(), recipe=F32, epochs=8, techniques=(GlobalSparseMomentum(0.5, least=64),))
    first, last = module[1], module[3]
    assert zeros_of(first) + zeros_of(last) == 144 and holds(first) and holds(last)
    assert not first.get_parameter("weight")[:, :2].any()
    assert zeros_of(first) / 192 > 1.2 * zeros_of(last) / 96
    assert report.losses[-1] < report.losses[0]


def test_it_goes_on_exactly_after_an_interruption(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    recipe = replace(F32, techniques=(GlobalSparseMomentum(0.6, least=64),))
    whole = network()
    fit(whole, task(), recipe=recipe, samples=800)
    for stop in (9, 22):  # before and after zeros were drawn
        seen = 0

        def interrupting(outputs: Tensor, targets: Tensor, stop: int = stop) -> Tensor:
            nonlocal seen
            seen += 1
            if seen == stop:
                os.kill(os.getpid(), signal.SIGINT)
            return functional.cross_entropy(outputs, targets)

        path = tmp_path / f"{stop}.safetensors"
        with pytest.raises(KeyboardInterrupt):
            fit(network(), task(interrupting), recipe=recipe, samples=800, checkpoint=path)
        resumed = network()
        assert fit(resumed, task(), recipe=recipe, samples=800, checkpoint=path).steps == 25
        assert all(map(torch.equal, whole.state_dict().values(), resumed.state_dict().values()))
    torch.set_num_threads(threads)


def test_a_network_without_such_layers_is_told() -> None:
    plain, module = network(), network()
    fit(plain, task(), recipe=HEAVY, samples=96)
    report = fit(module, task(), recipe=HEAVY, samples=96, techniques=(GlobalSparseMomentum(),))
    assert report.skipped == {"global-sparse-momentum": "no layer that trains has 1024 weights"}
    assert all(map(torch.equal, plain.state_dict().values(), module.state_dict().values()))


@pytest.mark.parametrize("wrong", [{"share": 1.0}, {"share": -0.1}, {"stop": 0.0}, {"fade": -1.0}])
def test_values_that_prune_nothing_or_all_are_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueRangeError):
        GlobalSparseMomentum(**wrong)
