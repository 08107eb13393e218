"""NormHistory: the norms it records are those of parameters and of the gradients that made the updates."""

import copy

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim

X = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
Y = np.arange(10) % 2


def run(epochs, folder=None, resume=None, **settings):
    rv.manual_seed(3)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), **settings)
    norms = rv.NormHistory(biases=True)
    callbacks = [norms, rv.Checkpoint(folder)] if folder else [norms]
    trainer.fit(X, Y, epochs=epochs, batch_size=5, shuffle=False, callbacks=callbacks, resume=resume)
    return model, norms


def by_hand(epochs):
    rv.manual_seed(3)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    optimizer, squares = optim.SGD(model.parameters(), lr=0.1), []
    for _ in range(epochs):
        of_epoch = []
        for begin in (0, 5):
            optimizer.zero_grad()
            nn.CrossEntropyLoss()(model(X[begin : begin + 5]), Y[begin : begin + 5]).backward()
            of_epoch.append([np.sum(np.square(p.grad.numpy(), dtype=np.float64)) for p in model.parameters()])
            optimizer.step()
        squares.append(np.mean(of_epoch, axis=0))
    return np.sqrt(squares).T


@pytest.mark.parametrize("compiled", [False, True])
def test_the_norms_are_those_of_a_loop_by_hand(compiled):
    model, norms = run(4, compile=compiled)
    names = ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert list(norms.weights) == list(norms.gradients) == names
    np.testing.assert_allclose([norms.gradients[name] for name in names], by_hand(4), rtol=1e-5)
    for name, p in model.named_parameters():
        assert norms.weights[name][-1] == float(np.linalg.norm(p.detach().numpy()))


def test_accumulated_gradients_count_once_and_clipped_ones_as_they_are():
    _, norms = run(2, accumulate=2, clip_grad_norm=0.01)
    whole = np.sqrt(np.sum(np.square(list(norms.gradients.values())), axis=0))
    np.testing.assert_allclose(whole, 0.01, rtol=1e-4)


def test_a_frozen_parameter_has_no_gradient():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    norms = rv.NormHistory()
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model[1].parameters(), lr=0.1))
    trainer.fit(X, Y, epochs=1, callbacks=[norms])
    assert np.isnan(norms.gradients["0.weight"][0])
    assert norms.gradients["1.weight"][0] > 0


def test_a_resumed_run_records_what_one_never_stopped_does(tmp_path):
    _, whole = run(4)
    run(2, tmp_path)
    _, resumed = run(4, tmp_path, resume=tmp_path)
    assert resumed.weights == whole.weights
    assert resumed.gradients == whole.gradients


def test_norms_that_recorded_nothing_can_be_copied():
    assert copy.deepcopy(rv.NormHistory()).state_dict() == rv.NormHistory().state_dict()
