"""A module of the library that is imported in a recording: the step is captured as if it had been there.

`python -m properties.test_late_import NAME` calls a function of this file in an interpreter that has loaded
none of them: it must not import the samples, which load some.
"""

import functools
import pickle
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest
import ranvier as rv
from compile.beside import played
from ranvier.autograd import Function
from ranvier.ops.table import AT_FIRST_USE, FUNCTIONAL, function_names
from support.python import printed
from support.refused import refused
from support.strict import strict

LATE = AT_FIRST_USE | FUNCTIONAL
BY_NN = ("reduction.variance", "shape.repeat")  # loaded by `nn`
SQUARE = np.arange(9, dtype="f").reshape(3, 3) ** 0.5
PLACES = rv.tensor([[2, 0, 1]])


def scalar_times(x):
    return rv.scalar_tensor(2.0) * x


def singular_values(x):
    return rv.linalg.svdvals(x)


def normal_draws(x):
    return rv.distributions.Normal(x, 1.0).rsample()


def doubled_rows(x):
    return rv.func.vmap(lambda row: row * 2)(x)


WITHOUT_SAMPLE = {  # modules of which no sample of an op can be used, and a function that loads each
    "ops.making.rare": scalar_times,
    "linalg": singular_values,
    "distributions": normal_draws,
    "func": doubled_rows,
}
# those that others load come before them
FIRST = [*BY_NN, "reduction.sort", "elementwise.binary", "shape.scatter", "shape.stacking", "matrix.inverse"]
WITH_SAMPLE = [module for module in LATE if module not in FIRST and f"ops.{module}" not in WITHOUT_SAMPLE]
MODULES = FIRST + WITH_SAMPLE


class OpCall(NamedTuple):
    """A call that a process makes which has not loaded the samples."""

    place: str  # of the op, as "ops.hypot", seen from `ranvier`
    args: tuple[Any, ...]
    settings: dict[str, Any]


# --- in the process of the test: it chooses calls of ops
def is_flat(args, arrays):
    """True if all arrays are arguments by themselves, one of them of floats."""
    direct = [x for x in args if isinstance(x, np.ndarray)]
    has_floats = any(x.dtype.kind == "f" and x.size for x in direct)
    return has_floats and len(arrays) == len(direct)


def first_call(module):
    """The first sample of an op of the module that can be captured."""
    from samples import OPS
    from samples.sample import plain

    from properties.every import lacking
    from properties.test_captured import AT_TIMES

    place = "nn.functional" if module in FUNCTIONAL else "ops"
    left_out = " ".join(lacking("captured") | AT_TIMES).split()
    for name in function_names(LATE[module]):
        if name not in OPS or name in left_out:
            continue
        for sample in OPS[name].samples:
            args = plain(sample.args)
            if is_flat(args, sample.arrays):
                return OpCall(f"{place}.{name}", args, sample.settings)
    raise AssertionError(f"no op of {module} has a sample")


@pytest.mark.parametrize("part", range(6))
def test_late_import(part, tmp_path):
    """Several modules in each process, where one does not load the other."""
    calls = {f"ops.{module}": first_call(module) for module in MODULES[part::6]}
    others = list(WITHOUT_SAMPLE)[part::6]
    file = tmp_path / "calls"
    file.write_bytes(pickle.dumps((calls, others)))
    printed("-m", "properties.test_late_import", "check_calls", file, PYTHONPATH=":".join(sys.path))


# --- in the new process: it captures a step that loads the module
def check_captured(function, arrays):
    """A training step that calls the function is captured, and its replays have the bits of eager steps."""
    weight = rv.ones(1, requires_grad=True)

    def with_gradient(x):
        return x * weight if x.is_floating_point() else x.clone()

    def step(*inputs):
        results = function(*map(with_gradient, inputs))
        if not isinstance(results, (tuple, list)):
            results = [results]
        loss = (weight * weight).sum()
        for y in results:
            if y.is_floating_point():
                loss = loss + (y * y).mean()
        loss.backward()
        gradient = weight.grad.clone()
        weight.grad = None
        return loss, gradient

    def scaled(array, number):
        if array.dtype.kind != "f":
            return rv.tensor(array)
        return rv.tensor(array * np.float32(1 - number / 32))

    def inputs(number):
        return [scaled(array, number) for array in arrays]

    def as_it_is(step):
        return step

    rv.random.current().plain_state()  # which `played` reads, too
    found, captured = played(lambda: step, inputs, strict)
    expected, _ = played(lambda: step, inputs, as_it_is)
    assert found == expected
    assert len(captured.programs) == 1


def of_arrays(op_call):
    """The call as a function of its arrays; the op is looked up by its name when the function runs."""
    op = eval(f"lambda *args, **settings: rv.{op_call.place}(*args, **settings)")
    is_array = [isinstance(x, np.ndarray) for x in op_call.args]
    without_arrays = [None if isinstance(x, np.ndarray) else x for x in op_call.args]
    settings = op_call.settings

    def function(*tensors):
        args = list(without_arrays)
        left = iter(tensors)
        for place, takes_tensor in enumerate(is_array):
            if takes_tensor:
                args[place] = next(left)
        return op(*args, **settings)

    return function


def as_float32(array):
    return array.astype("f") if array.dtype.kind == "f" else array


def check_calls(file):
    with open(file, "rb") as opened:
        calls, others = pickle.load(opened)
    for module, op_call in calls.items():
        assert f"ranvier.{module}" not in sys.modules, module
        arrays = [as_float32(x) for x in op_call.args if isinstance(x, np.ndarray)]
        check_captured(of_arrays(op_call), arrays)
        assert f"ranvier.{module}" in sys.modules, module
    for module in others:
        assert f"ranvier.{module}" not in sys.modules, module
        check_captured(WITHOUT_SAMPLE[module], [SQUARE])


# --- other first uses
def in_a_refused_recording():
    from ranvier import nn

    bag = nn.EmbeddingBag(5, 3, mode="max")
    step = strict(lambda i: (bag(i), rv.take(rv.zeros(3), i)))
    refused(rv.CaptureError, "gradients can still be computed", step, rv.tensor([[0, 1, 2]]))
    assert "ranvier.ops.shape.write" in sys.modules
    check_captured(lambda x: rv.scatter_reduce(x, 0, PLACES, x, "amax"), [SQUARE])


def first_use_of(module, words):
    """A function that asks for the first op of the module."""
    space = rv.nn.functional if module in FUNCTIONAL else rv.ops
    return functools.partial(getattr, space, function_names(words)[0])


def elsewhere():
    """A step has layers whose modules import ``ranvier.ops`` and ``ranvier.nn.functional``."""
    from ranvier import nn

    model = nn.Sequential(nn.Conv1d(3, 4, 2), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(4, 2))
    step = strict(lambda x: model(x).sum().detach())
    batch = rv.ones(1, 3, 3)
    for _ in range(5):
        step(batch)

    x = rv.ones(3) + 1
    uses = [lambda: x // 2, lambda: 5 % x, lambda: +x, lambda: (x > 0) ^ (x < 1), lambda: ~(x > 0)]
    uses += [first_use_of(module, words) for module, words in LATE.items()]
    for use in uses:
        use()
        step(batch)
        assert len(step.programs) == 1


@pytest.mark.parametrize("case", [in_a_refused_recording, elsewhere])
def test_first_use(case):
    printed("-m", "properties.test_late_import", case.__name__, PYTHONPATH=":".join(sys.path))


OF_THE_USER = """
import numpy as np
from ranvier import nn
from ranvier.autograd import Function

class Exp(Function):
    def forward(self, x):
        self.y = np.exp(x)
        return self.y

    def backward(self, dy):
        return dy * self.y
"""


def test_a_module_of_the_user(tmp_path, monkeypatch):
    """Its Functions are captured, too; one that the step itself makes is not."""
    (tmp_path / "of_the_user.py").write_text(OF_THE_USER)
    monkeypatch.syspath_prepend(tmp_path)

    def imports(x):
        import of_the_user

        return of_the_user.Exp().apply(x)

    def makes(x):
        class Exp(Function):
            def forward(self, x):
                return np.exp(x)

        return Exp().apply(x)

    check_captured(imports, [SQUARE])
    refused(rv.CaptureError, "Exp.apply", strict(makes), rv.ones(3))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
