from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import whet
from whet import tasks
from whet.compress.width import Width
from whet.core.errors import CalibrationError
from whet.core.net import Net
from whet.core.run import Run
from whet.core.space import Decision
from whet.core.task import predict
from whet.graph.fold import fold_batch_norms
from whet.hardware import targets
from whet.networks.resnet import resnet
from whet.train.recalibrate import recalibrate
from whet.train.restore_norms import restore_batch_norms

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def images(count: int = 64) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(count, 3, 32, 32, generator=generator)
    return [(x[i : i + 32], torch.zeros(32)) for i in range(0, count, 32)]


def norms(net: Net) -> list[str]:
    return [name for name, layer in net.layers().items() if isinstance(layer, NORMS)]


def folded_resnet() -> Net:
    torch.manual_seed(0)
    net = whet.lift(resnet(20), images()[0][0][:2])
    recalibrate(net, images())
    return fold_batch_norms(net)


def test_a_folded_network_gets_its_norms_back_and_computes_the_same() -> None:
    folded = folded_resnet()
    assert not norms(folded)
    restored, left = restore_batch_norms(folded, images())
    assert len(norms(restored)) == 19 and not left, "ResNet-20 has 19 convolutions"
    x = images()[1][0]
    expected = folded(x).detach()
    torch.testing.assert_close(restored(x), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    again = fold_batch_norms(restored)
    for name, tensor in folded.module.state_dict().items():
        torch.testing.assert_close(again.module.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)
    assert not norms(folded), "the input was changed"


def test_its_statistics_are_those_of_the_data() -> None:
    restored, _ = restore_batch_norms(folded_resnet(), images(32))
    x = images(32)[0][0]
    before = restored(x).detach()
    recalibrate(restored, images(32))
    after = restored(x)
    torch.testing.assert_close(after, before, rtol=1e-2, atol=1e-2 * float(before.abs().max()))
    rms = [
        restored.layer(n.removesuffix("_norm")).weight.flatten(1).norm(dim=1).square().mean() for n in norms(restored)
    ]
    torch.testing.assert_close(torch.stack(rms), torch.full((19,), 2.0), rtol=1e-4, atol=1e-4)


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.shared = nn.Conv2d(8, 8, 1)
        self.plain = nn.Conv2d(8, 8, 3, bias=False)
        self.squeeze = nn.Conv2d(8, 8, 1)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(self.plain(self.shared(torch.relu(self.shared(x)))))
        x = x * torch.sigmoid(self.squeeze(x.mean((2, 3), keepdim=True)))
        return self.head(x).mean((2, 3))


def test_convolutions_that_had_no_norm_are_left_with_a_reason() -> None:
    net = whet.lift(Odd(), images()[0][0][:2])
    restored, left = restore_batch_norms(net, images())
    assert norms(restored) == ["stem_norm"]
    assert left == {
        "shared": "its weights are used more than once",
        "plain": "it has no bias, which a folded norm would have left",
        "squeeze": "its outputs have one position, too few for statistics",
        "head": "it makes the network's output",
    }


def grouped() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))


@pytest.mark.parametrize("module", [resnet(20), grouped()], ids=["its own batch norms", "norms of another kind"])
def test_networks_whose_norms_are_there_are_left_whole(module: nn.Module) -> None:
    net = whet.lift(module, images()[0][0][:2])
    restored, left = restore_batch_norms(net, images())
    assert norms(restored) == norms(net) and not left
    assert restored.module.code == net.module.code


def test_without_data_there_is_an_error() -> None:
    with pytest.raises(CalibrationError, match="no batches"):
        restore_batch_norms(folded_resnet(), [])


def test_a_cut_is_recovered_from_by_statistics_alone() -> None:
    bundle, target = tasks.get("digits"), targets.get("cpu")
    module, example = bundle.trained("digits_cnn")
    task = bundle.task
    folded = fold_batch_norms(whet.lift(module, example))
    width = Width(tie="network")
    narrower = Decision(dict.fromkeys(width.space(folded, target).choices, 0.75))

    def accuracy(net: Net) -> float:
        cut = width.apply(net, narrower, Run(task, target)).net
        recalibrate(cut, task.train)
        return task.score(*predict(cut, task.val))

    restored, _ = restore_batch_norms(folded, task.train)
    assert accuracy(restored) > accuracy(folded) + 0.2


def test_a_norm_knows_mean_and_variance_of_what_its_convolution_gives() -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Flatten())
    restored, _ = restore_batch_norms(whet.lift(module, images()[0][0][:2]), images())
    norm = restored.layer("0_norm")
    with torch.no_grad():
        outputs = restored.layer("0")(torch.cat([x for x, _ in images()])).transpose(0, 1).flatten(1)
    torch.testing.assert_close(norm.running_mean, outputs.mean(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, outputs.var(1, correction=0), rtol=1e-3, atol=1e-6)
