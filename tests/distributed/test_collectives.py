"""Collective calls on 1, 2, 3 and 4 ranks: their results, the tree of sums, and what wrong calls raise."""

import os
import subprocess
import sys

import numpy as np
import pytest
import ranvier as rv
from ranvier.data import DistributedSampler
from ranvier.distributed.exchange import in_order_of
from ranvier.distributed.job import launched_size, part_of
from support.ranks import launch, mpirun, results, told_by
from support.refused import refused

CALLS = """
import hashlib, os, sys
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
for value in model.state_dict().values():
    d.broadcast(value)
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


NAMES = """
import warnings
import ranvier.distributed as dist
dist.init_process_group("gloo")
r, n = dist.get_rank(), dist.get_world_size()
said = {"backend": dist.get_backend()}
x = rv.arange(4) * (r + 1.0)
dist.reduce(x, dst=1)
said["reduce"] = x.tolist()
parts = [rv.zeros(2) for _ in range(n)] if r == 2 else None
dist.gather(rv.full((2,), float(r)), parts, dst=2)
said["gather"] = parts and [p.tolist() for p in parts]
x = np.zeros((2, 2)).T
dist.scatter(x, [np.full((2, 2), i + 0.5) for i in range(n)] if r == 0 else None)
said["scatter"] = x.tolist()
x = rv.zeros(1)
dist.reduce_scatter(x, [rv.tensor([float(i * (r + 1))]) for i in range(n)], op=dist.ReduceOp.MAX)
said["reduce_scatter"] = x.tolist()
things = [{"of": r}, r] if r == 1 else [None, None]
dist.broadcast_object_list(things, src=1)
said["objects"] = things
mine, all_things = [None], [None] * n
dist.scatter_object_list(mine, ["a", "b", "c", "d"][:n] if r == 0 else None)
dist.gather_object(mine[0] * 2, all_things if r == 0 else None)
said["one"], said["all"] = mine, all_things
ring = rv.zeros(5)
works = [dist.isend(rv.full((5,), float(r)), (r + 1) % n, tag=7), dist.irecv(ring, (r - 1) % n, tag=7)]
said["waits"] = [work.wait() for work in works] + [work.is_completed() for work in works]
said["ring"] = ring.tolist()
large = np.full((500, 1000), r)  # more than MPI sends before it is received
kept = dist.isend(large, (r + 1) % n)
large[:] = -1  # it was copied
got = np.zeros((1000, 500), int).T
said["from"], said["large"] = dist.recv(got, (r - 1) % n), [int(got.min()), int(got.max())]
if r == 0:
    found, x = [], rv.zeros(1)
    for _ in range(n - 1):
        found.append([dist.recv(x, tag=1), x.item()])
    said["any"] = sorted(found)
else:
    dist.send(rv.tensor([r * 10.0]), 0, tag=1)
group = dist.new_group([n - 1, 0])
alone = dist.new_group([1])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    x = rv.tensor([r + 1.0])
    dist.all_reduce(x, group=group)
    dist.broadcast(x, src=n - 1, group=group)
    dist.all_reduce(x, group=alone)
    dist.barrier(group)
    if r in (0, n - 1):
        dist.send(x, n - 1, group) if r == 0 else dist.recv(x, 0, group)
said["group"] = [x.item(), dist.get_rank(group), dist.get_world_size(group), len(caught)]
said["members"] = dist.get_process_group_ranks(group) if r == 0 else None
said["bits"] = []
for op in (dist.ReduceOp.BAND, dist.ReduceOp.BOR, dist.ReduceOp.BXOR):
    x, flag = rv.tensor([r + 1, 6]), rv.tensor([r == 0, True])
    dist.all_reduce(x, op)
    dist.all_reduce(flag, op)
    said["bits"].append(x.tolist() + flag.tolist())
dist.destroy_process_group()
said["open"] = [dist.is_initialized(), dist.get_rank() == r, dist.is_initialized()]
tell(said)
"""


@pytest.mark.parametrize("ranks", [3, 4])
def test_pytorch_names(ranks):
    last, total = ranks - 1, ranks * (ranks + 1) // 2
    for rank, said in enumerate(results(ranks, NAMES)):
        before = (rank - 1) % ranks
        inside = rank in (0, last)
        assert said["backend"] == "gloo"
        assert said["bits"] == [
            [int(op.reduce(np.arange(1, ranks + 1))), int(op.reduce([6] * ranks)), first, last_flag]
            for op, first, last_flag in (
                (np.bitwise_and, False, True),
                (np.bitwise_or, True, True),
                (np.bitwise_xor, True, ranks % 2 == 1),
            )
        ]
        assert said["open"] == [False, True, True]
        assert said["reduce"] == [i * (total if rank == 1 else rank + 1) for i in range(4)]
        assert said["gather"] == ([[i, i] for i in range(ranks)] if rank == 2 else None)
        assert said["scatter"] == [[rank + 0.5] * 2] * 2
        assert said["reduce_scatter"] == [rank * ranks]
        assert said["objects"] == [{"of": 1}, 1]
        letters = ["a", "b", "c", "d"][:ranks]
        assert said["one"] == [letters[rank]]
        assert said["all"] == ([2 * letter for letter in letters] if rank == 0 else [None] * ranks)
        assert said["waits"] == [True] * 4
        assert said["ring"] == [before] * 5
        assert (said["from"], said["large"]) == (before, [before] * 2)
        assert said.get("any") == ([[i, 10 * i] for i in range(1, ranks)] if rank == 0 else None)
        value = ranks + 1 if inside else rank + 1
        place = {0: 0, last: 1}.get(rank, -1)
        warned = 0 if inside else 3
        assert said["group"] == [value, place, 2 if inside else -1, warned + (rank != 1)]
        assert said["members"] == ([0, last] if rank == 0 else None)


MISMATCH = """
import ranvier.distributed as dist
if dist.get_rank():
    dist.send(rv.ones(3), 0)
else:
    dist.recv(rv.ones(2, 2), 1)
"""


def test_a_message_of_another_shape_ends_the_job():
    done = launch(2, MISMATCH)
    assert done.returncode != 0
    assert "[recv] got float32 (3,) from rank 1; expected float32 (2, 2)" in done.stderr


WRONG = """
import time
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
    for kind in (TimeoutError, RuntimeError):  # no call follows one that has failed
        try:
            d.barrier()
        except kind as error:
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
        "[all_reduce] got different calls, rank 0: all_reduce of float32 (3,) sum at <string>:7; "
        "rank 1: all_reduce of float32 (4,) sum at <string>:7; expected the same on every rank"
    )
    assert first[0] == second[0] == shapes
    assert "rank 0: all_reduce of float32 (3,) sum at <string>:11; rank 1: barrier at <string>:11" in first[1]
    assert first[1].removeprefix("[all_reduce]") == second[1].removeprefix("[barrier]")
    assert first[2].startswith(
        "[barrier] rank 0 of 2 has waited 1 s for rank 1, at <string>:19; expected the same call on"
    )
    assert first[3].startswith("[distributed] rank 0 got a call after barrier has failed; expected the end")


ENDS = """
x, y = np.zeros((64, 4), np.float32), np.arange(64) % 2
trainer = rv.Trainer(rv.nn.Linear(4, 2), "cross_entropy", "adam", distributed=True)
trainer.fit(x, y, epochs=1, batch_size=8, verbose=False)
if d.rank() == 0:
    trainer.evaluate(x, y)
"""


def test_a_rank_that_leaves_ends_the_job():
    done = launch(2, ENDS)
    assert done.returncode != 0
    assert "rank 0: Trainer.evaluate at <string>:6; rank 1: the end of the program at" in done.stderr


def test_wrong_arguments():
    d, x = rv.distributed, rv.ones(1)
    refused(ValueError, "got op 'mean'", d.all_reduce, x, "mean")
    refused(TypeError, "expected a Tensor or an array", d.all_reduce, 3.0)
    refused(TypeError, "got group 1; expected None", d.all_reduce, x, group=1)
    with pytest.raises(TypeError, match=r"got op 'band' for .*float32"):
        d.all_reduce(x, d.ReduceOp.BAND)
    refused(ValueError, "got ranks [1]; expected different ranks, 0 to 0", d.new_group, [1])
    refused(ValueError, "expected different ranks", d.new_group, [0, 0])
    refused(ValueError, "[new_group] got timeout -1; expected a", d.new_group, [0], timeout=-1)
    refused(ValueError, "got rank 0 on the same rank; expected another one", d.send, x, 0)
    refused(ValueError, "expected another one", d.recv, x)
    refused(ValueError, "got tag -1", d.isend, x, 0, tag=-1)
    refused(ValueError, "got rank 1; expected one of [0]", d.reduce, x, 1)
    refused(ValueError, "got rank 1; expected one of [0]", d.broadcast, x, 1)
    refused(ValueError, "got gather_list NoneType; expected a list", d.gather, x)
    refused(ValueError, "a list with shape (2,)", d.scatter, x, [rv.ones(2)])
    refused(ValueError, "a list of 0 tensors; expected one for each rank", d.scatter, x, [])
    refused(ValueError, "a list of 2 tensors", d.reduce_scatter, x, [x] * 2)
    refused(ValueError, "one for each rank", d.all_gather, [], x)
    refused(ValueError, "got 2 objects; expected one for each", d.scatter_object_list, [None], [1, 2])
    refused(ValueError, "expected a list with a place for one", d.scatter_object_list, [], [1])
    refused(ValueError, "a group without rank 0", d.get_backend, -100)
    refused(RuntimeError, "require gradients", d.DistributedDataParallel, rv.nn.ReLU())


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
    refused(ValueError, "got rank 4 of 4 replicas; expected 0 to 3", DistributedSampler, range(n), 4, 4)
