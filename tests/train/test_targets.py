"""Targets and the loss: their shapes and dtypes, and penalties.

Losses with a penalty are compared with the same loss written on the tape, in float64; what does not fit must
raise this error. X, Y, Z: 40 samples of three features, their class, and a value.
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from reference import optimizer as reference
from support.refused import refused
from support.tolerance import tolerance
from support.training import Half, X, Y, Z, assert_close_weights, classifier, trainer_of, weights_of

VALUES = (X @ np.array([1.0, 2.0, 3.0])).astype(np.float32)


def frame(**columns):
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    return pd.DataFrame(columns)


def regression(outputs, loss="mse", **settings):
    return rv.Trainer(nn.Linear(3, outputs), loss, "sgd", lr=0.01, **settings)


def test_validation_data_have_the_columns_of_fit():
    trainer, table = trainer_of(classifier()), frame(a=X[:, 0], b=X[:, 1], c=X[:, 2])
    text = "[Trainer.fit validation_data] got the columns c, b, a; expected a, b, c"
    refused(ValueError, text, trainer.fit, table, Y, epochs=1, validation_data=(table[["c", "b", "a"]], Y))
    batches = [(table, Y), (table[["b", "a", "c"]], Y)]
    refused(ValueError, "got the columns b, a, c", trainer_of(classifier()).fit, batches, epochs=1)


def test_targets_have_the_columns_of_fit(tmp_path):
    y = frame(u=VALUES, v=-VALUES)
    trainer = regression(2)
    trainer.fit(X, y, epochs=1)
    trainer.save(tmp_path / "trainer.safetensors")
    for again in (trainer, rv.Trainer.load(tmp_path / "trainer.safetensors")):
        refused(ValueError, "columns of y v, u; expected u, v", again.evaluate, X, y[["v", "u"]])
        again.evaluate(X, y)


def test_frozen_parameters_stay_frozen_in_a_loaded_trainer(tmp_path):
    model = classifier()
    model[0].requires_grad_(False)
    trainer = trainer_of(model)
    trainer.fit(X, Y, epochs=1)
    trainer.save(tmp_path / "trainer.safetensors")
    again = rv.Trainer.load(tmp_path / "trainer.safetensors")
    before = again.model[0].weight.detach().numpy().copy()
    again.fit(X, Y, epochs=1)
    assert [p.requires_grad for p in again.model.parameters()] == [False, False, True, True]
    assert np.array_equal(again.model[0].weight.detach().numpy(), before)


def test_ignored_class_indices_do_not_count():
    y = np.where(np.arange(len(Y)) % 4 == 0, -100, Y)
    kept = y >= 0
    trainer = rv.Trainer(classifier(), "cross_entropy", "sgd", lr=0.1, metrics=["accuracy", "roc_auc"])
    trainer.fit(X, y, epochs=3)
    found, expected = trainer.evaluate(X, y), trainer.evaluate(X[kept], Y[kept])
    assert found == pytest.approx(expected, rel=1e-6)
    weighted = trainer.evaluate(X, y, sample_weight=np.ones(len(y)))
    assert weighted == pytest.approx(expected, rel=1e-6)


def test_a_batch_of_one_sample_for_batch_norm():
    with pytest.raises(ValueError, match=r"more than 1 value per channel .*take another batch_size"):
        trainer_of(classifier(nn.BatchNorm1d(8))).fit(X, Y, epochs=1, batch_size=39)


class RefusesWhenTrained(nn.Module):
    def forward(self, x):
        if self.training:
            raise ValueError("not like this")
        return x


def test_an_error_of_the_program_gets_no_remedy_for_batch_norm():
    with pytest.raises(ValueError, match="not like this") as caught:
        trainer_of(classifier(RefusesWhenTrained())).fit(X[:1], Y[:1], epochs=1)
    assert "statistics" not in str(caught.value)


def test_a_batch_of_ignored_class_indices():
    y = np.where(np.arange(40) < 20, -100, Y)
    with pytest.raises(rv.train.NonFiniteError, match="epoch 1, batch 2: it has no target that the loss"):
        trainer_of(classifier()).fit(X, np.roll(y, 10), epochs=1, batch_size=10, shuffle=False)
    assert np.isnan(trainer_of(classifier()).evaluate(X[:20], y[:20])["loss"])


def test_float_targets_that_are_no_probabilities():
    text = "got y from -0.5 to 1.5 for CrossEntropyLoss; expected integers as class indices"
    refused(ValueError, text, trainer_of(classifier()).fit, X, np.eye(2)[Y] * 2 - 0.5, epochs=1)
    refused(ValueError, "for values take MSELoss", trainer_of(classifier()).fit, X, VALUES, epochs=1)


def test_a_weight_for_each_label():
    names = np.array(["no", "yes"])[Y]
    text = "class_weight of shape (3,); expected one weight for each of the 2 labels"
    refused(ValueError, text, trainer_of(classifier()).fit, X, names, epochs=1, class_weight=[1, 2, 3])


def test_a_loss_that_broadcasts_outputs_and_targets():
    def squares(output, y):
        return ((output - y) ** 2).mean()

    with pytest.warns(UserWarning, match=r"squares seems to broadcast to \(n, n\): pass y\[:, None\]"):
        regression(1, squares).fit(X, VALUES, epochs=1)
    regression(1, squares).fit(X, VALUES[:, None], epochs=1)
    regression(1, lambda output, y: ((output[:, 0] - y) ** 2).mean()).fit(X, VALUES, epochs=1)
    regression(1, squares).fit(X, np.ones(len(X)), epochs=1, verbose=0)


def test_functions_of_pytorchs_names_are_losses():
    trainer = regression(2, nn.functional.cross_entropy)
    trainer.fit(X, np.array(["no", "yes"])[Y], epochs=1)
    assert isinstance(trainer.loss, nn.CrossEntropyLoss)
    assert set(trainer.predict(X)) <= {"no", "yes"}
    assert isinstance(regression(1, nn.functional.mse_loss).loss, nn.MSELoss)
    binary = regression(1, nn.functional.binary_cross_entropy_with_logits)
    assert isinstance(binary.loss, nn.BCEWithLogitsLoss)
    own = regression(2, lambda output, y: nn.functional.cross_entropy(output, y))
    refused(ValueError, "give the loss an attribute link = 'softmax'", own.fit, X, Y, epochs=1)


def test_objects_of_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    model, loss = nn.Linear(3, 2), torch.nn.CrossEntropyLoss()
    linear = torch.nn.Linear(3, 2)
    refused(TypeError, "[Trainer] got model of PyTorch (Linear)", rv.Trainer, linear, "mse", "sgd")
    refused(TypeError, "[Trainer] got loss of PyTorch (Cross", rv.Trainer, model, loss, "sgd")
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.1)
    refused(TypeError, "[Trainer] got optimizer of PyTorch (SGD)", rv.Trainer, model, "mse", optimizer)


def test_sparse_matrices():
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    expected = "x that is a sparse matrix; expected a dense array: x.toarray()"
    refused(TypeError, expected, trainer_of(classifier()).fit, sparse.csr_matrix(X), Y, epochs=1)


def test_losses_that_give_no_number():
    for loss, what in (
        (nn.MSELoss(reduction="none"), "shape (32, 1) from MSELoss"),
        (lambda output, y: 3.0, "type float from <lambda>"),
    ):
        expected = f"got a loss of {what}; expected a Tensor of one number"
        refused(ValueError, expected, regression(1, loss).fit, X[:32], VALUES[:32, None], epochs=1)


def test_a_frame_and_targets_in_different_orders():
    table = frame(a=X[:, 0], b=X[:, 1], c=X[:, 2])
    order = np.random.default_rng(0).permutation(len(Y))
    y = table["a"].map(lambda a: "u" if a > 0 else "v")
    with pytest.warns(UserWarning, match=r"y.loc\[x.index\] pairs them by index"):
        trainer_of(classifier()).fit(table, y.iloc[order], epochs=1)
    shuffled = table.iloc[order]
    trainer_of(classifier()).fit(shuffled, y.loc[shuffled.index], epochs=1)
    trainer_of(classifier()).fit(shuffled, y.reset_index(drop=True).to_numpy(), epochs=1)
    trainer_of(classifier()).fit(table, y.set_axis(range(1000, 1000 + len(y))), epochs=1)


def test_log_probabilities():
    trainer = regression(2, "nll")
    with pytest.warns(UserWarning, match="NLLLoss takes logarithms of probabilities"):
        trainer.fit(X, Y, epochs=1)
    model = nn.Sequential(nn.Linear(3, 2), nn.LogSoftmax(1))
    rv.Trainer(model, "nll", "sgd").fit(X, Y, epochs=1)


def test_one_fit_at_a_time():
    class Again(rv.Callback):
        def on_epoch_end(self, epoch, logs):
            self.trainer.fit(X, Y, epochs=1)

    trainer = trainer_of(classifier())
    refused(RuntimeError, "a fit of this Trainer is", trainer.fit, X, Y, epochs=2, callbacks=[Again()])
    trainer.fit(X, Y, epochs=1)


# L1 and L2 penalties: their gradient, what is reported, and which parameters have one.


def value_of(model, l1, l2):
    """The penalty of the weights, not of the biases."""
    return sum(reference.weight_penalty(w, l1, l2) for w in weights_of(model) if w.ndim > 1)


@pytest.mark.parametrize(("l1", "l2"), [(0.01, 0.0), (0.0, 0.02), (0.01, 0.02)])
def test_a_step_is_that_of_the_loss_with_the_penalty_on_the_tape(l1, l2):
    model, by_hand = classifier().double(), classifier().double()
    before = value_of(model, l1, l2)
    trainer = trainer_of(model, optim.SGD(model.parameters(), lr=0.5), l1=l1, l2=l2)
    history = trainer.fit(X, Y, epochs=1, batch_size=40)

    optimizer = optim.SGD(by_hand.parameters(), lr=0.5)
    loss = nn.CrossEntropyLoss()(by_hand(X), Y)
    for name, w in by_hand.named_parameters():
        if name.endswith("weight"):
            loss = loss + l1 * w.abs().sum() + l2 * (w * w).sum()
    loss.backward()
    optimizer.step()
    assert_close_weights(model, by_hand, tolerance("float64", 50))
    assert history["loss"][0] == pytest.approx(loss.item(), rel=1e-12)
    measured = trainer.evaluate(X, Y)["loss"]
    plain = trainer_of(model).evaluate(X, Y)["loss"]
    assert measured == pytest.approx(plain + value_of(model, l1, l2), rel=1e-12)
    assert before > 0


def test_weights_shrink_and_batches_report_the_penalty():
    losses = []
    note = rv.LambdaCallback(on_batch_end=lambda batch, logs: losses.append(logs["loss"]))
    model, free = classifier(), classifier()
    trainer_of(free).fit(X, Y, epochs=30)
    before = value_of(model, 0.0, 0.1)
    history = trainer_of(model, l2=0.1).fit(X, Y, epochs=30, batch_size=40, callbacks=[note])
    assert value_of(model, 0.0, 1.0) < value_of(free, 0.0, 1.0) / 4
    assert losses[0] == history["loss"][0] > before


def test_a_sum_loss_has_the_penalty_once():
    model = classifier()
    loss = nn.CrossEntropyLoss(reduction="sum")
    plain = trainer_of(model, loss=loss).evaluate(X, Y, batch_size=7)["loss"]
    measured = trainer_of(model, loss=loss, l1=1.0).evaluate(X, Y, batch_size=7)["loss"]
    assert measured == pytest.approx(plain + value_of(model, 1.0, 0.0), rel=1e-9)


@pytest.mark.parametrize(
    ("l2", "penalised"),
    [
        (1.0, ["0.weight", "2.weight"]),
        ({"0": 1.0}, ["0.weight"]),
        ({"": 1.0}, ["0.weight", "2.weight"]),
        ({"": 1.0, "2": 0.0}, ["0.weight"]),
        ({"0.bias": 1.0}, ["0.bias"]),
        ({"0": 1.0, "0.bias": 1.0}, ["0.weight", "0.bias"]),
    ],
)
def test_which_parameters(l2, penalised):
    model = classifier().double()
    trainer = trainer_of(model, optim.SGD(model.parameters(), lr=0.25), l2=l2)
    before = dict(zip([name for name, _ in model.named_parameters()], weights_of(model), strict=True))
    trainer.fit(X[:1], Y[:1], epochs=1)
    expected = sum((before[name] ** 2).sum() for name in penalised)
    plain = nn.CrossEntropyLoss()(_first_output(before), Y[:1]).item()
    assert trainer.history["loss"][0] == pytest.approx(plain + expected, rel=1e-12)


def _first_output(weights):
    """The output for the first sample of a classifier with these weights."""
    model = classifier().double()
    model.load_state_dict(weights)
    return model(X[:1])


def test_a_frozen_parameter_counts_in_the_loss_and_stays():
    model = classifier()
    model[0].weight.requires_grad = False
    before = weights_of(model)
    trainer = trainer_of(model, l2=1.0)
    assert trainer.evaluate(X, Y)["loss"] == pytest.approx(
        trainer_of(model).evaluate(X, Y)["loss"] + (before[2] ** 2).sum(), rel=1e-6
    )
    trainer.fit(X, Y, epochs=1)
    assert np.array_equal(weights_of(model)[0], before[0])


def test_a_parameter_that_the_output_does_not_use_shrinks():
    model = Half(1)
    w = model.unused.weight.numpy(force=True).copy()
    trainer_of(model, optim.SGD(model.parameters(), lr=0.25), nn.MSELoss(), l2=1.0).fit(
        X, Z, epochs=1, batch_size=40
    )
    np.testing.assert_allclose(model.unused.weight.numpy(force=True), w / 2, rtol=1e-6)  # w - lr * 2 * l2 * w
