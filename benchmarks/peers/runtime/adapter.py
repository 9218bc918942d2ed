"""The runtimes with nothing compressed: what a user gets for nothing. The fastest of these is the bar."""

from whet.bench.peers.work import Work
from whet.hardware.inductor import Inductor
from whet.hardware.onnx_export import export_onnx

work = Work.ordered()
net = work.net().eval()
path = export_onnx(net, work.place("model", ".onnx"))
work.deliver("OpenVINO bf16", path, "openvino", "bf16")
work.deliver("OpenVINO f32", path, "openvino", "f32")
work.deliver("ONNX Runtime f32", path, "onnxruntime", "f32")
for precision in ("f32", "bf16"):
    compiled = Inductor().save(net, work.place(f"inductor {precision}", "").parent, {"precision": precision})
    work.deliver(f"inductor {precision}", compiled, "inductor", precision)
