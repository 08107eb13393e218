"""A distributed Trainer: losses that weight classes, and runs that differ between ranks.

The texts are programs that all ranks run (`support.ranks`); what a rank tells is what the tests compare.
"""

import numpy as np
import pytest
from ranvier.distributed.collectives import mark
from support.ranks import results, told_in_turn

LOSSES = """
import hashlib
rng = np.random.default_rng(0)
x = rng.standard_normal((51, 6)).astype(np.float32)
y = rng.integers(0, 3, 51)
y[:10] = 0  # whole parts of a batch are ignored
weight = np.array([1, 5, 0.1], np.float32)
losses = {
    "weight": (nn.CrossEntropyLoss(weight), {}),
    "ignored": (nn.CrossEntropyLoss(ignore_index=0), {"accumulate": 2}),
    "smooth": (nn.CrossEntropyLoss(weight, ignore_index=1, label_smoothing=0.2), {"compile": False}),
    "nll": (nn.NLLLoss(weight, ignore_index=2), {"clip_grad_norm": 0.1}),
}
def run(loss, distributed, loader, **settings):
    rv.manual_seed(0)
    last = [nn.LogSoftmax(-1)] if isinstance(loss, nn.NLLLoss) else []
    model = nn.Sequential(nn.Linear(6, 3), *last)
    trainer = rv.Trainer(model, loss, "sgd", lr=0.1, distributed=distributed, **settings)
    data = [(x[i : i + 16], y[i : i + 16]) for i in range(0, 51, 16)]
    if loader:
        history = trainer.fit(data, epochs=2)
    else:
        history = trainer.fit(x, y, epochs=2, batch_size=16, shuffle=False)
    return model[0].weight.detach().numpy(), history["loss"]
said = {}
for name, (loss, settings) in losses.items():
    expected, curve = run(loss, False, False, **settings)
    for loader in (False, True):
        found, losses = run(loss, True, loader, **settings)
        assert np.allclose(found, expected, rtol=0, atol=1e-6), name
        assert np.allclose(losses, curve, rtol=1e-6), name
        said[f"{name} {loader}"] = hashlib.sha256(found.tobytes()).hexdigest()
tell(said)
"""


def test_weighted_losses_are_those_of_one_process():
    two, four = told_in_turn(2, LOSSES), told_in_turn(4, LOSSES)
    assert len(two[0]) == 8
    assert all(said == two[0] for said in (*two, *four))


DIFFERENT = """
r = d.rank()
x = np.random.default_rng(0).standard_normal((64, 4)).astype(np.float32)
y = (x[:, 0] > 0).astype(np.int64)
def message(*data, model=None, loss=None, evaluate=False, **settings):
    rv.manual_seed(0)
    model = model or nn.Linear(4, 2)
    trainer = rv.Trainer(model, loss or nn.CrossEntropyLoss(), "sgd", lr=0.1, distributed=True)
    try:
        trainer.evaluate(*data) if evaluate else trainer.fit(*data, epochs=1, **settings)
    except ValueError as error:
        return str(error)
def loader(first, second):
    return [(x[:16] + first * r, y[:16]), (x[16:32] + second * r, y[16:32])]
class Changes(rv.Callback):
    def on_batch_end(self, *about):
        if r:
            model.weight.detach()[0] = 5.0
model, frozen = nn.Linear(4, 2), nn.Linear(4, 2)
frozen.weight.requires_grad_(r == 0)
dataset = rv.data.TensorDataset(rv.tensor(x), rv.tensor(y))
sampler = rv.distributed.DistributedSampler(dataset)
tell([
    message(loader(1, 0)),
    message(loader(0, 1)),
    message(rv.data.DataLoader(dataset, batch_size=16, sampler=sampler)),
    message(x, y, model=model, callbacks=[Changes()]),
    message(x, y, model=frozen),
    message(x, y, loss=nn.CrossEntropyLoss(label_smoothing=0.1 * r)),
    message(x, y, model=nn.parallel.DistributedDataParallel(nn.Linear(4, 2))),
    message(x[: 32 + r], y[: 32 + r], evaluate=True),
    message(x, y),
])
"""


def test_runs_that_differ_are_refused():
    batches = "[Trainer.fit] got a loader whose batches on rank 1 differ from those on rank 0"
    for said in told_in_turn(2, DIFFERENT):
        assert said[0].startswith(batches)
        assert said[1].startswith(batches)
        assert said[2].startswith("[Trainer.fit] got a loader with a DistributedSampler")
        assert said[3].startswith("[Trainer.fit] got different runs after epoch 1, rank 1 there and rank 0")
        assert "here: weights: weight: " in said[3]
        assert "trained: ['bias'] there, ['weight', 'bias'] here" in said[4]
        assert "settings of the loss: label_smoothing: 0.1 there, 0.0 here" in said[5]
        assert said[6].startswith("[Trainer.fit] got a DistributedDataParallel with distributed=True")
        assert "[Trainer.evaluate] got different data" in said[7]
        assert "samples: 33 there, 32 here" in said[7]
        assert said[8] is None


# A fit for each row (when, what, everywhere) among its arguments: rank 1, or without `everywhere` rank 0,
# does what the text `what` says, before the fit or in a callback's method `when`; of "loss" its loss has
# another number. A rank tells the error, or a hash of its weights and which samples it saw in the last epoch.
RUN = """
import hashlib, sys
r = d.rank()
rows = np.random.default_rng(0).standard_normal((512, 4)).astype(np.float32)
rows[:, 3] = np.arange(512) / 512
class Network(nn.Sequential):
    def forward(self, x):
        if self.training:
            seen.extend((x.numpy()[:, 3] * 512).tolist())
        return super().forward(x)
def closed(factor):
    return lambda output, y: nn.functional.cross_entropy(output, y) * factor
def weighted(weight):
    return nn.CrossEntropyLoss(np.array([1, weight], np.float32))
def run(when, what, everywhere=True):
    global seen
    seen = []
    rv.manual_seed(0)
    x, y = rows.copy(), (rows[:, 0] > 0).astype(np.int64)
    model = Network(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.1), nn.Linear(8, 2))
    model.register_buffer("constant", rv.zeros(2), persistent=False)
    loss = eval(what)(np.float32(1 + r)) if when == "loss" else weighted(1.0)
    trainer = rv.Trainer(model, loss, "adam", distributed=True, compile=False, shards=2)
    one = r == 1 if everywhere else r == 0
    def act(*about):
        names = {"rv": rv, "np": np, "model": model, "trainer": trainer, "x": x, "loss": loss}
        if one:
            exec(what, names)
    class Acts(rv.Callback):
        pass
    Acts.everywhere = everywhere
    if when == "start":
        act()
    elif when != "loss":
        setattr(Acts, when, act)
    try:
        trainer.fit(x, y, epochs=3, verbose=False, callbacks=[Acts()], validation_data=(x[:20], y[:20]))
    except ValueError as error:
        return str(error)
    values = [v.numpy().tobytes() for v in (*model.state_dict().values(), model.constant)]
    return [hashlib.sha256(b"".join(values)).hexdigest(), seen[-256:]]
tell([run(*eval(row)) for row in sys.argv[1:]])
"""
HOOK, DRAW = "model[0].register_forward_hook(lambda m, args, y: 2 * y)", "rv.randn(2), rv.randint(0, 5, (3,))"
OF_TENSOR = "model[0].weight.register_hook(lambda g: 2 * g)"
CHANGE = "x[37], x[201] = 2 * x[37], -x[201]"  # none of the 256 that a checkpoint compares
EQUAL = "the same weights, and every sample seen"
FAULTS = [  # when, what rank 1 does, the error of both ranks or EQUAL: it is put right
    ("start", CHANGE, "data: x: "),
    ("start", HOOK, "hooks: ['after of 0: <lambda>'] there, [] here"),
    ("start", OF_TENSOR, "hooks: ['of 0.weight: <lambda>'] there, [] here"),
    ("start", "model[2].p = 0.5", "layers:   (2): Dropout(p=0.5, inplace=False) there"),
    ("start", "trainer.l2 = 0.5", "settings: l2: 0.5 there, 0.0 here"),
    ("loss", "weighted", "settings of the loss: weight: "),
    ("loss", "closed", "settings of the loss: "),
    ("start", "model[2].own = np.ones(3)", "attributes: 2.own: "),
    ("start", "model[1].running_mean[0] = 7", EQUAL),
    ("start", "model.constant[0] = 7", EQUAL),
    ("start", "trainer.optimizer.param_groups[0]['lr'] = 0.5", EQUAL),
    ("start", DRAW, EQUAL),
    ("on_epoch_begin", DRAW, EQUAL),
    ("on_epoch_end", DRAW, EQUAL),
    ("on_epoch_begin", "rv.manual_seed(3)", EQUAL),
    ("on_batch_end", DRAW, "random numbers that were drawn: "),
    ("on_epoch_end", CHANGE, "after epoch 1, rank 1 there and rank 0 here: all rows: x: "),
    ("on_epoch_end", HOOK, "hooks: ['after of 0: <lambda>'] there, [] here"),
    ("on_epoch_end", "model[2].p = 0.5", "layers:   (2): Dropout(p=0.5, inplace=False) there"),
    ("on_epoch_end", "model[1].running_mean[0] = 7", "buffers: 1.running_mean: "),
    ("on_epoch_end", "model.constant[0] = 7", "buffers: constant: "),
    ("on_epoch_end", "loss.weight[0] = 7", "buffers: weight: "),
    ("on_epoch_end", "model[0].eval()", "layers: 0 training=False there, 0 training=True here"),
    ("on_epoch_end", "trainer.optimizer.param_groups[0]['lr'] = 0.5", "optimizer: "),
]
HOOKS = "on_train_begin on_epoch_begin on_epoch_end on_batch_end"
ALONE = [(when, DRAW, EQUAL, False) for when in HOOKS.split()]  # callbacks of rank 0


@pytest.fixture(scope="module")
def faults():
    """The reports of two ranks on a fit without a fault, and on each row."""
    rows = [("none", "")] + [(when, what, *alone) for when, what, _, *alone in FAULTS + ALONE]
    whole, *told = zip(*results(2, RUN, *map(repr, rows)), strict=True)
    (alone,) = results(1, RUN, *map(repr, [("none", "")] + [(a, b, False) for a, b, *_ in ALONE]))
    assert {found[0] for found in alone} == {whole[0][0]}  # one process has the same bits
    return whole, told


@pytest.mark.parametrize("number", range(len(FAULTS + ALONE)))
def test_faults_of_one_rank_are_noticed_or_put_right(faults, number):
    whole, told = faults
    _, _, expected, *alone = (FAULTS + ALONE)[number]
    first, second = told[number]
    if expected != EQUAL:
        assert first == second
        assert first.startswith("[Trainer.fit] got different runs")
        assert expected in first
        return
    assert first[0] == second[0]
    assert sorted(first[1] + second[1]) == list(range(512))
    assert not alone or first[0] == whole[0][0]


# A fit of three epochs, in the first of which rank 1's rows change. Its arguments: what else there is, which
# could run code of the program.
UNSEEN = """
import sys, threading
from ranvier.distributed.run import DistributedRun
r = d.rank()
class Own(nn.Linear):
    pass
train = DistributedRun._train_epoch
def changes(run):
    train(run)
    if r and run.epoch < 2:
        x[3] = 5
DistributedRun._train_epoch = changes
def run(what):
    global x
    rv.manual_seed(0)
    x = np.random.default_rng(0).standard_normal((512, 4)).astype(np.float32)
    model = nn.Sequential(Own(4, 2) if what == "layer" else nn.Linear(4, 2))
    if what == "hook":
        model[0].register_forward_hook(lambda *about: None)
    settings = {"metrics": ["accuracy"]} if what == "metric" else {}
    trainer = rv.Trainer(model, "cross_entropy", "adam", distributed=True, **settings)
    more = {"callbacks": [rv.LambdaCallback(on_epoch_end=lambda *about: None)]} if what == "callback" else {}
    done = threading.Event()
    if what == "thread":
        threading.Thread(target=done.wait).start()
    try:
        trainer.fit(x, (x[:, 0] > 0).astype(np.int64), epochs=3, verbose=what == "progress", **more)
    except ValueError as error:
        return str(error)
    finally:
        done.set()
tell([run(what) for what in sys.argv[1:]])
"""


def test_rows_are_compared_where_code_of_the_program_may_run_and_at_the_end():
    there = ["callback", "metric", "layer", "hook", "thread"]
    for said in told_in_turn(2, UNSEEN, "nothing", "progress", *there):
        for number, text in enumerate(said):
            epoch = 3 if number < 2 else 1
            wanted = f"[Trainer.fit] got different runs after epoch {epoch}, rank 1 there and rank 0 here: "
            assert text.startswith(f"{wanted}all rows: x: ")


def test_marks():
    """Equal values have equal marks in any memory order; any other value has another."""
    x = np.random.default_rng(0).standard_normal((3000, 1024)).astype(np.float32)
    fixed = x.copy()
    fixed.flags.writeable = False
    assert {mark(a) for a in (x, fixed, np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2])} == {mark(x)}
    changed = []
    for rows, with_ in (([7, 23], -x[[7, 23]]), ([7, 23], x[[23, 7]]), ([2999], x[2999] + 1)):
        changed.append(x.copy())
        changed[-1][rows] = with_  # rows that are 16 apart are in the same lanes
    for bit in (0, 31):
        changed.append(x.copy())
        changed[-1].view(np.uint32)[1234, 567] ^= 1 << bit
    changed += [x[:-1], x.reshape(1024, 3000), x.view(np.int32), x.reshape(3000, 32, 32)]
    changed += [(x, 1), (x, 1.5), (x, "1"), (x, None), [[x], 1], {"x": x}, np.array(["a", None], object)]
    assert len({mark(a) for a in (x, *changed)}) == 1 + len(changed)
    assert mark(object()) == mark(object())
