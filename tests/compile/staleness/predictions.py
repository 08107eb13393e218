"""What changes between two calls of `Trainer.predict` and `evaluate`, or between two of `fit`."""

import warnings
from collections.abc import Callable
from typing import Any

import ranvier as rv
from compile.staleness.eager import runs_eagerly
from compile.staleness.judge import describe, difference
from compile.staleness.models import norm
from compile.staleness.trainers import X, Y, changes, model_of
from ranvier import nn, optim
from ranvier.compile import cache

CALLS, AT = 8, (3, 5, 6)


def predict(trainer: Any, number: int) -> Any:
    return trainer.predict_proba(X[: 10 + number % 2])


def evaluate(trainer: Any, number: int) -> Any:
    return trainer.evaluate(X[:16], Y[:16], batch_size=8)


def fit(trainer: Any, number: int) -> Any:
    return dict(trainer.fit(X[:16], Y[:16], epochs=1, batch_size=4))


def all_in_turn(trainer: Any, number: int) -> Any:
    return (fit, evaluate, predict)[number % 3](trainer, number)


# of the trainer `t` and its model `m`, with a layer that it has in its middle
CHANGES: dict[str, tuple[Any, ...]] = {
    "negative_slope": ("m[2].negative_slope = 0.2 * n", lambda: nn.LeakyReLU(0.1)),
    "norm_eps": ("m[2].eps = 0.3 * n", norm),
    "norm_statistics": ("m[2].running_mean.add_(1.0)", norm),
    "weights_written": ("m[0].weight.data.mul_(1.5)",),
    "weights_by_numpy": ("m[0].weight.data.numpy()[:] *= 1.5",),
    "weights_replaced": ("m[0].weight = nn.Parameter(rv.full((4, 3), 0.1 * n))",),
    "state_loaded": ("m.load_state_dict({k: v * 1.5 for k, v in m.state_dict().items()})",),
    "layer_replaced": ("m[1] = (nn.ReLU(), nn.SiLU(), nn.Tanh())[n - 1]",),
    "layer_appended": ("m.append(nn.Tanh())",),
    "forward_replaced": ("m[1].forward = lambda x: x * (1.0 + n)",),
    "forward_hook": ("m[0].register_forward_hook(lambda module, args, y: y * (1.0 + n))",),
    "model_replaced": ("t.model = nn.Sequential(*m, nn.Tanh())",),
    "trained_eagerly": ("o.zero_grad(); m(rv.tensor(X[:4])).sum().backward(); o.step()",),
    "training_mode": ("m.train(n % 2 == 0)", lambda: nn.Dropout(0.5)),
}
# changes without effect
SILENT = ("training_mode",)
WAYS = {"predict": predict, "evaluate": evaluate, "fit": fit, "all_in_turn": all_in_turn}
MORE = {  # of the Trainer and its loss: shown by evaluate and fit
    "label_smoothing": ("t.loss.label_smoothing = 0.1 * n",),
    "loss_replaced": ("t.loss = nn.CrossEntropyLoss(label_smoothing=0.2 * n)",),
    "class_weight": ("t.loss.weight = rv.tensor([1.0 + n, 1.0, 1.0])",),
    "penalty": ("t.l2 = 0.1 * n",),
}
OF_FIT = {
    "optimizer_replaced": ("t.optimizer = optim.Adam(m.parameters(), lr=0.01 * n)",),
    "clipping": ("t.clip_grad_norm = 0.01 * n",),
    "accumulation": ("t.accumulate = 1 + n % 2",),
    "learning_rate": ("o.param_groups[0].update(lr=0.1 * n)",),
    "state_cleared": ("o.state.clear()",),
}
Made = tuple[tuple[Any, ...], Callable[[Any, int], Any]]
PREDICTIONS: dict[str, Made] = {}
for table, ways in ((CHANGES, list(WAYS)), (MORE, ["evaluate", "fit"]), (OF_FIT, ["fit"])):
    for name, texts in table.items():
        for way in ways:
            PREDICTIONS[f"{way}/{name}"] = texts, WAYS[way]


def run(
    made: Made, compiled: bool, unlike: list[dict[str, Any]] | None = None
) -> tuple[list[dict[str, Any]], list[str]]:
    """States after the calls, and warnings; unlike: without the changes, to the first difference."""
    (text, *more), call = made
    cache._unpaid.clear()  # what other recordings have cost
    rv.manual_seed(3)
    model, change = model_of(*[make() for make in more]), changes(text)
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
    what = name.partition("/")[2]
    expected, before = run(made, False)
    unchanged, _ = run(made, False, unlike=expected)
    effect = difference(unchanged, expected[: len(unchanged)])
    assert bool(effect) != (what in SILENT), f"the change has {'an' if effect else 'no'} effect: {effect}"
    got, warned = run(made, True)
    warned = [text for text in warned if text not in before]
    wrong = difference(expected, got)
    if wrong:
        return "wrong", f"{wrong}; warned {warned}"
    if warned and not runs_eagerly(f"predictions/{name}"):
        return "warned, though it should work", "; ".join(warned)
    return "as eager", ""
