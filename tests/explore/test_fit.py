"""judge_fit: each verdict where it must fall, and where it must not; sizes of layers before they are made.

The curves are short lists whose verdict is plain; sizes are compared with those of layers that are made.
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.explore import dense_against_convolution, judge_fit
from support.grouped import grouped
from support.refused import refused

GOOD = {"loss": [0.8, 0.5, 0.3, 0.2], "val_loss": [0.9, 0.55, 0.35, 0.25]}
OVER = {"loss": [0.8, 0.5, 0.3, 0.1], "val_loss": [0.9, 0.55, 0.6, 0.8]}
UNDER = {"loss": [2.5, 2.4, 2.3, 2.2], "val_loss": [2.6, 2.5, 2.4, 2.3]}


@pytest.mark.parametrize(
    ("history", "verdict"), [(GOOD, "good"), (OVER, "overfitting"), (UNDER, "underfitting")]
)
def test_textbook_curves(history, verdict):
    assert judge_fit(history).verdict == verdict
    assert judge_fit(rv.History.from_dict(history)).verdict == verdict


def test_the_figures_are_those_of_the_history():
    found = judge_fit(OVER)
    assert found.figures["best_epoch"] == 2
    assert found.figures["rise"] == pytest.approx(0.8 - 0.55)
    assert found.figures["gain"] == pytest.approx(0.8 - 0.1)
    assert "0.55 (epoch 2) to 0.8" in str(found)
    assert "EarlyStopping" in found.remedy
    assert judge_fit(GOOD).remedy == ""


def curves(rng, epochs, spread, rise=0.0, floor=0.1):
    t = np.arange(epochs)
    fall = 2.3 * np.exp(-t / 8)
    train = floor + fall + spread * rng.standard_normal(epochs)
    valid = floor + 0.05 + fall + rise * np.maximum(0, t - 20) / 30 + spread * rng.standard_normal(epochs)
    return {"loss": train.tolist(), "val_loss": valid.tolist()}


@grouped("seed", range(20))
@pytest.mark.parametrize(("rise", "verdict"), [(0.0, "good"), (1.0, "overfitting")])
def test_noise_decides_nothing(seed, rise, verdict):
    rng = np.random.default_rng(seed)
    assert judge_fit(curves(rng, 50, 0.03, rise)).verdict == verdict


def test_one_bad_last_epoch_is_no_overfitting(rng):
    history = curves(rng, 50, 0.01)
    history["val_loss"][-1] = 1.5
    assert judge_fit(history).verdict == "good"


NAN = float("nan")
LOSS = {"loss": [2.3, 1.0, 0.3, 0.05, 0.01]}
SCORED = {"loss": [1.0, 0.5, 0.2], "val_loss": [1.0, 0.5, 0.3], "accuracy": [0.5, 0.8, 0.99]}
TRAINED = {"loss": [0.1, 0.09, 0.085], "val_loss": [0.1] * 3}
HISTORIES = {
    "a constant gap": ({**LOSS, "val_loss": [2.3, 1.2, 0.8, 0.8, 0.8]}, "overfitting"),
    "a small gap": ({**LOSS, "val_loss": [2.3, 1.1, 0.4, 0.1, 0.08]}, "good"),
    "a gap of accuracy": ({**SCORED, "val_accuracy": [0.5, 0.8, 0.84]}, "overfitting"),
    "a small gap of accuracy": ({**SCORED, "val_accuracy": [0.5, 0.8, 0.95]}, "good"),
    "a trained model that continues": ({**TRAINED, "accuracy": [0.97, 0.97, 0.98]}, "good"),
    "the same without a score": (TRAINED, "underfitting"),
    "infinite": ({"loss": [float("inf")] * 4}, "diverged"),
    "rising": ({"loss": [1.0, 3.0, 9.0]}, "diverged"),
    "empty": ({"loss": []}, "unknown"),
    "little learned, no validation": ({"loss": [1.0, 0.95, 0.9]}, "underfitting"),
    "an epoch without validation": ({**OVER, "val_loss": [NAN, 0.55, 0.6, 0.8]}, "overfitting"),
    "never validated": ({"loss": [0.8, 0.3, 0.1], "val_loss": [NAN] * 3}, "unknown"),
    "below zero": ({"loss": [-1.0, -1.2, -1.3], "val_loss": [-1.0, -1.2, -1.29]}, "good"),
    "other data, nothing learned": ({"loss": [1.45, 1.42, 1.4, 1.39], "val_loss": [2.0] * 4}, "underfitting"),
}


@pytest.mark.parametrize(("history", "verdict"), HISTORIES.values(), ids=HISTORIES)
def test_verdicts(history, verdict):
    assert judge_fit(history).verdict == verdict


def test_a_baseline_takes_the_place_of_the_first_loss():
    assert judge_fit(TRAINED, baseline=2.3).verdict == "good"


def test_reasons():
    assert judge_fit({"loss": [1.0, 2.0, NAN]}).reasons == ("training loss is nan since epoch 3",)
    assert "a trend needs 3" in judge_fit({"loss": [1.0, 0.5]}).reasons[0]
    alone = judge_fit({"loss": [1.0, 0.5, 0.1]})
    assert (alone.verdict, "cannot be told" in alone.reasons[1]) == ("unknown", True)
    curves = {"loss": [1.45, 1.2, 1.0, 0.9, 0.876], "val_loss": [1.4, 1.32, 1.3, 1.31, 1.304]}
    fit = judge_fit(curves)  # a large gap outweighs a training loss that fell little
    assert fit.verdict == "overfitting"
    assert "validation loss 1.3 is above training loss 0.876" in fit.reasons[0]


def test_wrong_arguments():
    refused(TypeError, "[judge_fit] got list; expected a History", judge_fit, [1.0])
    refused(ValueError, "got a history of val_loss; expected 'loss'", judge_fit, {"val_loss": [1.0]})


def test_any_history_has_a_verdict(rng):
    odd = [float("nan"), float("inf"), -float("inf"), 0.0]
    for _ in range(300):
        n = int(rng.integers(0, 30))
        history = {"loss": (rng.choice([-1, 1, 1], n) * rng.random(n) * 10 ** rng.uniform(-8, 8)).tolist()}
        for name in ("val_loss", "accuracy", "val_accuracy"):
            if rng.random() < 0.5:
                history[name] = (rng.random(n) * 10 ** rng.uniform(-3, 3)).tolist()
        for values in history.values():
            for i in np.flatnonzero(rng.random(n) < 0.05):
                values[i] = odd[int(rng.integers(4))]
        found = judge_fit(history)
        assert found.verdict in ("underfitting", "good", "overfitting", "diverged", "unknown")
        assert found.reasons
        assert all(reason in str(found) for reason in found.reasons)


# Dense against convolution by parameters, checked against layers that are really made.


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1)])
def test_counts_are_those_of_the_layers(stride, padding, bias):
    conv = nn.Conv2d(2, 3, 3, stride=stride, padding=padding, bias=bias)
    (found,) = dense_against_convolution(conv, (2, 6, 5))
    c, h, w = found.output_shape
    dense = nn.Linear(2 * 6 * 5, c * h * w, bias=bias)
    assert found.dense == sum(p.numel() for p in dense.parameters())
    assert found.convolution == sum(p.numel() for p in conv.parameters())
    assert found.ratio == found.dense / found.convolution


def test_every_convolution_of_a_network():
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)
    )
    first, second = dense_against_convolution(model, (1, 28, 28))
    assert (first.input_shape, first.output_shape) == ((1, 28, 28), (32, 26, 26))
    assert (second.input_shape, second.output_shape) == ((32, 13, 13), (64, 11, 11))
    assert (first.convolution, second.convolution) == (320, 18_496)
    assert second.dense == 64 * 121 * (32 * 169 + 1)
    assert str(second).startswith("3: 32x13x13 -> 64x11x11: convolution 18,496, dense 41,887,296 (")


def test_wrong_models():
    of = dense_against_convolution
    refused(ValueError, "[dense_against_convolution] got a model without", of, nn.Linear(3, 2), (3,))
    refused(TypeError, "[dense_against_convolution] got model of type list; expected a Module", of, [], (3,))
