"""Files of a kilobyte that describe much more end in an error before time and memory are taken."""

import numpy as np
import pytest
import ranvier as rv
from support.refused import refused

onnx = pytest.importorskip("onnx")
node = onnx.helper.make_node
FLOAT = onnx.TensorProto.FLOAT


def info(name, shape):
    return onnx.helper.make_tensor_value_info(name, FLOAT, shape)


def model_of(nodes, constants=(), functions=(), shape=(1, 1, 2, 2)):
    tensors = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants]
    graph = onnx.helper.make_graph(nodes, "graph", [info("x", shape)], [info("y", ["a"])], tensors)
    sets = [onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid("own", 1)]
    return onnx.helper.make_model(graph, opset_imports=sets, functions=functions, ir_version=9)


def chain(op, count, *more, **settings):
    """`count` nodes, each on the result of the one before."""
    names = ["x", *(f"t{i}" for i in range(count - 1)), "y"]
    return [node(op, [names[i], *more], [names[i + 1]], **settings) for i in range(count)]


def both(sizes, last):
    """Two vectors of x along different axes."""
    return [node("Expand", ["x", "s"], ["a"]), node("Expand", ["x", "q"], ["b"]), last], sizes


E6, ONE = [1, 1, 10**6, 1], (1, 1, 1, 1)
ACROSS = (("s", E6), ("q", [1, 1, 1, 10**6]))
BOMBS = {
    "ConstantOfShape": ([node("ConstantOfShape", ["s"], ["y"])], [("s", [10**6, 10**6])]),
    "Resize": ([node("Resize", ["x", "", "k"], ["y"])], [("k", np.float32([1, 1, 1e6, 1e6]))]),
    "Resize to sizes": ([node("Resize", ["x", "", "", "s"], ["y"])], [("s", [1, 1, 10**5, 10**5])]),
    "Expand": ([node("Expand", ["x", "s"], ["y"])], [("s", [10**4, 10**4, 2, 2])]),
    "Tile": (chain("Tile", 9, "s"), [("s", [1, 1, 100, 1])]),
    "Pad": ([node("Pad", ["x", "s"], ["y"])], [("s", [0, 0, 0, 0, 0, 0, 10**5, 10**5])]),
    "Range": (
        [node("Range", ["a", "b", "c"], ["y"])],
        [("a", np.int64(0)), ("b", np.int64(10**11)), ("c", np.int64(1))],
    ),
    "OneHot": (
        [node("Cast", ["x"], ["i"], to=onnx.TensorProto.INT64), node("OneHot", ["i", "d", "v"], ["y"])],
        [("d", np.int64(10**9)), ("v", np.float32([0, 1]))],
    ),
    "Add": (both(ACROSS, node("Add", ["a", "b"], ["y"]))),
    "MatMul": (both(ACROSS, node("MatMul", ["a", "b"], ["y"]))),
    "Einsum": (both(ACROSS, node("Einsum", ["a", "b"], ["y"], equation="ijkl,ijmn->ijkn"))),
    "Conv": ([node("Conv", ["x", "w"], ["y"], pads=[30_000] * 4)], [("w", np.ones(ONE, np.float32))]),
    "ConvTranspose": (
        [node("ConvTranspose", ["x", "w"], ["y"], strides=[10**5] * 2)],
        [("w", np.ones(ONE, np.float32))],
    ),
    "AveragePool": (
        [node("AveragePool", ["x"], ["y"], kernel_shape=[30_000] * 2, pads=[20_000] * 4)],
        [],
    ),
    "AffineGrid": (
        [node("Reshape", ["t", "r"], ["h"]), node("AffineGrid", ["h", "s"], ["y"])],
        [("t", np.ones(6, np.float32)), ("r", [1, 2, 3]), ("s", [1, 1, 10**6, 10**6])],
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_results_are_limited(name):
    nodes, constants = BOMBS[name]
    shape = ONE if constants == ACROSS else (1, 1, 2, 2)
    proto = model_of(nodes, constants, shape=shape)
    assert len(proto.SerializeToString()) < 1024
    loaded = rv.onnx.load(proto)
    refused(ValueError, "have more elements than expected", loaded, np.ones(shape, np.float32))


def test_many_small_steps_are_limited_together():
    """Each result has twice the elements of the one before."""
    names = ["x", *(f"t{i}" for i in range(39)), "y"]
    nodes = [node("Concat", [names[i]] * 2, [names[i + 1]], axis=0) for i in range(40)]
    refused(ValueError, "type Concat: the results", rv.onnx.load(model_of(nodes)), np.ones((1, 1, 2, 2), "f"))


def functions(depth, width=4):
    sets = [onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid("own", 1)]
    made = [onnx.helper.make_function("own", "f0", ["x"], ["y"], chain("Relu", 1), sets)]
    for i in range(1, depth):
        nodes = chain(f"f{i - 1}", width, domain="own")
        made.append(onnx.helper.make_function("own", f"f{i}", ["x"], ["y"], nodes, sets))
    return model_of(chain(f"f{depth - 1}", 1, domain="own"), functions=made)


def test_nested_functions_are_counted_before_they_are_inlined():
    refused(ValueError, "functions that stand for 262144 nodes; expected 20000", rv.onnx.load, functions(10))
    refused(ValueError, "stand for 16 nodes; expected 15", rv.onnx.load, functions(3), max_nodes=15)
    assert len(rv.onnx.load(functions(3), max_nodes=16).nodes) == 16


def test_the_limits_can_be_changed():
    proto = model_of(chain("Tile", 1, "s"), [("s", [1, 1, 10, 1])])
    x = np.ones((1, 1, 2, 2), np.float32)
    assert rv.onnx.load(proto, max_elements=40)(x).shape == (1, 1, 20, 2)
    refused(ValueError, "type Tile: the results", rv.onnx.load(proto, max_elements=39), x)
