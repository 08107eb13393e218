"""Parameters of complex numbers, and TensorBoard's files."""

import io

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.torch.utils.event_files import settings
from ranvier.utils.tensorboard import SummaryWriter
from support.event_files import fields, read
from support.optimizers import KINDS
from support.python import answers
from support.refused import refused

# Parameters and buffers of complex numbers, in a program that this library runs in place of PyTorch.


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
PAIR_PARAMETERS_ROWS = """
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


def test_programs_see_parameters_of_complex_numbers() -> None:
    rows = [*PAIR_PARAMETERS_ROWS.strip().splitlines()]
    for name in (*KINDS, "LBFGS"):
        make = f"lambda p: torch.optim.{name}(p, lr=0.1)"
        rows.append(f"same(trained({make}, True).detach(), trained({make}, False).detach())")
    found = answers(BEGIN, rows, "bool")
    assert [row for row, holds in found.items() if not holds] == []


# utils.tensorboard: what the event files hold.


def test_scalars_texts_and_histograms(tmp_path):
    with SummaryWriter(tmp_path, purge_step=3) as writer:
        writer.add_scalar("loss", rv.tensor([1.5], requires_grad=True), 7)
        writer.add_scalar("loss", np.float64(0.25))
        writer.add_scalars("both/x", {"a": rv.tensor(1.0), "b": 2}, 300)
        writer.add_text("t", "héllo", 2)
        writer.add_histogram("h", rv.tensor([-1.0, 0.5, 0.5, 3.0]), 1)
        refused(NotImplementedError, "got a list; expected a number", writer.add_scalar, "loss", [1, 2])
        refused(ValueError, "got no values", writer.add_histogram, "h", [])
        refused(AttributeError, "has no add_video", getattr, writer, "add_video")
    refused(NotImplementedError, "[tensorboard] add_graph", writer.add_graph, nn.Linear(1, 1))
    values = read(tmp_path)
    assert [(step, tag, v[2]) for step, tag, v in values[:2]] == [(7, "loss", [1.5]), (None, "loss", [0.25])]
    assert read(tmp_path / "both_x_b")[0][2][2] == [2.0]
    assert read(tmp_path / "both_x_a")[0][0] == 300
    _, tag, text = values[2]
    assert (tag, fields(text[8][0])[8]) == ("t/text_summary", ["héllo".encode()])
    assert fields(fields(text[9][0])[1][0])[1] == [b"text"]
    histogram = fields(values[3][2][5][0])
    assert [histogram[i] for i in (1, 2, 3, 4, 5)] == [[-1.0], [3.0], [4.0], [3.0], [10.5]]
    limits, counts = (np.frombuffer(histogram[i][0], "<f8") for i in (6, 7))
    assert (counts.sum(), len(counts)) == (4, len(limits))
    assert counts[(limits > 0.5) & (limits <= 0.56)].sum() == 2


def test_images(tmp_path):
    image = pytest.importorskip("matplotlib.image", reason="matplotlib is not installed")
    figure = pytest.importorskip("matplotlib.figure").Figure((1, 2), dpi=50)
    pixels = rv.rand(3, 4, 5)
    with SummaryWriter(tmp_path) as writer:
        writer.add_image("i", pixels)
        writer.add_image("grey", np.arange(6, dtype=np.uint8).reshape(2, 3), dataformats="HW")
        writer.add_images("several", np.zeros((9, 2, 2, 1)), dataformats="NHWC")
        writer.add_figure("f", figure)
        refused(ValueError, "got shape (3, 4, 5) as HW", writer.add_image, "i", pixels, dataformats="HW")
    found = {tag: fields(value[4][0]) for _, tag, value in read(tmp_path)}
    shown = {tag: image.imread(io.BytesIO(value[4][0])) for tag, value in found.items()}
    np.testing.assert_allclose(shown["i"], np.floor(pixels.numpy().transpose(1, 2, 0) * 255) / 255, atol=1e-6)
    np.testing.assert_allclose(shown["grey"] * 255, np.arange(6).reshape(2, 3), atol=1e-4)
    assert [found["several"][i] for i in (1, 2, 3)] == [[4], [16], [1]]
    assert [found["f"][i] for i in (1, 2, 3)] == [[100], [50], [4]]


def test_settings_of_runs(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        writer.add_hparams({"lr": 0.5, "name": "a", "bias": True}, {"score": rv.tensor(2.0)}, run_name="r")
        refused(ValueError, "[add_hparams] got x [1]", writer.add_hparams, {"x": [1]}, {})
    *plugin, (_, tag, score) = read(tmp_path / "r")
    assert (tag, score[2]) == ("score", [2.0])
    assert [tag for _, tag, _ in plugin] == [
        f"_hparams_/{part}" for part in ("experiment", "session_start_info", "session_end_info")
    ]
    start = fields(fields(fields(plugin[1][2][9][0])[1][0])[2][0])[3][0]
    kept = {(f := fields(entry))[1][0].decode(): fields(f[2][0]) for entry in fields(start)[1]}
    assert kept == {"lr": {2: [0.5]}, "name": {3: [b"a"]}, "bias": {4: [1]}}
    named = settings(hparam_dict={"lr": 0.5}, metric_dict={"score": 2.0}, hparam_domain_discrete=None)
    assert b"_hparams_/experiment" in named[0]  # the keywords of torch.utils.tensorboard.summary.hparams
