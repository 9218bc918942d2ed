"""Statistics estimated again are the data's, and nothing else of the network changes."""

from __future__ import annotations

import torch
from torch import nn

from whet.train.recalibrate import recalibrate


def made() -> tuple[nn.Sequential, list[tuple[torch.Tensor, torch.Tensor]]]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5), nn.BatchNorm1d(5, momentum=0.3))
    return module, [(3 * torch.randn(32, 4) + i, torch.zeros(32)) for i in range(6)]


def test_statistics_are_the_means_of_the_batches_own_whatever_was_there_before() -> None:
    """Yu and Huang 2019, post-statistics: a plain average of batches, where a moving one would weigh the last most."""
    module, batches = made()
    with torch.no_grad():
        module[2].running_mean.fill_(50.0)  # type: ignore[union-attr, operator]
        module[2].running_var.fill_(50.0)  # type: ignore[union-attr, operator]
        module[2].num_batches_tracked.fill_(7)  # type: ignore[union-attr, operator]
        outputs = [module[0](x) for x, _ in batches]  # no dropout: the statistics are those of evaluation
    assert recalibrate(module, batches, samples=1000) == 192
    torch.testing.assert_close(module[2].running_mean, torch.stack([y.mean(0) for y in outputs]).mean(0))
    torch.testing.assert_close(module[2].running_var, torch.stack([y.var(0) for y in outputs]).mean(0))
    assert module[2].momentum == 0.3 and not any(m.training for m in module.modules())


def test_so_many_samples_are_read_and_weights_stay() -> None:
    module, batches = made()
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    assert recalibrate(module, batches, samples=64) == 64
    torch.testing.assert_close(
        module[2].running_mean, torch.stack([module[0](x).mean(0) for x, _ in batches[:2]]).mean(0).detach()
    )
    assert all(torch.equal(p, before[name]) for name, p in module.named_parameters())
