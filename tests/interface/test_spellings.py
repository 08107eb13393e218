"""NumPy's names of arguments, which PyTorch's built-in functions take beside their own: `axis`, `keepdims`,
`x`, `a`, `x1` and `x2`. The forms are all functions and methods with such an argument."""

from __future__ import annotations

import collections
import copy
import inspect
import pickle
import types
from typing import Any

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F
from ranvier.ops.table import ROWS, function_names, method_names
from ranvier.tensors.spellings import OF_LAYERS, PLAIN, SPELLINGS
from samples import OPS
from samples.sample import tensors_in
from support.refused import refused

SPACES = {"": rv, "linalg.": rv.linalg, "fft.": rv.fft}
X = rv.tensor([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]])
SAMPLES = collections.defaultdict(list)  # the name of a function -> its samples
for _op in OPS.values():
    _path = _op.of if isinstance(_op.of, str) and _op.of else _op.name
    _right = [sample for sample in _op.all_samples if sample.error is None and not sample.is_layer]
    SAMPLES[_path.removeprefix("ops.")] += [] if _op.draws else _right


def public_functions():
    """The functions with NumPy's names, by their path."""
    of_ops = {name for row in ROWS.values() for name in function_names(row)}
    names = {"": of_ops, "linalg.": dir(rv.linalg), "fft.": dir(rv.fft)}
    for space, module in SPACES.items():
        for name in sorted(names[space]):
            function = getattr(module, name, None)
            if inspect.isfunction(function) and name[0] != "_" and not (space == "" and name in PLAIN):
                yield space + name, function
    for name in OF_LAYERS.split():
        yield f"nn.functional.{name}", getattr(rv.nn.functional, name)


def respellings(function, args, settings, first=0):
    """The same call with an argument under each of NumPy's names. first: how many keep their places."""
    names = list(inspect.signature(function).parameters)
    for name, own in SPELLINGS.items():
        if own in settings:
            others = {key: value for key, value in settings.items() if key != own}
            yield (own, name), args, {**others, name: settings[own]}
        elif own in names[first : len(args)]:
            at = names.index(own)
            after = dict(zip(names[at + 1 :], args[at + 1 :], strict=False))
            yield (own, name), args[:at], {**settings, **after, name: args[at]}


def same(given: Any, expected: Any) -> bool:
    pairs = zip(tensors_in(given), tensors_in(expected), strict=True)
    return all(np.array_equal(y.numpy(), z.numpy(), equal_nan=y.is_floating_point()) for y, z in pairs)


def forms_of(path, function, as_method=False):
    """The forms of a function, each tried on a sample: the result is that of the call by its own names."""
    parameters = inspect.signature(function).parameters
    if any(p.kind is p.VAR_POSITIONAL for p in parameters.values()):
        return set()
    tried = set()
    for sample in SAMPLES[path.removeprefix("nn.functional.")]:
        call = sample.tensors(rv.float32, records=False)
        for form, args, settings in respellings(function, call.args, call.settings, int(as_method)):
            if form not in tried:
                expected = function(*call.args, **call.settings)
                assert same(function(*args, **settings), expected), (path, form)
                tried.add(form)
    return {(path, *form) for form in tried}


def test_every_function_takes_numpys_names():
    found = {}
    for path, function in public_functions():
        found[path] = forms_of(path, function)
    forms = set().union(*found.values())
    by_own = collections.Counter(own for _, own, _ in forms)
    assert len(forms) >= 680, len(forms)
    assert by_own["input"] >= 500, by_own
    assert by_own["dim"] >= 65, by_own
    assert by_own["other"] >= 35, by_own
    for path in ("exp", "add", "chunk", "gather", "fft.rfft", "var_mean"):
        assert found[path], path


def test_every_method_takes_numpys_names():
    forms = set()
    for row in ROWS.values():
        for name in method_names(row):
            if not name.startswith("__") and name not in PLAIN and not name.endswith("_"):
                forms |= forms_of(name, getattr(rv.Tensor, name), as_method=True)
    by_own = collections.Counter(own for _, own, _ in forms)
    assert by_own["dim"] >= 45, by_own
    assert by_own["other"] >= 35, by_own
    assert "input" not in by_own


@pytest.mark.parametrize(
    ("name", "args", "settings", "own"),
    [
        ("add_", (), {"x2": X}, (X,)),
        ("cumsum_", (), {"axis": 0}, (0,)),
        ("index_add_", (), {"axis": 0, "index": rv.tensor([1, 0]), "source": X}, (0, rv.tensor([1, 0]), X)),
        ("fmod_", (), {"x2": 2.0}, (2.0,)),
        ("squeeze_", (), {"axis": 0}, (0,)),
    ],
)
def test_methods_in_place(name, args, settings, own):
    x = X.clone()
    y = X.clone()
    assert same(getattr(x, name)(*args, **settings), getattr(y, name)(*own))
    assert same(x, y)


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_functions_that_pytorch_writes_in_python_refuse_them(name):
    tried = 0
    for function in {getattr(home, name, None) for home in (rv, rv.nn.functional)} - {None}:
        for sample in SAMPLES[name][:3]:
            call = sample.tensors(rv.float32, records=False)
            for _, args, settings in respellings(function, call.args, call.settings):
                with pytest.raises(TypeError):
                    function(*args, **settings)
                tried += 1
    assert tried or name in ("stft", "dropout2d", "gumbel_softmax")  # without such samples, or they draw


def test_what_is_no_name_stays_an_error():
    refused(TypeError, "multiple values for argument 'input'", rv.exp, X, x=X)
    refused(TypeError, "unexpected keyword argument 'x'", rv.exp, input=X, x=X)
    refused(TypeError, "unexpected keyword argument 'axis'", rv.exp, X, axis=0)
    refused(TypeError, "unexpected keyword argument 'y'", rv.exp, y=X)
    refused(TypeError, "unexpected keyword argument 'keepdims'", X.cumsum, 0, keepdims=True)
    refused(TypeError, "multiple values for argument 'input'", X.add, x=X)
    refused(IndexError, "got dim 5", rv.cumsum, X, axis=5)
    refused(TypeError, "[add] got", rv.add, X, x2="text")


def test_functions_without_samples_of_their_own():
    assert same(rv.linalg.norm(x=X, axis=1, keepdims=True), rv.linalg.norm(X, dim=1, keepdim=True))
    assert same(rv.linalg.vector_norm(X, axis=0), rv.linalg.vector_norm(X, dim=0))
    assert same(rv.linalg.matrix_norm(X, keepdims=True), rv.linalg.matrix_norm(X, keepdim=True))
    assert same(rv.linalg.cross(x1=X, x2=X + 1, axis=1), rv.linalg.cross(X, X + 1, dim=1))
    square = rv.tensor([[2.0, 1.0], [1.0, 3.0]])
    assert same(rv.linalg.eigvalsh(a=square), rv.linalg.eigvalsh(square))
    assert same(rv.det(input=square), rv.linalg.det(A=square))
    assert X.allclose(x2=X)
    assert X.type_as(x2=X.double()).dtype == rv.float64


def test_gradients_and_captured_steps():
    w = X.clone().requires_grad_()
    rv.add(x1=rv.exp(x=w), x2=w).sum(axis=1, keepdims=True).sum().backward()
    assert same(w.grad, rv.exp(X) + 1)
    step = rv.compile(
        lambda x: rv.logcumsumexp(rv.tanh(x=x), axis=1).gather(axis=1, index=rv.tensor([[0], [1]]))
    )
    for _ in range(4):
        assert same(step(X), rv.logcumsumexp(rv.tanh(X), 1).gather(1, rv.tensor([[0], [1]])))


@pytest.mark.parametrize("function", [rv.exp, rv.add, rv.sum, rv.nn.functional.gelu, rv.Tensor.add])
def test_they_are_functions_to_python(function):
    assert inspect.isroutine(function)
    assert function.__doc__
    assert next(iter(inspect.signature(function).parameters)) == "input"
    assert pickle.loads(pickle.dumps(function)) is copy.deepcopy(function) is function
    if function is not rv.Tensor.add:
        assert isinstance(function, types.FunctionType)


def test_other_names_that_pytorch_takes():
    x = rv.arange(6.0).view(2, 3)
    assert rv.swapaxes(x, axis0=0, axis1=1).tolist() == x.T.tolist()
    assert x.swapaxes(axis0=-1, axis1=0).tolist() == x.T.tolist()
    borders = rv.tensor([1.0, 3.0])
    assert rv.searchsorted(borders, input=x).tolist() == [[0, 0, 1], [1, 2, 2]]
    for op in (F.softmax, F.log_softmax, F.softmin):  # as graphs that are written as code call them
        assert same(op(x, dim=1, _stacklevel=3, dtype=None), op(x, 1))


@pytest.mark.parametrize("name", ["resize_", "resize_as_"])
def test_another_order_in_memory_is_refused_where_it_has_no_effect(name):
    x, images = rv.zeros(1), rv.zeros(1, 2, 3, 3)
    shape = images if name == "resize_as_" else images.shape
    expected = f"[{name}] got memory_format torch.channels_last"
    refused(ValueError, expected, getattr(x, name), shape, memory_format=rv.channels_last)
    assert getattr(x, name)(shape, memory_format=rv.contiguous_format).shape == images.shape


DIMS = [((), {}), ((1,), {}), ((), {"dim": -1}), ((), {"axis": 0}), ((None,), {}), ((5,), {}), (("a",), {})]
KEPT = [
    ((1, True), {}),
    ((1,), {"keepdim": True}),
    ((), {"dim": 1, "keepdim": True}),
    ((0,), {"keepdims": True}),
]
KEPT += [((), {"keepdim": True, "dim": 0}), (((0, 1),), {}), ((1, 2), {}), ((1,), {"what": 3})]
TWO = [((0, 1), {}), ((0,), {"dim1": 1}), ((-1, 0), {}), ((0,), {}), ((0, 7), {}), ((0, 1, 2), {})]
FORWARDS = {  # function -> what follows the tensor
    **dict.fromkeys(("all", "amax", "amin", "any", "mean", "sum"), DIMS + KEPT),
    "sum of floats": [((), {"dtype": rv.float64}), ((1,), {"dtype": rv.int64})],
    "softmax": [*DIMS, ((1, rv.float64), {}), ((), {"dtype": rv.float64})],
    "log_softmax": DIMS,
    "softplus": [((), {}), ((2.0,), {}), ((), {"beta": 2.0}), ((2.0, 1.0), {}), ((), {"threshold": 1.0})],
    "elu": [((), {}), ((0.5,), {}), ((), {"alpha": 2.0}), ((2.0, False), {}), ((), {"inplace": False})],
    "gelu": [((), {}), (("tanh",), {}), ((), {"approximate": "none"}), ((3,), {})],
    "squeeze": [*DIMS, ((0, 1), {}), (((0, 1),), {})],
    "unsqueeze": [*DIMS, ((1, 2), {})],
    "transpose": [*TWO, ((), {"dim0": 0, "dim1": 1}), ((), {"dim1": 0, "dim0": 1})],
    "movedim": [((0, 1), {}), ((0,), {"destination": -1}), (((0, 1), (1, 0)), {}), ((0, 5), {})],
    "diagonal": [
        ((), {}),
        ((1,), {}),
        ((), {"offset": -1}),
        ((0, 1, 0), {}),
        ((), {"dim1": 1}),
        ((0, 0, 0), {}),
    ],
    "flatten": [
        ((), {}),
        ((1,), {}),
        ((0, -1), {}),
        ((), {"end_dim": 0}),
        ((), {"start_dim": 1}),
        ((9,), {}),
    ],
    "select": [((0, 1), {}), ((1, -1), {}), ((1,), {"index": 2}), ((0, 9), {}), ((0,), {})],
    "narrow": [((1, 0, 2), {}), ((1, 1), {"length": 1}), ((1, 0, 9), {}), ((0,), {"start": 0, "length": 1})],
    "t": [((), {}), ((1,), {})],
    "tril": [((), {}), ((1,), {}), ((), {"diagonal": -1}), ((0, 1), {}), (("a",), {})],
    "triu": [((), {}), ((1,), {}), ((), {"diagonal": -1}), ((0, 1), {})],
}


@pytest.mark.parametrize("dtype", [rv.float32, rv.int64, rv.bool, rv.bfloat16], ids=str)
@pytest.mark.parametrize("of", FORWARDS)
def test_the_core_calls_the_op_of_a_function_as_python_does(of, dtype):
    """With any of its arguments; what a function computes, shares and refuses without the core is right."""
    public = getattr(rv, of.partition(" ")[0])
    _, (in_python,) = public.__reduce__()
    assert in_python is not public
    for args, settings in FORWARDS[of]:
        for requires_grad in {False, dtype.kind == "f"}:
            x = (X > 0 if dtype == rv.bool else X.to(dtype).clone()).requires_grad_(requires_grad)
            outcomes = []
            for function in (public, in_python):
                try:
                    y = function(x, *args, **settings)
                    facts = (
                        y.dtype,
                        y.requires_grad,
                        np.may_share_memory(y.detach().numpy(), x.detach().numpy()),
                    )
                    outcomes.append([y.tolist(), *map(str, facts), y.stride()])
                except Exception as error:
                    outcomes.append([type(error), *str(error).rsplit(" (in", 1)[:1]])
            assert outcomes[0] == outcomes[1], (args, settings)
