"""vmap, a function on slices as one call: beside a loop over the slices, bit for bit, and beside PyTorch,
where it is installed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import ranvier as rv
from ranvier.autograd.trees import replace_values
from ranvier.func import functional_call, grad, vmap
from support.refused import refused

RNG = np.random.default_rng(0)


def tensor(*shape):
    return rv.tensor(RNG.standard_normal(shape).astype(np.float32))


A, B, V = tensor(3, 4, 5), tensor(5, 3), tensor(3, 5)


class Case(NamedTuple):
    function: Callable  # a function of the library, which may be PyTorch: the function that vmap takes
    args: tuple
    in_dims: Any = 0
    out_dims: Any = 0


CASES = [
    Case(lambda T: lambda x, y: x @ y, (A, V)),
    Case(lambda T: lambda x, y: x @ y, (A, V[0]), in_dims=(0, None)),
    Case(lambda T: lambda x, y: x @ y, (A.permute(1, 2, 0), V), in_dims=(2, 0), out_dims=-1),
    Case(lambda T: lambda x, y: x + y, (B, V.permute(1, 0)), in_dims=(-1, 1), out_dims=1),
    Case(lambda T: lambda x: (x.sum(), x * 2), (A,), out_dims=(0, 1)),
    Case(lambda T: lambda x: {"a": x["p"] + 1, "b": [x["q"]]}, ({"p": A, "q": V},)),
    Case(lambda T: lambda x, y: x["p"] + y, ({"p": A}, V[0, :3, None]), in_dims=({"p": 1}, None)),
    Case(lambda T: T.vmap(lambda x: x.cos().sum()), (A,)),
    Case(lambda T: T.func.grad(lambda x: (x**3).sum()), (A,), in_dims=1),
    Case(lambda T: lambda x: x[1:].as_strided((2, 2), (1, 3), x.storage_offset() + 29), (A,), in_dims=1),
]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_as_pytorch(number):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    function, args, *dims = CASES[number]
    theirs = [replace_values(x, [torch.from_numpy(v.numpy().copy()) for v in _values(x)]) for x in args]
    expected = torch.vmap(function(torch), *dims)(*theirs)
    got = vmap(function(rv), *dims)(*args)
    for mine, other in zip(_values(got), _values(expected, torch.Tensor), strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=1e-5, atol=1e-6)


def _values(tree, kind=rv.Tensor):
    """The tensors of a tree of tuples, lists and dicts."""
    if isinstance(tree, kind):
        return [tree]
    return [x for part in (tree.values() if isinstance(tree, dict) else tree) for x in _values(part, kind)]


def test_slices_have_the_bits_of_a_loop():
    w = tensor(5, 2).requires_grad_()
    many = vmap(lambda x: rv.tanh(x @ w))(A)
    loop = rv.stack([rv.tanh(x @ w) for x in A])
    assert (many.detach().numpy() == loop.detach().numpy()).all()
    (of_many,) = rv.autograd.grad(many.sum(), w)
    (of_loop,) = rv.autograd.grad(loop.sum(), w)
    # One product sums the gradients of all rows, in another order than the loop.
    np.testing.assert_allclose(of_many.numpy(), of_loop.numpy(), rtol=1e-5, atol=1e-6)


def test_gradients_of_samples():
    """Each sample has the gradient that a backward of it alone gives."""
    model = rv.nn.Linear(5, 2)
    weights = {name: p.detach() for name, p in model.named_parameters()}
    loss = lambda w, x: functional_call(model, w, (x,)).pow(2).sum()  # noqa: E731
    got = vmap(grad(loss), in_dims=(None, 0))(weights, V)
    for i in range(3):
        model.zero_grad()
        model(V[i]).pow(2).sum().backward()
        np.testing.assert_array_equal(got["weight"][i].numpy(), model.weight.grad.numpy())


STRIDED = {
    "offset": lambda x: x.as_strided((2, 2), (1, 2), 103),
    "none": lambda x: x.as_strided((2, 2), (1, 2), None)[1:],
    "its own": lambda x: x.as_strided((2, 2), (1, 2), x.storage_offset() + 2),
    "of a part": lambda x: x.unsqueeze(0)[..., 1:].as_strided((2, 2), (1, 2), 103),
    "without history": lambda x: x.detach().as_strided((2, 2), (1, 2), 103),
    "on a tape": lambda x: rv.func.jvp(lambda x: x.as_strided((2, 2), (1, 2), 103), (x,), (x,))[0],
    "where it begins": lambda x: rv.zeros(2) + x.storage_offset() + 10 * x[1:].storage_offset(),
}


@pytest.mark.parametrize("name", STRIDED)
@pytest.mark.parametrize("dims", [(0,), (1,), (2,), (-1, 0), (1, 1)])
def test_a_place_in_memory_is_the_same_of_each_slice(name, dims):
    """As PyTorch's vmap has it: of slice i that of the first one and i steps of the dimension."""
    whole, f = rv.arange(400.0).reshape(4, 5, 20)[1:], STRIDED[name]

    def expected(x, first, dims):
        if not dims:
            return f(first) - first.reshape(-1)[0] + x.reshape(-1)[0] if "begins" not in name else f(first)
        pairs = zip(x.unbind(dims[0]), [first.select(dims[0], 0)] * x.shape[dims[0]], strict=True)
        return rv.stack([expected(*pair, dims[1:]) for pair in pairs])

    g = f
    for dim in reversed(dims):
        g = vmap(g, dim)
    assert g(whole).tolist() == expected(whole, whole, dims).tolist()


def test_what_is_passed_by_name_is_whole():
    y = vmap(lambda x, y, scale: (x * scale + y).sum())(V, y=V, scale=2.0)
    np.testing.assert_allclose(y.numpy(), [(x * 2.0 + V.numpy()).sum() for x in V.numpy()], rtol=1e-5)


@pytest.mark.parametrize("draw", ["rand", "randint", "randperm", "bernoulli", "normal_", "multinomial"])
@pytest.mark.parametrize("randomness", ["error", "same", "different"])
@pytest.mark.filterwarnings("ignore:.vmap. multinomial has no batching rule")
def test_draws_of_a_given_generator(draw, randomness):
    """Each call goes on in its stream, so that they cannot be the same."""
    given = rv.Generator().manual_seed(0)
    half = rv.ones(2) / 2
    draws = {
        "rand": lambda: rv.rand(2, generator=given),
        "randint": lambda: rv.randint(0, 9, (2,), generator=given),
        "randperm": lambda: rv.randperm(5, generator=given),
        "bernoulli": lambda: rv.bernoulli(half, generator=given),
        "normal_": lambda: rv.nn.init.normal_(rv.zeros(2), generator=given),
        "multinomial": lambda: rv.multinomial(half, 1, generator=given),
    }
    call = vmap(lambda x: draws[draw]() + 0 * x.sum(), randomness=randomness)
    if randomness == "different":
        assert len(call(V)) == len(V)
    else:
        refused(RuntimeError, "[vmap] got a function that draws from its own generator", call, V)


def test_random_numbers():
    """A function that draws needs randomness="same" (one draw for all slices) or "different"."""
    noisy = lambda x: x + rv.randn(2)  # noqa: E731
    x = rv.zeros(3, 2)
    text = "[vmap] got a function that draws random numbers; expected randomness="
    refused(RuntimeError, text, vmap(noisy), x)
    rv.manual_seed(0)
    same = vmap(noisy, randomness="same")(x)
    after = rv.randn(2)
    rv.manual_seed(0)
    different = vmap(noisy, randomness="different")(x)
    assert (same[0] == same[1]).all()
    assert (different[0] != different[1]).any()
    rv.manual_seed(0)
    assert (same[0] == rv.randn(2)).all()
    assert (after == rv.randn(2)).all()  # "same" has drawn what one call draws


@pytest.mark.parametrize("randomness", ["error", "same", "different"])
def test_no_slices(randomness):
    """The result is empty, has the other sizes and leads to the gradients of the arguments."""
    none = rv.zeros(5, 0, requires_grad=True)
    weight = rv.ones(5, 2, requires_grad=True)
    function = vmap(lambda x, w: (x @ w, x.argmax()), (1, None), (1, 0), randomness=randomness)
    product, place = function(none, weight)
    assert (product.shape, place.shape, place.dtype) == ((2, 0), (0,), rv.int64)
    product.sum().backward()
    assert (none.grad.shape, weight.grad.tolist()) == ((5, 0), [[0.0, 0.0]] * 5)
    assert vmap(grad(lambda x: (x**2).sum()))(A[:0]).shape == (0, 4, 5)
    assert vmap(vmap(rv.sum))(A[:0]).shape == (0, 4)
    assert vmap(vmap(rv.sum))(A[:, :0]).shape == (3, 0)


@pytest.mark.parametrize("name", ["inv", "cholesky", "solve", "slogdet", "lu_factor", "eigh"])
def test_no_slices_of_matrices(name):
    function = getattr(rv.linalg, name)
    arguments = [rv.zeros(0, 3, 3), rv.zeros(0, 3, 2)][: 2 if name == "solve" else 1]
    expected = function(*arguments)
    found = vmap(function)(*arguments)
    pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
    assert all(y.shape == wanted.shape and y.dtype == wanted.dtype for y, wanted in pairs)


def test_draws_of_no_slices():
    rv.manual_seed(0)
    after = rv.rand(2)
    rv.manual_seed(0)
    noisy = lambda x: x + rv.rand(5)  # noqa: E731
    assert vmap(noisy, randomness="different")(V[:0]).shape == (0, 5)
    assert (rv.rand(2) == after).all()  # nothing was drawn
    refused(RuntimeError, "that draws random numbers", vmap(noisy), V[:0])


@pytest.mark.parametrize("wrong", [-1, 4])
def test_an_index_reads_no_row_of_another_slice(wrong):
    weight = tensor(3, 4, 2)
    index = rv.tensor([[0, 1], [2, wrong], [3, 3]])
    functional = rv.nn.functional
    refused(IndexError, "[embedding] got index", vmap(functional.embedding), index, weight)
    bags = lambda i, w: functional.embedding_bag(i.reshape(1, -1), w)  # noqa: E731
    refused(IndexError, "[embedding_bag] got index", vmap(bags), index, weight)


def test_errors():
    add = rv.add
    refused(ValueError, "[vmap] got 3 and 5 slices; expected arguments with as many", vmap(add), A, B)
    refused(ValueError, "[vmap] got in_dims without a dimension", vmap(add, None), A, B)
    refused(ValueError, "[vmap] got 1 in_dims for 2 arguments", vmap(add, (0,)), A, A)
    refused(TypeError, "[vmap] got an argument of type float and dimension 0", vmap(add), A, 2.0)
    refused(ValueError, "[vmap] got dimension 3 for an argument of shape (3, 4, 5)", vmap(add, 3), A, A)
    for dim in ("a", True, {"a": 0}):
        refused(ValueError, f"[vmap] got in_dims {dim!r} for one argument", vmap(add, (dim, 0)), A, A)
    refused(TypeError, "[vmap] got in_dims of type float", lambda: vmap(add, 1.0)(A, A))
    refused((ValueError, IndexError), "[", vmap(add, 0, 4), A, A)
    refused(ValueError, "[vmap] got out_dims (0, 0) for 1 results", vmap(add, 0, (0, 0)), A, A)
    refused(TypeError, "[vmap] got a result with float", vmap(lambda x: 2.0), A)
    for read in (rv.Tensor.item, float, bool, int, rv.Tensor.tolist, rv.Tensor.numpy):
        refused(RuntimeError, "of a Tensor whose values differ", vmap(lambda x, read=read: read(x[0, 0])), A)
    text = "[vmap] got untyped_storage() of a Tensor whose values differ from slice to slice"
    refused(RuntimeError, text, vmap(lambda x: x.untyped_storage()), A)
    refused(ValueError, "[vmap] got randomness 'no'", vmap, add, randomness="no")
    refused(ValueError, "[vmap] got chunk_size 0", vmap, add, chunk_size=0)


def test_a_compiled_step():
    """Replays have the bits of the first call."""
    w = tensor(5).requires_grad_()

    @rv.compile
    def step(x):
        w.grad = None
        losses = vmap(lambda row: (row @ w) ** 2)(x)
        losses.sum().backward()
        return losses, w.grad

    x = tensor(6, 5)
    first = [y.numpy().copy() for y in step(x)]
    for _ in range(4):
        for mine, other in zip(step(x), first, strict=True):
            assert (mine.numpy() == other).all()
    assert step.programs


def test_results_of_more_than_eight_dimensions():
    """The Jacobian of each convolution has 4 + 4 dimensions, that of all has 9, which ops refuse."""
    weight = rv.ones(1, 1, 2, 2)
    of_one = rv.func.jacrev(lambda x: rv.nn.functional.conv2d(x, weight))
    assert of_one(rv.ones(1, 1, 3, 3)).shape == (1, 1, 2, 2, 1, 1, 3, 3)
    of_two = vmap(of_one)(rv.ones(2, 1, 1, 3, 3))
    for of_each in of_two:
        assert (of_each == of_one(rv.ones(1, 1, 3, 3))).all()
    text = "[exp] got x with 9 dimensions; expected at most 8 dimensions, as all tensors"
    refused(ValueError, text, rv.exp, of_two)
