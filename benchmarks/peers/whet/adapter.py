"""whet: `optimize` with its default settings and the same budget; with random weights, width and int8 as asked."""

from pathlib import Path

import whet
from whet.bench.peers.work import Work
from whet.compress.quantize.static import StaticQuantization
from whet.compress.width import Width
from whet.core.passes import Chain
from whet.hardware import targets
from whet.hardware.onnx_export import export_onnx

work = Work.ordered()
net = work.net().eval()
if work.latency_only:
    target = targets.get("cpu")
    batches = [(x[0], x[0].new_zeros(1).long()) for x in work.calibration()]
    task = whet.Task("latency", train=None, val=batches, calibration=batches, loss=None, metric=None)
    run = whet.Run(task, target, net)
    ways = Chain((Width(tie="network"), StaticQuantization()))
    for fraction in (1.0, 0.75, 0.5, 0.25):
        for int8 in ("off", "all"):
            chosen = {"*:width": fraction, "network:int8": int8}
            smaller = ways.apply(net, whet.Decision(chosen), run).net
            name = f"{1 - fraction:.0%} of channels off" + (", int8" if int8 == "all" else "")
            work.deliver(name, export_onnx(smaller.eval(), work.place(name, ".onnx")), "openvino")
else:
    out = Path(work.out) / "study"
    front = whet.optimize(
        net, work.bundle.task, target="cpu", max_drop=work.max_drop, budget=work.seconds_left, out=out,
        recipe=work.bundle.recipe, seed=work.seed, restart=True, command="benchmarks/peers/whet",
    )  # fmt: skip
    for rank, member in enumerate(front.members):
        path = (out / "front" / str(rank) / "model.onnx").resolve()
        note = ", ".join(f"{k} = {v}" for k, v in member.decision.items())
        work.deliver(f"front/{rank}", path, member.settings["runtime"], member.settings["precision"], note)
