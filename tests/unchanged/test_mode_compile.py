"""torch.compile in the mode: a step that uses torch, nn and F by PyTorch's names is captured and replayed."""

from __future__ import annotations

from support.python import printed

_CODE = """
import contextlib
import sys
import ranvier.torch
ranvier.torch.install()
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
x, y = torch.randn(16, 8), torch.randint(0, 3, (16,))


def trained(compiled):
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(torch.tanh(net(x)), y) + torch.nn.functional.relu(x * torch.pi).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    run = torch.compile(step, strict=True) if compiled else step
    ran = []
    sys.setprofile(lambda frame, event, _: ran.append(event) if frame.f_code is step.__code__ else None)
    losses = [float(run(x, y)) for _ in range(12)]
    sys.setprofile(None)
    print(ran.count("call"))
    return losses


assert trained(True) == trained(False)
net = nn.Linear(2, 2)
assert torch.compile(net)._orig_mod is net
expected = net(x[:, :2]).tolist()
net.compile(fullgraph=True)
with torch.no_grad():
    assert [net(x[:, :2]).tolist() for _ in range(9)] == [expected] * 9 and len(net.forward.programs) == 1
net.weight.data.zero_()
assert (net(x[:, :2]) == net.bias).all() and list(net.state_dict()) == ["weight", "bias"]


# --- modes around captured calls
class Doubles(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        y = func(*args, **(kwargs or {}))
        return y * 2 if getattr(func, "__name__", "") in ("relu", "linear") else y


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x):
        return F.relu(self.layer(x)) + 1 + torch.overrides.is_tensor_method_or_property(len)


with Doubles():  # the first one of a process replaces functions
    F.relu(x)
net = Net().eval()
often = ranvier.nn.often
often._ENOUGH = 0.0
with torch.no_grad():
    for run in (torch.compile(lambda x: net.forward(x)), torch.compile(net), net):
        for n in range(90):
            modes = [Doubles] * (n > 20) * (n % 3) + [torch._C.DisableTorchFunction] * (n % 7 == 6)
            with contextlib.ExitStack() as blocks, contextlib.suppress(KeyError):
                for mode in modes:
                    blocks.enter_context(mode())
                assert (run(x) == net.forward(x)).all(), (n, run)
                raise KeyError
    assert often.attached(net, often.REPLAY, None).programs
"""


def test_a_captured_step_is_replayed_with_the_bits_of_eager_steps() -> None:
    found = printed("-c", _CODE).split()
    assert found == ["0", "12"]  # runs under the profile of the recorder are not counted
