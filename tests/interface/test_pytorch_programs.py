"""Code around networks in PyTorch's programs: paths, devices, lazy layers, arguments, files."""

from __future__ import annotations

import importlib
import inspect
import operator

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.nn.arguments import arguments_of
from ranvier.torch.installation.names import PATHS
from support.refused import refused


@pytest.mark.parametrize("path", PATHS)
def test_module_paths_give_the_names_of_their_home(path):
    if path == "utils.einops":
        pytest.importorskip("einops")
    module = importlib.import_module(f"ranvier.{path}")
    home = importlib.import_module(PATHS[path][0])
    own = {n: v for n, v in vars(home).items() if n[0] != "_" and not inspect.ismodule(v)}
    assert all(getattr(module, name) is value for name, value in own.items())
    assert importlib.import_module(f"ranvier.{path}") is module is operator.attrgetter(path)(rv)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("nn", "SyncBatchNorm"),
        ("nn.modules", "SyncBatchNorm"),
        ("data", "DistributedSampler"),
        ("utils.data", "DistributedSampler"),
        ("utils.data", "DataLoader"),
    ],
)
def test_star_and_dir_have_the_names_of_satellites(path, name):
    names = {}
    exec(f"from ranvier.{path} import *", names)
    assert name in names
    assert name in dir(importlib.import_module(f"ranvier.{path}"))


def test_star_gives_every_function_and_no_module():
    names = {}
    exec("from ranvier import *", names)
    assert {"einsum", "conv2d", "Trainer", "save", "no_grad", "float32", "long", "pi"} <= names.keys()
    del names["__builtins__"]
    assert [name for name, value in names.items() if inspect.ismodule(value)] == [
        "compile"
    ]  # which is called
    assert all(value is getattr(rv, name) for name, value in names.items())


@pytest.mark.parametrize("name", ["Nonsense", "nonsense", "_nonsense"])
@pytest.mark.parametrize(
    "path", ["nn.modules", "nn.modules.conv", "nn.parallel", "distributions", "utils.data"]
)
def test_unknown_names_are_no_modules(path, name):
    with pytest.raises(ImportError):
        exec(f"from ranvier.{path} import {name}")
    assert not hasattr(importlib.import_module(f"ranvier.{path}"), name)


def test_layers_are_made_on_the_cpu_only():
    assert nn.Linear(2, 3, device="cpu").weight.shape == (3, 2)
    assert nn.Linear(2, 3, True, None, rv.float64).weight.dtype == np.float64
    refused(ValueError, "[device] got 'cuda'; expected 'cpu'", nn.Linear, 2, 3, device="cuda")


LAZY = {
    "LazyLinear": ((5,), (2, 3), "weight", (5, 3)),
    "LazyConv2d": ((4, 3), (2, 3, 9, 9), "weight", (4, 3, 3, 3)),
    "LazyBatchNorm1d": ((), (2, 3), "weight", (3,)),
    "LazyBatchNorm2d": ((), (2, 3, 4, 4), "weight", (3,)),
}


@pytest.mark.parametrize("name", LAZY)
def test_lazy_layers_get_their_sizes_at_the_first_call(name, rng):
    arguments, shape, parameter, expected = LAZY[name]
    layer = getattr(nn, name)(*arguments)
    x = rv.tensor(rng.standard_normal(shape).astype(np.float32))
    y = layer(x)
    assert getattr(layer, parameter).shape == expected
    again = getattr(nn, name)(*arguments)
    again.load_state_dict(layer.state_dict())  # before its first call
    layer.eval(), again.eval()
    assert np.array_equal(again(x).detach().numpy(), layer(x).detach().numpy())
    assert y.shape[0] == 2
    assert type(layer) is getattr(nn, name[4:])
    assert set(LAZY) == {name for name in nn.__all__ if name.startswith("Lazy")}


def test_a_lazy_layer_without_sizes_is_not_saved(tmp_path):
    with pytest.raises(TypeError, match="LazyLinear without sizes; expected a call of the model first"):
        rv.save(nn.Sequential(nn.LazyLinear(5)), tmp_path / "model.safetensors")


def test_starting_values_of_a_lazy_layer_without_sizes_are_refused():
    layer = nn.LazyLinear(2)
    for fill in (nn.init.zeros_, nn.init.normal_, lambda w: nn.init.constant_(w, 1.0)):
        with pytest.raises(ValueError, match="a parameter of a lazy layer without its size; expected a call"):
            fill(layer.weight)
    weight = layer.weight
    assert isinstance(weight, nn.Parameter)
    layer(rv.ones(1, 3))
    assert type(weight) is nn.Parameter
    assert nn.init.zeros_(weight).tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("given", ["covariance_matrix", "precision_matrix", "scale_tril"])
def test_matrices_of_a_multivariate_normal(given, rng):
    """The rest: tests/differential/test_distributions.py."""
    root = np.tril(rng.normal(size=(3, 4, 4))) + 3 * np.eye(4)
    cov = root @ np.swapaxes(root, -1, -2)
    matrix = {"covariance_matrix": cov, "precision_matrix": np.linalg.inv(cov), "scale_tril": root}[given]
    d = rv.distributions.MultivariateNormal(rv.zeros(3, 4).double(), **{given: rv.tensor(matrix)})
    np.testing.assert_allclose(d.precision_matrix, np.linalg.inv(cov))
    np.testing.assert_allclose(d.covariance_matrix, cov)
    np.testing.assert_allclose(abs(d.scale_tril.numpy()), abs(np.linalg.cholesky(cov)), atol=1e-12)
    rv.manual_seed(2)
    draws = d.sample((20000,)).numpy()
    size = np.sqrt(d.variance.numpy())
    spread = np.einsum("sbi,sbj->bij", draws, draws) / 20000
    assert (abs(spread - cov) < 0.06 * size[:, :, None] * size[:, None]).all()  # 6 standard errors of 0.01


def test_einops_takes_tensors(rng):
    einops = pytest.importorskip("einops")
    from ranvier.utils import einops as ours

    a = rng.normal(size=(2, 3, 4, 6))
    cases = (
        lambda e, v: e.rearrange(v, "b c (h p) w -> b (h w) (p c)", p=2),
        lambda e, v: e.reduce(v, "b c h w -> b c", "mean"),
        lambda e, v: e.reduce(v, "b c (h 2) w -> b h", "max"),
        lambda e, v: e.reduce(v, "b c h w -> h", "prod"),
        lambda e, v: e.repeat(v, "b c h w -> b c (h r) w k", r=3, k=2),
        lambda e, v: e.einsum(v, v, "b c h w, b d h w -> b c d"),
        lambda e, v: e.pack([v, v[:, :, 0]], "b c *")[0],
        lambda e, v: e.rearrange([v, v], "k b c h w -> b k c h w"),
    )
    for case in cases:
        x = rv.tensor(a, requires_grad=True)
        y = case(ours, x)
        np.testing.assert_allclose(y.detach(), case(einops, a), rtol=1e-9)
        y.sum().backward()
        assert x.grad.shape == a.shape
    assert ours.rearrange is einops.rearrange


def test_layers_of_einops(rng):
    pytest.importorskip("einops")
    from ranvier.utils.einops import EinMix, Rearrange, Reduce

    model = nn.Sequential(
        Rearrange("b c h w -> b h w c"),
        EinMix("b h w c -> b h w d", weight_shape="c d", bias_shape="d", c=3, d=5),
        Reduce("b h w d -> b d", "sum"),
    )
    a = rng.normal(size=(2, 3, 4, 6)).astype(np.float32)
    bias = model[1].bias.detach().numpy().reshape(-1)
    wanted = np.einsum("bchw,cd->bd", a, model[1].weight.detach()) + 24 * bias
    np.testing.assert_allclose(model(rv.tensor(a)).detach(), wanted, rtol=1e-4, atol=1e-5)


def test_a_convolution_with_another_weight():
    layer, x, weight = nn.Conv2d(2, 3, 3, padding=1), rv.rand(1, 2, 5, 5), rv.rand(3, 2, 3, 3)
    wanted = nn.functional.conv2d(x, weight, None, padding=1)
    assert layer._conv_forward(x, weight, None).tolist() == wanted.tolist()


def test_names_that_programs_import():
    from ranvier.nn.attention import SDPBackend, sdpa_kernel
    from ranvier.optim.optimizer import required

    with sdpa_kernel([SDPBackend.FLASH_ATTENTION]):
        assert required is not None
    assert rv.spmm(rv.eye(2), rv.ones(2, 1)).tolist() == [[1.0], [1.0]]
    assert nn.Embedding(3, 2, sparse=True)(rv.tensor([1])).shape == (1, 2)


def test_the_first_call_of_a_lazy_layer_is_not_captured():
    model = nn.LazyLinear(2)
    step = rv.compile(lambda x: model(x).sum(), strict=True)
    x = np.ones((1, 3), np.float32)
    with rv.no_grad():
        step(x)
        assert not step.programs
        assert [step(x).item() for _ in range(3)] == [model(x).sum().item()] * 3
    assert step.programs


# Arguments that PyTorch takes; beside PyTorch: tests/differential/test_calls.py.


def test_differentiable_steps_are_refused():
    with pytest.raises(ValueError, match=r"\[adam\] got differentiable=True; expected False"):
        rv.optim.Adam([rv.ones(1, requires_grad=True)], differentiable=True)


def test_a_generator_decides_the_values_of_init():
    for name in ("uniform_", "normal_", "xavier_normal_", "kaiming_uniform_", "orthogonal_", "trunc_normal_"):
        fill = getattr(rv.nn.init, name)
        a, b, c = (fill(rv.empty(3, 4), generator=rv.Generator().manual_seed(s)) for s in (3, 3, 4))
        assert rv.equal(a, b)
        assert not rv.equal(a, c)


def test_backward_of_several():
    x = rv.tensor([1.0, 2.0], requires_grad=True)
    rv.autograd.backward([x * 2, x.sum()], grad_tensors=[rv.ones(2), None])
    assert x.grad.tolist() == [3.0, 3.0]
    with pytest.raises(RuntimeError, match="got 2 tensors and 1 gradients"):
        rv.autograd.backward([x.sum(), x.sum()], [rv.ones(1)])


def test_wrong_print_options():
    for wrong in ({"profile": "long"}, {"precision": -1}):
        refused(ValueError, "[set_printoptions] got pr", rv.set_printoptions, **wrong)


def test_new_shapes_in_place():
    x = rv.arange(6).reshape(2, 3)
    row = x[0]
    assert x.t_() is x
    x.add_(1)
    assert x.shape == (3, 2)
    assert row.tolist() == [1, 2, 3]  # the same memory
    assert x.unsqueeze_(0).transpose_(0, 1).shape == (3, 1, 2)
    assert x.squeeze_().shape == (3, 2)
    w = rv.ones(2, 3, requires_grad=True)
    refused(RuntimeError, "[unsqueeze_] a leaf Variable that requires grad", w.unsqueeze_, 0)
    y = w * 2
    y.unsqueeze_(0).mul_(y.detach()).transpose_(1, 2)  # 4 w^2 as (1, 3, 2)
    y[0, 0] *= 5
    (row := y[0, 1]).unsqueeze_(0).mul_(3)
    assert row.shape == (1, 2)
    y.squeeze_()
    row.mul_(10)  # changes y, whose shape is another since
    y.sum().backward()
    assert w.grad.tolist() == [[20.0, 120.0, 4.0]] * 2
    with rv.no_grad(), pytest.raises(RuntimeError, match=r"\[t_\] got a Tensor with a history under no_grad"):
        y.t_()


def test_gumbel_softmax():
    logits = rv.tensor([[0.0, 1.0, 2.0]]).expand(50_000, 3)
    rv.manual_seed(0)
    hard = rv.nn.functional.gumbel_softmax(logits, hard=True)
    assert hard.sum(1).tolist() == [1.0] * 50_000
    want = rv.softmax(logits[0], 0).numpy()
    np.testing.assert_allclose(hard.mean(0).numpy(), want, atol=0.01)  # 4 standard errors
    rv.manual_seed(1)
    soft = rv.nn.functional.gumbel_softmax(logits, tau=1e-3)
    assert (soft.max(1).values > 0.9).float().mean() > 0.99
    x = rv.tensor([[1.0, 2.0, 0.5]], requires_grad=True)
    found = []
    for hard in (False, True):  # the gradient is that of the soft sample
        rv.manual_seed(2)
        y = rv.nn.functional.gumbel_softmax(x, 0.7, hard)
        found.append(rv.autograd.grad((y * rv.tensor([1.0, -1.0, 3.0])).sum(), x)[0].numpy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)


def test_results_in_another_tensor():
    a, b = rv.tensor([[1.0, 2.0], [3.0, 5.0]]), rv.tensor([[4.0, 8.0], [2.0, 10.0]])
    assert rv.mul(a, a, out=a).tolist() == [[1.0, 4.0], [9.0, 25.0]]
    for error, text, out in (
        (ValueError, "got out of shape (2,); expected a Tensor of shape (2, 2)", rv.zeros(2)),
        (ValueError, "got out of ndarray; expected a Tensor of shape", np.zeros((2, 2))),
        (RuntimeError, "got out and tensors that require gradients", rv.zeros(2, 2, requires_grad=True)),
        (RuntimeError, "got a result of dtype float32 for a tensor of int64", rv.zeros(2, 2, dtype=rv.int64)),
    ):
        refused(error, f"[add] {text}", rv.add, a, b, out=out)


def test_weight_of_an_embedding():
    table = rv.rand(3, 2)
    for layer in (rv.nn.Embedding(3, 2, _weight=table), rv.nn.EmbeddingBag(3, 2, _weight=table, mode="sum")):
        np.testing.assert_array_equal(layer(rv.tensor([[1]])).detach().numpy().ravel(), table[1].numpy())
        assert "_weight" not in arguments_of(layer)
    for kind in (rv.nn.Embedding, rv.nn.EmbeddingBag):
        for freeze in (True, False):
            assert kind.from_pretrained(table, freeze=freeze).weight.requires_grad is not freeze
        text = "[embedding] got embeddings of shape (3,); expected 2 dimensions"
        refused(ValueError, text, kind.from_pretrained, table[:, 0])
        refused(ValueError, "got _weight of shape (3, 2); expected (4, 2)", kind, 4, 2, _weight=table)


def test_compile_takes_pytorchs_settings():
    x = rv.ones(2, 3)
    model = rv.nn.Linear(3, 1).eval()
    assert rv.equal(rv.compile(model, mode="reduce-overhead", fullgraph=True)(x), model(x))
    assert rv.compile(model, disable=True) is model
    refused(RuntimeError, "got mode 'fast'; expected None, 'default',", rv.compile, model, mode="fast")
    refused(RuntimeError, "got backend 'foo'; expected None, 'inductor',", rv.compile, model, backend="foo")

    @rv.compile(backend="eager", dynamic=False)
    def step(x):
        return (x * 2).sum()

    assert [step(x).item() for _ in range(3)] == [12.0] * 3
    assert rv.compile(disable=True)(abs) is abs
