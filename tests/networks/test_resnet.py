"""ResNets for small images: the sizes of the paper's table 6, and shortcuts without parameters."""

import pytest
import torch

from whet.networks.resnet import Block, resnet


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_parameters_are_those_of_the_paper(depth: int, millions: float) -> None:
    with torch.device("meta"):
        module = resnet(depth)
    assert sum(p.numel() for p in module.parameters()) / 1e6 == pytest.approx(
        millions, abs=0.05 if depth > 56 else 0.006
    )
    layers = [m for m in module.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(layers) == depth


def test_a_strided_shortcut_takes_every_second_pixel_between_channels_of_zeros() -> None:
    block, x = Block(4, 8, 2).eval(), torch.rand(2, 4, 6, 6)
    torch.nn.init.zeros_(block.conv2.weight)
    out = block(x)
    torch.testing.assert_close(out[:, 2:6], x[:, :, ::2, ::2])
    assert out[:, :2].abs().max() == 0 == out[:, 6:].abs().max()


@pytest.mark.parametrize("depth", [2, 21])
def test_depths_between_are_refused(depth: int) -> None:
    with pytest.raises(ValueError, match=rf"depth must be 6n \+ 2, such as 20, 44 or 56; got {depth}"):
        resnet(depth)
