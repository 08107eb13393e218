"""Trainer(distributed=True): the same bits on 1, 2, 4 and 8 ranks; its files, errors and resumed runs."""

import json

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.distributed.batch_shares import Cut
from support.distributed_runs import all_runs, checkpointed, cnn, data, network_with_everything, weights_of
from support.ranks import launch, results, told_in_turn

ALL = "from support.distributed_runs import all_runs; tell(all_runs())"


@pytest.fixture(scope="module")
def alone():
    """The results of one process."""
    return json.loads(json.dumps(all_runs()))


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_same_bits_on_ranks(ranks, alone):
    for told in told_in_turn(ranks, ALL):
        for name, expected in alone.items():
            assert told[name] == expected, name


def test_the_same_bits_eagerly_and_at_any_number_of_threads(alone, threads):
    assert alone["eager"] == alone["network with everything"]
    for count in {1, 2} - {rv.get_num_threads()}:
        threads(count)
        found = network_with_everything()
        assert json.loads(json.dumps(found)) == alone["network with everything"]


def test_integer_buffers_are_exact(alone):
    """The change of a buffer in a batch is the mean of its changes in the eight parts.

    Each part has two samples and adds 2 to `rows` (their number) and 3 to `small`, in three batches. The
    buffers begin 1 above 2^24, 2^53 and 2^62.
    """
    rows, small, used, wide, batches = alone["counting"][1]
    assert rows == [2**24 + 7, 2**53 + 7, 2**62 + 7]
    assert (small, used, batches) == ([2**24 + 10], [True, False], [2**24 + 4])
    assert wide == [1 / 3 + 1e-12 + 1e-12 + 1e-12]


@pytest.mark.parametrize(("dtype", "by"), [(np.int64, 2**47), (np.float16, 0.5)])
def test_large_changes_of_integer_buffers_are_refused(dtype, by):
    """Their sums would not be exact."""
    x, y = data(16)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    model.register_buffer("extra", rv.tensor(np.zeros(1, dtype)))
    model.register_forward_pre_hook(lambda module, _: [module.extra.add_(by), None][1])
    trainer = rv.Trainer(model, "cross_entropy", "adam", distributed=True, compile=False)
    if dtype is np.int64:
        with pytest.raises(ValueError, match=r"changed by more than 2\*\*50 / 16 \(the samples"):
            trainer.fit(x, y, epochs=1, batch_size=16)
    else:
        trainer.fit(x, y, epochs=1, batch_size=16)
        assert model.extra.item() == by


FILES = "import sys; from support.distributed_runs import checkpointed; checkpointed(*sys.argv[1:])"


def test_a_killed_job_is_resumed_on_another_number_of_ranks(tmp_path):
    """Three epochs of 7 batches, with a checkpoint each 3 batches; the run is killed in its 11th batch."""
    whole, calls, _ = checkpointed(str(tmp_path / "whole"), "never")
    assert calls == 21
    done = launch(2, FILES, str(tmp_path / "part"), "killed")
    assert done.returncode != 0
    found, calls, resumed = checkpointed(str(tmp_path / "part"), "never")
    assert found == whole
    assert resumed.endswith("checkpoint-00001-000003.safetensors")  # after 7 + 3 batches
    assert calls == 11
    logs = [(tmp_path / name).read_text() for name in ("whole.txt", "part.txt")]
    assert logs[0] == logs[1]

    with pytest.raises(OSError, match="the disk of rank 0"):  # one process, and the rest on four
        checkpointed(str(tmp_path / "one"), "raised")
    for told in results(4, FILES, str(tmp_path / "one"), "never"):
        assert told == json.loads(json.dumps([whole, calls, resumed.replace("part", "one")]))
    assert (tmp_path / "one.txt").read_text() == logs[0]


WRONG = """
import warnings
from support.distributed_runs import cnn, data
rank = rv.distributed.rank()
x, y = data(64)
said = []
def fit(x, y, model=None, **settings):
    trainer = rv.Trainer(model or cnn(), **{"loss": "cross_entropy", "optimizer": "adam", "distributed": True,
                         **settings})
    try:
        trainer.fit(x, y, epochs=1, batch_size=16, shuffle=False, verbose=False)
        said.append(trainer.updates)
    except (ValueError, rv.train.NonFiniteError) as error:
        said.append(str(error))
fit(x[: 60 + rank], y[: 60 + rank])
fit(x, y, optimizer="lbfgs")
rv.set_winograd(rank == 0)
fit(x, y)
rv.set_winograd(True)
try:
    trainer = rv.Trainer(cnn(), "cross_entropy", "adam", distributed=True)
    trainer.fit(x, y, epochs=1, resume=None if rank else "nowhere", callbacks=[rv.Checkpoint("nowhere")])
except ValueError as error:
    said.append("resume" in str(error))
large = x.copy()
large[17] = 1e30  # batch 2 of rank 0
targets = np.zeros((64, 4), np.float32)
def net():
    rv.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Linear(64, 4))
model = net()
fit(large, targets, model, loss="mse")
first = net()
rv.Trainer(first, "mse", "adam", distributed=True).fit(x[:16], targets[:16], epochs=1, shuffle=False)
said.append(all((a == b).all().item() for a, b in zip(model.parameters(), first.parameters())))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    fit(large, targets, net(), loss="mse", on_nonfinite="warn")
said.append([str(w.message) for w in caught])
tell(said)
"""


def test_what_a_run_refuses():
    told = told_in_turn(2, WRONG)
    assert told[0][:-1] == told[1][:-1]
    assert told[1][-1] == []  # rank 0 alone warns
    data_differ, search, winograd, resumes, not_finite, kept, updates, warned = told[0]
    assert "rank 1 there and rank 0 here: data: samples: 61 there, 60 here; expected" in data_differ
    assert "got distributed=True with LBFGS" in search
    assert "winograd: False there, True here" in winograd
    assert resumes  # on one rank only
    assert "in epoch 1, batch 2: all layers are finite, MSELoss of their output is not" in not_finite
    assert kept  # the weights are those before the batch
    assert updates == 3
    assert len(warned) == 1
    assert "in epoch 1, batch 2" in warned[0]


# The library's warnings are those of large features, of a step that reads a value (`item`), and of an x with
# NaN; the model gives one that is not the library's.
WARNS = """
import warnings
warnings.simplefilter("always")
class Reads(rv.nn.Linear):
    def forward(self, x):
        warnings.warn(f"of rank {rv.distributed.rank()}")
        return super().forward(x * float(x.sum().item() > 0))
x, y = np.full((32, 4), 1e3, np.float32), np.arange(32) % 2
x[::2] = 0
trainer = rv.Trainer(Reads(4, 2), "cross_entropy", "sgd", lr=1e-9, distributed=True, shards=2)
trainer.fit(x, y, epochs=1, batch_size=32, verbose=True)
x[3, 1] = np.nan
trainer.on_nonfinite = "warn"
trainer.evaluate(x, y)
"""


def test_warnings_appear_once():
    done = launch(2, WARNS)
    assert done.returncode == 0, done.stderr
    for text in ("scale them", "continues without compiling its steps", "[Trainer.evaluate] got x with"):
        assert done.stderr.count(text) == 1, (text, done.stderr)
    for rank in range(2):
        assert f"of rank {rank}" in done.stderr  # other warnings are not the library's


SETTINGS = [
    ({"shards": 3}, ValueError, "got shards 3; expected a power of two"),
    ({"shards": True}, ValueError, "got shards True"),
    ({"distributed": 1}, TypeError, "got distributed 1; expected True or False"),
    ({"deterministic": None}, TypeError, "got deterministic None"),
]


@pytest.mark.parametrize(("settings", "error", "message"), SETTINGS)
def test_wrong_settings(settings, error, message):
    with pytest.raises(error, match=message):
        rv.Trainer(cnn(), "cross_entropy", "adam", **{"distributed": True, **settings})


def test_parts_of_a_batch():
    for ranks in (1, 2, 4, 8):
        for samples in (1, 2, 3, 9, 16, 17, 64, 100):
            shares = [Cut(8, rank, ranks).share(samples, samples) for rank in range(ranks)]
            parts = [(n, s.first + a, s.first + b) for s in shares for n, a, b in s.parts]
            assert [n for n, *_ in parts] == list(range(8))
            covered = [i for _, a, b in parts for i in range(a, b)]
            assert covered == list(range(samples))
            sizes = [b - a for _, a, b in parts if b > a]
            assert samples < 2 or min(sizes) >= 2
            assert max(sizes) - min(sizes) <= 1
    assert Cut(8).share(5, 2.5).weight == 2.5


def test_one_shard_is_an_ordinary_run():
    """With one part, the gradients are those of a Trainer that is not distributed."""
    x, y = data()
    found = []
    for settings in ({}, {"distributed": True, "shards": 1}):
        rv.manual_seed(0)
        model = nn.Sequential(
            *(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))
        )
        trainer = rv.Trainer(model, "cross_entropy", "sgd", l2=1e-3, metrics=["accuracy"], **settings)
        history = trainer.fit(x, y, epochs=3, batch_size=24, shuffle=False, validation_data=(x, y))
        found.append((model.state_dict(), history))
    for name, value in found[0][0].items():
        np.testing.assert_allclose(found[1][0][name].numpy(), value.numpy(), rtol=1e-3, atol=1e-5)
    for name, column in found[0][1].items():
        np.testing.assert_allclose(found[1][1][name], column, rtol=1e-4)


ANY = """
from support.distributed_runs import cnn, data, trained
x, y = data()
rv.manual_seed(0)
tell(trained(cnn(), x, y, fit={"batch_size": 24}, deterministic=False, metrics=["accuracy"]))
"""


def test_any_number_of_ranks_without_the_same_bits():
    told = told_in_turn(3, ANY)
    assert told[0]["weights"] == told[1]["weights"] == told[2]["weights"]
    assert told[0]["history"] == told[2]["history"]
    assert told[0]["history"]["loss"][1] < told[0]["history"]["loss"][0]


def test_a_distributed_trainer_is_saved_and_loaded(tmp_path):
    x, y = data()
    trainer = rv.Trainer(cnn(), "cross_entropy", "adam", distributed=True, shards=4)
    trainer.fit(x, y, epochs=1)
    trainer.save(tmp_path / "trainer.safetensors")
    loaded = rv.Trainer.load(tmp_path / "trainer.safetensors")
    assert (loaded.distributed, loaded.shards, loaded.deterministic) == (True, 4, True)
    assert weights_of(loaded.model) == weights_of(trainer.model)
    assert (loaded.predict(x) == trainer.predict(x)).all()
    for each in (trainer, loaded):
        rv.manual_seed(5)
        each.fit(x, y, epochs=1)
    assert weights_of(loaded.model) == weights_of(trainer.model)
    assert loaded.evaluate(x, y) == trainer.evaluate(x, y)
