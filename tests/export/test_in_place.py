"""C functions whose results lie in the arrays of inputs, as a state does; and files that belong together."""

import os
from itertools import permutations

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F
from ranvier import nn
from ranvier.optim import SGD
from ranvier.tensors.disk import replace_together
from support.c_files import Compiled, argument, needs_compiler


class Of(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.layer = nn.Linear(4, 4)

    def forward(self, x, h):
        return self.function(self.layer, x, h)


FUNCTIONS = {
    "state first": lambda f, x, h: (h * 2, x + h),
    "state last": lambda f, x, h: (x + h, h * 2),
    "a product": lambda f, x, h: (f(h), x + h),
    "a product alone": lambda f, x, h: f(h),
    "both read both": lambda f, x, h: (f(x + h), F.softmax(h, -1) - x),
    "exchanged": lambda f, x, h: (h, x),
    "as they are": lambda f, x, h: (x, h),
    "one twice": lambda f, x, h: (h, h),
    "a result twice": lambda f, x, h: (y := x + h, y),
    "reversed": lambda f, x, h: (h.flip(0), x.flip(1)),
    "transposed": lambda f, x, h: (h.t() @ x, x.t()),
    "sums and cumulative sums": lambda f, x, h: (h.cumsum(0) + x.mean(), h - h.sum(0, keepdim=True)),
    "parts": lambda f, x, h: (rv.cat([h[2:], x[:2]]), rv.cat([x[2:], h[:2]])),
    "shared": lambda f, x, h: (z := (x * h).tanh(), z + f(z) + h),
    "normed": lambda f, x, h: (F.layer_norm(h, (4,)), F.layer_norm(x + h, (4,))),
    "a number": lambda f, x, h: ((x * h).sum(), h + x),
    "a constant": lambda f, x, h: (f.weight, h + x),
}


@needs_compiler
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_results_in_inputs(tmp_path, function):
    """Every assignment of results to arrays of inputs of the same size gives the values of arrays apart."""
    rng = np.random.default_rng(0)
    given = [rng.standard_normal((4, 4), np.float32) for _ in range(2)]
    model = Of(function).eval()
    compiled = Compiled(tmp_path, model, tuple(np.zeros_like(x) for x in given))
    with rv.no_grad():
        results = model(*map(rv.tensor, given))
    wanted = [y.numpy(force=True) for y in (results if isinstance(results, tuple) else (results,))]
    for places in permutations([0, 1, None, None], len(wanted)):
        inputs = [argument(x.copy()) for x in given]
        outputs = [
            np.full(y.shape, np.nan, np.float32) if place is None or y.size < 16 else inputs[place]
            for y, place in zip(wanted, places, strict=True)
        ]
        compiled.call("net_predict", *inputs, *outputs)
        for got, y in zip(outputs, wanted, strict=True):
            np.testing.assert_allclose(got.reshape(y.shape), y, rtol=1e-6, atol=1e-6)


@needs_compiler
def test_recurrent_states_in_place(tmp_path):
    """A step of an LSTM, called ten times with its states in their arrays."""
    rv.manual_seed(0)
    cell = nn.LSTMCell(3, 5).eval()
    target = Cell(cell)
    x, h, c = (np.zeros(shape, np.float32) for shape in ((2, 3), (2, 5), (2, 5)))
    compiled = Compiled(tmp_path, target, (x, h, c))
    rng = np.random.default_rng(0)
    state = rv.zeros(2, 5), rv.zeros(2, 5)
    for _ in range(10):
        x = rng.standard_normal((2, 3), np.float32)
        compiled.call("net_predict", x, h, c, h, c)
        with rv.no_grad():
            state = cell(rv.tensor(x), state)
        np.testing.assert_allclose(h, state[0].numpy(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(c, state[1].numpy(), rtol=1e-5, atol=1e-6)


class Cell(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, x, h, c):
        return self.cell(x, (h, c))


@needs_compiler
def test_a_step_in_place(tmp_path):
    """A training step whose new state lies in the array of the old one: its loss and update read the old."""

    def trained(folder, in_place):
        rv.manual_seed(0)
        model = nn.Linear(4, 4)
        optimizer = SGD(model.parameters(), 0.1)

        def step(x, h):
            optimizer.zero_grad()
            new = model(h) + x
            loss = (new * h).mean()
            loss.backward()
            optimizer.step()
            return loss, new.detach()

        folder.mkdir()
        compiled = Compiled(folder, step, (np.zeros((4, 4), np.float32),) * 2)
        x = np.ones((4, 4), np.float32)
        h = np.full((4, 4), 0.5, np.float32)
        losses = []
        for _ in range(3):
            new = h if in_place else np.zeros_like(h)
            losses.append(compiled.call("net_step", x, h, new))
            h = new
        return losses, h

    apart, state = trained(tmp_path / "apart", False)
    together, state_in_place = trained(tmp_path / "together", True)
    np.testing.assert_array_equal(apart, together)
    np.testing.assert_array_equal(state, state_in_place)


def test_a_prediction_takes_no_more_memory(tmp_path):
    """No result of a network has the size of its input here, so that nothing is copied."""
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    report = rv.export.c(model, tmp_path / "net.c", rv.zeros(1, 4))
    assert report.ram == 32
    assert "copy_all" not in (tmp_path / "net.c").read_text()
    header = (tmp_path / "net.h").read_text()
    assert "A result may be the array of an input of the\n   same size" in header


# --- header and source
def test_header_and_source_are_replaced_together(tmp_path, monkeypatch):
    path = tmp_path / "net.c"
    rv.export.c(nn.Linear(2, 3), path, rv.zeros(1, 2), separate_weights=True)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert sorted(before) == ["net.c", "net.h", "net_weights.c"]
    replaced = os.replace
    calls = []

    def fails(old, new):
        calls.append(new)
        if len(calls) == fail_at:
            raise OSError(28, "No space left on device")
        replaced(old, new)

    monkeypatch.setattr(os, "replace", fails)
    for fail_at in (1, 2, 3):  # noqa: B007  # read by `fails`
        calls.clear()
        with pytest.raises(
            OSError, match=r"\[export.c\] cannot write .*; the files that were there are kept"
        ):
            rv.export.c(nn.Linear(2, 7), path, rv.zeros(1, 2), separate_weights=True)
        assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    monkeypatch.undo()
    rv.export.c(nn.Linear(2, 7), path, rv.zeros(1, 2), separate_weights=True)
    after = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert sorted(after) == sorted(before)
    assert all(after[name] != before[name] for name in before)


def test_a_header_that_cannot_be_written(tmp_path):
    (tmp_path / "net.h").mkdir()
    with pytest.raises(OSError, match="is a folder or a device"):
        rv.export.c(nn.Linear(2, 3), tmp_path / "net.c", rv.zeros(1, 2))
    assert [file.name for file in tmp_path.iterdir()] == ["net.h"]


def test_new_files_that_belong_together(tmp_path):
    """Where one of several new files cannot be renamed, none is left."""
    (tmp_path / "b").mkdir()
    with pytest.raises(OSError, match="cannot write"):
        replace_together({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert [file.name for file in tmp_path.iterdir()] == ["b"]
    replace_together({tmp_path / "a": b"1", tmp_path / "c": b"2"})
    assert (tmp_path / "a").read_bytes() + (tmp_path / "c").read_bytes() == b"12"
