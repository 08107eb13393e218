"""torch.ops and torch.special."""

from __future__ import annotations

import math
import os
import sys

import numpy as np
import pytest
import ranvier as rv
from ranvier import Tensor
from ranvier.ops.loss.base import Shapes
from ranvier.torch.functions.composed import eig, eigvals, pca_lowrank, skip_init, svd_lowrank
from ranvier.torch.functions.private_functions import gradcheck
from ranvier.torch.functions.special import entr, erfcx
from ranvier.torch.operators.library import (
    Library,
    custom_op,
    define,
    fallthrough_kernel,
    impl,
    infer_schema,
    register_autograd,
    register_fake,
    register_kernel,
)
from ranvier.torch.operators.torch_ops import DispatchKey, DispatchKeySet, exclude, ops
from support.python import in_mode
from support.refused import refused

_count = iter(range(1000))


@pytest.fixture
def space():
    return f"space{next(_count)}"


def test_a_library_defines_operators_and_gives_them_kernels(space):
    mine = Library(space, "DEF")
    assert mine.define("f(Tensor x, *, float s=2.0) -> Tensor") == f"{space}::f"
    names = getattr(ops, space)
    text = f"Could not run '{space}::f' with arguments from the 'CPU'"
    refused(NotImplementedError, text, names.f, rv.ones(1))
    mine.impl("f", lambda x, s: x * s, "CPU")
    x = rv.ones(2, requires_grad=True)
    y = names.f(x, s=3)
    y.sum().backward()
    assert (y.tolist(), x.grad.tolist()) == ([3.0, 3.0], [3.0, 3.0])
    assert names.f.default(x).tolist() == [2.0, 2.0] == names.f(x=x).tolist()
    assert (str(names.f), str(names.f.default), names.f.overloads()) == (
        f"{space}.f",
        f"{space}.f.default",
        ["default"],
    )
    assert names.f.default.overloadpacket is names.f
    assert [a.name for a in names.f.default._schema.arguments] == ["x", "s"]
    refused(RuntimeError, "same name and overload name", mine.define, "f(Tensor x) -> Tensor")
    refused(RuntimeError, "takes 1 positional argument(s) but 2", names.f, x, 3.0)
    refused(RuntimeError, "is missing value for argument 'x'", names.f)
    refused(RuntimeError, "Expected a value of type 'Tensor' for argument 'x'", names.f, 3.0)
    refused(RuntimeError, "got an unexpected argument 'k'", names.f, x, k=1)
    refused(AttributeError, f"'_OpNamespace' '{space}' object has no attribute 'g'", getattr, names, "g")
    refused(RuntimeError, "expected one that is defined", impl, f"{space}::g", "cpu", abs)
    refused(ValueError, "got kind 'NEW'", Library, space, "NEW")
    assert dir(names) == ["f"]
    mine._destroy()
    assert not hasattr(names, "f")


def test_overloads_are_chosen_by_their_arguments(space):
    mine = Library(space, "FRAGMENT")
    mine.define("add.Tensor(Tensor x, Tensor y) -> Tensor")
    mine.define("add.Scalar(Tensor x, float y, int[2] n=0) -> Tensor")
    impl(mine, "add.Tensor", "CPU")(lambda x, y: x + y)
    impl(mine, "add.Scalar", "CPU")(lambda x, y, n: x + y + sum(n))
    add = getattr(ops, space).add
    assert (add(rv.ones(1), rv.ones(1)).item(), add(rv.ones(1), 4).item(), add(rv.ones(1), 4, 3).item()) == (
        2,
        5,
        11,
    )
    assert add.Scalar.name() == f"{space}::add.Scalar"


def test_define_and_impl_by_names(space):
    define(f"{space}::f", "(Tensor x) -> Tensor")
    impl(f"{space}::f", ("cpu", "cuda"), lambda x: x + 1)
    assert getattr(ops, space).f(rv.ones(1)).item() == 2
    register_kernel(f"{space}::f", "cpu")(lambda x: x + 2)
    assert getattr(ops, space).f(rv.ones(1)).item() == 3
    define(Library(space, "FRAGMENT"), "g(Tensor x) -> Tensor")(lambda x: x + 3)
    assert getattr(ops, space).g(rv.ones(1)).item() == 4
    refused(ValueError, "expected 'namespace::name'", define, "f", "() -> ()")


def test_an_autograd_kernel_runs_first_and_may_go_below(space):
    mine = Library(space, "DEF")
    mine.define("f(Tensor x) -> Tensor")
    mine.impl("f", lambda x: x * 2, "CPU")
    function = getattr(ops, space).f

    def traced(x):
        with exclude():
            return function(x) + 100

    mine.impl("f", traced, "Autograd")
    assert function(rv.ones(1)).item() == 102
    with exclude(DispatchKeySet(DispatchKey.AutocastCPU) | DispatchKeySet(DispatchKey.AutocastCUDA)):
        assert function(rv.ones(1)).item() == 102
    mine.impl("f", fallthrough_kernel, "AutogradCUDA")  # of another device
    assert function(rv.ones(1)).item() == 102
    mine.impl("f", fallthrough_kernel, "AutogradCPU")
    assert function(rv.ones(1)).item() == 2


def test_a_custom_operator_runs_its_function_without_gradients(space):
    @custom_op(f"{space}::f", mutates_args=())
    def f(x: Tensor, k: int = 3) -> Tensor:
        assert not rv.is_grad_enabled()
        return x * k

    x = rv.ones(2, requires_grad=True)
    assert f(x).tolist() == [3.0, 3.0] == getattr(ops, space).f(x, 3).tolist()
    assert f(rv.ones(1), k=4).item() == 4
    assert not f(rv.ones(1)).requires_grad
    refused(RuntimeError, f"Trying to backward through {space}.f.default", f(x).sum().backward)
    assert (repr(f), f._qualname) == (f"<CustomOpDef({space}::f)>", f"{space}::f")
    f.register_kernel("cpu")(lambda x, k: x - k)
    assert f(rv.ones(1)).item() == -2


def test_gradients_that_are_registered(space):
    @custom_op(f"{space}::f", mutates_args=())
    def f(xs: list[Tensor], k: float, *, shift: float = 0.0) -> tuple[list[Tensor], Tensor]:
        return [x * k + shift for x in xs], xs[0] * 0

    seen = []

    def keep(ctx, inputs, keyword_only_inputs, output):
        seen.append((ctx.needs_input_grad, keyword_only_inputs, len(output)))
        ctx.k = inputs[1]

    f.register_autograd(lambda ctx, dys, _dy: ([dy * ctx.k for dy in dys], None), setup_context=keep)
    a, b = rv.ones(2, requires_grad=True), rv.ones(3)
    ys, _ = f([a, b], 4, shift=1.0)
    assert type(ys) is list
    (ys[0] * 2 + ys[1].sum()).sum().backward()
    assert a.grad.tolist() == [8.0, 8.0]
    assert seen == [(([True, False], False), {"shift": 1.0}, 2)]
    register_autograd(f, lambda ctx, *dys: None)
    refused(RuntimeError, "returned 1 gradients; expected 2", f([a], 1.0)[0][0].sum().backward)


def test_a_gradient_of_a_gradient(space):
    @custom_op(f"{space}::cube", mutates_args=())
    def cube(x: Tensor) -> Tensor:
        return x**3

    cube.register_autograd(
        lambda ctx, dy: dy * 3 * ctx.saved_tensors[0] ** 2,
        setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
    )
    x = rv.rand(4, dtype=rv.float64, requires_grad=True)
    assert rv.autograd.gradcheck(cube, x)
    assert rv.autograd.gradgradcheck(cube, x)


def test_arguments_that_are_changed(space):
    @custom_op(f"{space}::f", mutates_args={"x"})
    def f(x: Tensor, y: Tensor) -> None:
        x.add_(y)

    x = rv.ones(2)
    assert f(x, x * 2) is None
    assert x.tolist() == [3.0, 3.0]
    assert str(f._opoverload._schema) == f"{space}::f(Tensor(a0!) x, Tensor y) -> ()"
    weight = rv.ones(2, requires_grad=True)
    hidden = weight * 1
    f(hidden, rv.ones(2))
    hidden.sum().backward()
    assert weight.grad.tolist() == [1.0, 1.0]
    refused(RuntimeError, "non-functional operator", f.register_autograd, None)


def test_a_result_is_a_new_tensor(space):
    same = custom_op(f"{space}::same", _same, mutates_args=())
    refused(RuntimeError, "return x.clone()", same, rv.ones(2))


def _same(x: Tensor) -> Tensor:
    return x[:1]


def _typed(
    x: Tensor, a: list[int], b: float | None = None, c: bool = True, d: str = "s", *, t: list[Tensor]
) -> tuple[Tensor, int]:
    raise NotImplementedError


def _untyped(x):
    raise NotImplementedError


def _strange(x: dict) -> None:
    raise NotImplementedError


def test_schemas_of_type_hints():
    common = 'SymInt[] a, float? b=None, bool c=True, str d="s", *, '
    assert infer_schema(_typed, mutates_args=()) == f"(Tensor x, {common}Tensor[] t) -> (Tensor, SymInt)"
    changed = f"f(Tensor(a0!) x, {common}Tensor(a5!)[] t) -> (Tensor, SymInt)"
    assert infer_schema(_typed, mutates_args="unknown", op_name="f") == changed
    refused(ValueError, "Parameter x must have a type annotation", infer_schema, _untyped, mutates_args=())
    refused(ValueError, "Parameter x has unsupported type", infer_schema, _strange, mutates_args=())
    refused(ValueError, "['y'] are no parameters", infer_schema, _typed, mutates_args=("y",))


@pytest.mark.parametrize("schema", ["f", "f(x) -> Tensor", "f(Tensor x)"])
def test_texts_that_are_no_schema(schema, space):
    refused(RuntimeError, "[torch.library] got the", Library(space, "DEF").define, schema)


def test_operators_of_pytorch_by_their_functions():
    x = rv.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert ops.aten.add.Tensor(x, 1).tolist() == (x + 1).tolist()
    assert ops.aten.mm.default(x, x).tolist() == (x @ x).tolist()
    assert ops.aten.softmax.int(x, 1).shape == x.shape
    assert ops.aten.view.default(x, (4,)).shape == (4,)
    assert ops.aten.relu_(x - 2).tolist() == [[0.0, 0.0], [1.0, 2.0]]
    assert str(ops.aten.mm.default) == "aten.mm.default"
    assert not hasattr(ops.aten, "no_such_operator")
    assert ops.aten.slice.Tensor(x, 1, 1).tolist() == [[2.0], [4.0]]
    assert ops.aten.index.Tensor(x, [None, rv.tensor([1, 0])]).tolist() == [[2.0, 1.0], [4.0, 3.0]]
    assert ops.aten._to_copy.default(x, dtype=rv.int64).tolist() == [[1, 2], [3, 4]]
    assert ops.aten.alias.default(x).data_ptr() == x.data_ptr()
    image, last = rv.ones(1, 1, 3, 3), ([1, 1], [0, 0], [1, 1])
    for transposed, shape in ((False, (1, 1, 2, 2)), (True, (1, 1, 4, 4))):
        y = ops.aten.convolution.default(image, image[..., :2, :2], None, *last, transposed, [0, 0], 1)
        assert (y.shape, y.amax().item()) == (shape, 4.0)
    refused(NotImplementedError, "operators are functions of torch", ops.aten._no_such_one.default, x)


def test_fake_kernels_are_kept_for_tensors_without_numbers(space):
    define(f"{space}::f", "(Tensor x) -> Tensor")
    register_fake(f"{space}::f")(lambda x: x)
    assert list(getattr(ops, space).f.default.kernels) == ["Meta"]


def test_compiled_operators_of_others_are_not_loaded(tmp_path):
    refused(OSError, "[load_library] got mine.so", ops.load_library, tmp_path / "mine.so")


_INSTALLED = """
import torch, torchvision, torchvision.models.own, importlib.metadata
assert torch.ops.torchvision._cuda_version() == -1 and torch.ops.image.encode_png.default is not None
print(torchvision.__file__, torchvision.models.own.name, importlib.metadata.version("torchvision"))
"""


def test_torchvision_itself_runs_where_it_is_installed(tmp_path):
    package = tmp_path / "torchvision"
    (package / "models").mkdir(parents=True)
    load = "import torch\nfor name in ('_C.so', 'image.so'): torch.ops.load_library(__path__[0] + '/' + name)"
    (package / "__init__.py").write_text(load)
    (package / "models" / "__init__.py").touch()
    (package / "models" / "own.py").write_text("name = 'own'")
    about = tmp_path / "torchvision-0.28.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n")
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    lines = in_mode(_INSTALLED, PYTHONPATH=paths).split()
    assert lines == [str(package / "__init__.py"), "own", "0.28.0"]


# Functions and calls that the mode alone has: torch.special.erfcx, linalg.eig, losses that broadcast.


def test_erfcx_is_the_scaled_complement():
    """Beside Python's erfc, and from 20 on beside the first terms of its series."""
    x = np.array([-3.0, -0.5, 0.0, 0.7, 3.0, 12.0])
    np.testing.assert_allclose(
        erfcx(rv.tensor(x)).numpy(), [math.exp(v * v) * math.erfc(v) for v in x], rtol=1e-13
    )
    far = np.array([19.999, 20.0, 1e3, 1e8])
    series = (1 - 0.5 / far**2 + 0.75 / far**4 - 1.875 / far**6 + 6.5625 / far**8) / (
        far * math.sqrt(math.pi)
    )
    np.testing.assert_allclose(erfcx(rv.tensor(far)).numpy(), series, rtol=1e-11)
    assert erfcx(rv.tensor([1.0])).dtype is rv.float32


def test_the_slope_of_an_entropy_at_0_is_inf():
    x = rv.tensor([0.0, -0.0, 1.0, 0.5], requires_grad=True)
    (slope,) = rv.autograd.grad(entr(x).sum(), x, create_graph=True)
    np.testing.assert_allclose(slope.tolist(), [math.inf, math.inf, -1.0, math.log(2.0) - 1.0], rtol=1e-6)
    assert entr(rv.tensor([0.0, -1.0])).tolist() == [0.0, -math.inf]


def test_eig_of_real_eigenvalues():
    a = np.random.default_rng(0).normal(size=(3, 4, 4))
    a = a @ np.diag([1.0, 2.0, 3.0, -1.0]) @ np.linalg.inv(a)
    values, vectors = eig(rv.tensor(a))
    np.testing.assert_allclose(a @ vectors.numpy(), vectors.numpy() * values.numpy()[:, None], atol=1e-10)
    np.testing.assert_array_equal(eigvals(rv.tensor(a)).numpy(), values.numpy())
    assert (values.dtype, values.imag.abs().max().item()) == (rv.complex128, 0)
    error = rv.linalg.LinAlgError
    for function in (eig, eigvals):
        text = f"[{function.__name__}] got A without a result; expected finite values"
        refused(error, text, function, rv.full((2, 2), np.nan))
    turn = eig(rv.tensor([[0.0, 1.0], [-1.0, 0.0]]))
    assert sorted(turn.eigenvalues.imag.tolist()) == [-1.0, 1.0]
    np.testing.assert_allclose(
        turn.eigenvectors.real.square() + turn.eigenvectors.imag.square(), 0.5, rtol=1e-6
    )


def test_eig_refuses_what_it_cannot_give():
    refused(NotImplementedError, "[eig] got a matrix with gradients", eig, rv.eye(2).requires_grad_())
    refused(ValueError, "[eig] got A of shape (2, 3)", eig, rv.ones(2, 3))


@pytest.mark.parametrize("shape", [(7, 5), (4, 9), (2, 6, 6)])
def test_the_largest_singular_values(shape):
    rng = np.random.default_rng(0)
    a = rng.normal(size=(*shape[:-1], 3)) @ rng.normal(size=(*shape[:-2], 3, shape[-1]))
    u, s, v = svd_lowrank(rv.tensor(a), 3)
    np.testing.assert_allclose((u * s.unsqueeze(-2) @ v.mT).numpy(), a, atol=1e-10)
    u, s, v = svd_lowrank(rv.tensor(a + 1), 3, M=rv.ones(shape[-1], dtype=rv.float64))
    np.testing.assert_allclose(s.numpy(), np.linalg.svd(a)[1][..., :3], rtol=1e-10)
    centred = a - a.mean(-2, keepdims=True)
    np.testing.assert_allclose(
        pca_lowrank(rv.tensor(a), 3).S.numpy(), np.linalg.svd(centred)[1][..., :3], atol=1e-10
    )
    assert pca_lowrank(rv.tensor(a)).V.shape == (*shape[:-2], shape[-1], min(6, *shape[-2:]))


def test_a_module_whose_values_do_not_matter_takes_no_numbers():
    rv.manual_seed(0)
    expected = rv.rand(3)
    rv.manual_seed(0)
    assert skip_init(rv.nn.Linear, 2, 3, device="cpu").weight.shape == (3, 2)
    assert rv.rand(3).equal(expected)


def test_gradcheck_has_small_steps():
    """1e-4 from a kink."""
    assert gradcheck(rv.relu, (rv.tensor([1e-4, -1e-4], dtype=rv.float64, requires_grad=True),))


def test_a_generator_has_a_device():
    assert rv.Generator("cpu").device == rv.device("cpu")


@pytest.mark.parametrize("loss", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"])
def test_losses_broadcast_with_a_warning(monkeypatch, loss):
    loss = getattr(rv.nn.functional, loss)
    x, t = rv.tensor([[0.5], [2.0]], requires_grad=True), rv.tensor([1.0, 4.0, -3.0])
    refused(ValueError, "expected equal shapes", loss, x, t)
    monkeypatch.setattr(Shapes, "broadcast", True)
    with pytest.warns(UserWarning, match=r"shape \(2, 1\) and target of shape \(3,\), which are broadcast"):
        y = loss(x, t)
    y.backward()
    wide = rv.tensor([[0.5] * 3, [2.0] * 3], requires_grad=True)
    same = loss(wide, rv.tensor([[1.0, 4.0, -3.0]] * 2))
    same.backward()
    assert y.item() == same.item()
    np.testing.assert_allclose(x.grad.numpy(), wide.grad.numpy().sum(1, keepdims=True), rtol=1e-6)
    refused(ValueError, "expected equal shapes", loss, x, rv.ones(3, 2))


SIGNS = [1.0, -1.0, 1.0]
BROADCAST = {  # losses without a warning: more operands, the target
    "poisson_nll_loss": ([], [1.0, 4.0, 0.5]),
    "kl_div": ([], [0.2, 0.5, 0.3]),
    "hinge_embedding_loss": ([], SIGNS),
    "soft_margin_loss": ([], SIGNS),
    "multilabel_soft_margin_loss": ([], [1.0, 0.0, 1.0]),
    "margin_ranking_loss": ([[[0.25, -0.5, 3.0]]], [SIGNS]),
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("loss", BROADCAST)
def test_losses_broadcast(monkeypatch, loss, reduction):
    others, target = BROADCAST[loss]
    function = getattr(rv.nn.functional, loss)
    x = rv.tensor([[0.5, 0.5, 0.5], [2.0, 2.0, 2.0]], requires_grad=True)
    column = rv.tensor([[0.5], [2.0]], requires_grad=True)
    operands = [rv.tensor(value) for value in (*others, target)]
    refused(ValueError, "expected equal shapes", function, column, *operands)
    monkeypatch.setattr(Shapes, "broadcast", True)
    first = x if loss == "multilabel_soft_margin_loss" else column  # whose classes are those of x
    y = function(first, *operands, reduction=reduction)
    y.sum().backward()
    wide = rv.tensor([[0.5] * 3, [2.0] * 3], requires_grad=True)
    same = function(wide, *[operand.expand(2, 3).clone() for operand in operands], reduction=reduction)
    same.sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), same.detach().numpy(), rtol=1e-6)
    expected = wide.grad if first is x else wide.grad.sum(1, keepdim=True)
    np.testing.assert_allclose(first.grad.numpy(), expected.numpy(), rtol=1e-6)


def test_sums_of_losses_that_broadcast(monkeypatch):
    """The batch of kl_div, and the classes of multilabel_soft_margin_loss, are those of x as given."""
    monkeypatch.setattr(Shapes, "broadcast", True)
    F = rv.nn.functional
    x = rv.tensor([-1.0, -0.5, -2.0, -1.5])
    target = rv.full((2, 4), 0.25)
    wide = x.expand(2, 4)
    assert F.kl_div(x, target, reduction="batchmean").item() == pytest.approx(
        F.kl_div(wide, target, reduction="sum").item() / 4
    )
    x = rv.tensor([[0.5, -1.0], [2.0, 0.0]])
    target = rv.ones(3, 2, 2)
    loss = F.multilabel_soft_margin_loss(x, target, reduction="none")
    terms = F.binary_cross_entropy_with_logits(x.expand(3, 2, 2), target, reduction="none")
    np.testing.assert_allclose(loss.numpy(), terms.numpy().sum(1) / 2, rtol=1e-6)
    refused(ValueError, "[margin_ranking_loss]", F.margin_ranking_loss, x, x, rv.ones(2))
