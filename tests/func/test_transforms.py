"""ranvier.func: random compositions of functions and transforms beside central differences and PyTorch, where
it is installed; then cases with expected values."""

import inspect

import numpy as np
import pytest
import ranvier as rv
from func.trees import text
from ranvier import func
from ranvier.autograd import numeric_gradients
from support.refused import refused

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # PyTorch's own, in jvp
A = np.random.default_rng(0).standard_normal((2, 2)) / 2
PRIMITIVES = {
    "sin": lambda T, x: T.sin(x * 1.3),
    "product": lambda T, x: T.tensor(A) @ x,
    "tanh": lambda T, x: T.tanh(x) + 0.3 * x,
    "square": lambda T, x: x * x * 0.5,
    "softmax": lambda T, x: T.softmax(x, 0) * 2,
    "sum": lambda T, x: x * x.mean() + 0.2,
    "cumulative": lambda T, x: T.cumsum(x, 0) * 0.7,
    "power": lambda T, x: (x * x + 1) ** 0.3,
    "parts": lambda T, x: T.cat([x[1:] * x[:-1], T.exp(x[:1] * 0.4)]),
    "stop": lambda T, x: x * x.detach().sum() + x**3 * 0.2,  # last: central differences do not stop
}
X, V = np.array([0.4, -0.9]), np.array([0.7, 1.2])
TRANSFORMS = ["grad", "jacrev", "jacfwd", "hessian", "jvp", "vjp"]


def weights(T, shape):
    return T.tensor(np.cos(np.arange(np.prod(shape, dtype=int)) + 1.0).reshape(shape))


def transformed(T, F, name, g):
    """A function of a vector from another one."""
    weigh = lambda y: weights(T, tuple(y.shape))  # noqa: E731
    if name == "grad":
        return F.grad(lambda x: (lambda y: (y * weigh(y)).sum())(g(x)))
    if name == "jvp":
        return lambda x: F.jvp(g, (x,), (T.tensor(V) * x,))[1]
    if name == "vjp":
        return lambda x: (lambda y, pull: pull(weigh(y) * y)[0])(*F.vjp(g, x))
    return getattr(F, name)(g)


def program(T, F, seed, primitives):
    """A random composition of primitives with up to three transforms between them; their names. T: the
    library, F: its `func`."""
    rng = np.random.default_rng(seed)
    names: list[str] = []

    def g(x):
        return x

    for depth in range(rng.integers(1, 4)):
        for name in rng.choice(primitives, 2 if depth == 0 else 1):
            g = (lambda f, p: lambda x: f(p(T, x)))(g, PRIMITIVES[name])
            names.append(name)
        many = sum(2 if name == "hessian" else name[:3] == "jac" for name in names)
        name = rng.choice([n for n in TRANSFORMS if many < 2 or n not in ("hessian", "jacrev", "jacfwd")])
        g = transformed(T, F, name, g)
        names.append(str(name))
    return g, names


@pytest.mark.parametrize("seed", range(12))
def test_derivatives_of_random_programs(seed):
    """Each derivative is compared with central differences of what it is taken of."""
    g, names = program(rv, func, seed, list(PRIMITIVES)[:-1])
    x = rv.tensor(X)
    y = g(x)
    assert not y.requires_grad
    w = weights(rv, tuple(y.shape))
    (expected,) = numeric_gradients(lambda a: g(rv.tensor(a)).numpy(), [X], [w.numpy()])
    scale = 1e-8 * max(1.0, np.abs(expected).max())  # see numeric_gradients: 11 digits of the values, over h
    slope = func.grad(lambda x: (g(x) * w).sum())(x)
    np.testing.assert_allclose(slope.numpy(), expected, atol=scale, err_msg=str(names))
    for kind in ("jacrev", "jacfwd"):
        found = (getattr(func, kind)(g)(x) * w.reshape(*w.shape, 1)).reshape(-1, 2).sum(0)
        np.testing.assert_allclose(found.numpy(), expected, atol=scale)
    _, tangent = func.jvp(g, (x,), (rv.tensor(V),))
    np.testing.assert_allclose((tangent * w).sum().item(), expected @ V, atol=scale)


@pytest.mark.parametrize("seed", range(30, 70))
def test_random_programs_as_pytorchs(seed, torch):
    ours, names = program(rv, func, seed, list(PRIMITIVES))
    theirs, _ = program(torch, torch.func, seed, list(PRIMITIVES))
    for requires_grad in (False, True):
        leaf = torch.tensor(X, requires_grad=requires_grad)
        pair = ours(rv.tensor(X, requires_grad=requires_grad)), theirs(leaf)
        if pair[0].requires_grad != pair[1].requires_grad:  # PyTorch records a Hessian that is constant
            (slope,) = torch.autograd.grad(pair[1].sum(), leaf)
            assert (pair[0].requires_grad, slope.any()) == (False, False), names
        expected = pair[1].detach().numpy()
        limit = 1e-11 * max(1, np.abs(expected).max())
        np.testing.assert_allclose(pair[0].detach().numpy(), expected, rtol=1e-9, atol=limit)


# --- cases: each gets the library and its `func`, and gives trees of tensors, numbers and text


def of_leaf(T, F):
    """At a tensor that requires a gradient, the derivative has a history; not under no_grad."""
    x = T.tensor(2.0, requires_grad=True)
    y = F.grad(lambda x: x**3)(x)
    y.backward()
    with T.no_grad():
        off = F.grad(lambda x: x**3)(x)
    return y.requires_grad, x.grad, off, off.requires_grad, x.requires_grad


def of_closure(T, F):
    """Results have a history where they depend on a tensor that requires a gradient."""
    w, x = T.tensor(3.0, requires_grad=True), T.tensor(2.0)
    g, (value, aux) = F.grad_and_value(lambda x: (x * x * w, {"w": w * 2, "x": x * 2}), has_aux=True)(x)
    kept = [t.requires_grad for t in (g, value, aux["w"], aux["x"])]
    g.backward()
    return kept, g, value, aux, w.grad, x.requires_grad


def within_no_grad(T, F):
    """no_grad within a function hides a part of it; around a transform it hides nothing."""

    def function(x):
        with T.no_grad():
            c = x**2
        return x - c

    def nested(x):
        with T.no_grad():
            c = F.grad(lambda x: x**3)(x)
        return x * c

    with T.no_grad():
        outside = F.grad(function)(T.tensor(3.0)), F.grad(F.grad(lambda x: x**3))(T.tensor(3.0))
    return F.grad(function)(T.tensor(3.0)), F.grad(nested)(T.tensor(3.0)), outside, T.is_grad_enabled()


def after_an_error(T, F):
    def fails(x):
        raise KeyError

    x = T.tensor(1.0)
    for call in (lambda: F.grad(fails)(x), lambda: F.vjp(fails, x), lambda: F.jacfwd(fails)(x)):
        with T.no_grad(), pytest.raises(KeyError):
            call()
        with T.no_grad():
            assert not (x * T.ones(1, requires_grad=True)).requires_grad
    return F.grad(lambda x: x * x)(x).requires_grad


def perturbations(T, F):
    """Derivatives of an inner call must not count as those of the outer one."""
    x = T.tensor(2.0)
    one = F.grad(lambda x: x * F.grad(lambda y: x * y)(T.tensor(1.0)))(x)
    two = F.grad(lambda x: F.grad(lambda y: x * y * y)(x))(x)
    three = F.jvp(lambda x: x * F.jvp(lambda y: x + y, (T.tensor(1.0),), (T.tensor(1.0),))[1], (x,), (x,))
    return one, two, three


def trees(T, F):
    tree = {"a": T.ones(2), "b": (T.tensor([3.0, 4.0]), [T.tensor(2.0)])}
    f = lambda t: (t["a"] * t["b"][0] * t["b"][1][0]).sum()  # noqa: E731
    jacobian = F.jacrev(lambda t: [t["a"] * t["b"][1][0], {"k": t["b"][0].sum()}])(tree)
    return F.grad(f)(tree), jacobian, F.hessian(f)(tree), F.vjp(f, tree)[1](T.tensor(1.0))


def numbers_of_arguments(T, F):
    a, b = T.tensor([1.0, 2.0]), T.tensor([3.0, 4.0])
    f = lambda a, b, *, c=1.0: (a * a * b * c).sum()  # noqa: E731
    return [
        *(F.grad(f, argnums=n)(a, b) for n in (0, 1, -1, (0,), (1, 0), (0, -1))),
        F.grad(f)(a, b, c=2.0),
        F.jacfwd(lambda a, b: a * b, argnums=(0, 1))(a, b),
        F.hessian(f, argnums=(0, 1))(a, b),
    ]


def shapes_of_jacobians(T, F):
    """The functions return numbers, nothing, constants, transposed results and trees."""
    functions = [lambda x: x.sum(), lambda x: x[:0], lambda x: T.ones(2)]
    functions += [lambda x: (x[:, :2] * 2).T, lambda x: (x, x.sum(0))]
    found = []
    for kind in (F.jacrev, F.jacfwd):
        found += [kind(f)(T.ones(2, 3)) for f in functions]
        found.append(kind(lambda x: T.outer(x, T.arange(5.0)) ** 2)(T.tensor([1.0])))
        found.append(kind(lambda x: (x * 2, x * 3), has_aux=True)(T.ones(2)))
    return found


def pulled_again(T, F):
    """A pullback of vjp may be called again, also under no_grad; it has a history by x and v."""
    x = T.tensor([1.0, 2.0], requires_grad=True)
    y, pull = F.vjp(lambda x: x**3, x)
    v = T.ones(2, requires_grad=True)
    (g,) = pull(v)
    with T.no_grad():
        (h,) = pull(v)
    g.sum().backward()
    return y, y.requires_grad, g, h.requires_grad, x.grad, v.grad, pull(T.zeros(2))


def unused(T, F):
    x = T.ones(2)
    return F.grad(lambda x: T.tensor(1.0))(x), F.jvp(lambda x, y: y * 2, (x, x), (x, x), strict=True)


def tangents_with_history(T, F):
    x, v = T.tensor([1.0, 2.0]), T.ones(2, requires_grad=True)
    _, y = F.jvp(lambda x: x**3, (x,), (v,))
    y.sum().backward()
    return v.grad, F.jacrev(lambda v: F.jvp(lambda x: x**3, (x,), (v,))[1])(T.ones(2))


def saliency(T, F):
    """Gradients by the input of a module with parameters, and a penalty on them."""
    layer = T.nn.Linear(2, 1)
    with T.no_grad():
        for p in layer.parameters():
            p.fill_(0.5)
    g = F.grad(lambda x: layer(x).tanh().sum())(T.ones(1, 2))
    (g**2).sum().backward()
    return g, layer.weight.grad


CASES = [
    *(of_leaf, of_closure, within_no_grad, after_an_error, perturbations, trees, numbers_of_arguments),
    *(shapes_of_jacobians, pulled_again, unused, tangents_with_history, saliency),
]
EXPECTED = {  # without PyTorch
    "of_leaf": "(True, 12.0, 12.0, False, True)",
    "of_closure": "([True, True, True, False], 12.0, 12.0, {'w': 6.0, 'x': 4.0}, 4.0, False)",
    "within_no_grad": "(1.0, 27.0, (1.0, 18.0), True)",
    "after_an_error": "False",
    "perturbations": "(4.0, 8.0, (2.0, 2.0))",
    "unused": "([0.0, 0.0], ([2.0, 2.0], [2.0, 2.0]))",
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_case(case):
    found = repr(text(case(rv, func)))
    assert EXPECTED.get(case.__name__, found) == found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_case_as_pytorchs(case, torch):
    assert text(case(rv, func)) == text(case(torch, torch.func))


def test_what_is_refused():
    x, f = rv.ones(2), lambda x: x.sum()
    for argnums in (1, -2, (0, 0), (0, -1)):
        refused(ValueError, "[grad] got argnums", func.grad(f, argnums), x)
    for argnums in ("a", (), 1.0):
        refused(TypeError, "[grad] got argnums", func.grad(f, argnums), x)
    refused(RuntimeError, "expected one element", func.grad(lambda x: x), x)
    refused(TypeError, "got float in inputs", func.grad(f), 3.0)
    refused(TypeError, "dtype int64", func.jacrev(f), rv.tensor([1]))
    refused(TypeError, "got float in the result of func", func.jacfwd(lambda x: 3.0), x)
    refused(TypeError, "has_aux=True and a function that returns Tensor", func.grad(f, has_aux=True), x)
    refused(TypeError, "primals of type Tensor; expected a tuple", func.jvp, f, x, x)
    refused(TypeError, "tangents of type list; expected a tuple", func.jvp, f, (x,), [x])
    refused(ValueError, "no primals", func.jvp, f, (), ())
    refused(RuntimeError, "got v of shapes ((3,),)", func.jvp, f, (x,), (rv.ones(3),))
    refused(RuntimeError, "strict=True", func.jvp, lambda x: rv.ones(1), (x,), (x,), strict=True)
    _, pull = func.vjp(lambda x: (x, {"k": x}), x)
    refused(RuntimeError, "got v of shapes", pull, (x, {"z": x}))
    refused(RuntimeError, "got v of shapes", pull, [x, {"k": x}])
    refused(ValueError, "chunk_size", func.jacrev, f, chunk_size=0)


def test_signatures(torch):
    of_this_library_alone = {"Stack", "jet", "laplacian", "stack", "unstack"}
    for name in set(func.__all__) - of_this_library_alone:
        ours = list(inspect.signature(getattr(func, name)).parameters.values())
        theirs = inspect.signature(getattr(torch.func, name)).parameters.values()
        theirs = [p for p in theirs if not p.name.startswith("_")]
        assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in theirs]


def test_a_tall_jacobian_costs_two_backwards_for_each_input():
    """Rows of 60 outputs by 2 inputs: counted by the calls of the backward of one op."""
    counts = [0]

    class Twice(rv.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, dy):
            counts[0] += 1
            return dy * 2

    spread = rv.ones(30, 2)
    assert func.jacrev(lambda x: Twice.apply(x) * spread)(rv.ones(2)).sum().item() == 120
    assert counts[0] == 1
    counts[0] = 0
    assert func.jacrev(lambda x: (Twice.apply(x) * spread)[:2])(rv.ones(2)).sum().item() == 8
    assert counts[0] == 4


def refused_backward(*args):
    raise AssertionError("backward")


def test_jacfwd_goes_forward(monkeypatch, rng):
    """No backward runs, but for ops without a forward rule and where the outputs are few."""
    a, b, w = (rv.tensor(rng.standard_normal(shape)) for shape in ((2, 3), (3,), (4, 3)))
    b32 = b.float()

    def f(a, b, unused):
        h = (rv.nn.functional.linear(a, w) * b[:1].double()).tanh()
        return {"h": h.exp(), "both": [rv.matmul(a, b.double()), b.double() / a], "constant": w * 2}

    expected = func.jacrev(f, (0, 1, 2))(a, b32, b)
    with monkeypatch.context() as patch:
        patch.setattr("ranvier.autograd.differentiated_call.DifferentiatedCall.gradients", refused_backward)
        found = func.jacfwd(f, (0, 1, 2))(a, b32, b)
    pairs = [(found[key], expected[key]) for key in ("h", "constant")]
    pairs += zip(found["both"], expected["both"], strict=True)
    for ours, others in pairs:
        for x, y in zip(ours, others, strict=True):
            assert (x.shape, x.dtype) == (y.shape, y.dtype)
            np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-5 if x.dtype == rv.float32 else 1e-12)
    filters = rv.ones(2, 1, 1, 1)
    assert func.jacfwd(lambda x: rv.nn.functional.conv2d(x, filters))(rv.ones(1, 1, 2, 2)).sum().item() == 8
    assert func.jacfwd(rv.sum)(rv.ones(3)).tolist() == [1, 1, 1]
    assert func.jacfwd(lambda x: x * 2)(rv.ones(0)).shape == (0, 0)
    with np.errstate(over="ignore"):
        assert func.jacfwd(rv.exp)(rv.tensor([100.0])).tolist() == [[np.inf]]
    assert func.jvp(rv.div, (rv.ones(()), rv.zeros(())), (rv.ones(()), rv.ones(())))[1].item() == -np.inf


def test_inputs_changed_in_place():
    """In the function, and between the function and its pullback."""
    w, ones = rv.tensor([1.0, 2.0], requires_grad=True), rv.ones(2)

    def doubled(x):
        return x.mul_(2.0) * x

    assert func.vjp(doubled, w * 1)[1](ones)[0].tolist() == [8, 16]
    assert func.jvp(doubled, (w * 1,), (ones,))[1].tolist() == [8, 16]
    assert func.grad(lambda x: doubled(x).sum())(w * 1).tolist() == [8, 16]
    for jacobian in (func.jacrev, func.jacfwd):
        assert jacobian(doubled)(w * 1).diagonal().tolist() == [8, 16]
    for x in (w * 1, w, w.detach()):
        _, pull = func.vjp(lambda x: x * x, x)
        with rv.no_grad():
            x.add_(1.0)
        refused(RuntimeError, "modified by an inplace operation", pull, ones)


def test_history_of_jacfwd():
    w = rv.tensor([2.0, 3.0], requires_grad=True)
    jacobian = func.jacfwd(lambda x: (w * x).sin())(rv.tensor([0.5, 1.0]))
    jacobian.sum().backward()
    wx = np.array([2.0, 3.0]) * np.array([0.5, 1.0])
    np.testing.assert_allclose(w.grad.numpy(), np.cos(wx) - wx * np.sin(wx), rtol=1e-5)


def test_jacfwd_of_an_empty_input_beside_another():
    empty = func.jacfwd(lambda x, y: rv.cat([x.flip(0), y]), (0, 1))(rv.ones(0), rv.ones(2))
    assert [tuple(j.shape) for j in empty] == [(2, 0), (2, 2)]


# --- in a compiled step

MODEL = rv.nn.Sequential(rv.nn.Linear(3, 4), rv.nn.Tanh(), rv.nn.Linear(4, 1)).requires_grad_(False)
GIVEN = {name: p.detach() * 2 for name, p in MODEL.named_parameters()}


def loss(p, x):
    return (func.functional_call(MODEL, p, x) ** 2).sum()


STEPS = {
    "grad": lambda x: func.grad(lambda x: (MODEL(x) ** 2).sum())(x),
    "grad of grad": lambda x: func.grad(lambda x: (func.grad(lambda x: MODEL(x).sum())(x) ** 2).sum())(x),
    "jacrev": func.jacrev(MODEL),
    "jacfwd": lambda x: func.jacfwd(lambda x: rv.outer(x, rv.arange(9.0)) ** 2)(x[0]),
    "hessian": lambda x: func.hessian(lambda x: MODEL(x).sum())(x[:2]),
    "jvp": lambda x: func.jvp(MODEL, (x,), (x * 2,)),
    "vjp": lambda x: func.vjp(MODEL, x)[1](rv.ones(5, 1)),
    "functional_call": lambda x: func.functional_call(MODEL, GIVEN, x),
    "by parameters": lambda x: func.grad(loss)(GIVEN, x),
}


@pytest.mark.parametrize("name", STEPS)
def test_in_a_compiled_step(name):
    compiled = rv.compile(STEPS[name])
    for _ in range(10):
        x = rv.randn(5, 3)
        assert text(compiled(x)) == text(STEPS[name](x))
    assert compiled.programs
