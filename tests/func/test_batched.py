"""What vmap's function computes with: one call for all slices, values that Python must not read, gradients by
what slices share, and programs whose size does not depend on the slices."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap

RNG = np.random.default_rng(1)


def tensor(*shape, dtype=np.float64):
    return rv.tensor(RNG.standard_normal(shape).astype(dtype))


def loop(function, *args, dims=None):
    """The results of a function for each slice along dimension 0 (None: the argument whole), stacked."""
    dims = dims or (0,) * len(args)
    count = next(len(x) for x, dim in zip(args, dims, strict=True) if dim == 0)
    rows = []
    for i in range(count):
        rows.append(function(*[x if dim is None else x[i] for x, dim in zip(args, dims, strict=True)]))
    return rv.stack(rows)


def close(found, expected):
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-12, atol=1e-13)


def test_the_function_is_called_once():
    calls = []

    def function(x):
        calls.append((x.shape, x.ndim, x.dtype, len(x), x.numel()))
        return x.sum()

    vmap(function)(tensor(7, 3, 2))
    assert calls == [((3, 2), 2, rv.float64, 3, 6)]


READS = {
    "if": lambda x: x if x.sum() > 0 else -x,
    "bool": lambda x: x * 2 if bool(x[0] > 0) else x,
    "item": lambda x: x * x[0].item(),
    "float": lambda x: x * float(x[0]),
    "int": lambda x: x[: int(x.argmax())],
    "range": lambda x: x * len(range(x.argmax())),
    "numpy": lambda x: x * rv.tensor(x.numpy()),
    "asarray": lambda x: x * rv.tensor(np.asarray(x)),
    "tolist": lambda x: rv.tensor(x.tolist()),
    "a mask as index": lambda x: x[x > 0],
    "nonzero": lambda x: x.nonzero(),
    "in": lambda x: x if 0.5 in x else -x,
}


@pytest.mark.parametrize("name", READS)
def test_values_that_differ_are_not_read(name):
    with pytest.raises(RuntimeError, match="slice"):
        vmap(READS[name])(tensor(4, 3))


def test_a_tensor_that_is_kept_is_refused_later():
    kept = []
    vmap(lambda x: kept.append(x) or x.sum())(tensor(4, 3))
    (x,) = kept
    for use in (
        lambda: x + 1,
        lambda: x.sum(),
        lambda: x.reshape(-1),
        lambda: x[0],
        lambda: list(x),
        lambda: x > 0,
        lambda: x.argmax(),
        lambda: rv.stack([x, x]),
        lambda: x.numpy(),
        lambda: x.clone(),
        lambda: x.add_(1),
    ):
        with pytest.raises((RuntimeError, TypeError), match="vmap"):
            use()


def test_gradients_by_what_slices_share():
    w, b, x, y = tensor(5, 4), tensor(5), tensor(6, 4), tensor(6, 5)

    def loss(w, b, x, y):
        return ((nn.functional.linear(x, w, b).tanh() - y) ** 2).sum()

    dims = (None, None, 0, 0)
    for place in range(4):
        close(vmap(grad(loss, place), dims)(w, b, x, y), loop(grad(loss, place), w, b, x, y, dims=dims))


LAYERS = {
    "Linear": (lambda: nn.Linear(4, 3), (2, 4)),
    "Conv1d": (lambda: nn.Conv1d(2, 4, 3, padding=1, groups=2), (3, 2, 6)),
    "Conv2d": (lambda: nn.Conv2d(2, 3, 3, stride=2), (2, 2, 7, 6)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 3, 2, stride=2), (2, 2, 3, 4)),
    "LayerNorm": (lambda: nn.LayerNorm(5), (3, 5)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), (3, 4, 5)),
    "RMSNorm": (lambda: nn.RMSNorm(5), (3, 5)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(4, track_running_stats=False), (6, 4)),
    "PReLU": (lambda: nn.PReLU(3), (2, 3, 4)),
    "LSTM": (lambda: nn.LSTM(3, 4), (5, 2, 3)),
    "GRU": (lambda: nn.GRU(3, 4), (5, 2, 3)),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(4, 2, batch_first=True), (2, 3, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_of_samples_by_each_parameter(name):
    make, shape = LAYERS[name]
    layer = make().double()
    parameters = {key: value.detach() for key, value in layer.named_parameters()}
    x = tensor(3, *shape)

    def loss(parameters, x):
        args = (x, x, x) if name == "MultiheadAttention" else (x,)
        y = functional_call(layer, parameters, args)
        y = y[0] if isinstance(y, tuple) else y
        return (y * y.cos()).sum()

    found = vmap(grad(loss), in_dims=(None, 0))(parameters, x)
    for i in range(3):
        for key, expected in grad(loss)(parameters, x[i]).items():
            np.testing.assert_allclose(found[key][i].numpy(), expected.numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("outputs", [1, 3, 9, 20])
def test_jacobians_by_each_way(outputs):
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, outputs)).double()
    model.requires_grad_(False)
    x = tensor(6)
    rows = rv.stack([grad(lambda x, i=i: model(x)[i])(x) for i in range(outputs)])
    close(jacrev(model)(x), rows)
    close(jacfwd(model)(x), rows)
    points = tensor(4, 6)
    close(vmap(jacrev(model))(points), loop(jacrev(model), points))
    close(vmap(jacfwd(model))(points), loop(jacfwd(model), points))

    def number(x):
        return model(x).sin().sum()

    close(vmap(hessian(number))(points), loop(hessian(number), points))
    close(
        vmap(lambda x, v: jvp(number, (x,), (v,))[1])(points, points),
        loop(lambda x, v: jvp(number, (x,), (v,))[1], points, points),
    )


def test_calls_within_calls():
    x, y = tensor(3, 4), tensor(5, 4)

    def pairs(function):
        return vmap(vmap(function, in_dims=(None, 0)), in_dims=(0, None))

    close(pairs(rv.dot)(x, y), x @ y.T)
    close(pairs(grad(lambda a, b: (a * b).sin().sum()))(x, y), y * (x[:, None] * y).cos())
    close(vmap(lambda a: vmap(lambda b: a.sum() * b)(a))(x), x.sum(1, keepdim=True) * x)


def test_backward_within_adds_up_the_slices():
    w = rv.ones(3, dtype=rv.float64, requires_grad=True)
    x = tensor(4, 3)

    def function(x):
        loss = (w * x).sum()
        loss.backward()
        return loss.detach()

    vmap(function)(x)
    close(w.grad, x.sum(0))
    with pytest.raises(RuntimeError, match="share"):
        vmap(lambda x: rv.autograd.grad((w * x).sum(), w)[0])(x)


def test_products_with_a_hessian_that_all_slices_share():
    x, directions = tensor(4), tensor(6, 4)
    x.requires_grad_()
    (slope,) = rv.autograd.grad((x * x.exp()).sum() ** 2, x, create_graph=True)

    def product(v):
        return rv.autograd.grad(slope, x, v, retain_graph=True)[0]

    close(vmap(product)(directions), loop(product, directions))
    other = tensor(2).requires_grad_()
    with pytest.raises(RuntimeError, match="index 1 appears to not have been used"):
        vmap(lambda v: rv.autograd.grad(slope, (x, other), v, retain_graph=True))(directions)


def test_products_with_a_hessian_of_each_slice_of_an_outer_call():
    x, directions = tensor(4, 3), tensor(4, 6, 3)
    x.requires_grad_()

    def products(x, directions):
        (slope,) = rv.autograd.grad((x**3).sum(), x, create_graph=True)
        return vmap(lambda v: rv.autograd.grad(slope, x, v, retain_graph=True)[0])(directions)

    close(vmap(products)(x, directions), 6 * x.detach().unsqueeze(1) * directions)


def test_gradients_through_vmap():
    x, w = tensor(4, 3), tensor(3)
    x.requires_grad_()
    w.requires_grad_()
    vmap(lambda x, w: (x * w).exp().sum(), in_dims=(0, None))(x, w).sum().backward()
    expected = (x * w).exp()
    close(x.grad, expected.detach() * w.detach())
    close(w.grad, (expected * x).detach().sum(0))


@pytest.mark.parametrize("slices", [10, 1000])
def test_a_program_has_no_loop(slices):
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    parameters = {key: value.detach().clone() for key, value in model.named_parameters()}

    def loss(parameters, x, y):
        return nn.functional.cross_entropy(functional_call(model, parameters, (x[None],)), y[None])

    step = rv.compile(vmap(grad(loss), in_dims=(None, 0, 0)))
    x, y = tensor(slices, 4, dtype=np.float32), rv.tensor(np.arange(slices) % 3)
    expected = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, x, y)
    for _ in range(4):
        found = step(parameters, x, y)
    (program,) = step.programs
    assert len(program.instructions) < 40
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key].numpy(), value.numpy())


ROWLESS = {
    "sum": lambda x: x.sum(0),
    "sum, kept": lambda x: x.sum(0, keepdim=True),
    "mean": lambda x: x.mean(-1, keepdim=True),
    "amax": lambda x: x.amax(-1),
    "logsumexp": lambda x: x.logsumexp(0),
    "norm": lambda x: x.norm(dim=0, keepdim=True),
    "normalize": lambda x: nn.functional.normalize(x, dim=-1),
    "softmax": lambda x: x.softmax(0),
    "cumsum": lambda x: x.cumsum(0),
    "argmax": lambda x: x.argmax(0),
    "sort": lambda x: x.sort().values,
}


@pytest.mark.parametrize("name", ROWLESS)
def test_axes_of_slices_without_dimensions(name):
    x = tensor(4)
    close(vmap(ROWLESS[name])(x), rv.stack([ROWLESS[name](one) for one in x]))


BEYOND = {
    "sum": lambda x: x.sum(-2),
    "amax": lambda x: x.amax(1),
    "softmax": lambda x: x.softmax(-2),
    "argmax": lambda x: x.argmax(-2),
    "norm": lambda x: x.norm(dim=1),
    "sort": lambda x: x.sort(1),
    "cumsum": lambda x: x.cumsum(1),
    "cat": lambda x: rv.cat([x, x], 1),
    "cat of numbers": lambda x: rv.cat([x[0], x[0]]),
    "pad": lambda x: nn.functional.pad(x, (0, 0, 1, 1)),
    "flip": lambda x: x.flip(1),
    "glu": lambda x: nn.functional.glu(x, 1),
}


@pytest.mark.parametrize("name", BEYOND)
def test_an_axis_that_slices_lack_is_an_error(name):
    with pytest.raises((IndexError, ValueError)):
        BEYOND[name](tensor(2))
    with pytest.raises((IndexError, ValueError)):
        vmap(BEYOND[name])(tensor(2, 2))


def test_a_constant_branch_broadcasts_in_forward_mode():
    condition = rv.tensor([[True], [False], [True]])
    ones = rv.ones(3, 4)
    _, tangent = jvp(lambda x: rv.where(condition, x, ones), (rv.tensor(5.0),), (rv.tensor(2.0),))
    close(tangent, rv.where(condition, 2.0, ones * 0.0))


def test_tangents_of_an_embedding_do_not_depend_on_padding():
    index = rv.tensor([0, 1, 1])
    weight, direction = tensor(2, 3, 2), tensor(2, 3, 2)

    def rows(weight):
        return nn.functional.embedding(index, weight, padding_idx=1)

    found = vmap(lambda w, v: jvp(rows, (w,), (v,))[1])(weight, direction)
    close(found, direction[:, index])


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_a_clone_of_a_slice_is_in_the_order_of_memory(dim):
    x = tensor(3, 3, 3)

    def function(x):
        copy = x.clone()
        copy.flatten()[0] = 7.0
        return copy.view(9)

    close(vmap(function, dim)(x), rv.stack([function(one) for one in x.unbind(dim)]))


def test_jets_and_laplacians_of_slices():
    net = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1)).double().requires_grad_(False)
    points = tensor(4, 3, 2)
    close(
        vmap(lambda p: rv.func.laplacian(net)(p)[2])(points),
        rv.stack([rv.func.laplacian(net)(p)[2] for p in points]),
    )

    def second(p):
        series = ((rv.ones(3, 2, dtype=rv.float64), rv.zeros(3, 2, dtype=rv.float64)),)
        return rv.func.jet(net, (p,), series)[1][1]

    close(vmap(second)(points), rv.stack([second(p) for p in points]))


def test_batch_norm_with_statistics_of_each_slice():
    norm = nn.BatchNorm1d(4).double()
    state = {key: value.detach() for key, value in (*norm.named_parameters(), *norm.named_buffers())}
    stacked = {key: rv.stack([value.clone()] * 3) for key, value in state.items()}
    x = tensor(3, 5, 4)
    found = vmap(lambda state, x: functional_call(norm, state, (x,)))(stacked, x)
    for i in range(3):
        own = {key: value.clone() for key, value in state.items()}
        close(found[i], functional_call(norm, own, (x[i],)).detach())
        for key, value in own.items():
            close(stacked[key][i], value)
