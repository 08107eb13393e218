"""A group of one process, the command that starts several, and ranks without rows."""

import json
from pathlib import Path

import numpy as np
import pytest
import ranvier as rv
from ranvier import distributed
from ranvier.cli import main
from support.ranks import launch, results, told_in_turn

nn = rv.nn

# Enough elements for updates of which each rank makes a part, which gives the others' weights to a rank.
WIDE = """
one = d.rank() == 1
rng = np.random.default_rng(0)
x, y = rng.standard_normal((640, 64)).astype(np.float32), rng.integers(0, 10, 640)
def trainer():
    rv.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 600), nn.ReLU(), nn.Linear(600, 10))
    return rv.Trainer(model, "cross_entropy", "sgd", lr=0.1, distributed=True)
def error(act):
    try:
        act()
    except ValueError as error:
        return str(error)
def fit(**hooks):
    t = trainer()
    hooks = rv.LambdaCallback(**{name: lambda *about, f=f: one and f(t) for name, f in hooks.items()})
    hooks.every_batch = False
    return error(lambda: t.fit(x, y, epochs=4, batch_size=32, verbose=False, callbacks=[hooks]))
"""
CHANGES = """
def triple(t):
    if t.epoch == 2:
        rv.no_grad()(t.model[0].weight.mul_)(3)
def evaluate():
    t = trainer()
    t.fit(x, y, epochs=1, verbose=False)
    if one:
        t.model.load_state_dict({name: 0 * value for name, value in t.model.state_dict().items()})
    t.evaluate(x, y)
rate = lambda lr: lambda t: t.optimizer.param_groups[0].update(lr=lr)
tell([fit(on_epoch_begin=triple), fit(on_epoch_begin=rate(0.5), on_batch_end=rate(0.1)), error(evaluate)])
"""


def test_weights_and_settings_of_one_rank_are_noticed_though_ranks_divide_updates():
    for told in told_in_turn(2, WIDE + CHANGES):
        for text, expected in zip(told, ("epoch 3", "epoch 1", "weights and buffers: "), strict=True):
            assert "rank 1 there and rank 0 here: " in text
            assert expected in text


OUTSIDE = distributed.GroupMember.NON_GROUP_MEMBER
ONES = rv.ones(2)


@pytest.mark.parametrize(
    "call",
    [
        lambda: distributed.all_reduce(ONES, group=OUTSIDE),
        lambda: distributed.barrier(group=OUTSIDE),
        lambda: distributed.all_gather_object([None], 1, group=OUTSIDE),
        lambda: distributed.send(ONES, 0, group=OUTSIDE),
        lambda: distributed.isend(ONES, 0, group=OUTSIDE),
        lambda: distributed.recv(ONES, 0, group=OUTSIDE),
        lambda: distributed.irecv(ONES, 0, group=OUTSIDE),
    ],
)
def test_warning_of_a_rank_outside_the_group_names_the_line_of_the_program(call):
    with pytest.warns(UserWarning, match="rank 0 is not in the group; the call does nothing") as caught:
        assert call() in (None, -1)
    assert [warning.filename for warning in caught] == [__file__]


STOPS = """
import signal
signal.signal(signal.SIGALRM, lambda *about: setattr(t, "stop_training", True))
epochs = []
for number in range(10):
    t = trainer()
    rv.distributed.barrier()
    if one or number % 2:
        # again and again: one that comes before the fit begins does not count
        signal.setitimer(signal.ITIMER_REAL, 0.03 + 0.001 * rng.random(), 0.03)
    t.fit(x, y, epochs=2000, batch_size=32, verbose=False)
    epochs.append(t.epoch)
    signal.setitimer(signal.ITIMER_REAL, 0)
tell(epochs)
"""


def test_signal_handlers_stop_all_ranks_in_the_same_epoch():
    first, second = results(2, WIDE + STOPS)
    assert first == second
    assert max(first) < 2000


FLAG = """
from ranvier.distributed.run import DistributedRun
ended = DistributedRun._epoch_ended
def late(run):
    ended(run)
    run.trainer.stop_training |= one and run.epoch == 2
DistributedRun._epoch_ended = late
t = trainer()
t.fit(x, y, epochs=6, batch_size=32, verbose=False)
tell(t.epoch)
"""


def test_a_flag_that_is_set_after_the_end_of_an_epoch_counts_at_the_next():
    assert results(2, WIDE + FLAG) == [3, 3]


def without_parts():
    """Batches of which some ranks have no part, after a parameter was frozen that has a gradient."""
    rv.manual_seed(0)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((66, 8)).astype(np.float32), rng.integers(0, 3, 66)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    trainer = rv.Trainer(model, "cross_entropy", "sgd", lr=0.1, distributed=True)
    trainer.fit(x, y, epochs=1, batch_size=32, verbose=False)
    model[0].weight.requires_grad_(False)
    trainer.fit(x, y, epochs=1, batch_size=6, verbose=False)
    return [value.numpy().tobytes().hex() for value in model.state_dict().values()]


def layer_of_row(row):
    """The layer that is named where a row overflows in the first layer, and all others in the last."""
    rv.manual_seed(0)
    x, y = np.ones((16, 4), np.float32), np.zeros(16, int)
    x[row] = 1e38
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2), nn.Linear(2, 2))
    with rv.no_grad():
        model[0].weight[...], model[1].weight[...], model[2].weight[...] = 2, 5e36, 100
    try:
        rv.Trainer(model, "cross_entropy", "sgd", distributed=True).fit(
            x, y, epochs=1, batch_size=16, verbose=False
        )
    except rv.train.NonFiniteError as error:
        return error.layer


@pytest.mark.parametrize("call", ["without_parts()", "[layer_of_row(row) for row in (0, 9, 15)]"])
def test_ranks_without_rows_or_with_other_rows(call):
    alone = eval(call)
    for ranks in (2, 4):
        code = f"from test_one_rank import *\ntell({call})"
        assert told_in_turn(ranks, code) == [alone] * ranks


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_fit_after_one_that_failed_begins_anew(accumulate):
    def fitted(fails):
        rv.manual_seed(0)
        x = np.random.default_rng(0).standard_normal((24, 4)).astype(np.float32)
        model = nn.Linear(4, 2)
        failing = [fails]

        def loss(output, target):
            if failing[0]:
                raise KeyError("of the program")
            return rv.nn.functional.mse_loss(output, target)

        settings = {"lr": 0.1, "accumulate": accumulate, "distributed": True, "compile": False}
        trainer = rv.Trainer(model, loss, "sgd", **settings)
        if fails:
            with pytest.raises(KeyError, match="of the program"):
                trainer.fit(x, x[:, :2], epochs=1, batch_size=6, verbose=False)
        failing[0] = False
        trainer.fit(x, x[:, :2], epochs=2, batch_size=6, verbose=False, shuffle=False)
        return model.weight.tolist()

    assert fitted(True) == fitted(False)


def test_two_dtypes_are_those_of_the_error_without_ranks():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    model[1].bias = nn.Parameter(model[1].bias.detach().to("float64"))
    x, y = np.zeros((16, 4), np.float32), np.zeros(16, int)
    with pytest.raises(TypeError, match="expected the same dtype"):
        rv.Trainer(model, "cross_entropy", "sgd", distributed=True).fit(x, y, epochs=1, verbose=False)


# `mpirun -n 2 ranvier train ... --distributed`.


COMMAND = "import sys; from ranvier.cli import main; sys.exit(main())"
TRAIN = ["train", "digits", "--model", "mlp", "--limit", "150", "--epochs", "2", "--distributed"]
TRAIN += ["--schedule", "constant"]


def outputs(folder):
    files = ("--out", "out"), ("--json", "run.json"), ("--checkpoint", "run")
    return [word for flag, name in files for word in (flag, str(folder / name))]


def test_train_on_two_ranks(tmp_path, capsys):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    assert main([*TRAIN, *outputs(tmp_path / "one")]) == 0
    alone = capsys.readouterr().out
    done = launch(2, COMMAND, *TRAIN, *outputs(tmp_path / "two"))
    assert done.returncode == 0, done.stderr
    assert "on each of 2 ranks" in done.stdout
    assert done.stdout.count("epoch 2/2") == 1  # rank 0 alone
    tests = [
        next(line for line in text.splitlines() if "test accuracy" in line) for text in (alone, done.stdout)
    ]
    assert tests[0].rpartition(",")[0] == tests[1].rpartition(",")[0]  # all but the seconds
    models = [(tmp_path / name / "out" / "digits.safetensors").read_bytes() for name in ("one", "two")]
    assert models[0] == models[1]
    runs = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("one", "two")]
    assert runs[0]["history"]["loss"] == runs[1]["history"]["loss"]
    assert [run["configuration"]["ranks"] for run in runs] == [1, 2]

    # two more epochs on one process
    more = [*TRAIN, "--epochs", "4", "--resume"]
    for name in ("one", "two"):
        assert main([*more, *outputs(tmp_path / name)]) == 0
    models = [(tmp_path / name / "out" / "digits.safetensors").read_bytes() for name in ("one", "two")]
    assert models[0] == models[1]


def test_mistakes(tmp_path):
    arguments = ["train", "digits", "--limit", "100", "--epochs", "1", "--out", str(tmp_path / "out")]
    done = launch(2, COMMAND, *arguments)
    assert done.returncode != 0
    assert "error: 2 processes were started, and each would train and write the same files" in done.stderr
    done = launch(2, COMMAND, *arguments, "--distributed", "--shards", "1")
    assert done.returncode != 0
    assert (
        done.stderr.count("error: [Trainer] got 2 ranks and 1 shards; expected a power of two of ranks") == 1
    )
    assert list(Path(tmp_path).glob("out/*")) == []
    assert main([*arguments, "--shards", "4"]) == 1
