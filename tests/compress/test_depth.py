from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from shared_nets import shared_net

import whet
from whet.compress.depth import Depth, block_influence
from whet.core.errors import CalibrationError
from whet.core.net import Net
from whet.core.passes import Chain
from whet.core.space import Decision
from whet.graph.blocks import analyze_blocks, find_blocks
from whet.testing.networks import make
from whet.testing.passes import check
from whet.testing.runs import AlignedTarget, planning_run

TARGET = AlignedTarget()


def lifted(name: str) -> Net:
    return shared_net(name)


@pytest.mark.parametrize("tie", ["none", "stage", "network"])
@pytest.mark.parametrize("name", ["resnet20", "mobilenet", "encoder_parallel", "decoder", "unet"])
def test_conforms(name: str, tie: str) -> None:
    net = lifted(name)
    space = check(Depth(tie=tie), net, TARGET, planning_run(net), count=3)  # type: ignore[arg-type]
    assert len(space)


def test_spaces() -> None:
    net = lifted("resnet20")
    assert [(c.name, c.values, c.identity) for c in Depth().space(net, TARGET)][:2] == [
        ("layer1.0:keep", (True, False), True),
        ("layer1.1:keep", (True, False), True),
    ]
    assert len(Depth().space(net, TARGET)) == 9
    stages = {c.name: (c.values, c.identity) for c in Depth("stage").space(net, TARGET)}
    assert stages == {f"layer{i}.{{0..2}}:blocks": ((0, 1, 2, 3), 3) for i in (1, 2, 3)}
    assert [c.name for c in Depth("network").space(net, TARGET)] == ["*:blocks"]
    assert [c.name for c in Depth("stage").space(lifted("encoder"), TARGET)] == [
        "layers.{0..2}.attention:blocks",
        "layers.{0..2}.up:blocks",
    ]


def test_apply_drops_the_chosen_blocks_and_says_so() -> None:
    net = lifted("resnet20")
    result = Depth().apply(net, Decision({"layer1.1:keep": False, "layer3.2:keep": False}), planning_run(net))
    assert [b.site for b in find_blocks(result.net)] == [
        b.site for b in find_blocks(net) if b.site not in ("layer1.1", "layer3.2")
    ]
    # conv1 and conv2 of 3x3 without bias, each with a norm of two parameters a channel.
    assert net.parameter_count - result.net.parameter_count == sum(2 * (9 * w * w + 2 * w) for w in (16, 64))
    assert result.texts == {
        "layer1.1": "branch of 4 layers and 4,672 parameters dropped",
        "layer3.2": "branch of 4 layers and 73,984 parameters dropped",
    }


def test_tied_blocks_go_in_the_order_of_influence() -> None:
    net = lifted("resnet20")
    with torch.no_grad():  # the branch's last norm scales f: the block's influence
        for site, scale in (("layer1.0", 1.0), ("layer1.1", 0.01), ("layer1.2", 0.1)):
            for p in net.layer(f"{site}.bn2").parameters():
                p.mul_(scale)
    run = planning_run(net)
    influence = block_influence(net, find_blocks(net)[:3], run)
    assert influence["layer1.1"] < influence["layer1.2"] < influence["layer1.0"]
    for count, gone in ((2, {"layer1.1"}), (1, {"layer1.1", "layer1.2"})):
        result = Depth("stage").apply(net, Decision({"layer1.{0..2}:blocks": count}), run)
        assert set(result.texts) == gone


def test_influence_is_the_cosine_distance_of_input_and_output() -> None:
    net = lifted("encoder")
    run = planning_run(net)
    block = find_blocks(net)[0]
    with torch.no_grad():
        inputs = torch.cat([batch[0][0] for batch in run.task.train])[:12]
        x = net.layer("tokens")(inputs) + net.module.get_parameter("position")
        tail = whet.lift(make("encoder")[0].layers[0].attention, x)  # type: ignore[union-attr, index]
        y = x + tail(net.layer("layers.0.norm1")(x))
    expected = 1 - torch.cosine_similarity(x.flatten(1), y.flatten(1)).mean()
    assert block_influence(net, [block], run, samples=12)["layers.0.attention"] == pytest.approx(
        expected.item(), abs=1e-5
    )


def test_ranking_needs_data_and_says_so() -> None:
    net = lifted("resnet20")
    run = planning_run(net)
    run.task = replace(run.task, train=[], calibration=None)
    with pytest.raises(CalibrationError, match="'made up' has no calibration"):
        Depth("stage").apply(net, Decision({"layer1.{0..2}:blocks": 1}), run)
    whole_stage = Depth("stage").apply(net, Decision({"layer1.{0..2}:blocks": 0}), run)
    assert len(whole_stage.changed) == 3


def test_blocks_that_are_gone_are_skipped() -> None:
    net = lifted("resnet20")
    twice = Chain((Depth(), Depth()))
    with pytest.raises(Exception, match="declared twice"):
        twice.space(net, TARGET)  # type: ignore[arg-type]
    result = twice.apply(net, Decision({"layer2.1:keep": False}), planning_run(net))
    assert result.skipped == {"layer2.1": "no such residual block is left in the network."}
    assert len(find_blocks(result.net)) == 8


def test_reasons_reach_the_result() -> None:
    net = lifted("unet")
    assert "residual block 'inner.0'" in Depth().apply(net, Decision(), planning_run(net)).skipped["down"]


def test_the_damage_of_a_choice_is_the_influence_of_what_it_drops_the_least_first() -> None:
    net = shared_net("resnet20")
    run = planning_run(net)
    blocks = analyze_blocks(net).blocks
    influence = block_influence(net, list(blocks.values()), run)
    alone = Depth().damages(net, run)
    assert alone == {f"{site}:keep": [0.0, pytest.approx(value)] for site, value in influence.items()}
    (tied,) = Depth(tie="network").damages(net, run).values()
    ranked = sorted(influence.values())
    assert tied == pytest.approx([sum(ranked[: len(ranked) - kept]) for kept in range(len(ranked) + 1)])
    left = Depth().shares(net, run)
    site = next(iter(blocks))
    assert left[f"{site}:keep"] == [{}, dict.fromkeys(blocks[site].layers, 0.0)]
