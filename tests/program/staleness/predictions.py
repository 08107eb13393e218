"""What changes between two calls of `Trainer.predict` and `evaluate`, or between two of `fit`."""

import warnings
from collections.abc import Callable
from typing import Any

import ranvier as rv
from program.staleness.judge import describe, difference
from program.staleness.models_changed import hook_scale, norm
from program.staleness.trainers import X, Y, model_of
from ranvier import nn, optim

CALLS, AT = 8, (3, 5, 6)


def predict(trainer: Any, number: int) -> Any:
    return trainer.predict_proba(X[: 10 + number % 2])


def evaluate(trainer: Any, number: int) -> Any:
    return trainer.evaluate(X[:16], Y[:16], batch_size=8)


def fit(trainer: Any, number: int) -> Any:
    return dict(trainer.fit(X[:16], Y[:16], epochs=1, batch_size=4))


def all_in_turn(trainer: Any, number: int) -> Any:
    return (fit, evaluate, predict)[number % 3](trainer, number)


def layer(*more: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: model_of(*[make() for make in more])


# changes of (trainer, n), with the model that they are for
CHANGES: dict[str, tuple[Callable[[Any, int], Any], Callable[[], Any]]] = {
    "negative_slope": (
        lambda t, n: setattr(t.model[2], "negative_slope", 0.2 * n),
        layer(lambda: nn.LeakyReLU(0.1)),
    ),
    "norm_eps": (lambda t, n: setattr(t.model[2], "eps", 0.3 * n), layer(norm)),
    "norm_statistics": (lambda t, n: t.model[2].running_mean.add_(1.0), layer(norm)),
    "weights_written": (lambda t, n: t.model[0].weight.data.mul_(1.5), layer()),
    "weights_by_numpy": (lambda t, n: t.model[0].weight.data.numpy().__imul__(1.5), layer()),
    "weights_replaced": (
        lambda t, n: setattr(t.model[0], "weight", nn.Parameter(rv.full((4, 3), 0.1 * n))),
        layer(),
    ),
    "state_loaded": (
        lambda t, n: t.model.load_state_dict({k: v * 1.5 for k, v in t.model.state_dict().items()}),
        layer(),
    ),
    "layer_replaced": (
        lambda t, n: t.model.__setitem__(1, (None, nn.ReLU(), nn.SiLU(), nn.Tanh())[n]),
        layer(),
    ),
    "layer_appended": (lambda t, n: t.model.append(nn.Tanh()), layer()),
    "forward_replaced": (lambda t, n: setattr(t.model[1], "forward", lambda x: x * (1.0 + n)), layer()),
    "forward_hook": (lambda t, n: t.model[0].register_forward_hook(hook_scale(n)), layer()),
    "model_replaced": (lambda t, n: setattr(t, "model", nn.Sequential(*t.model, nn.Tanh())), layer()),
    "trained_eagerly": (lambda t, n: eagerly(t), layer()),
    "training_mode": (lambda t, n: t.model.train(n % 2 == 0), layer(lambda: nn.Dropout(0.5))),
}
# changes without effect on some ways of calling
SILENT = {("training_mode", way) for way in ("predict", "evaluate", "fit", "all_in_turn")}
WAYS = {"predict": predict, "evaluate": evaluate, "fit": fit, "all_in_turn": all_in_turn}
MORE = {  # of the Trainer and its loss: shown by evaluate and fit
    "label_smoothing": lambda t, n: setattr(t.loss, "label_smoothing", 0.1 * n),
    "loss_replaced": lambda t, n: setattr(t, "loss", nn.CrossEntropyLoss(label_smoothing=0.2 * n)),
    "class_weight": lambda t, n: setattr(t.loss, "weight", rv.tensor([1.0 + n, 1.0, 1.0])),
    "penalty": lambda t, n: setattr(t, "l2", 0.1 * n),
}
OF_FIT = {
    "optimizer_replaced": lambda t, n: setattr(t, "optimizer", optim.Adam(t.model.parameters(), lr=0.01 * n)),
    "clipping": lambda t, n: setattr(t, "clip_grad_norm", 0.01 * n),
    "accumulation": lambda t, n: setattr(t, "accumulate", 1 + n % 2),
    "learning_rate": lambda t, n: t.optimizer.param_groups[0].update(lr=0.1 * n),
    "metrics": lambda t, n: setattr(t, "metrics", []) if n == 9 else t.optimizer.state.clear(),
}


def eagerly(trainer: Any) -> None:
    trainer.optimizer.zero_grad()
    trainer.model(rv.tensor(X[:4])).sum().backward()
    trainer.optimizer.step()


Made = tuple[Callable[[Any, int], Any], Callable[[], Any], Callable[[Any, int], Any]]
PREDICTIONS: dict[str, Made] = {}
for name, (change, make) in CHANGES.items():
    for way, call in WAYS.items():
        PREDICTIONS[f"{way}/{name}"] = change, make, call
for name, change in MORE.items():
    for way in ("evaluate", "fit"):
        PREDICTIONS[f"{way}/{name}"] = change, layer(), WAYS[way]
for name, change in OF_FIT.items():
    PREDICTIONS[f"fit/{name}"] = change, layer(), fit


def run(
    made: Made, compiled: bool, unlike: list[dict[str, Any]] | None = None
) -> tuple[list[dict[str, Any]], list[str]]:
    """States after the calls, and warnings; unlike: without the changes, to the first difference."""
    change, make, call = made
    rv.manual_seed(3)
    model = make()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"], compile=compiled)
    seen = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in range(1, CALLS + 1):
            found: dict[str, Any] = {}
            result = call(trainer, number)
            describe([result, trainer.model, trainer.optimizer], "seen", found, frozenset())
            seen.append({name: value for name, value in found.items() if not name.endswith("training")})
            if unlike is not None and seen[-1] != unlike[number - 1]:
                break
            if unlike is None and number in AT:
                change(trainer, AT.index(number) + 1)
    return seen, [str(w.message) for w in caught]


def judge_predictions(name: str) -> tuple[str, str]:
    made = PREDICTIONS[name]
    way, _, what = name.partition("/")
    expected, before = run(made, False)
    unchanged, _ = run(made, False, unlike=expected)
    effect = difference(unchanged, expected[: len(unchanged)])
    assert bool(effect) != ((what, way) in SILENT), (
        f"the change has {'an' if effect else 'no'} effect: {effect}"
    )
    got, warned = run(made, True)
    warned = [text for text in warned if text not in before]
    wrong = difference(expected, got)
    if wrong:
        return "wrong", f"{wrong}; warned {warned}"
    if warned and "hook" not in what:
        return "warned, though it should work", "; ".join(warned)
    return "as eager", ""
