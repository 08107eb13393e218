"""Memory that ranks share, and updates that are divided among them."""

import gc
import hashlib
import sys
from itertools import pairwise

import numpy as np
import pytest
import ranvier as rv
import ranvier.distributed.exchange as shared
from ranvier import _core
from support.ranks import launch, results, told_by, told_in_turn
from support.refused import refused

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs memory without a name")

SUMS = """
import os, sys
import ranvier.distributed.job as job, ranvier.distributed.exchange as shared
how = sys.argv[1]
if how == "hosts of two":
    before = job.neighbours
    def neighbours(comm, here):
        return before(comm, comm.Split(comm.Get_rank() // 2, comm.Get_rank()))
    job.neighbours = neighbours
if how == "without memory":
    rank = int(os.environ["OMPI_COMM_WORLD_RANK"])
    if rank == 1:
        def refused(*about):
            raise OSError
        os.posix_fallocate = refused
here = job.init()
found = []
for dtype in (np.float32, np.float64):
    for count in (0, 1, 15, 1000, 5003, 70001, 200003):
        values = shared.aligned_zeros((count,), dtype)
        total = shared.Sum(here, values, "test")
        for turn in range(3):
            draws = [np.random.default_rng([rank, turn, count]) for rank in range(here.size)]
            terms = [np.exp(8 * draw.normal(size=count)).astype(dtype) for draw in draws]
            values[:] = terms[here.rank]
            total.add()
            while len(terms) > 1:
                pairs = [a + b for a, b in zip(terms[::2], terms[1::2])]
                terms = pairs + terms[2 * len(pairs):]
            found.append(values.tobytes() == terms[0].tobytes())
hosts = here.size // max(len(here.host), 1)
tell([found, list(here.host), hosts, total.core is not None])
"""


@pytest.mark.parametrize(
    ("ranks", "how", "hosts", "shared"),
    [
        (2, "", 1, True),
        (3, "", 1, True),
        (4, "", 1, True),
        (4, "hosts of two", 2, False),
        (2, "without memory", 1, False),
        (4, "without memory", 1, False),
    ],
)
def test_each_element_is_added_along_the_tree(ranks, how, hosts, shared):
    run = results if how else told_in_turn
    for rank, (found, host, counted, is_shared) in enumerate(run(ranks, SUMS, how)):
        assert all(found), found
        assert (counted, is_shared) == (hosts, shared)
        first = rank - rank % (ranks // hosts)
        assert host == [*range(first, first + ranks // hosts)]


FOREIGN = """
import os, sys
import ranvier.distributed.job as job, ranvier.distributed.exchange as shared
here = job.init()
kept = [open(os.path.join(sys.argv[1], str(here.rank)), "w+b"), os.fdopen(os.memfd_create("ranvier"), "w+b")]
found, gather = [], shared.gather_objects
for file in kept:
    file.write(bytes(100))
    file.flush()
    def seen(thing, *about):
        told = gather(thing, *about)
        if here.rank == 1 and isinstance(thing, tuple):  # another process has this number here
            told[0] = os.getpid(), file.fileno(), told[0][2]
        return told
    shared.gather_objects = seen
    values = shared.aligned_zeros((70001,), np.float32)
    values[:] = 1 + here.rank
    total = shared.Sum(here, values, "test")
    total.add()
    found.append([total.core is None, bool((values == 3).all()), os.fstat(file.fileno()).st_size])
tell(found)
"""


def test_the_file_of_another_process_stays_as_it_is(tmp_path):
    assert results(2, FOREIGN, str(tmp_path)) == [[[True, True, 100]] * 2] * 2


DIFFERENT = """
import ranvier.distributed.job as job, ranvier.distributed.exchange as shared
here, said = job.init(), []
def told(call):
    try:
        call()
    except ValueError as error:
        said.append(str(error))
for count, dtype in ((1000 + here.rank, np.float32), (1000, (np.float32, np.float64)[here.rank])):
    told(lambda: shared.Sum(here, shared.aligned_zeros((count,), dtype), "test"))
model = rv.nn.Sequential(rv.nn.Linear(40, 3), rv.nn.Linear(3, 2))
model.requires_grad_(False)
model[1].bias.requires_grad = True
def unfreeze(*about):
    (model[0].weight, model[0].bias)[here.rank].requires_grad = True
trainer = rv.Trainer(model, "mse", "sgd", distributed=True)
change = rv.LambdaCallback(on_batch_end=unfreeze)
change.everywhere = True
x = np.ones((32, 40), np.float32)
told(lambda: trainer.fit(x, x[:, :2], batch_size=16, epochs=2, verbose=False, callbacks=[change]))
tell(said)
"""


def test_vectors_that_differ_between_ranks():
    for said in told_in_turn(2, DIFFERENT):
        pairs = [("1000 numbers of float32", "1001 numbers of float32"), ("float32", "float64")]
        for text, (first, second) in zip(said[:2], pairs, strict=True):
            begin, _, end = text.partition("; rank 1: ")
            assert begin.startswith("[test] got different calls, rank 0: test with ")
            assert first in begin
            assert second in end
        assert said[2].startswith("[Trainer.fit] got different calls, rank 0: Trainer.fit with ")


LATE = """
import time
import ranvier.distributed.job as job, ranvier.distributed.exchange as shared
here = job.init()
values = np.ones(5)
total = shared.Sum(here, values, "test")
if here.rank == 1:
    time.sleep(0.3)
total.add()
if here.rank == 1:
    time.sleep(3)
try:
    total.add()
    said = ""
except TimeoutError as error:
    said = str(error)
try:
    total.add()
except RuntimeError as error:
    said += " / " + str(error)
tell([values.tolist(), said])
"""


def test_a_rank_that_comes_late_and_one_that_does_not_come():
    done = launch(2, LATE, RANVIER_TIMEOUT="1")
    values, said = told_by(done)[0]
    assert values == [2.0] * 5
    assert said.startswith("[test] rank 0 of 2 has waited 1 s for rank 1, at <string>:")
    assert "rank 0 got a call after test has failed" in said
    assert done.returncode != 0


def test_arguments():
    values, rows, marks = np.zeros(4), np.zeros((2, 4)), np.zeros((2, 8), np.int64)
    right = [values, rows, marks, 0, print]
    for place, wrong in (
        *((0, a) for a in (values.astype(int), np.zeros(5), np.zeros((4, 1)), [0.0] * 4, np.zeros(8)[::2])),
        *((1, a) for a in (np.zeros((3, 4)), np.zeros((2, 4), np.float32), np.zeros((4, 2)).T, np.zeros(8))),
        *(
            (2, a)
            for a in (np.zeros((2, 8)), np.zeros((2, 4), np.int64), np.zeros((2, 16), np.int64)[:, ::2])
        ),
        *((3, number) for number in (-1, 2)),
    ):
        arguments = [*right]
        arguments[place] = wrong
        refused(ValueError, "got arrays that do not fit", _core.RankSum, *arguments)
    fixed = np.zeros(4)
    fixed.flags.writeable = False
    refused(ValueError, "got arrays that do not fit", _core.RankSum, fixed, *right[1:])


def test_the_exception_of_a_wait_and_references():
    def wait(rank, kind, number):
        if number > 1:
            raise KeyError((rank, kind, number))
        rows[1] = 2
        marks[1] = number

    values, rows, marks = np.ones(4), np.zeros((2, 4)), np.zeros((2, 8), np.int64)
    before = [sys.getrefcount(a) for a in (values, rows, marks)]
    total = _core.RankSum(values, rows, marks, 0, wait)
    total.add()
    assert values.tolist() == [3.0] * 4
    with pytest.raises(KeyError):
        total.add()
    del total
    gc.collect()
    assert [sys.getrefcount(a) for a in (values, rows, marks)] == before


# Updates of which each rank makes a part: weights, state, gradients and history are those of one process.


nn = rv.nn


def groups(model):
    first, last = [*model[0].parameters()], [*model[2].parameters()]
    return [{"params": first, "amsgrad": True}, {"params": last, "lr": 0.002}]


OPTIMIZERS = {
    "adam": lambda model: rv.optim.Adam(model.parameters(), lr=0.001),
    "groups with other state": lambda model: rv.optim.Adam(groups(model), lr=0.001),
    "sgd": lambda model: rv.optim.SGD(model.parameters(), lr=0.01),
    "momentum": lambda model: rv.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True),
    "rmsprop": lambda model: rv.optim.RMSprop(model.parameters(), lr=0.001, momentum=0.5, centered=True),
    "nadam": lambda model: rv.optim.NAdam(model.parameters(), lr=0.001),
    "asgd": lambda model: rv.optim.ASGD(model.parameters(), lr=0.01),
}
WHOLE = {"clipped": {"clip_grad_norm": 0.1}, "penalised": {"l2": 0.01}}  # no rank makes a part
NETWORKS = {  # sizes, dtype
    "frozen": ((64, 600, 130, 4), np.float32),
    "forty tensors": ((64, *[60] * 19, 4), np.float32),
    "float64": ((64, 600, 4), np.float64),
    "small": ((64, 40, 4), np.float32),
}


def state_of(value, digest):
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, (list, tuple)):
        for one in value:
            state_of(one, digest)
    else:
        digest.update(np.asarray(value.numpy() if hasattr(value, "numpy") else value).tobytes())


def trained(name, on_nonfinite="raise"):
    """A hash of what two fits leave, and the sums that their batches do not need. "infinite": a batch of the
    second has a loss that is not finite."""
    found, share = [], shared._shared
    shared._shared = lambda *about: found.append(share(*about)) or found[-1]
    rng = np.random.default_rng(0)
    sizes, dtype = NETWORKS.get(name, ((64, 500, 20), np.float32))
    x, y = rng.standard_normal((640, 64)).astype(dtype), rng.integers(0, 4, 640)
    rv.manual_seed(0)
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b, dtype=dtype), nn.ReLU())]
    model = nn.Sequential(*layers[:-1])
    if name == "frozen":
        model[2].weight.requires_grad_(False)
    optimizer = OPTIMIZERS.get(name, OPTIMIZERS["adam"])(model)
    trainer = rv.Trainer(
        model, "cross_entropy", optimizer, distributed=True, on_nonfinite=on_nonfinite, **WHOLE.get(name, {})
    )
    fit = {"batch_size": 32, "shuffle": False, "verbose": False}
    try:
        trainer.fit(x, y, epochs=4, **fit)
        if name == "infinite":
            x[438] = 3e38 * np.sign(model[0].weight[0].detach().numpy())  # the sum overflows
        trainer.fit(x, y, epochs=1, **fit)
        said = ""
    except FloatingPointError as error:
        said = str(error)
    finally:
        shared._shared = share
    digest = hashlib.sha256()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    state_of([model.state_dict(), trainer.optimizer.state_dict()["state"], gradients], digest)
    state_of([trainer.history["loss"], trainer.updates], digest)
    sums = trainer.updates + bool(said)
    more = [int(pair[0][:, 2].max()) - sums for pair in found if pair is not None]
    return [digest.hexdigest(), said], max(more, default=0)


RUN = """
import sys, warnings
warnings.simplefilter("ignore")
from test_shared import trained
tell([trained(*run.split(":")) for run in sys.argv[1:]])
"""
RUNS = [*OPTIMIZERS, *WHOLE, *NETWORKS, *(f"infinite:{what}" for what in ("raise", "warn", "ignore"))]
ALL_WHOLE = {*WHOLE, "float64", "small"}


@pytest.mark.filterwarnings("ignore")
def test_each_rank_makes_a_part_of_the_update():
    alone = [trained(*run.split(":"))[0] for run in RUNS]
    for ranks in (2, 4):
        for told in results(ranks, RUN, *RUNS):
            assert [what for what, _ in told] == alone
            for run, (_, more) in zip(RUNS, told, strict=True):
                assert (more <= 0) == (run in {*ALL_WHOLE, "sgd"}), run  # sgd has no state to gather
