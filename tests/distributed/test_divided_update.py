"""Updates of which each rank makes a part: weights, state, gradients and history are those of one process."""

import hashlib
import sys
from itertools import pairwise

import numpy as np
import pytest
import ranvier as rv
import ranvier.distributed.exchange as shared
from support.ranks import results

nn = rv.nn
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs memory without a name")


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
    x, y = rng.standard_normal((1600, 64)).astype(dtype), rng.integers(0, 4, 1600)
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
            x[1110] = 3e38 * np.sign(model[0].weight[0].detach().numpy())  # the sum overflows
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
sys.path.insert(0, "tests")
warnings.simplefilter("ignore")
from distributed.test_divided_update import trained
from support.ranks import tell
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
