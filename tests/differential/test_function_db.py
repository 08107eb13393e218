"""PyTorch's own autograd Functions (``autograd_function_db``) as a judge of ``autograd.Function``.

The classes are compiled from the source of the installed PyTorch with ``torch`` meaning this library; nothing
of them is copied. Each OpInfo is judged as operators are, and its first and second derivatives are compared.
"""

import ast
import inspect
import types

import numpy as np
import pytest
import ranvier as rv

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("expecttest", reason="expecttest, which PyTorch's lists need, is not installed")

from differential.opinfo.forms import Form  # noqa: E402
from differential.opinfo.judge import judge_sample, samples_of  # noqa: E402
from differential.opinfo.samples import Arguments  # noqa: E402
from torch.testing._internal import autograd_function_db as db  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # PyTorch's own, in jvp
EXCLUDED = {"NumpyExpMarkDirtyAutogradFunction": "mark_dirty is refused: forward must return new tensors"}
# Results that are views in PyTorch are copies here.
COPIES = ("wrong", "result 0: shares memory with an argument: False; expected True")
ONCE = {"NumpyCubeNotComposableAutogradFunction"}  # its backward is marked as once_differentiable


def ours():
    """The ops of the list on this library, by their names."""
    tree = ast.parse(inspect.getsource(db))
    kept = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) or getattr(node, "name", "") == "to_numpy"
    ]
    names = types.ModuleType("torch")
    names.__getattr__ = lambda name: getattr(rv, name)  # type: ignore[method-assign]
    names.autograd = types.SimpleNamespace(**vars(rv.autograd), function=rv.tape.function)  # type: ignore[attr-defined]
    space = {"torch": names, "np": np}
    exec(compile(ast.Module(kept, []), db.__file__, "exec"), space)
    found = {}
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "OpInfo":
            settings = {keyword.arg: keyword.value for keyword in call.keywords}
            op = compile(ast.Expression(settings["op"]), db.__file__, "eval")
            found[ast.literal_eval(call.args[0])] = types.SimpleNamespace(op=eval(op, space))
    return found


OURS = ours()
INFOS = [info for info in db.autograd_function_db if info.name not in EXCLUDED]


def test_the_list_is_known():
    names = [info.name for info in db.autograd_function_db]
    assert list(OURS) == names
    assert EXCLUDED.keys() < set(names)


@pytest.mark.parametrize("name", EXCLUDED)
def test_excluded_is_refused(name):
    info = next(info for info in db.autograd_function_db if info.name == name)
    (sample,) = samples_of(info, "float64")
    verdict, message = judge_sample(name, Form(name, OURS[name].op, info.op), sample)
    assert (verdict, "expected" in message) == ("refused", True), message


@pytest.mark.parametrize("info", INFOS, ids=lambda info: info.name)
def test_values_and_gradients(info):
    for dtype in ("float32", "float64", "int64", "bool"):
        for sample in samples_of(info, dtype):
            verdict = judge_sample(info.name, Form(info.name, OURS[info.name].op, info.op), sample)
            assert verdict == ("right", "") or ("return x[idx]" in source(info) and verdict == COPIES)


def source(info):
    return inspect.getsource(getattr(info.op, "__self__", db))


def derivatives(library, functions, name, op, args):
    """Gradients of gradients by leaves, and Jacobians and products by the transforms."""
    floating = tuple(i for i, x in enumerate(args) if getattr(x, "requires_grad", False))

    def number(*args):
        results = op(*args)
        results = results if isinstance(results, tuple) else (results,)
        return sum((y.sin() * (i + 1)).sum() for i, y in enumerate(results) if y.requires_grad)

    xs = [args[i] for i in floating]
    first = library.autograd.grad(number(*args), xs, create_graph=name not in ONCE)
    with library.no_grad():
        found = [*first, *functions.grad(number, floating)(*args)]
    if name not in ONCE:
        squares = sum((g * g).sum() for g in first)
        if squares.requires_grad:
            found += library.autograd.grad(squares, xs, allow_unused=True)
        found += functions.jacrev(functions.grad(number, floating), floating)(*args)[0]
    return [x if x is None else x.detach().numpy() for x in found]


@pytest.mark.parametrize("info", INFOS, ids=lambda info: info.name)
def test_second_derivatives_and_transforms(info):
    for sample in samples_of(info, "float64"):
        arguments = Arguments(sample)
        theirs = derivatives(torch, torch.func, info.name, info.op, arguments.theirs)
        got = derivatives(rv, rv.func, info.name, OURS[info.name].op, arguments.ours)
        for a, b in zip(got, theirs, strict=True):
            zero = np.zeros(()) if b is None else b
            np.testing.assert_allclose(zero if a is None else a, zero, rtol=1e-12, atol=1e-13)
