"""Memory that processes have in common: `share_memory_` of tensors, `share_memory` of modules."""

from support.python import printed

PROGRAM = """
import copy, os
import torch
import torch.multiprocessing as mp
from torch import nn

def train(net, total, part, brain):
    assert brain.dtype is torch.bfloat16 and brain.tolist() == [1.5, 2.0]
    brain *= 2
    assert part.is_shared() and part.shape == (2, 2)
    part += 1
    assert net.weight.is_shared() and type(net.weight) is nn.Parameter and net.weight.requires_grad
    optimizer = torch.optim.SGD(net.parameters(), 0.5)
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    total += net.count
    total.data.mul_(2)

if __name__ == "__main__":
    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    for method in {"spawn", mp.get_all_start_methods()[0]}:
        net, total = nn.Linear(2, 1), torch.zeros(3).share_memory_()
        net.register_buffer("count", torch.tensor(7.0))
        assert net.share_memory() is net and not torch.ones(2).is_shared()
        weight, rows = net.weight.detach().clone(), torch.zeros(3, 3).share_memory_()
        brain = torch.tensor([1.5, 2.0]).bfloat16().share_memory_()
        process = mp.get_context(method).Process(target=train, args=(net, total, rows.t()[1:, :2], brain))
        process.start()
        process.join()
        assert process.exitcode == 0, method
        assert torch.equal(net.weight, weight - 0.5) and total.tolist() == [14.0] * 3
        assert brain.tolist() == [3.0, 4.0] and brain.is_shared()
        assert rows.tolist() == [[0.0, 1.0, 1.0]] * 2 + [[0.0] * 3]
        assert not copy.deepcopy(net).weight.is_shared()
    del net, total, rows, brain
    assert not os.path.isdir("/dev/shm") or {n for n in os.listdir("/dev/shm") if n[:3] == "psm"} <= before
"""


def test_processes_train_one_network(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    printed("-m", "ranvier.torch", tmp_path / "program.py")
