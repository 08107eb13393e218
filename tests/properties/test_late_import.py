"""A module of the library that is imported in a recording: the step is captured as if it had been there.

`python -m properties.test_late_import NAME` calls a function of this file in an interpreter that has loaded
none of them: it must not import the samples, which load some.
"""

import pickle
import sys

import numpy as np
import pytest
import ranvier as rv
from compile.beside import played
from ranvier.autograd import Function
from ranvier.ops.table import AT_FIRST_USE, FUNCTIONAL, functions
from support.python import printed
from support.refused import refused
from support.strict import strict

LATE = AT_FIRST_USE | FUNCTIONAL
BY_NN = ("reduction.variance", "shape.repeat")  # loaded by `nn`
SQUARE, PLACES = np.arange(9, dtype="f").reshape(3, 3) ** 0.5, rv.tensor([[2, 0, 1]])
OTHERS = {  # modules without such a sample
    "ops.making.rare": lambda x: rv.scalar_tensor(2.0) * x,
    "linalg": lambda x: rv.linalg.svdvals(x),
    "distributions": lambda x: rv.distributions.Normal(x, 1.0).rsample(),
    "func": lambda x: rv.func.vmap(lambda row: row * 2)(x),
}
# those that others load come before them
FIRST = [*BY_NN, "reduction.sort", "elementwise.binary", "shape.scatter", "shape.stacking", "matrix.inverse"]
MODULES = [*FIRST, *(module for module in LATE if module not in FIRST and f"ops.{module}" not in OTHERS)]


# --- here: calls of ops
def is_flat(args, arrays):
    """True if all arrays are arguments of their own, one of them of floats."""
    own = [x for x in args if isinstance(x, np.ndarray)]
    return len(arrays) == len(own) and any(x.dtype.kind == "f" and x.size for x in own)


def first_call(module):
    """The place of an op of the module, and the arguments of a sample that can be captured."""
    from samples import OPS
    from samples.sample import plain

    from properties.every import lacking
    from properties.test_captured import AT_TIMES

    place = "nn.functional." if module in FUNCTIONAL else "ops."
    left_out = " ".join(lacking("captured") | AT_TIMES).split()
    for name in functions(LATE[module]):
        for sample in OPS[name].samples if name in OPS and name not in left_out else ():
            if is_flat(args := plain(sample.args), sample.arrays):
                return place + name, args, sample.settings
    raise AssertionError(f"no op of {module} has a sample")


@pytest.mark.parametrize("part", range(6))
def test_late_import(part, tmp_path):
    """Several modules in each process, where one does not load the other."""
    calls = {f"ops.{module}": first_call(module) for module in MODULES[part::6]}
    others = [*OTHERS][part::6]
    (tmp_path / "calls").write_bytes(pickle.dumps((calls, others)))
    printed("-m", "properties.test_late_import", "of_file", tmp_path / "calls", PYTHONPATH=":".join(sys.path))


# --- there
def judged(function, arrays):
    weight = rv.ones(1, requires_grad=True)

    def step(*inputs):
        ys = function(*(x * weight if x.is_floating_point() else x.clone() for x in inputs))
        ys = ys if isinstance(ys, (tuple, list)) else [ys]
        loss = sum(((y * y).mean() for y in ys if y.is_floating_point()), (weight * weight).sum())
        loss.backward()
        gradient, weight.grad = weight.grad.clone(), None
        return loss, gradient

    def inputs(number):
        return [rv.tensor(x * np.float32(1 - number / 32) if x.dtype.kind == "f" else x) for x in arrays]

    rv.random.current().plain_state()  # which `played` reads, too
    found, fast = played(lambda: step, inputs, strict)
    assert found == played(lambda: step, inputs, lambda step: step)[0]
    assert len(fast.programs) == 1


def called(place, args, settings):
    """The op as a function of its arrays."""
    op = eval(f"lambda *args, **settings: rv.{place}(*args, **settings)")
    is_array = [isinstance(x, np.ndarray) for x in args]
    numbers = [None if array else x for array, x in zip(is_array, args, strict=True)]

    def function(*tensors):
        left = iter(tensors)
        return op(
            *(next(left) if array else x for array, x in zip(is_array, numbers, strict=True)), **settings
        )

    return function


def of_file(file):
    with open(file, "rb") as opened:
        calls, others = pickle.load(opened)
    for module, (place, args, settings) in calls.items():
        assert f"ranvier.{module}" not in sys.modules, module
        arrays = [x.astype("f") if x.dtype.kind == "f" else x for x in args if isinstance(x, np.ndarray)]
        judged(called(place, args, settings), arrays)
        assert f"ranvier.{module}" in sys.modules, module
    for module in others:
        assert f"ranvier.{module}" not in sys.modules, module
        judged(OTHERS[module], [SQUARE])


# --- other first uses
def in_a_refused_recording():
    from ranvier import nn

    bag = nn.EmbeddingBag(5, 3, mode="max")
    step = strict(lambda i: (bag(i), rv.take(rv.zeros(3), i)))
    refused(rv.CaptureError, "gradients can still be computed", step, rv.tensor([[0, 1, 2]]))
    assert "ranvier.ops.shape.write" in sys.modules
    judged(lambda x: rv.scatter_reduce(x, 0, PLACES, x, "amax"), [SQUARE])


def elsewhere():
    """A step has layers whose modules import ``ranvier.ops`` and ``ranvier.nn.functional``."""
    from ranvier import nn

    model = nn.Sequential(nn.Conv1d(3, 4, 2), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(4, 2))
    step, x, batch = strict(lambda x: model(x).sum().detach()), rv.ones(3) + 1, rv.ones(1, 3, 3)
    uses = [lambda: x // 2, lambda: 5 % x, lambda: +x, lambda: (x > 0) ^ (x < 1), lambda: ~(x > 0)]
    for module, words in LATE.items():
        space, name = rv.nn.functional if module in FUNCTIONAL else rv.ops, functions(words)[0]
        uses.append(lambda space=space, name=name: getattr(space, name))
    for use in [lambda: step(batch)] * 5 + uses:
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

    judged(imports, [SQUARE])
    refused(rv.CaptureError, "Exp.apply", strict(makes), rv.ones(3))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
