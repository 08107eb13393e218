"""The default dtype: who has it, and that steps captured under another one are not replayed."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.threads import in_thread
from support.training import training


@pytest.fixture
def wide():
    rv.set_default_dtype(rv.float64)
    yield
    rv.set_default_dtype(rv.float32)


def test_how_it_is_set():
    try:
        kinds = [
            (kind, rv.float64) for kind in (rv.float64, np.float64, "torch.DoubleTensor", rv.DoubleTensor)
        ]
        for kind, wanted in [*kinds, (rv.HalfTensor, rv.float16), ("torch.BFloat16Tensor", rv.bfloat16)]:
            rv.set_default_tensor_type(kind)
            made = rv.tensor(0.5), rv.tensor([0.5, 1]), rv.rand(2), rv.tensor([1, 2]) / 2, rv.arange(2.0)
            made += rv.exp(rv.tensor(1)), rv.tensor(1) * 1.5, rv.true_divide(3, 2)
            assert {x.dtype for x in made} == {rv.get_default_dtype()} == {wanted}
            assert rv.finfo().bits == 8 * wanted.itemsize
            assert repr(made[0]) == "tensor(0.5000)"
            rv.set_default_dtype(rv.float32)
            assert rv.get_default_dtype() is rv.tensor(0.5).dtype is rv.float32
        for kind in (rv.int64, rv.complex64, rv.float8_e5m2):
            with pytest.raises(TypeError, match=r"\[set_default_dtype\] got .*; expected .*float32"):
                rv.set_default_dtype(kind)
    finally:
        rv.set_default_dtype(rv.float32)


def test_text(wide):
    assert repr(rv.zeros(1)) == "tensor([0.])"
    assert repr(rv.zeros(1).float()) == "tensor([0.], dtype=torch.float32)"


def test_it_holds_in_all_threads(wide):
    assert in_thread(rv.zeros, 1).dtype == rv.float64


def test_a_training_step_in_float64(wide):
    rv.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))
    optimizer = rv.optim.Adam(model.parameters())
    x, y = rv.randn(16, 3), rv.randn(16, 1)
    step = rv.compile(training(model, optimizer, nn.functional.mse_loss), strict=True)
    losses = [step(x, y).item() for _ in range(30)]
    assert {p.dtype for p in (*model.parameters(), x)} == {rv.float64}
    assert losses[-1] < losses[0]


def test_a_trainer_in_float64(wide):
    rv.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    trainer = rv.Trainer(model, "mse", "adam")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 2))
    history = trainer.fit(x, x.sum(1, keepdims=True), epochs=5)
    assert model[0].weight.dtype is rv.float64
    assert trainer.predict(x).dtype == np.float64
    assert history["loss"][-1] < history["loss"][0]
