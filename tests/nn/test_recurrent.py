"""RNN, LSTM, GRU and their cells: gradients, shapes, errors.

Layers are compared with their formulas in NumPy, with their cells, and with each sequence alone.
"""

import itertools
import warnings
from functools import partial

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.autograd import gradcheck, gradgradcheck
from ranvier.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from support.refused import refused, text_of
from support.tolerance import tolerance

LENGTHS = [2, 4, 3]
KINDS = ("LSTM", "GRU", "RNN")
every_kind = pytest.mark.parametrize("kind", KINDS)


def outputs(result):
    """The Tensors of (y, h_n) or (y, (h_n, c_n)), y padded if it is packed."""
    y, states = result
    y = pad_packed_sequence(y)[0] if isinstance(y, PackedSequence) else y
    return (y, *states) if isinstance(states, tuple) else (y, states)


def test_a_projected_state_in_numpy(rng):
    """h_t = W_hr (o tanh(c_t)): one step after the other, each sequence alone, from its end in reverse."""
    layer = nn.LSTM(2, 5, bias=False, bidirectional=True, proj_size=3).double()
    x, lengths = rng.uniform(-1, 1, (4, 3, 2)), [3, 4, 1]
    h0, c0 = rng.uniform(-1, 1, (2, 3, 3)), rng.uniform(-1, 1, (2, 3, 5))
    packed = pack_padded_sequence(rv.tensor(x), lengths, enforce_sorted=False)
    y, (h_n, c_n) = layer(packed, (rv.tensor(h0), rv.tensor(c0)))
    y = pad_packed_sequence(y)[0].detach().numpy()
    p = {name: value.numpy() for name, value in layer.state_dict().items()}
    for way, end in enumerate(("_l0", "_l0_reverse")):
        for n, length in enumerate(lengths):
            h, c = h0[way, n], c0[way, n]
            for t in range(length)[:: -1 if way else 1]:
                gates = p["weight_ih" + end] @ x[t, n] + p["weight_hh" + end] @ h
                i, f, g, o = np.split(gates, 4)
                i, f, o = (1 / (1 + np.exp(-a)) for a in (i, f, o))
                c = f * c + i * np.tanh(g)
                h = p["weight_hr" + end] @ (o * np.tanh(c))
                np.testing.assert_allclose(y[t, n, 3 * way : 3 * way + 3], h, rtol=0, atol=1e-14)
            np.testing.assert_allclose(h_n[way, n].detach().numpy(), h, rtol=0, atol=1e-14)
            np.testing.assert_allclose(c_n[way, n].detach().numpy(), c, rtol=0, atol=1e-14)


@every_kind
def test_packed_sequences_are_each_alone(kind):
    layer, x = getattr(nn, kind)(2, 3, 2, bidirectional=True), rv.rand(4, 3, 2)
    y, *states = outputs(layer(pack_padded_sequence(x, LENGTHS, enforce_sorted=False)))
    for n, length in enumerate(LENGTHS):
        alone, *last = outputs(layer(x[:length, n : n + 1]))
        pairs = [
            (y[:length, n], alone[:, 0]),
            *((a[:, n], b[:, 0]) for a, b in zip(states, last, strict=True)),
        ]
        for together, one in pairs:
            np.testing.assert_allclose(together.detach(), one.detach(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [*KINDS, "LSTM projected"])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_gradients_of_everything(kind, lengths):
    """First and second ones by inputs, states and all weights of two layers in both directions."""
    rng = np.random.default_rng(4)
    kind, *projected = kind.split()
    settings = {"proj_size": 1} if projected else {}
    layer = getattr(nn, kind)(2, 3, num_layers=2, bidirectional=True, **settings).double()
    x = rv.tensor(rng.uniform(-1, 1, (4, 3, 2)), requires_grad=True)
    widths = [1 if projected else 3, 3][: 1 + (kind == "LSTM")]
    states = [rv.tensor(rng.uniform(-1, 1, (4, 3, n)), requires_grad=True) for n in widths]

    def loss(x, *others):
        given = others[: len(states)]  # the rest are the layer's own
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False) if lengths else x
        return sum(
            (y * y).sum() + y.sum() for y in outputs(layer(packed, given if kind == "LSTM" else given[0]))
        )

    assert gradcheck(loss, (x, *states, *layer.parameters()), entries=10)
    assert gradgradcheck(loss, (x, *states, *layer.parameters()), entries=2)


@every_kind
def test_only_what_is_wanted_gets_a_gradient(kind):
    layer = getattr(nn, kind)(3, 4)
    layer.weight_hh_l0.requires_grad_(False)
    layer.bias_ih_l0.requires_grad_(False)
    y, _ = layer(rv.rand(5, 2, 3))
    y.sum().backward()
    grads = {name: p.grad is not None for name, p in layer.named_parameters()}
    assert grads == {"weight_ih_l0": True, "weight_hh_l0": False, "bias_ih_l0": False, "bias_hh_l0": True}


@every_kind
def test_biases_do_not_share_a_gradient(kind):
    layer = getattr(nn, kind)(3, 4)
    layer(rv.rand(5, 2, 3))[0].sum().backward()
    layer.bias_ih_l0.grad.zero_()
    assert (layer.bias_hh_l0.grad != 0).any()


@every_kind
@pytest.mark.parametrize("bidirectional", [False, True])
def test_shapes(kind, bidirectional):
    directions = 1 + bidirectional
    for layers, batch_first in itertools.product((1, 3), (False, True)):
        layer = getattr(nn, kind)(3, 4, layers, batch_first=batch_first, bidirectional=bidirectional)
        shape = (2, 5, 3) if batch_first else (5, 2, 3)
        y, *states = outputs(layer(rv.rand(*shape)))
        assert y.shape == (*shape[:2], 4 * directions)
        assert all(s.shape == (layers * directions, 2, 4) for s in states)
        y, *states = outputs(layer(rv.rand(5, 3)))
        assert y.shape == (5, 4 * directions)
        assert all(s.shape == (layers * directions, 4) for s in states)
        y, *states = outputs(layer(rv.rand(5, 3), tuple(states) if kind == "LSTM" else states[0]))
        assert y.shape == (5, 4 * directions)


@every_kind
def test_a_sequence_in_two_halves(kind):
    """The state after the first half, given to the second, gives the results of one whole run."""
    layer = getattr(nn, kind)(3, 4, num_layers=2)
    x = rv.rand(6, 2, 3)
    whole, state = layer(x)
    first, middle = layer(x[:3])
    second, last = layer(x[3:], middle)
    np.testing.assert_array_equal(rv.cat([first, second]).detach(), whole.detach())
    for a, b in zip(outputs((whole, state)), outputs((whole, last)), strict=True):
        np.testing.assert_array_equal(a.detach(), b.detach())


@every_kind
def test_a_cell_is_a_step(kind):
    layer, cell = getattr(nn, kind)(3, 4), getattr(nn, f"{kind}Cell")(3, 4)
    cell.load_state_dict({name.removesuffix("_l0"): p for name, p in layer.state_dict().items()})
    x = rv.rand(5, 2, 3)
    wanted, state = layer(x)[0], None
    for t in range(5):
        state = cell(x[t], state)
        h = state[0] if kind == "LSTM" else state
        np.testing.assert_allclose(h.detach(), wanted[t].detach(), rtol=0, atol=tolerance("float32", 7))
    alone = cell(x[0, 1])
    np.testing.assert_allclose(
        (alone[0] if kind == "LSTM" else alone).detach(), wanted[0, 1].detach(), rtol=1e-6
    )


def test_dropout_between_layers():
    layer = nn.GRU(3, 40, num_layers=2, dropout=1.0)
    x = rv.rand(5, 2, 3)
    nothing = nn.GRU(40, 40)
    nothing.load_state_dict({n.replace("_l1", "_l0"): p for n, p in layer.state_dict().items() if "_l1" in n})
    np.testing.assert_array_equal(layer(x)[0].detach(), nothing(rv.zeros(5, 2, 40))[0].detach())
    layer.eval()
    assert (layer(x)[0] != nothing(rv.zeros(5, 2, 40))[0]).any()
    for kind in (nn.RNN, nn.LSTM, nn.GRU):
        text = rf"\[{kind.__name__.lower()}\] dropout acts between layers"
        with pytest.warns(UserWarning, match=text) as warned:
            kind(2, 3, dropout=0.5)
        assert warned[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nn.LSTM(2, 3, 2, dropout=0.5)


def test_text():
    text = "num_layers=2, bias=False, batch_first=True, dropout=0.5, bidirectional=True"
    assert repr(nn.LSTM(3, 4, 2, False, True, 0.5, True)) == f"LSTM(3, 4, {text})"
    assert repr(nn.RNNCell(3, 4, False, "relu")) == "RNNCell(3, 4, bias=False, nonlinearity=relu)"
    assert len(nn.GRU(3, 4, 2, bidirectional=True).all_weights) == 4
    names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_hr_l0"]
    assert nn.LSTM(3, 4, proj_size=2)._all_weights == [names]


def test_errors():
    said = partial(text_of, ValueError)
    assert said(nn.LSTM, 0, 3) == "[lstm] got input_size 0; expected at least 1"
    assert said(nn.GRU, 2, -1) == "[gru] got hidden_size -1; expected at least 1"
    assert said(nn.GRU, 2, 1, 0) == "[gru] got num_layers 0; expected at least 1"
    assert said(nn.LSTM, 2, 3, proj_size=3) == "[lstm] got proj_size 3; expected less than hidden_size"
    assert said(nn.GRU, 2, 3, proj_size=1) == "[gru] got proj_size 1; expected 0: only an LSTM has it"
    text = "[rnn] got dropout 1.5; expected a probability, 0 <= dropout <= 1"
    assert said(nn.RNN, 2, 3, dropout=1.5) == text
    assert said(nn.RNN, 2, 3, 1, "elu") == "[rnn] got nonlinearity 'elu'; expected 'tanh' or 'relu'"
    lstm, gru = nn.LSTM(2, 3), nn.GRU(2, 3)
    assert said(lstm, rv.rand(4, 5, 3)) == "[lstm] got x with 3 features; expected input_size, 2"
    text = (
        "[lstm] got x of shape (2,); expected (steps, N, input_size), or (steps, input_size) without a batch"
    )
    assert said(lstm, rv.rand(2)) == text
    text = "[gru] got h0 of shape (1, 4, 3); expected (1, 5, 3)"
    assert said(gru, rv.rand(4, 5, 2), rv.rand(1, 4, 3)) == text
    assert said(gru, rv.rand(4, 2), rv.rand(2, 3)) == "[gru] got h0 of shape (2, 3); expected (1, 3)"
    text = "[grucell] got h of shape (5, 3); expected (4, 3)"
    assert said(nn.GRUCell(2, 3), rv.rand(4, 2), rv.rand(5, 3)) == text
    text = "[lstmcell] got x of shape (4, 3); expected (N, 2) or (2,)"
    assert said(nn.LSTMCell(2, 3), rv.rand(4, 3)) == text


def test_wrong_types():
    with pytest.raises(TypeError, match=r"\[lstm\] got a state of type Tensor; expected \(h0, c0\)"):
        nn.LSTM(2, 3)(rv.rand(4, 5, 2), rv.rand(1, 5, 3))
    refused(TypeError, "[gru] got hidden_size 2.5; expected a whole number", nn.GRU, 2, 2.5)
    refused(TypeError, "expected the same dtype", nn.GRU(2, 3), rv.rand(4, 5, 2).double())
