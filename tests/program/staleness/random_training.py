"""Networks, optimizers and steps drawn at random, with random changes between random calls."""

import copy
import random
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import ranvier as rv
from program.staleness.judge import Case, Scenario, describe, difference, run
from ranvier import nn, optim
from ranvier.nn import functional as F

LAYERS: list[Callable[[], Any]] = [
    lambda: nn.Linear(4, 4),
    lambda: nn.ReLU(),
    lambda: nn.Tanh(),
    lambda: nn.LeakyReLU(0.1),
    lambda: nn.Dropout(0.3),
    lambda: nn.LayerNorm(4),
    lambda: nn.BatchNorm1d(4),
    lambda: nn.ELU(),
    lambda: nn.Identity(),
    lambda: nn.PReLU(),
    lambda: nn.Softplus(),
    lambda: nn.Sequential(nn.Linear(4, 4), nn.Sigmoid()),
]
OPTIMIZERS: list[Callable[[Any], Any]] = [
    lambda p: optim.SGD(p, lr=0.05),
    lambda p: optim.SGD(p, lr=0.05, momentum=0.9),
    lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    lambda p: optim.Adam(p, lr=0.01),
    lambda p: optim.AdamW(p, lr=0.01, amsgrad=True),
    lambda p: optim.RMSprop(p, lr=0.01, centered=True),
    lambda p: optim.NAdam(p, lr=0.01),
    lambda p: optim.Adagrad(p, lr=0.05),
    lambda p: optim.Lion(p, lr=0.01),
]
SETTINGS = {
    "lr": (0.05, 0.01, 0.0, 0.1),
    "weight_decay": (0.0, 0.01, 0.1),
    "momentum": (0.0, 0.5, 0.9),
    "betas": ((0.9, 0.999), (0.5, 0.9)),
    "eps": (1e-8, 1e-3),
    "maximize": (True, False),
    "amsgrad": (True, False),
    "nesterov": (False,),
    "centered": (True, False),
    "alpha": (0.9, 0.5),
}
ATTRIBUTES = {
    "p": (0.1, 0.5, 0.0),
    "negative_slope": (0.1, 0.3),
    "eps": (1e-5, 1e-2),
    "momentum": (0.1, 0.5, None),
    "alpha": (1.0, 0.5),
    "beta": (1.0, 2.0),
    "training": (True, False),
}


class World:
    """What a step depends on."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        layers = [draw.choice(LAYERS)() for _ in range(draw.randint(1, 4))]
        self.model = nn.Sequential(nn.Linear(3, 4), *layers, nn.Linear(4, 3))
        self.optimizer = draw.choice(OPTIMIZERS)(self.model.parameters())
        self.state = types.SimpleNamespace(scale=1.0, clip=None, penalty=0.0, smoothing=0.0, repeats=1)
        self.zero, self.extra = draw.choice(("before", "after", "zeros", "never")), rv.ones(3)
        self.kept: list[Any] = []

    def step(self, x: Any, y: Any) -> Any:
        state, optimizer = self.state, self.optimizer
        if self.zero in ("before", "zeros"):
            optimizer.zero_grad(set_to_none=self.zero == "before")
        loss = F.cross_entropy(self.model(x * self.extra), y, label_smoothing=state.smoothing) * state.scale
        for _ in range(state.repeats - 1):
            loss = loss + self.model(x).mean() * 0.1
        if state.penalty:
            loss = loss + sum((p * p).sum() for p in self.model.parameters()) * state.penalty
        if loss.requires_grad:
            loss.backward()
        if state.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), state.clip)
        optimizer.step()
        if self.zero == "after":
            optimizer.zero_grad()
        return loss


# --- changes


def layer(world: World) -> None:
    found = [(m, name) for m in world.model.modules() for name in ATTRIBUTES if name in vars(m)]
    module, name = world.draw.choice(found)
    setattr(module, name, world.draw.choice(ATTRIBUTES[name]))


def structure(world: World) -> None:
    model, draw, new = world.model, world.draw, world.draw.choice(LAYERS)()
    place = draw.randrange(1, len(model))
    way = draw.randrange(3)
    if way == 0 or len(model) < 4:
        model.insert(place, new)
    elif way == 1 and place < len(model) - 1:
        del model[place]
    elif place < len(model) - 1:
        model[place] = new


def freezing(world: World) -> None:
    p = world.draw.choice(list(world.model.parameters()))
    p.requires_grad_(not p.requires_grad)


def values(world: World) -> None:
    p, way = world.draw.choice(list(world.model.parameters())), world.draw.randrange(5)
    if way == 0:
        p.data.mul_(0.9)
    elif way == 1:
        p.data = p.detach() * 0.9
    elif way == 2:
        p.data.numpy().__imul__(np.float32(0.9))
    elif way == 3:
        world.model.load_state_dict({k: v * 0.9 for k, v in world.model.state_dict().items()})
    else:
        with rv.no_grad():
            p.add_(0.01)


def gradients(world: World) -> None:
    p, way = world.draw.choice(list(world.model.parameters())), world.draw.randrange(5)
    if way == 0:
        world.optimizer.zero_grad()
    elif way == 1:
        p.grad = None
    elif way == 2 and p.requires_grad:
        p.grad = rv.ones(*p.shape) * 0.1
    elif way == 3 and p.grad is not None:
        world.kept.append(p.grad)
    elif p.grad is not None:
        p.grad.mul_(0.5)


def settings(world: World) -> None:
    group = world.draw.choice(world.optimizer.param_groups)
    name = world.draw.choice([name for name in SETTINGS if name in group])
    value = world.draw.choice(SETTINGS[name])
    if not (name == "momentum" and group.get("nesterov") and not value):  # which the optimizer refuses
        group[name] = value


def groups(world: World) -> None:
    optimizer, way = world.optimizer, world.draw.randrange(6)
    if way == 0:
        optimizer.state.clear()
    elif way == 1:
        optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    elif way == 2:
        world.optimizer = world.draw.choice(OPTIMIZERS)(world.model.parameters())
    elif way == 3:
        first, *rest = optimizer.param_groups[0]["params"]
        optimizer.param_groups[0]["params"] = [*rest, first]
    elif way == 4 and len(optimizer.param_groups[0]["params"]) > 1:
        parameter = optimizer.param_groups[0]["params"].pop()
        optimizer.add_param_group({"params": [parameter], "lr": 0.02})
    else:
        optimizer.param_groups[0]["params"] = list(world.model.parameters())
        del optimizer.param_groups[1:]


def python(world: World) -> None:
    state, way = world.state, world.draw.randrange(6)
    if way == 0:
        state.scale = world.draw.choice((1.0, 0.5, 2))
    elif way == 1:
        state.clip = world.draw.choice((None, 0.1, 1.0))
    elif way == 2:
        state.penalty = world.draw.choice((0.0, 0.01))
    elif way == 3:
        state.smoothing = world.draw.choice((0.0, 0.1))
    elif way == 4:
        state.repeats = world.draw.choice((1, 2, 3))
    else:
        world.extra = world.draw.choice((rv.ones(3), rv.full((3,), 0.5), rv.tensor([1.0, 0.0, 2.0])))


def library(world: World) -> None:
    way = world.draw.randrange(5)
    if way == 0:
        rv.set_num_threads(world.draw.randint(1, 2))
    elif way == 1:
        rv.manual_seed(world.draw.randrange(100))
    elif way == 2:
        rv.randn(3)
    elif way == 3:
        world.model.train(world.draw.random() < 0.5)
    else:
        world.step(rv.ones(2, 3), rv.tensor([0, 1]))  # eagerly


CHANGES = (layer, structure, freezing, values, gradients, settings, groups, python, library)


def scenario_of(seed: int) -> Scenario:
    def build() -> Case:
        draw = random.Random(seed)
        world = World(draw)

        def inputs(number: int) -> Any:
            rng, rows = np.random.default_rng(number), 4 + 2 * (draw.random() < 0.2)
            x = rng.standard_normal((rows, 3)).astype(np.float32)
            return rv.tensor(x), rv.tensor(rng.integers(0, 3, rows))

        def each(number: int, result: Any) -> None:
            if draw.random() < 0.4:
                draw.choice(CHANGES)(world)

        return Case(
            world.step, None, lambda: [world.model, world.optimizer, world.kept], inputs, each, raises=True
        )

    return Scenario(f"training/{seed}", build)


def judge_training(seed: int) -> tuple[str, str]:
    one = scenario_of(seed)
    expected, got = run(one, False, ()), run(one, True, ())
    wrong = difference(expected.seen, got.seen)
    refused = next(iter(got.refused.values()), "")
    return ("wrong", f"{wrong} {refused}") if wrong else ("refused" if refused else "as eager", refused)


# --- by Trainer


class Watch(rv.Callback):
    """Changes something now and then, and notes the state after each epoch."""

    def __init__(self, world: World, draw: random.Random, within: bool) -> None:
        self.world, self.draw, self.seen = world, draw, []
        if within:
            self.on_batch_end = self.change

    def change(self, batch: int, logs: dict[str, float]) -> None:
        if self.draw.random() < 0.2:
            world, trainer = self.world, self.trainer
            world.optimizer = trainer.optimizer
            self.draw.choice((layer, structure, freezing, values, settings, python, library))(world)

    def on_epoch_begin(self, epoch: int) -> None:
        self.change(0, {})

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        found: dict[str, Any] = {}
        describe([dict(logs), self.trainer.model, self.trainer.optimizer], "", found, frozenset())
        self.seen.append(found)


def fit(seed: int, compiled: bool) -> tuple[list[dict[str, Any]], list[str]]:
    rv.manual_seed(seed)
    threads, draw = rv.get_num_threads(), random.Random(seed)
    world, rng = World(draw), np.random.default_rng(seed)
    x, y = rng.standard_normal((26, 3)).astype(np.float32), rng.integers(0, 3, 26)

    def loss(output: Any, target: Any) -> Any:
        state = world.state
        found = F.cross_entropy(output, target.long(), label_smoothing=state.smoothing) * state.scale
        return found + (output * output).mean() * state.penalty * state.repeats

    kind = loss if draw.random() < 0.7 else nn.CrossEntropyLoss()
    more = {"accumulate": draw.choice((1, 1, 2)), "clip_grad_norm": draw.choice((None, 0.5))}
    trainer = rv.Trainer(world.model, kind, world.optimizer, compile=compiled, **more)
    watch = Watch(world, draw, draw.random() < 0.7)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trainer.fit(x, y, epochs=4, batch_size=6, callbacks=[watch], validation_data=(x[:9], y[:9]))
    except Exception as error:  # eagerly, too
        watch.seen.append({"raised": f"{type(error).__name__}: {error}"})
    finally:
        rv.set_num_threads(threads)
    return watch.seen, [str(w.message) for w in caught]


def judge_random_fit(seed: int) -> tuple[str, str]:
    (expected, before), (got, warned) = fit(seed, False), fit(seed, True)
    warned = [text for text in warned if text not in before]
    if len(expected) != len(got):
        return "wrong", f"{len(got)} epochs, eagerly {len(expected)}: {got[-1]}"
    wrong = difference(expected, got)
    return (
        ("wrong", f"{wrong} {warned}") if wrong else ("warned" if warned else "as eager", "; ".join(warned))
    )
