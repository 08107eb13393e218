"""LSTM, GRU, RNN and their cells in 8 and 4 bits: steps beside NumPy, gradients, forms of calls, files."""

import copy
import pickle

import numpy as np
import pytest
import ranvier as rv
import reference.quantized as reference
from ranvier import _core, nn
from ranvier.nn.utils.rnn import pack_padded_sequence
from ranvier.ops.matrix.quantized_weight import KINDS
from ranvier.ops.neural.quantized_recurrent import quantized_recurrent
from ranvier.ops.neural.recurrent import recurrent
from ranvier.torch.modules.quantization import quantize_dynamic
from reference.recurrent import STEPS, recurrent_backward, rows_of_steps
from support.refused import refused
from support.threads import same_bits

LAYERS, CELLS = ("LSTM", "GRU", "RNN"), ("LSTMCell", "GRUCell", "RNNCell")
LENGTHS, BOUND = [2, 5, 3], {"int8": 0.02, "q8_0": 0.02, "q4_0": 0.25}
every_kind = pytest.mark.parametrize("kind", KINDS)


def made(name, kind="int8", **settings):
    """(the layer in float32, the layer of few bits), for 20 features and 24 units."""
    layer = getattr(nn, name)(20, 24, **settings).eval()
    return layer, getattr(nn.quantized, name).from_float(layer, kind)


def flat(result):
    """All Tensors of a result."""
    parts = [result] if isinstance(result, rv.Tensor) else [t for part in result for t in flat(part)]
    return [t.detach() for t in parts if t.is_floating_point()]


def assert_same(a, b):
    for x, y in zip(flat(a), flat(b), strict=True):
        np.testing.assert_array_equal(x.numpy(), y.numpy())


def distance(a, b):
    return max(float((x - y).norm() / y.norm()) for x, y in zip(flat(a), flat(b), strict=True))


@every_kind
@pytest.mark.parametrize("cell", STEPS)
@pytest.mark.parametrize("reverse", [False, True])
def test_steps_and_gradients_in_numpy(cell, kind, reverse, isa, rng):
    """Each step follows from the state before it as the core gives it, whose integers it multiplies."""
    hidden, sizes = 21, np.array([60, 60, 3, 1])
    width, rows = {"lstm": 4, "gru": 3}.get(cell, 1) * hidden, sizes.sum()
    shapes = (rows, width), (60, hidden), (60, hidden), (width, hidden), (width,), (rows, hidden)
    of_x, h0, c0, w, b, dy = (rng.uniform(-1, 1, shape).astype(np.float32) for shape in shapes)
    integers, scale = reference.quantize(w / 4, kind)
    weight = nn.quantized.Linear.from_weight(w / 4, b, kind)
    given = [rv.tensor(a).requires_grad_() for a in (of_x, h0, c0)[: 3 if cell == "lstm" else 2]]
    bias = weight.bias.requires_grad_()
    of_bits, state = weight.quantized_weight, (*given[1:],)
    y, *last = quantized_recurrent(cell, given[0], state, of_bits, bias, sizes, reverse)
    start = (h0, c0 if cell == "lstm" else None, np.eye(width, dtype="f4"), None, 0 * b, b)  # W_ih of float32
    bits = (weight.panels.numpy(), None if weight.scale is None else weight.scale.numpy(), kind)
    other = _core.recurrent(cell, of_x, *start, sizes, reverse, True, *bits)
    np.testing.assert_array_equal(other[0], y.detach().numpy())
    h, c, saved = h0.copy(), c0.astype(np.float64), {}
    for t, of_t, some in rows_of_steps(sizes, reverse):
        before = h[some].astype(np.float64)
        s = reference.product(h[some], integers, scale, kind)[0] + b
        expected, c[some], of_step = STEPS[cell][0](of_x[of_t].astype(np.float64), s, before, c[some].copy())
        np.testing.assert_allclose(y.detach().numpy()[of_t], expected, rtol=0, atol=4e-6)
        h[some], saved[t] = y.detach().numpy()[of_t], (before, of_step)
    np.testing.assert_array_equal(last[0].detach().numpy(), h)
    y.backward(dy)
    none, values = np.zeros((60, hidden)), reference.values(integers, scale, kind)
    of_steps = recurrent_backward(
        cell, dy, none, none, of_x, np.eye(width), values.astype(np.float64), saved, sizes, reverse
    )
    for tensor, gradient in zip((*given, bias), (*of_steps[: len(given)], of_steps[6]), strict=True):
        np.testing.assert_allclose(tensor.grad.numpy(), gradient, rtol=1e-5, atol=2e-5)


@every_kind
@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN", "projected"])
def test_forms_of_calls(name, kind):
    settings = {"num_layers": 2, "bidirectional": True, "batch_first": True, "dropout": 0.5}
    settings |= {"proj_size": 7} if name == "projected" else {"bias": name == "LSTM"}
    layer, small = made("LSTM" if name == "projected" else name, kind, **settings)
    x = rv.randn(3, 5, 20).requires_grad_()
    y, states = small(x.detach())
    assert distance((y, states), layer(x)) < BOUND[kind]
    assert distance(small(x, states), layer(x, states)) < BOUND[kind]
    captured = rv.compile(small)
    for _ in range(3):
        assert_same(captured(x.detach(), states), small(x, states))
    of_x = [rv.autograd.grad(model(x, states)[0].sum(), x)[0] for model in (small, layer)]
    assert distance(of_x[0], of_x[1]) < 2 * BOUND[kind]
    packed = small(pack_padded_sequence(x, LENGTHS, True, enforce_sorted=False), states)
    for n, length in enumerate(LENGTHS):  # a sequence alone, without a batch, has the same bits
        own = tuple(s[:, n] for s in states) if isinstance(states, tuple) else states[:, n]
        alone = flat(small(x[n, :length], own))[1:]
        assert distance([s[:, n] for s in flat(packed)[1:]], alone) <= (1e-5 if name == "projected" else 0)
    assert distance(small.train()(x), small.eval()(x)) > 0.01  # dropout


@every_kind
@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_a_step_of_the_layer(name, kind, threads):
    layer, small = made(name, kind)
    whole = getattr(nn.quantized, name.removesuffix("Cell"))(20, 24, kind=kind)
    whole.load_state_dict({key.replace("h.", "h_l0."): t for key, t in small.state_dict().items()})
    x, states = rv.randn(4, 3, 20), None
    assert distance(small(x[0]), layer(x[0])) < BOUND[kind]
    assert_same(small(x[0, 1]), [t[1] for t in flat(small(x[0]))])
    for step in x:
        states = small(step, states)
    assert_same(states, [s[0] for s in flat(whole(x))[1:]])
    if name != "GRUCell":  # the product of the layer Linear, and the gates in float32
        h, *c = flat(states)
        of_h = nn.quantized.Linear.from_weight(small.hh.quantized_weight)(h) + small.hh.bias
        sums, no_weight = (small.ih(x[0]) + of_h).unsqueeze(0), rv.zeros(*small.hh.weight.shape)
        steps = recurrent(small._mode.lower(), sums, (None, *c), (None, no_weight))
        assert_same(small(x[0], states), steps[1:])
    same_bits(threads, lambda: flat(whole(rv.ones(9, 70, 20)))[0].numpy(), (1, 2, 3))


@every_kind
@pytest.mark.parametrize("name", LAYERS + CELLS)
def test_copies_files_and_captured_steps(name, kind, tmp_path):
    small, path = made(name, kind)[1], tmp_path / "small.safetensors"
    rv.save(nn.Sequential(small), path)
    x = rv.randn(5, 20)
    for same in (rv.load(path)[0], copy.deepcopy(small), pickle.loads(pickle.dumps(small))):
        assert_same(same(x), small(x))
        assert str(same) == str(small)
    captured = rv.compile(small)
    for _ in range(10):
        assert_same(captured(x), small(x))
        x = rv.randn(*x.shape)
    assert_same(copy.deepcopy(small).half()(x.half()), [t.half() for t in flat(small(x.half().float()))])
    refused(TypeError, "float64", small, x.double())
    assert flat(small(x / 0))[0].isnan().any()  # in float32, as of Linear


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_of_higher_order(name):
    small, x = made(name, "q8_0", num_layers=2)[1], rv.randn(4, 2, 20).requires_grad_()
    (first,) = rv.autograd.grad(small(x)[0].square().sum(), x)
    (again,) = rv.autograd.grad(small(x)[0].square().sum(), x, create_graph=True)
    np.testing.assert_allclose(first.numpy(), again.detach().numpy(), rtol=1e-4, atol=1e-5)
    assert rv.autograd.grad(again.sum(), x)[0].isfinite().all()


class Language(nn.Module):
    """PyTorch's tutorial of dynamic quantization, and a layer that has weights of another."""

    def __init__(self):
        super().__init__()
        self.encoder, self.rnn, self.second = nn.Embedding(50, 24), nn.LSTM(24, 24, 2), nn.GRU(24, 24)
        self.rnn.weight_hh_l1, self.decoder = self.rnn.weight_hh_l0, nn.Linear(24, 50)

    def forward(self, index):
        return self.decoder(self.second(self.rnn(self.encoder(index))[0])[0])


def test_models():
    model, index, seen = Language(), rv.randint(0, 50, (7, 3)), []
    model.rnn.register_forward_hook(lambda layer, args, y: seen.append(type(layer)))
    small, report = rv.quantize(model, report=index)
    assert [row.layer for row in report.layers] == ["Embedding", "LSTM", "GRU", "Linear"]
    assert max(row.error for row in report.layers) < 0.02
    assert seen.count(nn.LSTM) == 1
    small(index)
    assert seen[-1] is nn.quantized.LSTM
    assert small.rnn.hh_l0.panels is small.rnn.hh_l1.panels  # a tied weight
    refused(
        AttributeError, "expected a Linear as hh_l0", setattr, small.rnn, "weight_hh_l0", rv.zeros(96, 24)
    )
    packed = pack_padded_sequence(rv.rand(5, 3, 24), LENGTHS, enforce_sorted=False)
    assert rv.quantize(model.second, report=packed)[1].model < 0.02
    assert rv.quantize(model, where={nn.GRU}).rnn.__class__ is nn.LSTM
    dynamic = quantize_dynamic(model)
    kinds = [type(layer).__module__.split(".")[2] for layer in dynamic.children()]
    assert (kinds, dynamic.training) == (["embedding", "quantized", "quantized", "modules"], False)
    assert type(quantize_dynamic(model, {nn.LSTM}).second) is nn.GRU
    assert quantize_dynamic(model, {nn.Conv2d: None}) is not model
