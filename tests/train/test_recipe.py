from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from whet.core.checks import ValueRangeError
from whet.core.errors import UnknownNameError
from whet.train.recipe import DISTANCES, PRESETS, SCHEDULES, Recipe


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_recipes_that_can_be_changed(name: str) -> None:
    recipe = Recipe.preset(name)
    assert (recipe.optimizer, recipe.learning_rate) == (PRESETS[name]["optimizer"], PRESETS[name]["learning_rate"])
    assert Recipe.preset(name, learning_rate=0.5, warmup=0.1) == replace(recipe, learning_rate=0.5, warmup=0.1)


@pytest.mark.parametrize(("given", "near"), [("tranformer", "; did you mean 'transformer'"), ("x", "")])
def test_a_preset_that_is_not_there_is_told(given: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=rf"unknown preset '{given}'{near}.* Allowed: convolutions, gentle"):
        Recipe.preset(given)


def test_schedules_warm_up_peak_and_end_at_zero() -> None:
    for name in ("cosine", "one-cycle"):
        schedule = SCHEDULES[name]
        values = [schedule(i / 1000, 0.05) for i in range(1001)]
        assert max(values) == pytest.approx(1.0, abs=1e-3)
        assert values[0] < 0.1 and values[-1] == pytest.approx(0.0, abs=1e-6)
    assert SCHEDULES["cosine"](0.05, 0.05) == pytest.approx(1.0)
    assert SCHEDULES["constant"](0.5, 0.0) == SCHEDULES["constant"](1.0, 0.1) == 1.0


def test_weight_decay_spares_norms_and_biases() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    decayed, spared = Recipe(weight_decay=0.1).build(module).param_groups
    assert {id(p) for p in decayed["params"]} == {id(module[0].weight), id(module[3].weight)}
    assert decayed["weight_decay"] == 0.1 and spared["weight_decay"] == 0.0
    assert len(spared["params"]) == 4


def test_divergence_is_hintons() -> None:
    """At high temperature T^2 KL tends to half the variance of the difference of logits (Hinton et al. 2015, 2.1)."""
    torch.manual_seed(0)
    a, b = torch.randn(64, 10), torch.randn(64, 10)
    limit = ((a - b) - (a - b).mean(1, keepdim=True)).square().sum(1).mean() / (2 * 10)
    assert float(DISTANCES["kl"](a, b, 200.0)) == pytest.approx(float(limit), rel=0.02)
    assert float(DISTANCES["kl"](a, a, 4.0)) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("field", ["optimizer", "schedule", "distance", "precision"])
def test_misspelt_values_are_told(field: str) -> None:
    with pytest.raises(UnknownNameError, match=f"unknown {field} 'sgdd'"):
        Recipe(**{field: "sgdd"})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0.0), ("learning_rate", -0.1), ("temperature", 0), ("weight_decay", -1e-4), ("momentum", 1.5),
        ("distillation", 1.1), ("distillation", "most"), ("warmup", 1), ("clip_norm", -1),
        ("hint_weight", float("inf")),
        ("class_axis", 0), ("momentum", True),
    ],
)  # fmt: skip
def test_values_outside_of_their_range_are_told(field: str, value: object) -> None:
    with pytest.raises(ValueRangeError, match=field):
        Recipe(**{field: value})  # type: ignore[arg-type]
