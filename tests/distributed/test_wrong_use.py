"""Wrong use of several processes, and ranks that are killed: every rank ends with an error."""

from __future__ import annotations

import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import ranvier as rv
from support.ranks import launch, results, start, told_by, told_in_turn
from support.refused import refused

START = """
import os, subprocess, sys, time
r, n = d.rank(), d.size()
def message(call):
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
"""

EXPECTED = "expected numbers or bools, in native byte order"
REFUSED = {  # a call on each rank, where r is the rank and n how many there are: its message, or parts of it
    "d.all_reduce(np.zeros(2, 'U1'))": f"TypeError: [all_reduce] got dtype <U1; {EXPECTED}",
    "d.all_reduce(np.zeros(2, 'M8[D]'))": f"TypeError: [all_reduce] got dtype datetime64[D]; {EXPECTED}",
    "d.all_reduce(np.zeros(2, object))": f"TypeError: [all_reduce] got dtype object; {EXPECTED}",
    "d.all_reduce(np.zeros(2, '>f4'))": f"TypeError: [all_reduce] got dtype >f4; {EXPECTED}",
    "d.all_reduce(np.broadcast_to(np.ones(1), 3))": (
        "ValueError: [all_reduce] got a read-only array; expected a writable one"
    ),
    "d.all_reduce(np.ones(2), group=1)": (
        "TypeError: [all_reduce] got group 1; expected None or what new_group gives"
    ),
    "d.all_gather([np.zeros(2)] * n, np.ones(1))": (
        "ValueError: [all_gather] got a list with shape (2,); expected (1,)"
    ),
    "d.all_gather([np.zeros(1, int)] * n, np.ones(1))": (
        "TypeError: [all_gather] got a list with dtype int64; expected float64"
    ),
    "d.all_reduce(np.ones(2, int), 'avg')": ["TypeError: [all_reduce] got op 'avg' for int64"],
    "d.all_reduce(np.ones(2, complex), 'max')": ["TypeError: [all_reduce] got op 'max' for complex128"],
    "d.all_reduce(np.ones(2), 'avg' if r else 'sum')": [
        "rank 0: all_reduce of float64 (2,) sum at",
        "rank 1: all_reduce of float64 (2,) avg at",
    ],
    "d.all_gather([np.ones(1 + r)] * n, np.ones(1 + r))": ["rank 1: all_gather of float64 (2,) at"],
}


@pytest.mark.parametrize("ranks", [2, 3])
def test_refused_calls(ranks):
    program = START + "tell([message(lambda: eval(call)) for call in sys.argv[1:]])"
    for messages in told_in_turn(ranks, program, *REFUSED):
        for message, expected in zip(messages, REFUSED.values(), strict=True):
            if isinstance(expected, str):
                assert message == expected
            else:
                assert all(part in message for part in expected), message


REDUCED = """
for op in ("sum", "product", "min", "max"):
    bools = np.array([r == 0, True, False])
    d.all_reduce(bools, op)
    halves = np.array([r + 1.5], np.float16)
    d.all_reduce(halves, op)
    brains = rv.tensor([r + 1.5]).bfloat16()
    d.all_reduce(brains, op)
    d.broadcast(brains, 1)
    results[op] = bools.tolist(), halves.tolist(), brains.tolist()
for op in ("min", "max"):
    values = np.array([np.nan if r == 1 else 1.0, r])
    d.all_reduce(values, op)
    results[f"{op} of nan"] = [bool(np.isnan(values[0])), values[1]]
mean = np.array([r + 1.0])
work = d.all_reduce(mean, d.ReduceOp.AVG, group=d.group.WORLD, async_op=True)
results["mean"] = mean.tolist(), work.wait()
tell(results)
"""


@pytest.mark.parametrize("ranks", [2, 3])
def test_reduced_bools_halves_and_nan(ranks):
    numbers = [rank + 1.5 for rank in range(ranks)]
    total, product, most = sum(numbers), math.prod(numbers), max(numbers)
    for found in told_in_turn(ranks, START + "results = {}" + REDUCED):
        assert found == {
            "sum": [[True, True, False], [total], [total]],
            "product": [[False, True, False], [product], [product]],
            "min": [[False, True, False], [1.5], [1.5]],
            "max": [[True, True, False], [most], [most]],
            "min of nan": [True, 0],
            "max of nan": [True, ranks - 1],
            "mean": [[(ranks + 1) / 2], True],
        }


GATHERED = """
for name, shape in (("float16", ()), ("bool", (2,)), ("float64", (0,)), ("complex64", (1, 1))):
    outs = [np.ones(shape, name) for _ in range(n)]
    d.all_gather(outs, np.full(shape, r, name))
    results[name] = [out.real.astype(float).tolist() for out in outs]
tell(results)
"""


@pytest.mark.parametrize("ranks", [2, 3])
def test_gathered_dtypes_and_shapes(ranks):
    for found in told_in_turn(ranks, START + "results = {}" + GATHERED):
        assert found == {
            "float16": [*range(ranks)],
            "bool": [[rank > 0] * 2 for rank in range(ranks)],
            "float64": [[]] * ranks,
            "complex64": [[[rank]] for rank in range(ranks)],
        }


CHILDREN = (
    START
    + """
code = "import ranvier as rv; rv.distributed.init()"
done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
pid = os.fork()
if pid == 0:
    said = message(lambda: d.barrier())
    os.write(1, said.encode())
    sys.exit(3)
ended = os.waitpid(pid, 0)[1]
tell([done.stderr.splitlines()[-1], os.waitstatus_to_exitcode(ended)])
"""
)


def test_processes_that_a_rank_starts():
    done = launch(2, CHILDREN)
    assert done.returncode == 0, done.stderr
    for message, code in told_by(done):
        assert message.startswith("RuntimeError: [init] got a process that one of 2 ranks has started")
        assert code == 3
    for rank in range(2):
        expected = f"[distributed] got a call in a process that rank {rank} has started; expected calls of"
        assert expected in done.stdout


EXITS = (
    START
    + """
class Ends(rv.Callback):
    def on_batch_end(self, *about):
        if r == 1:
            sys.exit(4)
trainer = rv.Trainer(rv.nn.Linear(2, 1), "mse", "sgd", distributed=True)
trainer.fit(np.ones((64, 2)), np.ones((64, 1)), epochs=1, callbacks=[Ends()])
"""
)


def test_a_rank_that_leaves_in_fit_ends_the_job():
    done = launch(2, EXITS)
    assert done.returncode != 0
    assert "[Trainer.fit] rank 0 of 2 waits at <string>:" in done.stderr
    assert "for rank 1, whose program has ended; expected the same calls on every rank" in done.stderr


def test_a_timeout_that_is_no_number(monkeypatch):
    from ranvier.distributed import job

    monkeypatch.setattr(job, "_world", None)
    monkeypatch.setenv("RANVIER_TIMEOUT", "soon")
    refused(ValueError, "[init] got timeout soon; expected a finite number of seconds", rv.distributed.init)
    monkeypatch.delenv("RANVIER_TIMEOUT")


BY_MPI = "and MPI connects 1 process; expected a start by MPI: mpirun -n"
SHELL = "4294967290"  # the number that Slurm gives to the step of an interactive shell (salloc)
STATED = [  # environment, arguments -> the error, or "" for a job of one process
    ({}, {}, ""),
    ({}, {"world_size": 1, "rank": 0}, ""),
    ({"WORLD_SIZE": "1", "RANK": "0", "TORCHELASTIC_RUN_ID": "none"}, {}, ""),  # torchrun with one process
    ({"SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1", "SLURM_JOB_NUM_NODES": "4"}, {}, ""),  # srun -n 1
    ({"OMPI_COMM_WORLD_SIZE": "1", "SLURM_NTASKS": "4"}, {}, ""),  # mpirun -n 1 in a job of Slurm
    ({"WORLD_SIZE": "2", "RANK": "1"}, {}, f"WORLD_SIZE is 2, {BY_MPI} 2 python"),  # torchrun, Kubernetes
    ({"OMPI_COMM_WORLD_SIZE": "1", "WORLD_SIZE": "2"}, {}, "WORLD_SIZE is 2, "),
    ({"PET_NNODES": "3"}, {}, f"PET_NNODES is 3, {BY_MPI} 3 python"),
    ({"SLURM_NTASKS": "4"}, {}, f"SLURM_NTASKS is 4, {BY_MPI} 4 python ... (Slurm: srun --mpi=pmix"),
    ({"SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS": "2"}, {}, "SLURM_NTASKS is 2, "),
    ({"SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_ID": SHELL}, {}, "SLURM_NTASKS is 2, "),
    ({"RANK": "1"}, {}, "RANK is 1, and MPI connects this process as rank 0 of 1"),
    ({"WORLD_SIZE": "auto"}, {}, "got WORLD_SIZE 'auto' in the environment; expected a number"),
    ({}, {"world_size": 2, "rank": 0}, f"world_size is 2, {BY_MPI} 2 python"),
    ({}, {"rank": 1}, "rank is 1, and MPI connects this process as rank 0 of 1"),
    ({}, {"init_method": "tcp://127.0.0.1:9?rank=0&world_size=2"}, "world_size is 2, "),
]


@pytest.mark.parametrize(("variables", "arguments", "message"), STATED)
def test_a_job_of_the_stated_size_or_an_error(variables, arguments, message, monkeypatch):
    from ranvier.distributed import job

    for name in {name for names, *_ in STATED for name in names}:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(job, "_world", None)
    monkeypatch.setattr(job, "share_cores", lambda place, ranks: None)
    x = np.zeros((4, 2), np.float32)
    trainer = rv.Trainer(rv.nn.Linear(2, 1), "mse", "sgd")
    trainer.fit(x, x[:, 0], epochs=1)  # distributed is not asked for
    if not message:
        rv.distributed.init_process_group("gloo", **arguments)
        assert (rv.distributed.rank(), rv.distributed.size()) == (0, 1)
        return
    with pytest.raises((RuntimeError, ValueError), match=re.escape(f"[init] {message}")):
        rv.distributed.init_process_group("gloo", **arguments)


START_ALONE = """
import os, sys, time
hosts, *late = sys.argv[1:]
if os.environ["OMPI_COMM_WORLD_RANK"] in late:
    time.sleep(100)  # if it exits, mpirun may end the job before the other rank does
if hosts == "several":  # each rank is told that it is alone on its host, and cannot know which one is missing
    os.environ["OMPI_COMM_WORLD_LOCAL_SIZE"] = "1"
from ranvier.distributed import job
job.TIMEOUT = 2.0
rv.distributed.init()
"""
HERE = sys.platform == "linux"  # elsewhere the missing ranks are not known


@pytest.mark.parametrize(
    ("ranks", "hosts", "late", "expected"),
    [
        (2, "several", ["1"], "[init] rank 0 of 2 waited 2 s for another rank; expected a call of init"),
        (2, "one", ["1"], "[init] rank 0 of 2 waited 2 s for rank 1; expected a call of init"),
        (4, "one", ["0", "3"], " of 4 waited 2 s for ranks 0, 3; expected a call of init"),
    ],
)
def test_a_rank_that_never_starts_mpi_is_named(ranks, hosts, late, expected):
    done = launch(ranks, START_ALONE, hosts, *late, RANVIER_TIMEOUT="2")
    assert done.returncode != 0
    assert (expected if HERE else "waited 2 s for another rank") in done.stderr
    assert "in _join" in done.stderr  # the traceback: the function of `distributed.job` that waits


# Ranks killed at random moments: the job ends, and a resumed run has the bits of an uninterrupted one.


KILLS = int(os.environ.get("RANVIER_RANK_KILLS", "1"))
RUN = "import sys; from support.distributed_runs import killed; killed(*sys.argv[1:])"
EPOCHS = "8"


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # dead, and not yet waited for by its parent


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The report of a run that is not killed, and its seconds, the start included."""
    begin = time.monotonic()
    (told,) = results(1, RUN, str(tmp_path_factory.mktemp("whole") / "run"), EPOCHS)
    return told, time.monotonic() - begin


def ids(process, ranks):
    """The numbers of the processes of a run that has just begun."""
    pids = []
    while len(pids) < ranks:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        pids += [int(line.split()[1])] if line.startswith("PID ") else []
    return pids


def test_a_rank_that_is_stopped_for_a_while_changes_nothing(whole, tmp_path):
    told, seconds = whole
    with start(2, RUN, str(tmp_path / "run"), EPOCHS) as process:
        pids = ids(process, 2)
        for pid in (pids[1], pids[0], pids[1]):
            time.sleep(seconds / 16)
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.5)
            os.kill(pid, signal.SIGCONT)
        out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    assert told_by(subprocess.CompletedProcess([], 0, out, error)) == [told] * 2


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_killed_rank_ends_the_job_which_resumes_with_the_same_bits(seed, whole, tmp_path):
    told, seconds = whole
    draw = random.Random(seed)
    ranks, folder = draw.choice((2, 4)), str(tmp_path / "run")
    seconds_at_end = "60"  # for which a rank that is done waits: so it is there when it is killed
    with start(ranks, RUN, folder, EPOCHS, seconds_at_end) as process:
        pids = ids(process, ranks)
        time.sleep(draw.random() * seconds / 2)
        os.kill(draw.choice(pids), signal.SIGKILL)
        begin = time.monotonic()
        process.communicate(timeout=60)
    assert process.returncode != 0
    while any(map(alive, pids)):  # mpirun has ended before them
        assert time.monotonic() - begin < 60, "a rank is left"
        time.sleep(0.05)
    print(f"{ranks} ranks ended after {time.monotonic() - begin:.1f} s")
    again = draw.choice((1, 2, 4))
    assert results(again, RUN, folder, EPOCHS) == [told] * again
