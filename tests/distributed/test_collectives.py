"""Collective calls on 1, 2, 3 and 4 ranks: their results, the tree of sums, and what wrong calls raise."""

import os
import subprocess
import sys

import numpy as np
import pytest
import ranvier as rv
from ranvier.communication.affinity import part_of
from ranvier.communication.flat import in_order_of
from ranvier.communication.world import launched_size
from ranvier.data import DistributedSampler
from support.ranks import launch, mpirun, results, told_by

CALLS = """
import hashlib, os, sys
import numpy as np, ranvier as rv
from support.ranks import tell
d = rv.distributed
assert not d.is_initialized()
d.init()
r, n = d.rank(), d.size()
said = {"initialized": d.is_initialized(), "size": d.get_world_size(), "rank": d.get_rank()}
for op in ("sum", "product", "min", "max"):
    x = rv.tensor([1.0, r + 1.0])
    d.all_reduce(x, op)
    said[op] = x.tolist()
count = np.array([r + 1])
d.all_reduce(count)
said["integers"] = count.tolist()
def part(rank):
    return np.random.default_rng(rank).standard_normal((301, 7)).astype(np.float32)
values = [part(i) for i in range(n)]
for length in (4, 301):  # exchanged whole, and in halves
    x = part(r)[:length].copy().T  # not contiguous
    d.all_reduce(x)
    sums = [v[:length] for v in values]
    while len(sums) > 1 and not n & (n - 1):
        sums = [a + b for a, b in zip(sums[::2], sums[1::2])]
    said[f"tree {length}"] = bool((x.T == sums[0]).all()) if len(sums) == 1 else bool(
        np.allclose(x.T, sum(sums), atol=1e-5))
y = rv.ones(2) * r
d.broadcast(y, n - 1)
said["broadcast"] = y.tolist()
parts = [rv.zeros(2) for _ in range(n)]
d.all_gather(parts, rv.ones(2) * r)
said["gathered"] = [p.tolist() for p in parts]
things = []
d.all_gather_object(things, {"rank": r})
said["objects"] = things
model = rv.nn.Sequential(rv.nn.Linear(3, 2), rv.nn.BatchNorm1d(2))
d.broadcast_parameters(model)
said["model"] = hashlib.sha256(b"".join(v.numpy().tobytes() for v in model.state_dict().values())).hexdigest()
d.barrier()
said["mpi4py"] = "mpi4py" in sys.modules
said["cores"], said["threads"] = sorted(os.sched_getaffinity(0)), rv.get_num_threads()
tell(said)
"""


@pytest.mark.parametrize("ranks", [3, 4])
def test_calls(ranks):
    told = results(ranks, CALLS)
    for rank, said in enumerate(told):
        assert (said["rank"], said["size"], said["initialized"], said["mpi4py"]) == (rank, ranks, True, True)
        numbers = range(1, ranks + 1)
        assert said["sum"] == [ranks, sum(numbers)]
        assert said["product"] == [1, np.prod(numbers)]
        assert (said["min"], said["max"]) == ([1, 1], [1, ranks])
        assert said["integers"] == [sum(numbers)]
        assert said["tree 4"]
        assert said["tree 301"]
        assert said["broadcast"] == [ranks - 1] * 2
        assert said["gathered"] == [[i, i] for i in range(ranks)]
        assert said["objects"] == [{"rank": i} for i in range(ranks)]
        assert said["model"] == told[0]["model"]
        assert said["threads"] <= len(said["cores"])
    cores = [set(said["cores"]) for said in told]
    if len(set.union(*cores)) >= ranks:
        assert sum(map(len, cores)) == len(set.union(*cores))  # no core has two ranks


def test_one_process_loads_nothing():
    code = (
        "import ranvier as rv, sys; rv.distributed.all_reduce(rv.ones(2)); assert 'mpi4py' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    x = np.ones(2, np.float32)
    rv.distributed.init()
    rv.distributed.init_process_group("gloo")
    rv.distributed.barrier()
    rv.distributed.all_reduce(x)
    rv.distributed.broadcast(x)
    assert (rv.distributed.rank(), rv.distributed.size(), x.tolist()) == (0, 1, [1, 1])


WRONG = """
import time
import ranvier as rv
from support.ranks import tell
d = rv.distributed
d.init(timeout=1)
r = d.rank()
said = []
try:
    d.all_reduce(rv.ones(3 + r))
except ValueError as error:
    said.append(str(error))
try:
    d.barrier() if r else d.all_reduce(rv.ones(3))
except ValueError as error:
    said.append(str(error))
if r:
    time.sleep(2)
else:
    try:
        d.barrier()
    except TimeoutError as error:
        said.append(str(error))
tell(said)
if r:
    raise KeyError("what happened")
time.sleep(60)
"""


def test_wrong_calls_are_named_and_end_the_job():
    done = launch(2, WRONG)
    assert done.returncode != 0
    assert "[rank 1 of 2] ends the job:\n" in done.stderr
    assert "KeyError: 'what happened'" in done.stderr
    first, second = told_by(done)
    shapes = (
        "[all_reduce] got different calls, rank 0: all_reduce of float32 (3,) sum at <string>:10; "
        "rank 1: all_reduce of float32 (4,) sum at <string>:10; expected the same on every rank"
    )
    assert first[0] == second[0] == shapes
    assert "rank 0: all_reduce of float32 (3,) sum at <string>:14; rank 1: barrier at <string>:14" in first[1]
    assert first[1].removeprefix("[all_reduce]") == second[1].removeprefix("[barrier]")
    assert first[2].startswith(
        "[barrier] rank 0 of 2 has waited 1 s for another rank, at <string>:21; expected the same call on"
    )


ENDS = """
import sys
import numpy as np, ranvier as rv
d = rv.distributed
d.init(timeout=2)
x, y = np.zeros((64, 4), np.float32), np.arange(64) % 2
trainer = rv.Trainer(rv.nn.Linear(4, 2), "cross_entropy", "adam", distributed=True)
class Leaves(rv.Callback):
    def on_batch_end(self, batch, logs):
        if sys.argv[1] == "step" and d.rank() == 1 and batch == 2:
            sys.exit(3)
trainer.fit(x, y, epochs=1, batch_size=8, verbose=False, callbacks=[Leaves()])
if d.rank() == 0:
    trainer.evaluate(x, y)
"""


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("step", "[Trainer.fit] rank 0 of 2 has waited 2 s for rank 1, at <string>:12"),
        ("after", "rank 0: Trainer.evaluate at <string>:14; rank 1: the end of the program at"),
    ],
)
def test_a_rank_that_leaves_ends_the_job(when, message):
    done = launch(2, ENDS, when)
    assert done.returncode != 0
    assert message in done.stderr


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda d: d.all_reduce(rv.ones(1), "mean"), ValueError, "got op 'mean'"),
        (lambda d: d.all_reduce(3.0), TypeError, "expected a Tensor or an array"),
        (lambda d: d.all_reduce(rv.ones(1), group=1), ValueError, "got group 1; expected None"),
        (lambda d: d.broadcast(rv.ones(1), 1), ValueError, "expected a rank, 0 to 0"),
        (lambda d: d.all_gather([], rv.ones(1)), ValueError, "one for each rank"),
        (lambda d: d.DistributedDataParallel(rv.nn.ReLU()), RuntimeError, "require gradients"),
    ],
)
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(rv.distributed)


def test_the_launcher_of_another_mpi_is_found():
    mpirun()
    code = "import ranvier as rv; rv.distributed.init()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"OMPI_COMM_WORLD_SIZE": "3", "PMI_SIZE": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "[init] 3 processes were started, and mpi4py sees 1" in done.stderr


@pytest.mark.parametrize(
    ("variables", "size"),
    [
        ({}, 1),
        ({"OMPI_COMM_WORLD_SIZE": "4", "SLURM_STEP_NUM_TASKS": "2"}, 4),  # mpirun in a job of Slurm
        ({"PMI_SIZE": "3"}, 3),
        ({"SLURM_STEP_NUM_TASKS": "8"}, 8),
        ({"PMI_SIZE": ""}, 1),
    ],
)
def test_sizes_that_launchers_tell(variables, size, monkeypatch):
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launched_size() == size


def test_cores_of_a_host():
    cores = [{0, 4}, {1, 5}, {2, 6}, {3, 7}]
    assert [part_of(cores, place, 2) for place in range(2)] == [cores[:2], cores[2:]]
    assert [part_of(cores, place, 3) for place in range(3)] == [cores[:1], cores[1:2], cores[2:]]
    assert part_of(cores, 0, 5) == []


def test_views_have_the_order_of_the_array():
    like = np.zeros((2, 3, 4, 5)).transpose(0, 3, 1, 2)
    view = in_order_of(np.arange(like.size * 1.0), like)
    assert (view.shape, view.strides) == (like.shape, like.strides)


@pytest.mark.parametrize(("n", "drop_last"), [(10, False), (11, False), (11, True), (2, False)])
def test_sampler(n, drop_last, torch):
    from torch.utils.data.distributed import DistributedSampler as Theirs

    ours = [list(DistributedSampler(range(n), 4, r, shuffle=False, drop_last=drop_last)) for r in range(4)]
    assert ours == [list(Theirs(range(n), 4, r, shuffle=False, drop_last=drop_last)) for r in range(4)]
    first = DistributedSampler(range(n), 4, 1)
    epochs = [list(first), list(first)]
    first.set_epoch(1)
    epochs.append(list(first))
    assert epochs[0] == epochs[1]
    assert n == 2 or epochs[1] != epochs[2]
    with pytest.raises(ValueError, match="got rank 4 of 4 replicas; expected 0 to 3"):
        DistributedSampler(range(n), 4, 4)
