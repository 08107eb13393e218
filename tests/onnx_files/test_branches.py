"""Branches and loops, whose graphs are attributes."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.refused import refused

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

X = np.arange(6, dtype=np.float32).reshape(2, 3)
HEAD = '<ir_version: 9, opset_import: ["" : 19]> g (float[2, 3] x{more}) => (float[] y{results})'


def loaded(nodes, more="", results="", weights=("w",)):
    """A model whose vectors of three numbers are initializers."""
    proto = onnx.parser.parse_model(HEAD.format(more=more, results=results) + " {" + nodes + "}")
    for i, name in enumerate(weights):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.full(3, i + 2, np.float32), name))
    return rv.onnx.load(proto)


IF = """
    y = If (c) <
        then_branch = a () => (float[] p) { p = Mul (x, w) },
        else_branch = b () => (float[] q) { s = Neg (x)  q = Mul (s, "v.v") }
    >
"""
LOOP = """
    n = Constant <value = int64 {3}> ()  go = Constant <value = bool {1}> ()
    y, rows = Loop (n, go, x) <body = b (int64 i, bool c, float[] h) => (bool d, float[] k, float[] r) {
        d = Identity (c)  f = Cast <to = 1> (i)  s = Add (h, f)  k = Mul (s, w)  r = ReduceSum (k)
    }>
"""
SCAN = """
    y, all = Scan (w, x) <num_scan_inputs = 1, scan_input_directions = [1], scan_output_axes = [1],
        body = b (float[3] h, float[3] r) => (float[3] k, float[3] o) { k = Sub (r, h)  o = Identity (k) }>
"""


def test_a_branch_and_its_weights():
    """Both branches train; an input as a condition is not captured."""
    found = loaded(IF, ", bool c", weights=("w", "v.v"))
    assert [name for name, _ in found.named_parameters()] == ["w", "v.v"]
    for chosen, wanted in ((True, X * 2), (False, -X * 3)):
        found.zero_grad()
        y = found(X, np.array(chosen))
        y.sum().backward()
        assert y.tolist() == wanted.tolist()
        assert [p.grad is not None for p in found.parameters()] == [chosen, not chosen]
    with pytest.warns(UserWarning, match="runs eagerly: node of type If, which needs numbers, reads a value"):
        assert rv.compile(found)(X, np.array(True)).tolist() == (X * 2).tolist()


def test_a_condition_of_shapes(tmp_path):
    """Its branch is known: it is captured and written again."""
    known = "m = Size (x)  six = Constant <value = int64 {6}> ()  c = Equal (m, six)"
    found = loaded(known + IF, weights=("w", "v.v"))
    fast = rv.compile(found)
    assert [fast(X).tolist() for _ in range(3)] == [(X * 2).tolist()] * 3
    rv.onnx.export(found, X, tmp_path / "again.onnx")
    assert rv.onnx.load(tmp_path / "again.onnx")(X).tolist() == (X * 2).tolist()
    found.w = nn.Parameter(rv.tensor([0.0, 1.0, 2.0]))
    assert found(X).tolist() == (X * [0, 1, 2]).tolist()


def test_loops():
    y, rows = loaded(LOOP, results=", float[] rows")(X)
    wanted, sums = X, []
    for i in range(3):
        wanted = (wanted + i) * 2
        sums.append(wanted.sum())
    assert (y.tolist(), rows.tolist()) == (wanted.tolist(), sums)
    last, columns = loaded(SCAN, results=", float[] all")(X)
    steps = [X[1] - 2, X[0] - (X[1] - 2)]
    assert (last.tolist(), columns.tolist()) == (steps[1].tolist(), np.stack(steps, 1).tolist())
    none = loaded(LOOP.replace("{3}", "{0}"), results=", float[] rows")
    refused(ValueError, "got no steps; expected one or more", none, X)
    endless = loaded(LOOP.replace("{3}", f"{{{2**60}}}"), results=", float[] rows")
    refused(ValueError, "type Loop: the results have more elements than expected", endless, X)
