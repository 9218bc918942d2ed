from __future__ import annotations

import torch
from torch import nn

import whet
from whet.compress.lockstep import Lockstep
from whet.compress.quantize.correction import corrected
from whet.graph.fake_quantize import ActivationQuantizer, quantize_weight


def coarse(net: whet.Net) -> whet.Net:
    """Return a copy with int8 weights behind quantizers that clip: the outputs' means move."""
    net = net.copy()
    for node in list(net.graph.nodes):
        site = str(node.target)
        if node.op != "call_module" or not hasattr(net.layer(site), "weight"):
            continue
        net.module.add_module(f"{site}_input", ActivationQuantizer(0.1, 8))
        with net.graph.inserting_before(node):
            node.args = (net.graph.call_module(f"{site}_input", (node.args[0],)),)
        net.module.set_submodule(site, quantize_weight(net.layer(site)))
    return net.settle()


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, bias=False)
        self.head = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.second(self.first(x).relu()).movedim(1, -1))


def means(net: whet.Net, batches: list[tuple[torch.Tensor, ...]]) -> dict[str, torch.Tensor]:
    """Return the mean of each layer's outputs by channel."""
    found: dict[str, torch.Tensor] = {}
    steps = Lockstep(net, batches)

    def collect(node: torch.fx.Node) -> None:
        if node.name in ("first", "second", "head"):
            value = torch.cat([env[node] for env in steps.values])
            value = value if node.name == "head" else value.movedim(1, -1)
            found[node.name] = value.flatten(0, -2).mean(0)

    steps.run(after=collect)
    return found


def test_each_layer_gives_the_originals_mean_on_calibration_data() -> None:
    torch.manual_seed(0)
    batches = [(torch.randn(n, 3, 8, 8),) for n in (8, 5)]
    net = whet.lift(Small().eval(), batches[0][0][:2])
    rough = coarse(net)
    before = {name: p.clone() for name, p in rough.module.state_dict().items()}
    found = corrected(rough, net, batches)
    wanted, off, now = (means(n, batches) for n in (net, rough, found))
    assert float((off["head"] - wanted["head"]).abs().max()) > 0.01, "there is something to correct"
    for name in ("first", "head"):
        torch.testing.assert_close(now[name], wanted[name], rtol=1e-5, atol=1e-5)
    assert float((now["second"] - wanted["second"]).abs().max()) > 1e-3, "without a bias there is nothing to do it with"
    assert all(torch.equal(p, before[name]) for name, p in rough.module.state_dict().items()), "the net was changed"
