"""DistributedDataParallel: the gradients of several ranks are those of one process on all their samples."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ranvier as rv
from support.ranks import results, told_in_turn

LOOP = """
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
    told = told_in_turn(ranks, LOOP)
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
    told = told_in_turn(2, BUFFERS)
    assert told[0][0] != told[1][0]  # each has added its own batch since
    for _, batches, refused in told:
        assert batches >= 4
        assert "exchanges" in refused


CHANGES = """
import copy, pickle
r, n = d.rank(), d.size()
x = np.random.default_rng(0).standard_normal((6 * n, 4)).astype(np.float32)
def model():
    rv.manual_seed(0)
    return rv.nn.Sequential(rv.nn.Linear(4, 3), rv.nn.Tanh(), rv.nn.Linear(3, 2))
class Scaled(rv.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.scale = model(), rv.nn.Parameter(rv.tensor(0.7))
    def forward(self, x):
        return self.inner(x) * self.scale
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
    "scale": lambda wrap: wrap(Scaled()),
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
kept = shared.module.inner[0].weight.grad
before = kept.numpy().copy()
shared.zero_grad()
gradients(shared, 2 * x[r::n].astype(of))
said["kept"] = bool((kept.numpy() == before).all())
tell(said)
"""


def test_changes_after_wrapping():
    for said in told_in_turn(2, CHANGES):
        assert all(said.values()), said
        assert len(said) == 7


# As PyTorch's tutorials teach it: a model wrapped by hand, a checkpoint of rank 0 that all ranks read.
DROPPED = """
import gc, os, weakref
r = d.rank()
def descriptors():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))
counts = []
for turn in range(10):
    layer = nn.Linear(300, 7)
    dropped = weakref.ref(layer.weight)
    nn.parallel.DistributedDataParallel(layer)(rv.full((2, 300), float(r))).sum().backward()
    assert np.array_equal(layer.weight.grad.numpy(), np.full((7, 300), 1.0))  # the mean of 0 and 2
    del layer
    counts.append(descriptors())
    assert dropped() is None
tell(len(set(counts[2:])))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts the descriptors of a process")
def test_models_that_are_dropped_leave_nothing():
    assert results(2, DROPPED) == [1, 1]


WRAPPED = """
import os, sys
import torch
import torch.distributed as dist
import torch.nn as nn
import torch.optim as optim
from torch.nn.parallel import DistributedDataParallel as DDP

class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.act, self.last = nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 5)
    def forward(self, x):
        return self.last(self.act(self.first(x)))

def main(path):
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = "localhost", "12355"
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    rank, world_size = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(rank)
    model = DDP(Toy(), device_ids=None)
    if rank == 0:
        torch.save(model.state_dict(), path)
    dist.barrier()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    loss_fn, optimizer = nn.MSELoss(), optim.SGD(model.parameters(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        loss_fn(model(torch.randn(20, 10)), torch.randn(20, 5)).backward()
        optimizer.step()
    total = torch.stack([p.detach().sum() for p in model.parameters()]).sum()
    every = [torch.zeros_like(total) for _ in range(world_size)]
    dist.all_gather(every, total)
    dist.destroy_process_group()
    return [t.item() for t in every]
"""
# ... and a class that trains, with a sampler for each rank, and a mean of the losses.
SAMPLED = """
import sys
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

class Training:
    def __init__(self, model, data, optimizer):
        self.rank, self.data, self.optimizer = dist.get_rank(), data, optimizer
        self.model = DistributedDataParallel(model)
    def epoch(self, number):
        self.data.sampler.set_epoch(number)
        total = torch.zeros(2)
        for x, y in self.data:
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(x), y)
            loss.backward()
            self.optimizer.step()
            total += torch.tensor([loss.item() * len(x), len(x)])
        dist.all_reduce(total, op=dist.ReduceOp.SUM)
        return (total[0] / total[1]).item()

def main(path):
    dist.init_process_group(backend="gloo", init_method="env://")
    torch.manual_seed(0)
    x = torch.randn(90, 6)
    data = TensorDataset(x, (x[:, 0] > 0).long())
    model = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    loader = DataLoader(data, batch_size=8, shuffle=False, sampler=DistributedSampler(data))
    training = Training(model, loader, torch.optim.Adam(model.parameters(), lr=0.02))
    losses = [training.epoch(number) for number in range(8)]
    assert losses[-1] < 0.5 * losses[0], losses
    sent = [losses] if dist.get_rank() == 0 else [None]
    dist.broadcast_object_list(sent, src=0)
    return [loss == losses for loss in sent] + [round(losses[-1], 3)]
"""


def mapped(program):
    """The import lines of a program, from PyTorch to this library."""
    lines = re.sub(r"^import torch$", "import ranvier as torch", program, flags=re.M)
    return re.sub(r"^(import|from) torch\b", r"\1 ranvier", lines, flags=re.M)


@pytest.mark.parametrize("program", [WRAPPED, SAMPLED], ids=["wrapped", "sampled"])
def test_programs_of_pytorch(program, tmp_path):
    code = mapped(program) + "tell(main(sys.argv[1]))\n"
    first, second = results(2, code, str(tmp_path / "model.pt"))
    assert first == second
    assert len(set(first)) == (1 if program is WRAPPED else 2)


SPAWNED = """
import torch.distributed as dist
import torch.multiprocessing as mp

def main(rank, world_size):
    dist.init_process_group("gloo", rank=rank, world_size=world_size)

if __name__ == "__main__":
    mp.spawn(main, args=(2,), nprocs=2, join=True)
"""


def test_spawned_processes_are_told_to_start_with_mpirun(tmp_path):
    (tmp_path / "program.py").write_text(mapped(SPAWNED))
    sources = {"PYTHONPATH": str(Path(rv.__file__).parent.parent)}
    command = [sys.executable, str(tmp_path / "program.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | sources)
    assert done.returncode != 0
    said = done.stderr
    assert "[init] world_size is 2, and MPI connects 1 process; expected a start by MPI: mpirun -n 2" in said


def test_the_switch_and_the_block_of_pytorch_in_one_process():
    model = rv.nn.parallel.DistributedDataParallel(rv.nn.Linear(2, 1), static_graph=True)
    for sync in (False, True):
        model.require_backward_grad_sync = sync
        with model.join(), model.no_sync():
            assert model.require_backward_grad_sync is False
            model(rv.ones(3, 2)).sum().backward()
        assert model.require_backward_grad_sync is sync
    assert model.module.bias.grad.item() == 6
    assert (model.static_graph, model.find_unused_parameters, model.device_ids) == (True, False, None)
    assert not model.will_sync_module_buffers()
