import whet
from whet import tasks

bundle = tasks.get("digits")
module, example = bundle.trained()
net = whet.lift(module, example)
front = whet.optimize(net, bundle.task, target="cpu", max_drop="2%", budget="30s", out="runs/quickstart")
print(front.conclusion)
if fastest := front.fastest():
    print(fastest.save("model"))  # model/model.onnx, its manifest beside it
