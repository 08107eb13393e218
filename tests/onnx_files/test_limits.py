"""Files of a kilobyte that describe much more end in an error before time and memory are taken."""

import numpy as np
import pytest
import ranvier as rv
from support.isolated import run_isolated
from support.refused import refused

onnx = pytest.importorskip("onnx")
from onnx_files.changed_files import case  # noqa: E402
from support.onnx_models import model_of  # noqa: E402

node = onnx.helper.make_node


def model(nodes, constants=(), shape=(1, 1, 2, 2), **more):
    return model_of(nodes, dict(constants), shape, opset=20, domains=["own"], **more)


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
    "AveragePool": ([node("AveragePool", ["x"], ["y"], kernel_shape=[30_000] * 2, pads=[20_000] * 4)], []),
    "AffineGrid": (
        [node("Reshape", ["t", "r"], ["h"]), node("AffineGrid", ["h", "s"], ["y"])],
        [("t", np.ones(6, np.float32)), ("r", [1, 2, 3]), ("s", [1, 1, 10**6, 10**6])],
    ),
}


N, DOTS = 6000, ",".join("..." + c for c in "abcdefgh")
WEIGHT = ("w", np.ones(ONE, np.float32))
BOMBS |= {  # values between, which the result does not show
    "Pad that also cuts": (chain("Pad", 1, "s", mode="edge"), [("s", [N * N, 0, 0, 0, 0, 0, 0, -1])]),
    "Resize not_smaller": (
        [node("Resize", ["x", "", "", "s"], ["y"], axes=[2, 3], keep_aspect_ratio_policy="not_smaller")],
        [("s", [2 * N, 1])],
    ),
    "Resize antialias": (
        [node("Resize", ["x", "", "k"], ["y"], mode="linear", antialias=1)],
        [("k", np.float32([1, 1, 1e-7, 1]))],
    ),
    "MaxUnpool": (
        [node("MaxUnpool", ["x", "i"], ["y"], kernel_shape=[2, 2], strides=[N, N])],
        [("i", np.zeros((1, 1, 2, 2), np.int64))],
    ),
    "MaxPool SAME": (chain("MaxPool", 1, kernel_shape=[N, N], auto_pad="SAME_UPPER"), []),
    "AveragePool SAME": (chain("AveragePool", 1, kernel_shape=[N, N], auto_pad="SAME_LOWER"), []),
    "LpPool with ceil_mode": (chain("LpPool", 1, kernel_shape=[N, N], pads=[N] * 4, ceil_mode=1), []),
    "ConvTranspose SAME": (chain("ConvTranspose", 1, "w", strides=[N, N], auto_pad="SAME_UPPER"), [WEIGHT]),
    "Conv of many products": (
        [node("Expand", ["w", "s"], ["v"]), node("Conv", ["v", "v"], ["y"], pads=[900] * 4)],
        [("s", [1, 1, 1000, 1000]), WEIGHT],
    ),
    "Col2Im": (
        [node("Reshape", ["x", "r"], ["v"]), node("Col2Im", ["v", "s", "k"], ["y"], pads=[N // 2] * 4)],
        [("r", [1, 4, 1]), ("s", [2, 2]), ("k", [2, 2])],
    ),
    "Einsum with dots": (
        [
            node("Expand", ["t", "s"], ["v"]),
            node("Einsum", ["v"] * 8, ["y"], equation=DOTS + "->...abcdefgh"),
        ],
        [("s", [2, 8]), ("t", np.ones(1, np.float32))],
    ),
    "Einsum of no elements": (
        [node("Expand", ["x", "s"], ["v"]), node("Einsum", ["v", "v"], ["y"], equation="abcd,efgh->abcefg")],
        [("s", [200, 10, 2, 2])],
    ),
    "a sum of no elements": (
        [node("ConstantOfShape", ["s"], ["v"]), node("ReduceSum", ["v", "r"], ["y"])],
        [("s", [0, 10**9]), ("r", [0])],
    ),
    "MatMul of integers": (
        [node("Expand", ["i", "s"], ["v"]), node("MatMul", ["v", "v"], ["y"])],
        [("s", [1000, 1000]), ("i", [1])],
    ),
    "steps of an RNN": (
        [node("Expand", ["t", "s"], ["v"]), node("RNN", ["v", "t", "t"], ["y"], hidden_size=1)],
        [("s", [10**6, 1, 1]), ("t", np.ones((1, 1, 1), np.float32))],
    ),
    "num_outputs of Split": (chain("Split", 1, num_outputs=2**40), []),
}


@pytest.mark.parametrize("name", BOMBS)
def test_results_are_limited(name):
    nodes, constants = BOMBS[name]
    shape = ONE if constants == ACROSS else (1, 1, 2, 2)
    proto = model(nodes, constants, shape=shape)
    assert len(proto.SerializeToString()) < 1024
    loaded = rv.onnx.load(proto)
    message = "got num_outputs" if name == "num_outputs of Split" else "have more elements than expected"
    refused(ValueError, message, loaded, np.ones(shape, np.float32))


def test_a_window_of_channels_ends_where_they_do():
    x = np.arange(4, dtype=np.float32).reshape(ONE[0], 4, 1, 1)
    large, small = (model(chain("LRN", 1, size=n, alpha=float(n)), shape=x.shape) for n in (10**9, 9))
    assert rv.onnx.load(large)(x).tolist() == rv.onnx.load(small)(x).tolist()


def test_counts_before_the_model_is_checked():
    """Nodes, initializers, functions in functions, and what onnx's own code would not survive."""
    name, tensor = "w" + ".a" * 10**5, np.ones(1, np.float32)
    loaded = rv.onnx.load(model([node("Add", ["x", name], ["y"])], [(name, tensor)]))
    assert [n for n, _ in loaded.named_parameters()] == [name.replace(".", "_")]
    refused(ValueError, "a graph of 30000 nodes", rv.onnx.load, model(chain("Relu", 30_000)))
    many = [(f"w{i}", tensor) for i in range(20_001)]
    refused(ValueError, "a graph of 20001 nodes", rv.onnx.load, model(chain("Relu", 1), many))
    refused(ValueError, "in more than 64 others", rv.onnx.load, functions(100, 1))
    again = model(chain("f0", 1, domain="own"), functions=functions(1).functions)
    again.functions[0].node[0].CopyFrom(node("f0", ["x"], ["y"], domain="own"))
    refused(ValueError, "or in themselves", rv.onnx.load, again)
    heads = model([node("Attention", ["x"] * 3, ["y"], q_num_heads=0, kv_num_heads=0)], shape=(1, 2, 2))
    heads.opset_import[0].version = 23
    refused(ValueError, "num_heads 0 of Attention; expected 1 or more", rv.onnx.load, heads)


def test_changed_files(tmp_path):
    """No crash, no other error, and no more time and memory than a file may take."""
    assert not run_isolated([case(seed, tmp_path) for seed in range(300)])


def test_many_small_steps_are_limited_together():
    """Each result has twice the elements of the one before."""
    names = ["x", *(f"t{i}" for i in range(39)), "y"]
    nodes = [node("Concat", [names[i]] * 2, [names[i + 1]], axis=0) for i in range(40)]
    refused(ValueError, "type Concat: the results", rv.onnx.load(model(nodes)), np.ones((1, 1, 2, 2), "f"))


def functions(depth, width=4):
    sets = [onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid("own", 1)]
    made = [onnx.helper.make_function("own", "f0", ["x"], ["y"], chain("Relu", 1), sets)]
    for i in range(1, depth):
        nodes = chain(f"f{i - 1}", width, domain="own")
        made.append(onnx.helper.make_function("own", f"f{i}", ["x"], ["y"], nodes, sets))
    return model(chain(f"f{depth - 1}", 1, domain="own"), functions=made)


def test_nested_functions_are_counted_before_they_are_inlined():
    refused(ValueError, "functions that stand for 262144 nodes; expected 20000", rv.onnx.load, functions(10))
    refused(ValueError, "stand for 16 nodes; expected 15", rv.onnx.load, functions(3), max_nodes=15)
    assert len(rv.onnx.load(functions(3), max_nodes=16).nodes) == 16


def test_the_limits_can_be_changed():
    proto = model(chain("Tile", 1, "s"), [("s", [1, 1, 10, 1])])
    x = np.ones((1, 1, 2, 2), np.float32)
    assert rv.onnx.load(proto, max_elements=40)(x).shape == (1, 1, 20, 2)
    refused(ValueError, "type Tile: the results", rv.onnx.load(proto, max_elements=39), x)
