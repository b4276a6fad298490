"""Tiny networks in ONNX whose map is the brightness of the image, so that numpy can say what they must give."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from pipeline.networks.presets import Signature

WHITE = {"1": 1.0, "255": 255.0, "brightest": 1.0}


def save(path, nodes, inputs, outputs, weights=(), **options):
    graph = helper.make_graph(nodes, "network", inputs, outputs, list(weights))
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(network, str(path), **options)
    return path


def image_input(height=16, width=16, *, count=1, colours=3, name="image", dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, [count, colours, height, width])


def brightness(path, signature=None, *, gain=1.0, offset=0.0, sides=(16, 16), count=1, before=0, after=0, **options):
    """A network for images of this signature: gain * brightness + offset, brightness from 0 (black) to 1 (white).

    Args: before, after: outputs beside the map; they hold its negative. sides, count: axes of the input; names for
          open ones.
    """
    signature = signature or Signature()
    white = WHITE[signature.white]
    weight = np.array(signature.std, np.float32).reshape(1, 3, 1, 1) * np.float32(gain / 3)
    shift = np.array([gain * np.mean(signature.mean) + offset], np.float32)
    initial = [
        helper.make_tensor("weight", TensorProto.FLOAT, weight.shape, (weight / white).tobytes(), raw=True),
        helper.make_tensor("shift", TensorProto.FLOAT, [1], shift.tobytes(), raw=True),
    ]
    names = [f"before{n}" for n in range(before)] + ["map"] + [f"after{n}" for n in range(after)]
    nodes = [helper.make_node("Conv", ["image", "weight", "shift"], ["map"])]
    nodes += [helper.make_node("Neg", ["map"], [name]) for name in names if name != "map"]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [count, 1, *sides]) for name in names]
    return save(path, nodes, [image_input(*sides, count=count)], outputs, initial, **options)


def nowhere_for_dark(path, *, below=0.2):
    """NaN everywhere if the image is darker than this on average; else its brightness."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["shown"], axes=[1], keepdims=1),
        helper.make_node("ReduceMean", ["image"], ["average"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Sub", ["average", "bound"], ["above"]),
        helper.make_node("Sqrt", ["above"], ["root"]),
        helper.make_node("Sub", ["root", "root"], ["nothing"]),
        helper.make_node("Add", ["shown", "nothing"], ["map"]),
    ]
    weights = [helper.make_tensor("bound", TensorProto.FLOAT, [1], [below])]
    outputs = [helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, 1, 16, 16])]
    return save(path, nodes, [image_input()], outputs, weights)
