"""Blocks of autocast: the dtypes of PyTorch 2.13's lists for the CPU, casts, gradients, settings.

Results must have the dtypes that PyTorch gives; captured steps and checkpoints the bits of the plain run.
Each op by itself: tests/properties.
"""

import warnings

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F
from ranvier import nn
from ranvier.tape.autocast import casts
from ranvier.torch.modules import volumes
from ranvier.torch.training.checkpoint import checkpoint
from support.refused import refused
from support.threads import in_thread

amp = rv.amp
B16, F16, F32, F64 = rv.bfloat16, rv.float16, rv.float32, rv.float64


def randn(*shape):
    return rv.tensor(np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32))


M, V, S = randn(4, 4), randn(4), randn(3, 4, 4)  # a matrix, a vector, a stack
IMAGE, SIGNAL, VOLUME = randn(2, 4, 6, 6), randn(2, 4, 8), randn(1, 4, 3, 3, 3)
SQUARE = M @ M.T + rv.eye(4)

# An op and its arguments. In a block of bfloat16 LOWER gives bfloat16, also of float32, and FLOAT32 gives
# float32, also of bfloat16; OWN keeps the dtype.
LOWER = {
    "matmul with a vector": (rv.matmul, M, V), "addmm with a row": (rv.addmm, V, M, M),
    "einsum": (rv.einsum, "bij,bjk->bik", S, S), "linear to one": (F.linear, M, V, rv.tensor(1.0)),
    "attention with a mask": (F.scaled_dot_product_attention, S, S, S, M),
}  # fmt: skip
FLOAT32 = {
    "max_pool3d": (volumes.max_pool3d, VOLUME, 2),
    "reflect": (F.pad, SIGNAL, (1, 1), "reflect"), "replicate": (F.pad, IMAGE, (1, 1, 1, 1), "replicate"),
}  # fmt: skip
OWN = {"circular": (F.pad, SIGNAL, (1, 1), "circular"), "constant": (F.pad, SIGNAL, (1, 1))}
ROWS = [(name, *call) for table in (LOWER, FLOAT32, OWN) for name, call in table.items()]


def to(dtype, value):
    if isinstance(value, list):
        return [to(dtype, x) for x in value]
    if isinstance(value, rv.Tensor) and value.is_floating_point():
        return value.to(dtype)
    return value


def half(x):
    return x.to(B16)


@pytest.mark.parametrize(
    ("name", "op", "args"), [(name, op, args) for name, op, *args in ROWS], ids=[r[0] for r in ROWS]
)
def test_dtypes_of_results(name, op, args):
    with rv.autocast("cpu"):
        of_float32, of_half = op(*args).dtype, op(*to(B16, args)).dtype
        try:
            of_double = op(*to(F64, args)).dtype
        except TypeError:  # parameters in float32
            of_double = F64
    found = [of_float32, of_half, of_double]
    if name in LOWER:
        assert found == [B16, B16, F64]
    elif name in FLOAT32:
        assert found == [F32, F32, F64]
    else:
        assert found == [F32, B16, F64]


def test_encoder_layers_in_evaluation():
    """PyTorch computes them in one function, whose result has the block's dtype, under its conditions."""

    def make(heads=2, **settings):
        return nn.TransformerEncoderLayer(4, heads, 3, **settings).eval()

    with rv.autocast("cpu"):
        with rv.no_grad():
            fast = [make(batch_first=True), make(batch_first=True, norm_first=True, activation="gelu")]
            slow = [make(), make(1, batch_first=True), make(batch_first=True, bias=False)]
            slow += [make(batch_first=True).train(), make(batch_first=True, activation=rv.tanh)]
            assert [layer(S).dtype for layer in (*fast, *slow)] == [B16] * 2 + [F32] * 5
            assert fast[0](S[0]).dtype == F32
        assert fast[0](S).dtype == F32


def test_states_of_projected_lstms():
    with rv.autocast("cpu"):
        y, (h, c) = nn.LSTM(4, 3, 2, proj_size=2, bidirectional=True)(S)
    assert [y.dtype, h.dtype, c.dtype] == [B16, B16, F32]


def test_factors_of_other_dtypes():

    with rv.autocast("cpu"):
        for y in (
            rv.mm(M, half(M)),
            F.linear(half(M), M, V),
            F.conv2d(half(IMAGE), randn(2, 4, 3, 3), randn(2)),
            F.scaled_dot_product_attention(S, S, half(S), attn_mask=M),
            nn.Linear(4, 3)(half(M)),
        ):
            assert y.dtype == B16
        assert F.mse_loss(half(M), half(M), weight=half(M)).dtype == B16
        assert F.local_response_norm(half(SIGNAL), 2).dtype == B16
        signs, chances = M.sign(), M.sigmoid()
        for y in (
            F.mse_loss(half(M), M),
            F.cross_entropy(half(M), M.softmax(-1), V.abs()),
            F.huber_loss(half(M), M),
            *(F.binary_cross_entropy_with_logits(x, chances.to(t)) for x in (M, half(M)) for t in (B16, F16)),
            F.hinge_embedding_loss(half(M), signs.double()),
            F.soft_margin_loss(half(M), signs.double()),
            F.cosine_embedding_loss(half(M), half(M), V.sign().double()),
            rv.tensordot(V[None], V[:, None], 1),
            F.local_response_norm(half(IMAGE), 2),
        ):
            assert y.dtype == F32


@pytest.mark.parametrize("op", [rv.linalg.inv, rv.linalg.cholesky, lambda x: rv.mv(x, V), rv.det])
def test_gradients_of_a_block_that_begins_afterwards(op):
    """A rule of create_graph computes in the dtype of what it is the gradient of."""
    x = SQUARE.clone().requires_grad_()
    y = op(x).sum()
    (expected,) = rv.autograd.grad(y, x, create_graph=True)
    with rv.autocast("cpu"):
        (found,) = rv.autograd.grad(y, x, create_graph=True)
        _, tangent = rv.func.jvp(lambda x: rv.mv(x, V).sum(), (SQUARE,), (M,))
    assert found.dtype == tangent.dtype == F32
    np.testing.assert_array_equal(found.detach().numpy(), expected.detach().numpy())


def test_wider_operands_decide_in_joins_and_copies():
    at = rv.tensor([0])
    with rv.autocast("cpu"):
        for first, second in ((M, M.to(B16)), (M.to(B16), M)):
            assert rv.cat([first, second]).dtype == rv.stack([first, second]).dtype == F32
            assert rv.index_copy(first, 0, at, second[:1]).dtype == F32
        out = rv.zeros(4, 4)
        rv.matmul(M, M, out=out)
        in_place = M.clone().addmm_(M, M)
    np.testing.assert_array_equal(out.numpy(), (M @ M).numpy())  # as they are
    np.testing.assert_array_equal(in_place.numpy(), rv.addmm(M, M, M).numpy())


def test_a_leaf_is_cast_once_until_the_outermost_block_ends():
    weight = M.clone().requires_grad_()

    def cast(**block):
        """The values of the weight that a product reads."""
        with rv.autocast("cpu", **block):
            rv.mm(weight, M)
            return [cast.result for cast in casts.kept.values()]

    with rv.autocast("cpu"):
        y = rv.mm(weight, weight)
        (first,) = cast()
        assert cast()[0] is first
        assert cast(enabled=False)[0] is first
        assert cast(dtype=F16)[0].dtype == F16
        y = y.sum() + rv.mm(weight, M).sum()
        amp.clear_autocast_cache()
        assert cast(cache_enabled=False) == []
        with rv.no_grad():
            assert cast()[0] is not first
        assert rv.mm(weight, M).requires_grad
        with rv.no_grad():
            assert not rv.mm(weight, M).requires_grad
        y.backward()
        with rv.no_grad():
            weight.zero_()
        assert not rv.mm(weight, M).any()  # it has changed
    assert weight.grad.dtype == F32
    assert not casts.kept


def test_blocks_nest_and_are_of_one_thread():
    def dtype():
        return rv.mm(M, M).dtype

    with rv.autocast("cpu"):
        with rv.autocast("cpu", dtype=F16):
            assert dtype() is amp.get_autocast_dtype("cpu") is F16
            assert rv.mm(M.to(B16), M.to(B16)).dtype == F16
        with rv.autocast("cpu", enabled=False):
            assert (dtype(), amp.is_autocast_enabled("cpu")) == (F32, False)
            assert rv.autocast("cpu")(dtype)() == B16
        assert in_thread(dtype) == F32
        assert dtype() == B16
    with pytest.raises(KeyError), rv.autocast("cpu"):
        raise KeyError
    assert dtype() == F32

    class Net:
        @rv.autocast("cpu")
        def run(self, x):
            """Its text."""
            return x @ x

    assert Net().run(M).dtype == B16
    assert Net.run.__doc__ == "Its text."
    block = rv.autocast("cpu")
    with block, block:
        assert dtype() == B16
    assert not amp.is_autocast_enabled("cpu")


def test_settings_of_blocks():
    try:
        amp.set_autocast_enabled("cpu", True)
        assert rv.mm(M, M).dtype == B16
        assert (amp.is_autocast_cpu_enabled(), amp.is_autocast_enabled()) == (True, False)
        amp.set_autocast_enabled("cpu", False)
        amp.set_autocast_cpu_dtype(F16)
        with rv.autocast("cpu"):
            assert rv.mm(M, M).dtype == F16
    finally:
        amp.set_autocast_enabled("cpu", False)
        amp.set_autocast_dtype("cpu", B16)
    assert (amp.autocast_increment_nesting(), amp.autocast_decrement_nesting()) == (1, 0)
    assert [amp.is_autocast_available(kind) for kind in ("xpu", "meta")] == [True, False]
    for wrong in (1, None):
        refused(ValueError, "expected a str", rv.autocast, wrong)
    refused(RuntimeError, "got device_type 'disk'", rv.autocast, "disk")
    refused(TypeError, "expected a function", rv.autocast("cpu"), 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rv.autocast("cpu", F32), "In CPU autocast, but the target dtype is not supported"),
        (lambda: rv.autocast("cuda"), "CUDA is not available"),
        (amp.CUDAAutocast, "CUDA is not available"),
        (lambda: amp.CPUAutocast(dtype=F32), "In CPU autocast, but the target dtype is not supported"),
    ],
)
def test_blocks_without_effect(make, message):
    with pytest.warns(UserWarning, match=message) as caught, make():
        assert rv.mm(M, M).dtype == F32
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with rv.autocast("cuda", enabled=False), rv.autocast("xpu"), amp.CPUAutocast(enabled=False):
            assert rv.mm(M, M).dtype == F32


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpoints_cast_again(use_reentrant):
    def gradient(run):
        weight, x = M.clone().requires_grad_(), M.clone().requires_grad_()
        with rv.autocast("cpu"):
            y = run(lambda x: (x @ weight).relu() @ weight, x)
        y.float().sum().backward()
        return weight.grad.numpy()

    checkpointed = gradient(lambda f, x: checkpoint(f, x, use_reentrant=use_reentrant))
    np.testing.assert_array_equal(checkpointed, gradient(lambda f, x: f(x)))


def test_functions_of_a_program():
    seen = []

    class Double(rv.autograd.Function):
        @staticmethod
        @amp.custom_fwd(device_type="cpu", cast_inputs=F32)
        def forward(ctx, x):
            seen.extend([x.dtype, rv.mm(x, x).dtype])
            return x * 2

        @staticmethod
        @amp.custom_bwd(device_type="cpu")
        def backward(ctx, dy):
            seen.append(rv.mm(dy, dy).dtype)
            return dy * 2

    class Plain(Double):
        forward = staticmethod(amp.custom_fwd(lambda ctx, x: x * 2, device_type="cpu"))

    for kind in (Double, Plain):
        x = M.clone().requires_grad_()
        with rv.autocast("cpu"):
            y = kind.apply(x)
        y.sum().backward()
    assert seen == [F32, F32, F32, B16]


def test_compiled_steps():
    weight = M.clone().requires_grad_()

    def loss(x, dtype, inside):
        with rv.autocast("cpu", dtype, inside):
            return F.mse_loss(F.linear(x, weight).relu() @ weight, x)

    def step(x, dtype, inside):
        weight.grad = None
        loss(x, dtype, inside).backward()
        with rv.no_grad():
            weight.sub_(weight.grad)
        return weight.grad.clone()

    def run(step, inside):
        with rv.no_grad():
            weight.copy_(M)
        seen = []
        with rv.autocast("cpu", enabled=not inside):
            for dtype in (B16,) * 6 + (F16,) * 6 + (B16,):
                with rv.autocast("cpu", dtype, not inside):
                    seen.append(step(M, dtype, inside or amp.is_autocast_enabled("cpu")).numpy())
        return np.array(seen)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for inside in (True, False):
            np.testing.assert_array_equal(run(rv.compile(step), inside), run(step, inside))


def test_a_compiled_model_casts_its_weights_in_each_call():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    captured = rv.compile(model)
    with rv.no_grad(), rv.autocast("cpu"):
        for i in range(6):
            model[0].weight.add_(i)
            y = captured(M)
            assert y.dtype == B16
            np.testing.assert_array_equal(y.float().numpy(), model(M).float().numpy())
    assert captured(M).dtype == F32
