"""torch.utils.flop_counter: PyTorch's counts, of all and of each module, with and without a backward pass."""

import pytest
from support.python import printed

BEGIN = """
import ranvier.torch; ranvier.torch.install()
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
def flops(call, back=False):
    with FlopCounterMode(display=False) as counter:
        y = call()
        if back: (y[0] if isinstance(y, tuple) else y).sum().backward()
    return counter.get_total_flops()
class Net(nn.Module):
    def __init__(net):
        super().__init__()
        net.body, net.head = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), nn.Linear(8, 5)
    def forward(net, x): return net.head(net.body(x).mean((2, 3)))
x, image, q = torch.ones(5, 2, 4), torch.ones(2, 3, 8, 8), torch.ones(2, 3, 5, 4)
a, b = torch.ones(3, 4, requires_grad=True), torch.ones(4, 5)
mha = nn.MultiheadAttention(4, 2)
def meta():
    with torch.device("meta"): return nn.Sequential(nn.Linear(4, 3))(torch.ones(2, 4))
"""
CASES = {
    "flops(lambda: Net()(image)), flops(lambda: Net()(image), True)": (31264, 62688),
    "flops(lambda: Net()(image.clone().requires_grad_()), True)": 93792,
    "[flops(lambda: mha(x, x, x, need_weights=w), back) for w in (False, True) for back in (0, 1)]":
        [1280, 2880, 2080, 5280],
    "flops(lambda: mha(x, x[:3], x[:3]))": 1504,
    "[flops(lambda: nn.TransformerEncoderLayer(4, 2, 8).train(t)(x)) for t in (False, True)]": [2560, 3360],
    "[flops(lambda: kind(4, 3)(x)) for kind in (nn.LSTM, nn.GRU)], flops(lambda: nn.LSTMCell(4, 3)(x[0]))":
        ([0, 1260], 336),
    "flops(lambda: a @ b, True), flops(lambda: torch.addmm(torch.ones(5), a, b), True)": (240, 240),
    "flops(lambda: q @ q.mT), flops(lambda: a @ torch.ones(4)), flops(lambda: q.sum())": (1200, 0, 0),
    "flops(lambda: torch.einsum('ij,jk->ik', a, b))": 120,
    "flops(lambda: torch.baddbmm(torch.ones(2, 3, 5), torch.ones(2, 3, 4), torch.ones(2, 4, 5)))": 240,
    "flops(lambda: nn.ConvTranspose2d(3, 4, 3, stride=2)(image), True)": 55296,
    "flops(lambda: nn.Conv3d(2, 4, 3)(torch.ones(1, 2, 5, 5, 5)), True)": 23328,
    "flops(lambda: nn.Conv2d(4, 8, 3, groups=2)(torch.ones(1, 4, 8, 8)), True)": 31104,
    "flops(lambda: nn.Linear(4, 3, bias=False)(x), True), flops(meta)": (480, 48),
}  # fmt: skip


@pytest.fixture(scope="module")
def answers():
    lines = [f"print(({case}))" for case in CASES]
    code = """
with FlopCounterMode() as counter: Net()(image).sum().backward()
counts = counter.get_flop_counts()
print(sorted(counts), counts["Net.head"] == {torch.ops.aten.addmm: 160, torch.ops.aten.mm: 320})
"""
    return printed("-c", "\n".join([BEGIN, *lines, code])).splitlines()


@pytest.mark.parametrize("place", range(len(CASES)), ids=list(CASES))
def test_counts(answers, place):
    assert answers[place] == str(list(CASES.values())[place])


def test_modules(answers):
    assert answers[-1] == "['Global', 'Net', 'Net.body', 'Net.body.0', 'Net.head'] True"
    assert answers[-4].split() == ["Net", "62688", "100.00%"]
