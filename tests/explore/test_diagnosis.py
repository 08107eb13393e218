"""rv.diagnose: every rule where it must fire, and where it must not.

Healthy networks and data are changed so that they have one fault; the names of the rules that find something
are compared with that fault.
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.explore import diagnosis_rules
from ranvier.explore.examine import Measurements
from support.refused import refused

CROSS = nn.CrossEntropyLoss()


def data(n=200, features=8, classes=3, seed=0):
    """Samples (n, features), and as the label of each its largest feature of the first ones."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, features)).astype(np.float32)
    return x, np.argmax(x[:, :classes], axis=1)


def network(*hidden, activation=nn.ReLU, end=()):
    """Linear layers from 8 features over the hidden sizes to 3 scores, with activations between them."""
    layers = []
    inputs = 8
    for units in hidden:
        layers += [nn.Linear(inputs, units), activation()]
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, 3), *end)


def found(*args, **kwargs):
    """The names of the rules that find something, worst first."""
    return [finding.rule for finding in rv.diagnose(*args, **kwargs)]


def test_a_healthy_network_before_and_after_training():
    x, y = rv.data.datasets.load_digits()
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)
    )
    assert found(model, data=(x, y), loss=CROSS) == []
    trainer = rv.Trainer(model, CROSS, rv.optim.SGD(model.parameters(), lr=0.1), metrics=["accuracy"])
    trainer.fit(x[:1500], y[:1500], epochs=12, validation_data=(x[1500:], y[1500:]))
    diagnosis = rv.diagnose(trainer, data=(x, y))
    assert not diagnosis
    assert len(diagnosis) == 0
    assert diagnosis.missing == ()
    assert str(diagnosis) == "nothing found"


def test_what_was_not_examined_is_said():
    missing = rv.diagnose(network(16)).missing
    assert missing == (
        "inputs, classes, units and gradients: give data=(x, y)",
        "learning rate and fit: give history",
    )
    x, y = data()
    assert rv.diagnose(network(16), data=x).missing[0] == "gradients: give targets and loss"
    assert "12 samples say little" in rv.diagnose(network(16), data=(x[:12], y[:12]), loss=CROSS).missing[0]


def test_the_model_is_left_as_it_was():
    x, y = data()
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    model[3].eval()
    CROSS(model(rv.tensor(x)), rv.tensor(y)).backward()
    state = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    grads = [p.grad.numpy().copy() for p in model.parameters()]
    rv.diagnose(model, data=(x, y), loss=CROSS)
    assert [m.training for m in model] == [True, True, True, False, True]
    assert all(np.array_equal(value.numpy(), state[name]) for name, value in model.state_dict().items())
    assert all(np.array_equal(p.grad.numpy(), g) for p, g in zip(model.parameters(), grads, strict=True))
    assert all(m._rv_hooks is None or not m._rv_hooks.after for m in model.modules())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights(bad):
    model = network(16)
    model[2].weight.data[0, :2] = bad
    diagnosis = rv.diagnose(model, data=data(), loss=CROSS)
    assert [f.rule for f in diagnosis] == ["weights"]
    assert diagnosis[0].severity == "error"
    assert "2 of 48 elements of 2.weight" in diagnosis[0].evidence
    assert "not finite" in diagnosis.missing[0]


@pytest.mark.parametrize(
    ("end", "loss", "fires"),
    [
        (nn.Softmax(dim=1), nn.CrossEntropyLoss(), True),
        (nn.Sigmoid(), nn.CrossEntropyLoss(), True),
        (nn.ReLU(), nn.CrossEntropyLoss(), True),
        (nn.LogSoftmax(dim=1), nn.CrossEntropyLoss(), False),  # log-softmax of it changes nothing
        (nn.Identity(), nn.CrossEntropyLoss(), False),
        (nn.Sigmoid(), nn.BCEWithLogitsLoss(), True),
        (nn.Identity(), nn.BCEWithLogitsLoss(), False),
        (nn.Sigmoid(), nn.BCELoss(), False),
        (nn.Identity(), nn.BCELoss(), True),
        (nn.LogSoftmax(dim=1), nn.NLLLoss(), False),
        (nn.Softmax(dim=1), nn.NLLLoss(), True),
        (nn.Softmax(dim=1), nn.MSELoss(), False),
    ],
)
def test_output_and_loss(end, loss, fires):
    model = network(16, end=[end])
    assert ("output and loss" in found(model, loss=loss)) == fires
    x, y = data()
    targets = y
    if diagnosis_rules.link_of(loss) != "softmax":  # one number for each output
        targets = np.eye(3, dtype=np.float32)[y]
    assert ("output and loss" in found(model, data=(x, targets), loss=loss)) == fires


def test_an_output_function_outside_of_the_layers_is_no_mistake():
    class Ends(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = nn.Softmax(dim=1)
            self.layer = nn.Linear(8, 3)

        def forward(self, x):
            return rv.sigmoid(self.layer(x))

    x, y = data()
    assert found(Ends(), loss=CROSS) == []
    assert found(Ends(), data=(x, np.eye(3, dtype=np.float32)[y]), loss=nn.BCELoss()) == []


def test_a_loss_that_refuses_the_output_is_a_finding():
    x, y = data()
    diagnosis = rv.diagnose(network(16), data=(x, y.astype(np.float32)), loss=CROSS)
    assert "the loss refuses them" in diagnosis[0].evidence


def test_inputs():
    x, y = data()
    assert "inputs" in found(network(16), data=(100 * x, y))
    wide = x * np.array([1000, 1, 1, 1, 1, 1, 1, 1], np.float32) / 200
    assert "inputs" in found(network(16), data=(wide, y))
    assert "inputs" not in found(network(16), data=(5 * x, y))
    assert "inputs" not in found(network(16), data=(x * [0, 1, 1, 1, 1, 1, 1, 1], y))  # never set
    x[3, 2] = np.nan
    diagnosis = rv.diagnose(network(16), data=(x, y))
    assert diagnosis[0].evidence == "1 of 1600 values are NaN or Inf"
    assert diagnosis[0].severity == "error"


def test_classes():
    x, _ = data(200)
    few = np.r_[np.zeros(170), np.ones(30)].astype(np.int64)
    diagnosis = rv.diagnose(network(16), data=(x, few))
    assert [f.rule for f in diagnosis] == ["classes"]
    assert diagnosis[0].figures["ratio"] == pytest.approx(170 / 30)
    assert "right for 85%" in diagnosis[0].evidence
    assert found(network(16), data=(x, few.astype(np.float32)[:, None])) == ["classes"]
    assert found(network(16), data=(x, np.r_[np.zeros(150), np.ones(50)].astype(np.int64))) == []
    assert found(network(16), data=(x, np.linspace(0, 1, 200))) == []  # no labels
    assert found(network(16), data=(x, np.r_[np.zeros(190), np.arange(10.0)])) == []  # a regression's
    counts = np.r_[np.zeros(180), np.arange(20)].astype(np.int64)[:, None]
    for targets in (counts, counts[:, 0]):
        assert found(network(16, end=[nn.Linear(3, 1)]), data=(x, targets), loss=nn.MSELoss()) == []


def test_dead_units():
    model = network(16)
    model[0].bias.data[:6] = -100
    diagnosis = rv.diagnose(model, data=data())
    assert [(f.rule, f.severity) for f in diagnosis] == [("dead units", "warning")]
    assert diagnosis[0].figures == {"1": 6 / 16}
    assert diagnosis[0].evidence == '0 for all 200 samples: 6 of 16 units of "1"'
    model[0].bias.data[:9] = -100
    assert rv.diagnose(model, data=data())[0].severity == "error"
    model[0].bias.data.fill_(0)
    model[0].bias.data[:4] = -100
    assert found(model, data=data()) == []  # a quarter is not more than a quarter


def test_what_dead_units_cause_is_not_said_as_well():
    model = network(16, 16, 16)
    model[2].bias.data.fill_(-1000)
    assert found(model, data=data(), loss=CROSS) == ["dead units"]
    x, y = data()
    assert found(model, data=(50 * x, y), loss=CROSS) == ["inputs", "dead units"]  # the cause first


def test_a_unit_that_any_batch_turns_on_is_alive():
    x, y = data(600)
    model = network(16)
    model[0].weight.data.fill_(0)
    model[0].weight.data[:, 0] = 1.0
    model[0].bias.data.fill_(-1000)
    x[550, 0] = 2000  # in the third batch
    assert "dead units" not in found(model, data=(x, y))
    assert "dead units" in found(model, data=(x[:550], y[:550]))


@pytest.mark.parametrize("activation", [nn.Sigmoid, nn.Tanh])
def test_saturation(activation):
    model = network(16, activation=activation)
    assert found(model, data=data()) == []
    model[0].weight.data *= 50
    assert found(model, data=data()) == ["saturation"]
    sure = nn.Sequential(nn.Linear(8, 1), activation())  # the output may be sure of itself
    sure[0].weight.data *= 100
    assert found(sure, data=data()[0]) == []


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (0.05, ["vanishing signals", "vanishing gradients"]),
        (40, ["exploding signals", "exploding gradients"]),
    ],
)
def test_depth(scale, expected):
    model = network(*[32] * 8)
    for p in model.parameters():
        if p.ndim == 2:
            nn.init.kaiming_normal_(p)
        else:
            nn.init.zeros_(p)
    assert found(model, data=data(), loss=CROSS) == []
    for p in model.parameters():
        p.data *= scale
    assert [name for name in found(model, data=data(), loss=CROSS) if name != "inputs"] == expected


LR = "learning rate too"


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([1.0, 3.0, float("nan")], [f"{LR} high"]),
        ([0.9, 0.5, 1.2, 0.6, 1.3, 0.7, 1.2], [f"{LR} high"]),
        ([1.0, 2.0, 4.0, 8.0], [f"{LR} high"]),
        ([2.30, 2.29, 2.28, 2.27, 2.26], [f"{LR} low"]),
        ([2.3, 1.0, 0.5, 0.2, 0.1], []),
        ([2.3, 0.5, *[0.1, 0.11] * 40], []),  # the jitter of a run that is done
        ([2.3, 2.2], []),
    ],
)
def test_learning_rate(losses, expected):
    assert found(network(16), {"loss": losses}) == expected


def test_a_loss_above_that_of_always_the_same_answer():
    history = {"loss": [3.0, 2.9, 2.9]}  # three classes: log 3
    assert found(network(16), history, data=data(), loss=CROSS) == [f"{LR} high"]


def test_over_and_underfitting():
    trained = {"loss": [0.100, 0.099, 0.098, 0.097], "accuracy": [0.98] * 4}  # continues, and is not too slow
    assert found(network(16), trained) == []
    over = {"loss": [0.8, 0.5, 0.3, 0.1], "val_loss": [0.9, 0.55, 0.6, 0.8]}
    diagnosis = rv.diagnose(network(16), over)
    assert [f.rule for f in diagnosis] == ["overfitting"]
    assert "EarlyStopping" in diagnosis[0].remedy
    assert found(network(16), {"loss": [0.8, 0.7, 0.72, 0.71], "val_loss": [0.8] * 4}) == ["underfitting"]


def test_the_worst_comes_first_and_all_is_printed():
    x, y = data()
    diagnosis = rv.diagnose(network(16, end=[nn.Softmax(dim=1)]), data=(100 * x, y), loss=CROSS)
    assert [f.severity for f in diagnosis] == ["error", "warning"]
    lines = str(diagnosis).splitlines()
    assert lines[0].startswith("error: output and loss: ")
    assert lines[1].startswith("  try: ")
    assert repr(diagnosis) == "<Diagnosis: output and loss, inputs>"


def test_a_loader_and_an_embedding():
    x, y = data()
    loader = rv.data.DataLoader(rv.data.TensorDataset(x, y), batch_size=64)
    assert found(network(16), data=loader, loss=CROSS) == []
    assert found(network(16, 16).requires_grad_(False), data=loader, loss=CROSS) == []  # no gradients
    words = np.arange(120).reshape(40, 3) % 7
    model = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(12, 3))
    assert found(model, data=(words, np.arange(40) % 3), loss=CROSS) == []


def test_wrong_arguments():
    refused(TypeError, "[diagnose] got model of type list; expected a Module or Trainer", rv.diagnose, [1])
    refused(TypeError, "got history of type list", rv.diagnose, network(4), [1.0])
    refused(ValueError, "got data of type tuple; expected", rv.diagnose, network(4), data=(1, 2, 3, 4))


def dead_units(model, data):
    return Measurements(model, data, None).dead


def test_units_of_sequences_are_their_features_and_of_signals_their_channels(rng):
    x = rng.standard_normal((40, 6, 5)).astype(np.float32)  # (n, length, features)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))
    model[0].bias.data[3] = -100
    assert np.flatnonzero(dead_units(model, x)["1"]).tolist() == [3]
    signals = nn.Sequential(nn.Conv1d(6, 4, 3), nn.BatchNorm1d(4), nn.ReLU())
    signals[1].bias.data[2] = -100
    assert np.flatnonzero(dead_units(signals, x)["2"]).tolist() == [2]
    images = nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.ReLU())
    images[0].bias.data[1] = -100
    assert np.flatnonzero(dead_units(images, x[:, None])["2"]).tolist() == [1]
    assert "inputs" in found(images, data=255 * x[:, None])
    assert found(images.requires_grad_(False), data=x[:, None]) == []  # a quarter, and no gradients


def batches_of(batches):
    class Loader:
        def __iter__(self):
            return iter(batches)

    return Loader()


def test_batches_of_different_lengths(rng):
    batches = [(rng.standard_normal((20, n, 5)).astype(np.float32), np.arange(20) % 2) for n in (3, 7)]

    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 2)

        def forward(self, x):
            return self.layer(x).mean(1)

    assert found(Mean(), data=batches_of(batches), loss=CROSS) == []


@pytest.mark.parametrize("kind", ["attention", "autoencoder"])
def test_other_networks(kind, rng):
    x = rng.standard_normal((40, 6, 8)).astype(np.float32)
    y = np.arange(40) % 3
    if kind == "attention":
        layer = nn.TransformerEncoderLayer(8, 2, 32, batch_first=True)
        model = nn.Sequential(layer, nn.Flatten(), nn.Linear(48, 3))
        loss = CROSS
    else:
        x = y = x[:, 0]
        model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 8))
        loss = nn.MSELoss()
    assert [rule for rule in found(model, data=(x, y), loss=loss) if rule != "dead units"] == []
