"""DistributedDataParallel: the gradients of several ranks are those of one process on all their samples."""

import numpy as np
import pytest
import ranvier as rv
from support.ranks import results

LOOP = """
import numpy as np, ranvier as rv
from support.ranks import tell
d = rv.distributed
d.init()
r, n = d.rank(), d.size()
rv.manual_seed(r)  # rank 0's parameters are used
class Network(rv.nn.Sequential):
    def forward(self, x):
        return self[2](self[1](self[0](x)))
inner = Network(rv.nn.Linear(4, 8), rv.nn.Tanh(), rv.nn.Linear(8, 1))
inner.unused, inner.once = rv.nn.Linear(2, 2), rv.nn.Linear(1, 1)
model = d.DistributedDataParallel(inner)
before = {k: v.tolist() for k, v in model.state_dict().items()}
optimizer = rv.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
x = np.random.default_rng(0).standard_normal((3, 12, 4)).astype(np.float32)
def loss_of(rows, part):
    y = model(rows)
    return (y * y).mean() + (inner.once(y).mean() * 0 if r == 0 and part == 0 else 0)
for part in range(3):
    optimizer.zero_grad()
    mine = x[part][r::n]
    with model.no_sync():
        (loss_of(mine[: len(mine) // 2], part) / 2).backward()
    (loss_of(mine[len(mine) // 2 :], part) / 2).backward()
    optimizer.step()
unused = model.module.unused.weight.grad is None
after = {k: v.tolist() for k, v in model.state_dict().items()}
tell({"before": before, "after": after, "unused": unused})
"""


@pytest.mark.parametrize("ranks", [2, 3])
def test_loop(ranks):
    told = results(ranks, LOOP)
    assert all(said == told[0] for said in told)
    assert told[0]["unused"]
    model = rv.nn.Sequential(rv.nn.Linear(4, 8), rv.nn.Tanh(), rv.nn.Linear(8, 1))
    names = model.state_dict()
    model.load_state_dict({name: np.float32(told[0]["before"][f"module.{name}"]) for name in names})
    optimizer = rv.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    x = np.random.default_rng(0).standard_normal((3, 12, 4)).astype(np.float32)
    for part in x:
        optimizer.zero_grad()
        (model(part) ** 2).mean().backward()
        optimizer.step()
    for name, value in model.state_dict().items():
        np.testing.assert_allclose(value, told[0]["after"][f"module.{name}"], rtol=1e-4, atol=1e-6)
    for name in ("unused.weight", "unused.bias"):  # no gradient, so no weight decay either
        assert told[0]["after"][f"module.{name}"] == told[0]["before"][f"module.{name}"]


BUFFERS = """
import numpy as np, ranvier as rv
from support.ranks import tell
d = rv.distributed
model = d.DistributedDataParallel(rv.nn.BatchNorm1d(3))
x = rv.tensor(np.random.default_rng(d.rank()).standard_normal((6, 3)).astype(np.float32))
for _ in range(2):
    model(x).sum().backward()
first = model.module.running_mean.tolist()
model(x)
try:
    step = rv.compile(lambda x: model(x).sum().backward(), strict=True)
    model.zero_grad(), step(x)
    refused = ""
except rv.CaptureError as error:
    refused = str(error)
tell([first, model.module.num_batches_tracked.item(), refused])
"""


def test_buffers_are_those_of_rank_0():
    told = results(2, BUFFERS)
    assert told[0][0] != told[1][0]  # each has added its own batch since
    for _, batches, refused in told:
        assert batches >= 4
        assert "exchanges" in refused


CHANGES = """
import copy, pickle
import numpy as np, ranvier as rv
from support.ranks import tell
d = rv.distributed
r, n = d.rank(), d.size()
x = np.random.default_rng(0).standard_normal((6 * n, 4)).astype(np.float32)
def model():
    rv.manual_seed(0)
    return rv.nn.Sequential(rv.nn.Linear(4, 3), rv.nn.Tanh(), rv.nn.Linear(3, 2))
def gradients(net, rows):
    (net(rv.tensor(rows)) ** 2).mean().backward()
    return {k: p.grad.numpy().copy() for k, p in net.named_parameters() if p.grad is not None}
def unfrozen(wrap):
    net = model()
    net[0].requires_grad_(False)
    net = wrap(net)
    net.requires_grad_(True)
    return net
def replaced(wrap):
    net = wrap(model())
    inner = getattr(net, "module", net)
    inner[0].weight = rv.nn.Parameter(rv.ones(3, 4))
    inner.add_module("more", rv.nn.Linear(2, 2))
    inner.more.load_state_dict({"weight": np.eye(2, dtype=np.float32), "bias": np.zeros(2, np.float32)})
    return net
ways = {
    "unfrozen": unfrozen,
    "replaced": replaced,
    "deepcopy": lambda wrap: copy.deepcopy(wrap(model())),
    "pickle": lambda wrap: pickle.loads(pickle.dumps(wrap(model()))),
    "double": lambda wrap: wrap(model()).double(),
}
said = {}
for name, way in ways.items():
    of = np.float64 if name == "double" else np.float32
    alone, shared = gradients(way(lambda net: net), x.astype(of)), way(d.DistributedDataParallel)
    found = gradients(shared, x[r::n].astype(of))
    error = 1e-12 if name == "double" else 1e-6
    said[name] = {"module." + k for k in alone} == set(found) and all(
        found["module." + k].dtype == v.dtype and np.allclose(found["module." + k], v, rtol=0, atol=error)
        for k, v in alone.items())
kept = shared.module[0].weight.grad
before = kept.numpy().copy()
shared.zero_grad()
gradients(shared, 2 * x[r::n].astype(of))
said["kept"] = bool((kept.numpy() == before).all())
tell(said)
"""


def test_changes_after_wrapping():
    for said in results(2, CHANGES):
        assert all(said.values()), said
        assert len(said) == 6
