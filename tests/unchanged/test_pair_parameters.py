"""Parameters and buffers of complex numbers, in a program that this library runs in place of PyTorch."""

import json
from functools import cache

from support.optimizers import KINDS
from support.python import printed

BEGIN = """
import copy, io, json, pickle, sys
import torch
from torch import nn

def net(pairs=False):
    re, im = torch.linspace(-1, 1, 6).reshape(2, 3), torch.linspace(1, 2, 6).reshape(2, 3)
    m = nn.Module()
    m.w = nn.Parameter(torch.stack([re, im], -1) if pairs else torch.complex(re, im))
    m.register_buffer("f", torch.polar(torch.ones(3), torch.arange(3.0)))
    return m

def loss(m):
    w = m.w if m.w.is_complex() else torch.view_as_complex(m.w)
    return torch.einsum("bi,oi->bo", torch.complex(torch.ones(4, 3), torch.rand(4, 3)) * m.f, w).abs().sum()

def trained(make, pairs):
    torch.manual_seed(0)
    m = net(pairs)
    o = make(m.parameters())
    for step in range(3):
        o.zero_grad(set_to_none=step < 2)
        o.step(lambda: (value := loss(m), value.backward())[0])
        o.load_state_dict(o.state_dict())
        nn.utils.clip_grad_norm_(m.parameters(), 1.0)
    return m.w if pairs else torch.view_as_real(m.w)

class Net(nn.Module):
    def __init__(self, like):
        super().__init__()
        self.w, self.f, self.l = nn.Parameter(like.w.detach().clone()), like.f, nn.Linear(3, 3)

    def forward(self, x):
        w = self.w if self.w.is_complex() else torch.view_as_complex(self.w)
        return self.l((w * x * self.f).abs())

def called(pairs, wrap):
    torch.manual_seed(0)
    model = Net(net(pairs)).eval()
    call, x, found = wrap(model), torch.rand(2, 3), []
    with torch.no_grad():
        for k in range(30):
            model.w.data.mul_(2 if k == 20 else 1)
            found.append(call(x + k))
    return torch.stack(found)

def saved(value, **settings):
    torch.save(value, file := io.BytesIO(), **settings)
    file.seek(0)
    return torch.load(file)

def same(a, b):
    return type(a) is type(b) and a.dtype == b.dtype and bool((a == b).all())

def after(value, call):
    call(value)
    return value

def fails(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__

m, z = net(), nn.Parameter(torch.tensor([3 + 4j]))
w, f = m.w, m.f
"""
# conditions
ROWS = """
isinstance(w, nn.Parameter) and isinstance(w, torch.Tensor) and isinstance(f, torch.Tensor)
torch.is_tensor(f) and torch.is_complex(w) and not isinstance(f, nn.Parameter)
(w.shape, w.dtype, w.numel(), len(w), w[0].shape) == ((2, 3), torch.complex64, 6, 2, (3,))
[n for n, _ in m.named_parameters()] == ["w"] and [n for n, _ in m.named_buffers()] == ["f"]
same(w.imag, w[...].imag) and same((1 / w).real, w.reciprocal().real) and (w + w).grad_fn is not None
same(called(True, lambda m: m), called(False, lambda m: m)) and (w.nbytes, w.itemsize) == (48, 8)
same(called(True, torch.compile), called(False, torch.compile))
exec("found = isinstance(f, T)", space := {"f": f, "T": torch.Tensor}) or space["found"]
(w.requires_grad, w.is_leaf, w.grad_fn, w.grad) == (True, True, None, None)
{k: (v.dtype, v.requires_grad) for k, v in m.state_dict().items()} == dict.fromkeys("wf", (w.dtype, False))
same(after(net(), lambda n: (n.w.data.zero_(), n.load_state_dict(m.state_dict()))).w, w)
same(after(net(), lambda n: (n.w.data.zero_(), n.load_state_dict(m.state_dict(), assign=True))).w, w)
same(copy.deepcopy(m).w, w) and same(copy.deepcopy(m).f, f) and copy.deepcopy(m).w.data is not w.data
same(pickle.loads(pickle.dumps(m)).w, w) and same(pickle.loads(pickle.dumps(m)).f, f)
same(saved(w), w) and same(saved(m.state_dict())["f"], f) and same(saved(w.detach().T), w.detach().T)
same(saved(w, _use_new_zipfile_serialization=False), w) and same(saved(f[1:]), f[1:])
net().double().w.dtype == torch.complex64 and m.cpu().w is w
[torch.randn_like(x).dtype for x in (w, f, f.real)] == [w.dtype, w.dtype, torch.float32]
after(net().w.detach(), lambda w: w.add_(w, alpha=2)).tolist() == (w + w + w).tolist()
after(net().w, lambda w: nn.init.constant_(w, 1 + 2j)).tolist() == torch.full_like(w, 1).add(2j).tolist()
torch.isreal(f).tolist() == [True, False, False] and torch.isreal(w.real).all()
same(torch.mm(w, w.t()), w @ w.t()) and torch.outer(f, f)[1, 2] == f[1] * f[2]
not after(net(), lambda m: m.requires_grad_(False)).w.requires_grad
after(z, lambda z: (z * z.conj()).real.sum().backward()).grad.tolist() == [6 + 8j]
after(nn.Parameter(z.detach() * 1), lambda p: setattr(p, "data", p.data * 2)).tolist() == [6 + 8j]
after(nn.Parameter(z.detach() * 1), lambda p: setattr(p, "grad", p.data * 2)).grad.tolist() == [6 + 8j]
after(nn.Parameter(z.detach() * 1), lambda p: setattr(p, "grad", p)).grad.tolist() == [3 + 4j]
isinstance(nn.Parameter(z), nn.Parameter) and same(nn.Parameter(z), z) and nn.Parameter(z).requires_grad
fails(lambda: setattr(w, "data", w.real)) == fails(lambda: setattr(w, "grad", w.real)) == "TypeError"
same(w.real.to(w.dtype), w.real.cfloat()) and torch.arange(2).to(torch.complex128).tolist() == [0, 1]
same(nn.ParameterList([f])[0], nn.Parameter(f)) and nn.ParameterDict({"f": f})["f"].requires_grad
torch.optim.LBFGS([nn.Parameter(f), nn.Parameter(f.real)]).state_dict()["state"] == {}
fails(lambda: nn.Buffer(f)) == "DtypeError"
after(torch.tensor([1 + 1j]), lambda x: nn.Parameter(x).data.mul_(2)).tolist() == [2 + 2j]
after(net(), lambda m: setattr(m, "f", m.f * 2)).f.tolist() == (f * 2).tolist() and "f" in m._buffers
"""


@cache
def answers() -> dict[str, bool]:
    rows = [*ROWS.strip().splitlines()]
    for name in (*KINDS, "LBFGS"):
        make = f"lambda p: torch.optim.{name}(p, lr=0.1)"
        rows.append(f"same(trained({make}, True).detach(), trained({make}, False).detach())")
    program = BEGIN + "print(json.dumps({row: bool(eval(row)) for row in json.loads(sys.argv[1])}))"
    return dict(json.loads(printed("-m", "ranvier.torch", "-c", program, json.dumps(rows))))


def test_programs_see_parameters_of_complex_numbers() -> None:
    assert [row for row, holds in answers().items() if not holds] == []
