"""Ablation of the parts of a network."""

import pytest
import ranvier as rv
from ranvier import nn
from ranvier.explore import ablate
from support.refused import refused

X, Y = rv.data.datasets.load_digits()


@pytest.mark.slow
def test_ablation_of_a_small_image_network():
    def score(convolution, activation):
        first = nn.Conv2d(1, 8, 3) if convolution else nn.Identity()
        model = nn.Sequential(
            first,
            nn.ReLU() if activation else nn.Identity(),
            nn.Flatten(),
            nn.Linear(8 * 36 if convolution else 64, 10),
        )
        trainer = rv.Trainer(model, nn.CrossEntropyLoss(), rv.optim.Adam(model.parameters(), lr=0.01))
        trainer.fit(X[:900], Y[:900], epochs=3)
        return (trainer.predict(X[900:]) == Y[900:]).mean()

    before = rv.get_rng_state()
    found = ablate(score, ["convolution", "activation"], repeats=2)
    assert rv.get_rng_state() == before
    assert list(found) == ["all", "convolution", "activation"]
    assert found["all"] > 0.85
    assert found["convolution"] < 0
    assert found == ablate(score, ["convolution", "activation"], repeats=2)


def test_ablation_calls_each_variant():
    calls = []
    ablate(lambda **parts: calls.append(parts) or 0.0, "ab")
    assert calls == [{"a": True, "b": True}, {"a": False, "b": True}, {"a": True, "b": False}]
    refused(ValueError, "[ablate] got no parts", ablate, lambda: 0.0, [])
