"""Tensors without memory, and counts of operations."""

import pytest
from support.python import answers, in_mode

META = "tensor(..., device='meta', size=(2, 3))"
NO_DATA = "NotImplementedError: Cannot copy out of meta tensor; no data!"
NO_ITEM = "RuntimeError: Tensor.item() cannot be called on meta tensors"
DEPENDS = "what it gives depends on values, which meta tensors lack"
DATA = "incompatible tensor type: meta; expected cpu"
REMEDY = (
    "Please use torch.nn.Module.to_empty() instead of torch.nn.Module.to() when moving module from meta to a "
    "different device."
)
OTHER = "RuntimeError: [add] Tensor on device cpu is not on the expected device meta!"

BEGIN = """
import copy, io, json, pickle, sys, threading, warnings
import numpy as np
import torch
from torch import nn

warnings.simplefilter("ignore")
m, p = torch.empty(2, 3, device="meta"), nn.Parameter(torch.empty(2, 3, device="meta"))
x, state = torch.ones(2, 3), {"weight": torch.ones(2, 3), "bias": torch.ones(2)}
inner = {f"0.{name}": value for name, value in state.items()}

def warns_in_library(act):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        act()
    return ["ranvier" in warning.filename for warning in caught]

def saved(value, **settings):
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, **settings)

def layer(*args):
    return nn.Linear(3, 2, device="meta", *args)

def after(value, call):
    call(value)
    return value

def within(device, call):
    with torch.device(device):
        return call()

def in_thread(call):
    found = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start(), thread.join()
    return found[0]

def patched():
    own, names = nn.Module.register_parameter, []
    nn.Module.register_parameter = lambda *given: (names.append(given[1]), own(*given))[1]
    try:
        nn.Linear(2, 2)
    finally:
        nn.Module.register_parameter = own
    return names

def shown(call):
    try:
        return str(call())
    except Exception as error:
        return f"{type(error).__name__}: {error}"
"""

ROWS = {
    "m": META,
    "p": f"Parameter containing:\n{META[:-1]}, requires_grad=True)",
    "torch.empty(2, dtype=int, device='meta')": "tensor(..., device='meta', size=(2,), dtype=torch.int64)",
    "m.device, m.is_meta, m.is_cpu, m.get_device()": "(device(type='meta'), True, False, -1)",
    "isinstance(p, nn.Parameter), p.is_meta, type(p)(x).device": "(True, True, device(type='cpu'))",
    "m.stride(), m.t().stride(), m.t().is_contiguous()": "((3, 1), (1, 3), False)",
    "m.data_ptr(), m.untyped_storage().nbytes(), m.untyped_storage().device": "(0, 24, device(type='meta'))",
    "m.tolist()": NO_DATA,
    "m.cpu()": NO_DATA,
    "m.to('cpu')": NO_DATA,
    "x.copy_(m)": NO_DATA,
    "x.__setitem__(0, m[0])": NO_DATA,
    "layer().double().to(torch.float32).weight.dtype": "torch.float32",
    "torch.fft.rfft(m).real.is_meta, torch.complex(m, m).abs().is_meta": "(True, True)",
    "torch.lcm(m.long(), m.long()).is_meta, torch.frexp(m)[0].is_meta": "(True, True)",
    "m.sum().item()": NO_ITEM,
    "bool(m.sum())": NO_ITEM,
    "float(m.sum())": NO_ITEM,
    "m.item()": "RuntimeError: a Tensor with 6 elements cannot be converted to Scalar",
    "m.nonzero()": f"NotImplementedError: nonzero: {DEPENDS}",
    "m[m > 0]": f"NotImplementedError: __getitem__: {DEPENDS}",
    "m + x": OTHER,
    "m + torch.tensor(1.0)": META,
    "setattr(x, 'data', m)": f"RuntimeError: [data] got a tensor of {DATA}",
    "layer().to('cpu')": f"{NO_DATA} {REMEDY}",
    "layer().to_empty(device='cpu').weight.device": "cpu",
    "type(layer().to_empty(device='cpu').weight) is nn.Parameter": "True",
    "{b.is_meta for b in nn.BatchNorm1d(2).to('meta').state_dict().values()}": "{True}",
    "nn.BatchNorm1d(2).to('meta').num_batches_tracked.dtype": "torch.int64",
    "layer().load_state_dict(state, assign=True), 0": "(<All keys matched successfully>, 0)",
    "after(layer(), lambda a: a.load_state_dict(state, assign=True)).weight": "Parameter containing:\n"
    "tensor([[1., 1., 1.],\n        [1., 1., 1.]], requires_grad=True)",
    "after(layer(), lambda a: a.load_state_dict(state)).weight.is_meta": "True",
    "warns_in_library(lambda: layer().load_state_dict(state))": "[False, False]",
    "warns_in_library(lambda: nn.Sequential(layer()).load_state_dict(inner))": "[False, False]",
    "'Cannot copy out' in shown(lambda: nn.Linear(3, 2).load_state_dict(layer().state_dict()))": "True",
    "copy.deepcopy(layer()).weight is None or copy.deepcopy(layer()).weight.is_meta": "True",
    "pickle.loads(pickle.dumps(p))": f"Parameter containing:\n{META[:-1]}, requires_grad=True)",
    "saved(m.t()).stride(), saved(p).requires_grad, saved({'p': p})['p'].is_meta": "((1, 3), True, True)",
    "saved(x, map_location='meta')": META,
    "saved(x, map_location=torch.device('meta'))": META,
    "saved(torch.arange(9.0)[2:], map_location='meta').storage_offset()": "2",
    "saved(torch.ones(3, 4)[:, 1], map_location='meta').storage_offset()": "1",
    "x.to('meta'), m.to('meta') is m": f"({META}, True)",
    "m.double()": f"{META[:-1]}, dtype=torch.float64)",
    "torch.zeros_like(m, device='cpu').tolist()": "[[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]",
    "torch.empty_like(m).is_meta, torch.rand_like(m).is_meta, m.new_ones(2).is_meta": "(True, True, True)",
    "m.new_ones(2, device='cpu')": "tensor([1., 1.])",
    "(m @ p.t()).relu().sum().backward(), p.grad": f"(None, {META})",
    "torch.autograd.grad((m * p).sum(), p)[0]": META,
    "m.normal_() is m, m.add_(1) is m, nn.init.orthogonal_(p) is p": "(True, True, True)",
    "torch.linalg.inv(torch.empty(4, 3, 3, device='meta')).shape": "torch.Size([4, 3, 3])",
    "torch.autograd.grad(torch.linalg.cholesky(p @ p.t()).sum(), p)[0]": META,
    "torch.autograd.grad(torch.cholesky_solve(p, p @ p.t()).sum(), p)[0]": META,
    "[shown(f).split(':')[0] for f in (lambda: m @ m, lambda: m[5])]": "['OpError', 'IndexError']",
    "torch.empty(10**12, device='meta').view(10**6, -1).t().shape": "torch.Size([1000000, 1000000])",
    "within('meta', lambda: torch.get_default_device())": "meta",
    "within('meta', lambda: within('cpu', lambda: torch.ones(1)))": "tensor([1.])",
    "within('meta', lambda: in_thread(lambda: torch.ones(1)))": "tensor([1.])",
    "within('cuda', lambda: 1)": "1",
    "patched()": "['weight', 'bias']",
    "[torch.set_default_device('meta'), torch.ones(2, 3), torch.set_default_device(None)][1]": META,
    "pickle.loads(pickle.dumps(m.device)), {torch.device('meta'): 1}[m.device]": "(device(type='meta'), 1)",
}

# in a context of a device: those that follow it, and those that do not
FOLLOW = """
    empty(2) zeros(2) ones(2) full((2,),1.) rand(2) randn(2) randint(3,(2,)) randperm(3) arange(3)
    linspace(0,1,3) logspace(0,1,3) eye(2) tensor([1.]) tensor(x) as_tensor(x) as_tensor([1.])
    asarray([1.]) scalar_tensor(1) empty_strided((2,),(1,)) empty_permuted((2,3),(1,0)) hann_window(4)
    kaiser_window(4) tril_indices(2,2) triu_indices(2,2) nn.Buffer(torch.ones(1)) nn.Embedding(3,2).weight
    nn.BatchNorm1d(2).num_batches_tracked nn.LSTM(2,3).bias_hh_l0 nn.MultiheadAttention(4,2).in_proj_weight
    nn.Transformer.generate_square_subsequent_mask(2)
"""
STAY = """
    from_numpy(np.ones(2)) empty_like(x) zeros_like(x) rand_like(x) randint_like(x,3) full_like(x,1)
    normal(0.,1.,(2,)) Tensor(2) FloatTensor([1.]) ones(2,device="cpu") nn.Parameter(torch.Tensor(2))
"""  # and ops: tests/properties/test_meta.py
for name in (*FOLLOW.split(), *STAY.split()):
    call = name if name.startswith("nn.") and name[3].isupper() else f"torch.{name}"
    ROWS[f"within('meta', lambda: {call}).device"] = "meta" if name in FOLLOW.split() else "cpu"

MEMORY = """
import resource
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # begins with that of the parent process
before = peak()
with torch.device("meta"):
    large = nn.ModuleList([nn.Linear(16384, 16384) for _ in range(30)])
print(sum(w.numel() for w in large.parameters()) > 8e9, peak() - before < 100_000)
"""


@pytest.fixture(scope="module")
def found() -> dict[str, str]:
    calls = [f"shown(lambda: ({call}))" for call in ROWS]
    return dict(zip(ROWS, answers(BEGIN, calls, "str").values(), strict=True))


@pytest.mark.parametrize("call", ROWS)
def test_what_a_call_gives(found: dict[str, str], call: str) -> None:
    assert found[call] == ROWS[call]


def test_a_large_model_takes_no_memory() -> None:
    assert in_mode(BEGIN + MEMORY) == "True True\n"


# torch.utils.flop_counter: PyTorch's counts, of all and of each module, with and without a backward pass.


FLOPS_BEGIN = """
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
    "[flops(lambda: mha(x, x, x, need_weights=w), back) for w in (False, True) for back in (0, 1)]": [
        1280,
        2880,
        2080,
        5280,
    ],
    "flops(lambda: mha(x, x[:3], x[:3]))": 1504,
    "[flops(lambda: nn.TransformerEncoderLayer(4, 2, 8).train(t)(x)) for t in (False, True)]": [2560, 3360],
    "[flops(lambda: kind(4, 3)(x)) for kind in (nn.LSTM, nn.GRU)], flops(lambda: nn.LSTMCell(4, 3)(x[0]))": (
        [0, 1260],
        336,
    ),
    "flops(lambda: a @ b, True), flops(lambda: torch.addmm(torch.ones(5), a, b), True)": (240, 240),
    "flops(lambda: q @ q.mT), flops(lambda: a @ torch.ones(4)), flops(lambda: q.sum())": (1200, 0, 0),
    "flops(lambda: torch.einsum('ij,jk->ik', a, b))": 120,
    "flops(lambda: torch.baddbmm(torch.ones(2, 3, 5), torch.ones(2, 3, 4), torch.ones(2, 4, 5)))": 240,
    "flops(lambda: nn.ConvTranspose2d(3, 4, 3, stride=2)(image), True)": 55296,
    "flops(lambda: nn.Conv3d(2, 4, 3)(torch.ones(1, 2, 5, 5, 5)), True)": 23328,
    "flops(lambda: nn.Conv2d(4, 8, 3, groups=2)(torch.ones(1, 4, 8, 8)), True)": 31104,
    "flops(lambda: nn.Linear(4, 3, bias=False)(x), True), flops(meta)": (480, 48),
}


MODULES = """
with FlopCounterMode() as counter: Net()(image).sum().backward()
counts = counter.get_flop_counts()
print(sorted(counts), counts["Net.head"] == {torch.ops.aten.addmm: 160, torch.ops.aten.mm: 320})
"""


def test_counts():
    assert answers(FLOPS_BEGIN, CASES, "str") == {case: str(count) for case, count in CASES.items()}


def test_modules():
    lines = in_mode(FLOPS_BEGIN + MODULES).splitlines()
    assert lines[-1] == "['Global', 'Net', 'Net.body', 'Net.body.0', 'Net.head'] True"
    assert lines[-4].split() == ["Net", "62688", "100.00%"]
