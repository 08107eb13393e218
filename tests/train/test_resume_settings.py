"""A run that is resumed has the settings of the earlier one: each that a checkpoint does not restore is
compared, and another value is an error that names it."""

import functools
import math

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.data import DataLoader, RandomSampler, TensorDataset, WeightedRandomSampler
from ranvier.nn import functional as F
from ranvier.optim import lr_scheduler
from support.training import X, Y, Z, classifier


class Scaled(nn.Module):
    """A model of the program with a setting."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = scale
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        return self.layer(x) * self.scale


class Focal(nn.Module):
    """A loss of the program with a setting."""

    link = "softmax"

    def __init__(self, gamma=2.0):
        super().__init__()
        self.gamma = gamma

    def forward(self, output, target):
        return F.cross_entropy(output, target) ** self.gamma


def smoothed(amount):
    def loss(output, target):
        return F.cross_entropy(output, target.long(), label_smoothing=amount)

    return loss


def two_groups(model, **second):
    return optim.SGD([{"params": [model[0].weight]}, {"params": [model[2].weight], **second}], lr=0.1)


def reversed_groups(model):
    return optim.SGD([{"params": [model[2].weight]}, {"params": [model[0].weight]}], lr=0.1)


def loader(**settings):
    given = {"dataset": TensorDataset(X, Y), "batch_size": 8, **settings}
    return {"x": DataLoader(**given), "y": None}


def adam(**settings):
    return lambda model: optim.Adam(model.parameters(), **settings)


ADAM = adam(lr=0.01)


def schedule(make, **settings):
    return lambda optimizer: [rv.Schedule(make(optimizer), **settings)]


def falling(base):
    return lambda epoch: base**epoch


def chained(optimizer, function):
    return lr_scheduler.ChainedScheduler([lr_scheduler.LambdaLR(optimizer, lambda n: 0.1 * function(n / 9))])


def step(optimizer):
    return lr_scheduler.StepLR(optimizer, 1, 0.5)


def one_output():
    return classifier(out=1)


def frozen(model):
    model[0].weight.requires_grad_(False)
    return model


WEIGHTS = np.linspace(1, 2, len(X))
OTHER_X = X + np.eye(len(X), 3, dtype=np.float32)  # three of all the numbers are others
# By name: the parts of the first run, those of the second, and what the error says of the difference. Parts
# are arguments of `run`.
DIFFERENT = {
    "lr": ({}, {"optimizer": adam(lr=0.1)}, "settings of the optimizer .* lr: 0.01 there, 0.1 here"),
    "betas": ({}, {"optimizer": adam(lr=0.01, betas=(0.8, 0.9))}, "betas: 0.9 there, 0.8 here"),
    "eps": ({}, {"optimizer": adam(lr=0.01, eps=1e-3)}, "eps"),
    "weight_decay": ({}, {"optimizer": adam(lr=0.01, weight_decay=0.1)}, "weight_decay: 0.0 there, 0.1 here"),
    "amsgrad": ({}, {"optimizer": adam(lr=0.01, amsgrad=True)}, "amsgrad: False there, True here"),
    "maximize": ({}, {"optimizer": adam(lr=0.01, maximize=True)}, "maximize"),
    "class of the optimizer": ({}, {"optimizer": lambda m: optim.SGD(m.parameters(), 0.01)}, "the optimizer"),
    "lr of a group": (
        {"optimizer": two_groups},
        {"optimizer": functools.partial(two_groups, lr=0.5)},
        "lr: 0.1 there, 0.5 here",
    ),
    "order of the groups": ({"optimizer": two_groups}, {"optimizer": reversed_groups}, "2.weight here"),
    "label_smoothing": (
        {},
        {"loss": nn.CrossEntropyLoss(label_smoothing=0.3)},
        "settings of the loss .* label_smoothing: 0.0 there, 0.3 here",
    ),
    "weight of the loss": ({}, {"loss": nn.CrossEntropyLoss(weight=rv.tensor([1.0, 5.0]))}, "weight"),
    "another weight": (
        {"loss": nn.CrossEntropyLoss(weight=rv.tensor([1.0, 2.0]))},
        {"loss": nn.CrossEntropyLoss(weight=rv.tensor([1.0, 5.0]))},
        "2.0 there, 5.0 here",
    ),
    "reduction": ({}, {"loss": nn.CrossEntropyLoss(reduction="sum")}, "reduction: mean there, sum here"),
    "ignore_index": ({}, {"loss": nn.CrossEntropyLoss(ignore_index=1)}, "ignore_index"),
    "own loss": ({"loss": Focal()}, {"loss": Focal(3.0)}, "gamma: 2.0 there, 3.0 here"),
    "partial loss": (
        {"loss": functools.partial(F.mse_loss, reduction="sum"), "model": one_output, "y": Z},
        {"loss": functools.partial(F.mse_loss, reduction="mean"), "model": one_output, "y": Z},
        "reduction: sum there, mean here",
    ),
    "closure": ({"loss": smoothed(0.1)}, {"loss": smoothed(0.2)}, "0.1 there, 0.2 here"),
    "own model": (
        {"model": Scaled, "optimizer": adam()},
        {"model": lambda: Scaled(2.0), "optimizer": adam()},
        "settings of the model .* scale: 1.0 there, 2.0 here",
    ),
    "dropout": (
        {"model": lambda: classifier(nn.Dropout(0.1))},
        {"model": lambda: classifier(nn.Dropout(0.2))},
        "the model of its run is different: .*0.1 there, 0.2 here",
    ),
    "frozen": ({}, {"model": lambda: frozen(classifier())}, "frozen parameters"),
    "l1": ({}, {"settings": {"l1": 0.1}}, "l1: 0.0 there, 0.1 here"),
    "l2": ({}, {"settings": {"l2": {"0": 0.1}}}, "l2"),
    "accumulate": ({}, {"settings": {"accumulate": 2}}, "accumulate: 1 there, 2 here"),
    "clip_grad_norm": ({}, {"settings": {"clip_grad_norm": 0.5}}, "clip_grad_norm: None there, 0.5 here"),
    "clip_grad_value": ({}, {"settings": {"clip_grad_value": 0.5}}, "clip_grad_value: None there, 0.5"),
    "precision": ({}, {"settings": {"precision": "medium"}}, "precision: highest there, medium here"),
    "metrics": ({}, {"settings": {"metrics": ["accuracy"]}}, "metrics"),
    "batch_size": ({}, {"batch_size": 16}, "batch_size: 8 there, 16 here"),
    "shuffle": ({}, {"shuffle": False}, "shuffle: True there, False here"),
    "a few numbers of x": ({}, {"x": OTHER_X}, "the data of its run is different: x: "),
    "one label": ({}, {"y": np.append(Y[:-1], 1 - Y[-1])}, "the data of its run is different: y: "),
    "sample_weight": ({}, {"sample_weight": WEIGHTS}, "weights"),
    "another sample_weight": ({"sample_weight": WEIGHTS}, {"sample_weight": WEIGHTS[::-1]}, "weights"),
    "class_weight": ({}, {"class_weight": {0: 2.0}}, "weights"),
    "validation data": ({}, {"validation_data": (X[:8], Y[:8])}, "validation data"),
    "schedule": ({}, {"callbacks": schedule(step)}, "the schedules of its run are different"),
    "gamma of the schedule": (
        {"callbacks": schedule(step)},
        {"callbacks": schedule(lambda o: lr_scheduler.StepLR(o, 1, 0.1))},
        "gamma: 0.5 there, 0.1 here",
    ),
    "class of the schedule": (
        {"callbacks": schedule(step)},
        {"callbacks": schedule(lambda o: lr_scheduler.ExponentialLR(o, 0.5))},
        "class: StepLR there, ExponentialLR here",
    ),
    "per": (
        {"callbacks": schedule(step)},
        {"callbacks": schedule(step, per="batch")},
        "per: epoch there, batch here",
    ),
    "patience of the schedule": (
        {"callbacks": schedule(lambda o: lr_scheduler.ReduceLROnPlateau(o))},
        {"callbacks": schedule(lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=2))},
        "patience: 10 there, 2 here",
    ),
    "number in a function of the schedule": (
        {"callbacks": schedule(lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch))},
        {"callbacks": schedule(lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.5**epoch))},
        "schedules of its run are different: functions: code: numbers: 0.9 there, 0.5 here",
    ),
    "number around a function of the schedule": (
        {"callbacks": schedule(lambda o: lr_scheduler.LambdaLR(o, falling(0.9)))},
        {"callbacks": schedule(lambda o: lr_scheduler.LambdaLR(o, falling(0.5)))},
        "functions: around: 0.9 there, 0.5 here",
    ),
    "function of a schedule inside": (
        {"callbacks": schedule(lambda o: chained(o, math.exp))},
        {"callbacks": schedule(lambda o: chained(o, math.cos))},
        "functions: .*exp there, .*cos here",
    ),
    "function of the loss": (
        {"loss": lambda output, target: 2.0 * F.cross_entropy(output, target.long())},
        {"loss": lambda output, target: 3.0 * F.cross_entropy(output, target.long())},
        "loss of its run are different: code: numbers: 2.0 there, 3.0 here",
    ),
    "order of a loader": (loader(), loader(shuffle=True), "sampler: class: SequentialSampler there"),
    "drop_last": (loader(), loader(drop_last=True), "drop_last"),
    "weights of a sampler": (
        loader(sampler=WeightedRandomSampler(WEIGHTS, 40)),
        loader(sampler=WeightedRandomSampler(WEIGHTS[::-1].copy(), 40)),
        "sampler: weights",
    ),
    "replacement": (
        loader(sampler=RandomSampler(X)),
        loader(sampler=RandomSampler(X, replacement=True)),
        "replacement: False there, True here",
    ),
    "data of a loader": (loader(), loader(dataset=TensorDataset(OTHER_X, Y)), "dataset: tensors"),
    "augment": (
        loader(augment=functools.partial(np.multiply, 2.0)),
        loader(augment=functools.partial(np.multiply, 3.0)),
        "augment: args: 2.0 there, 3.0 here",
    ),
    "class_weight of a loader": (loader(), {**loader(), "class_weight": [1.0, 3.0]}, "class_weight"),
}


def run(folder, epochs, resume=None, *, model=classifier, optimizer=ADAM, loss=None, settings=None,
        callbacks=None, x=X, y=Y, **arguments):  # fmt: skip
    rv.manual_seed(0)
    network = model()
    trainer = rv.Trainer(network, loss or nn.CrossEntropyLoss(), optimizer(network), **settings or {})
    hooks = [] if callbacks is None else callbacks(trainer.optimizer)
    size = {} if y is None else {"batch_size": 8}
    more = {**size, **arguments, "callbacks": [*hooks, rv.Checkpoint(folder)]}
    trainer.fit(x, y, epochs=epochs, resume=resume, verbose=0, **more)
    return trainer


@pytest.mark.parametrize("name", DIFFERENT)
def test_another_setting_is_refused_and_the_same_resumes(tmp_path, name):
    first, second, text = DIFFERENT[name]
    run(tmp_path, 1, **first)
    with pytest.raises(ValueError, match=rf"cannot resume from .*{text}"):
        run(tmp_path, 2, tmp_path, **second)
    assert run(tmp_path, 2, tmp_path, **first).resumed_from is not None


def test_another_monitor_of_early_stopping_is_refused(tmp_path):
    def stopping(name, mode="auto"):
        return {
            "callbacks": lambda _: [rv.EarlyStopping(name, mode=mode)],
            "settings": {"metrics": ["accuracy"]},
        }

    run(tmp_path, 1, **stopping("accuracy"))
    with pytest.raises(ValueError, match=r"\[EarlyStopping\] got monitor 'loss' for a run that watched 'acc"):
        run(tmp_path, 2, tmp_path, **stopping("loss"))
    with pytest.raises(ValueError, match=r"\[EarlyStopping\] got mode 'min' for a run that began with 'max'"):
        run(tmp_path, 2, tmp_path, **stopping("accuracy", "min"))


def test_the_remedy_for_another_rate_works(tmp_path):
    """trainer.lr, set in on_train_begin of a callback, holds after the checkpoint was read."""
    run(tmp_path, 1)
    with pytest.raises(ValueError, match=r"set trainer.lr in on_train_begin of a callback"):
        run(tmp_path, 2, tmp_path, optimizer=adam(lr=0.1))

    class Slower(rv.Callback):
        def on_train_begin(self):
            self.trainer.lr = 1e-4

    resumed = run(tmp_path, 2, tmp_path, callbacks=lambda _: [Slower()])
    assert resumed.epoch == 2
    assert resumed.lr == 1e-4


def test_a_rate_that_the_run_itself_changes_is_no_difference(tmp_path):
    settings = {"callbacks": schedule(lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=20), per="batch")}
    run(tmp_path, 2, **settings)
    assert run(tmp_path, 4, tmp_path, **settings).updates == 20
