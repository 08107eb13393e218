"""Names that libraries import, and texts that programs compare, in the mode."""

import copy

import numpy as np
import pytest
import ranvier as rv
from ranvier.settings import Settings
from ranvier.torch.functions import torch_functions
from ranvier.torch.functions.composed import svd
from ranvier.torch.utils import hub
from support.python import in_mode
from support.refused import refused

PROGRAM = """
import torch, copy, pickle
from torch import nn
from torch.nn.init import _calculate_fan_in_and_fan_out
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.modules.module import _IncompatibleKeys
from torch.nn.modules.rnn import RNNBase
from torch._jit_internal import _copy_to_script_wrapper
from torch._tensor_str import _add_suffixes, _tensor_str
from torch.nn.utils.stateless import _reparametrize_module, functional_call
from torch.nn.grad import conv1d_weight, conv2d_input
from torch.nn.utils import _per_sample_grad, parametrizations
from torch.autograd.functional import _construct_standard_basis_for, _grad_postprocess
from torch.autograd.function import Function, FunctionCtx, once_differentiable
from torch.autograd.functional import _as_tuple, _tuple_postprocess
from torch._vmap_internals import _vmap
from torch.cuda import nvtx, random
from torch.optim.lbfgs import _cubic_interpolate, _strong_wolfe
from torch.optim.optimizer import StateDict
from torch.optim.sparse_adam import SparseAdam
from torch.optim import lr_scheduler
from torch.ao.nn.quantized.dynamic import Linear as DynamicLinear
from torch.ao.quantization import prepare, quantize_dynamic
from torch.utils.data._utils.collate import default_collate
from torch.utils.data.dataloader import _BaseDataLoaderIter, _MultiProcessingDataLoaderIter
from torch.utils.tensorboard.summary import hparams

for name in "Adadelta Adagrad Adam Adamax AdamW ASGD LBFGS NAdam RAdam RMSprop Rprop SGD".split():
    exec(f"from torch.optim.{name.lower()} import {name}")
from torch.nn.modules.utils import _list_with_default, _ntuple, _reverse_repeat_tuple
assert (_ntuple(3)(1), _ntuple(2, "n")(range(2))) == ((1, 1, 1), (0, 1))
assert _reverse_repeat_tuple((1, 2), 2) == (2, 2, 1, 1)
assert _list_with_default([None, 4], [1, 2, 3]) == [2, 4]

layer = nn.Linear(2, 3)
small = quantize_dynamic(nn.Sequential(layer), {nn.Linear}, dtype=torch.qint8)[0]
assert isinstance(small, DynamicLinear) and isinstance(small, torch.nn.quantized.dynamic.Linear)
assert (small.weight().dtype, small.weight().qscheme()) == (torch.qint8, torch.per_channel_affine)
try:
    prepare(layer)
except NotImplementedError as error:
    assert "quantize_dynamic alone" in str(error), error
assert _calculate_fan_in_and_fan_out(layer.weight) == (2, 3)
assert isinstance(layer.load_state_dict(layer.state_dict()), _IncompatibleKeys)
assert isinstance(nn.BatchNorm1d(2), _BatchNorm) and isinstance(nn.GRU(1, 1), RNNBase)
kind = type("Kind", (type,), {})  # as in a library whose classes derive from layers
assert isinstance(kind("Own", (nn.LSTM, kind("Base", (RNNBase,), {})), {})(2, 3), nn.LSTM)
assert _copy_to_script_wrapper(nn.Linear.forward) is nn.Linear.forward
shown = "own(" + _tensor_str(torch.tensor([1.5, 2]), 4)
assert _add_suffixes(shown, ["n=1"], 4, False) == "own([1.5000, 2.0000], n=1)", shown
zero = {"weight": torch.zeros(3, 2), "bias": torch.ones(3)}
with _reparametrize_module(layer, zero):
    assert layer(torch.ones(2)).tolist() == [1.0, 1.0, 1.0]
assert functional_call(layer, zero, torch.ones(2)).tolist() == [1.0, 1.0, 1.0]
members = [nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).eval() for _ in range(4)]
state, x = torch.func.stack_module_state(members), torch.randn(5, 2)
assert all(p.is_leaf and p.requires_grad for p in state[0].values()) and len(state[1]) == 3
both = torch.func.vmap(lambda *state: torch.func.functional_call(members[0], state, (x,)))(*state)
assert torch.allclose(both, torch.stack([m(x) for m in members]), atol=1e-6)
schedule = lr_scheduler.StepLR(torch.optim.SGD(layer.parameters(), lr=1.0), 1)
assert schedule.__module__ == lr_scheduler.__name__ == "torch.optim.lr_scheduler"
assert type(pickle.loads(pickle.dumps(schedule))) is lr_scheduler.StepLR
batches = iter(torch.utils.data.DataLoader([1, 2, 3], batch_size=2))
assert isinstance(batches, _BaseDataLoaderIter)
assert default_collate([1, 2]).tolist() == [1, 2]
assert torch._C._nn._parse_to("cpu", torch.float64)[1] == torch.float64

assert torch.manual_seed(7) is torch.default_generator is torch.random.default_generator
assert torch.default_generator.initial_seed() == torch.initial_seed() == 7
assert (torch.split.__module__, nn.functional.relu.__module__) == ("torch.functional", "torch.nn.functional")
drawn = torch.rand(2, generator=torch.manual_seed(7)), torch.manual_seed(7), torch.rand(2)
assert drawn[0].tolist() == drawn[2].tolist()
random.manual_seed(1); random.manual_seed_all(1); random.seed_all()
assert nvtx.range("a")(lambda: 2)() == 2 and nvtx.range_push("a") == nvtx.range_pop() == 0
torch.set_num_interop_threads(torch.get_num_interop_threads())
assert isinstance(torch.device("cpu"), torch.DeviceObjType) and torch.detach(x).tolist() == x.tolist()
assert torch.ones(2, 3).H.shape == (3, 2) and torch.sparse_csc_tensor
assert torch.repeat_interleave(torch.tensor([2, 0, 3], dtype=torch.int32)).tolist() == [0, 0, 2, 2, 2]
assert [n.item() for n in torch._foreach_norm([torch.tensor([3.0, -4.0])], ord=1)] == [7.0]
layer.register_backward_hook(lambda module, dx, dy: (2 * dx[0],))
at = torch.ones(1, 2, requires_grad=True)
layer(at).sum().backward()
assert torch.allclose(at.grad, 2 * layer.weight.sum(0))
layer._register_state_dict_hook(lambda *args: None)
assert len(layer._state_dict_hooks) == 1 and not nn.Linear(1, 1)._state_dict_hooks
torch.optim.SGD(layer.parameters(), 0.1)._patch_step_function()
wide = conv2d_input((1, 1, 3, 3), torch.tensor([[[[1.0, 2.0]]]]), torch.ones(1, 1, 2, 1), stride=(2, 2))
assert wide.tolist() == [[[[1.0, 2.0, 0.0], [0.0] * 3, [1.0, 2.0, 0.0]]]]
narrow = conv1d_weight(torch.arange(4.0).reshape(1, 1, 4), (1, 1, 2), torch.ones(1, 1, 3))
assert narrow.tolist() == [[[3.0, 6.0]]]
basis = _construct_standard_basis_for(at.unbind(1), (1, 1))
assert [b.tolist() for b in basis] == [[[1.0], [0.0]], [[0.0], [1.0]]]
assert not _grad_postprocess((at,), False)[0].requires_grad and _grad_postprocess(at, True) is at
assert _vmap(lambda a, b: (a * b).sum(), (0, 1))(torch.ones(3, 2), torch.ones(2, 3)).tolist() == [2.0] * 3

def f(x, t, d):
    p = (x + t * d).requires_grad_()
    y = (p**4 - 3 * p**2 + p).sum()
    return y.item(), torch.autograd.grad(y, p)[0]

assert [_as_tuple(1), _as_tuple([1])] == [(False, (1,)), (True, (1,))]
unpacked = [_tuple_postprocess(((1, 2), (3, 4)), (a, b)) for a in (0, 1) for b in (0, 1)]
assert unpacked == [1, (1, 2), (1, 3), ((1, 2), (3, 4))] and _tuple_postprocess((1, 2), False) == 1
assert not hasattr(torch.utils.data.DataLoader, "state_dict")

at = torch.tensor([2.0, -3.0], dtype=torch.float64)
y, g = f(at, 0, 0 * at)
y, g, t, count = _strong_wolfe(f, at, 1.0, -g, y, g, -g.dot(g))  # PyTorch's numbers, here and below
assert [round(v, 5) for v in (y, *g.tolist(), t, count)] == [37.0366, -1.79412, 67.94807, 0.06464, 4]
y, g = f(at, 0, 0 * at)
y, g, t, count = _strong_wolfe(f, at, 0.1, -g, y, g, -g.dot(g), c1=0.1, c2=0.2)
assert [round(v, 5) for v in (y, *g.tolist(), t, count)] == [-1.59165, -1.21329, 3.5959, 0.04945, 2]
assert round(_cubic_interpolate(0.0, 1.0, -2.0, 1.0, 0.5, 1.0), 5) == 0.66667
rows = nn.Embedding.from_pretrained(torch.arange(6.0).reshape(3, 2), freeze=False)
adam = SparseAdam(rows.parameters(), lr=0.1)
for step in ([0, 1], [1, 1]):
    adam.zero_grad()
    (rows(torch.tensor(step)) ** 2).sum().backward()
    adam.step()
expected = torch.tensor([[0.0, 0.9], [1.802947, 2.803126], [4.0, 5.0]])
assert torch.allclose(rows.weight, expected, atol=1e-5), rows.weight

from torchvision.datasets.vision import StandardTransform, VisionDataset
from torchvision.datasets.cifar import CIFAR10
from torchvision.datasets.folder import find_classes, make_dataset, pil_loader
from torchvision.transforms.transforms import Compose
activations = [kind for kind in vars(torch.nn.modules.activation).values() if isinstance(kind, type)]
assert {nn.ReLU, nn.GELU} <= {*activations} and nn.Linear not in activations
assert isinstance(nn.LazyLinear(2).weight, nn.UninitializedParameter)
print("done")
"""


def test_names_that_libraries_import():
    assert in_mode(PROGRAM) == "done\n"


def test_the_folder_of_the_hub(monkeypatch):
    monkeypatch.setenv("TORCH_HOME", "/cache")
    assert hub.get_dir() == "/cache/hub"
    monkeypatch.setattr(hub, "_set", Settings(folder=""))
    hub.set_dir("/other")
    assert hub.get_dir() == "/other"


def test_dtypes_of_few_bits_can_be_named():
    assert (repr(torch_functions.uint3), torch_functions.int7.is_signed, torch_functions.uint7.is_signed) == (
        "torch.uint3",
        True,
        False,
    )
    refused(TypeError, "int4; expected ", rv.zeros, 2, dtype=torch_functions.int4)


def test_svd_gives_v_itself():
    x = rv.randn(4, 2, dtype=rv.float64)
    for some in (True, False):
        u, s, v = svd(x, some=some)
        assert (u.shape[1], v.shape) == (2 if some else 4, (2, 2))
        np.testing.assert_allclose((u[:, :2] @ rv.diag(s) @ v.T).numpy(), x.numpy(), atol=1e-12)
    assert not svd(x, compute_uv=False).V.any()


# Names that libraries import as they start: timm, kornia, transformers, bitsandbytes, geoopt.


LIBRARIES_PROGRAM = """
import pickle
import torch
from torch.distributions.wishart import Wishart
from torch.hub import HASH_REGEX, download_url_to_file, urlparse
from torch.jit.annotations import List
from torch.library import Library, custom_op, register_fake
from torch.nn.attention.flex_attention import BlockMask
import torchvision.models as models
from torchvision.datasets import KMNIST, MNIST
from torchvision.io import decode_image
from torchvision.ops.misc import FrozenBatchNorm2d
from torchvision.transforms.v2 import functional as tvF

class Layer(torch.nn.Module):
    @torch.jit.ignore()
    def names(self, stream: torch.cuda.Stream | None = None) -> List[str]: return ["a"]

@custom_op("mine::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty(len(x), len(x))
    return torch.mm(x, x.T, out=out)

@twice.register_fake
def _(x): return x

register_fake("mine::twice", _)
Library("mine", "FRAGMENT").define("three(Tensor x) -> Tensor")
weight = torch.ones(2, 1, requires_grad=True)
assert twice(weight).tolist() == torch.ops.mine.twice.default(weight).tolist() == [[1.0, 1.0], [1.0, 1.0]]
assert models.__dict__["resnet18"] is models.resnet18 and "vgg16" in dir(models)
assert torch.torch is torch and Layer().names() == ["a"] and not isinstance(2, torch.SymInt)
assert not isinstance(torch.nn.Linear(1, 1), FrozenBatchNorm2d)
assert HASH_REGEX.search("net-0a1b.pth").group(1) == "0a1b" and urlparse("http://a/b").path == "/b"
assert torch.empty(0, dtype=torch.bfloat16).element_size() == 2 and torch.empty(0).shape == (0,)
keys = torch.utils._pytree._dict_flatten_with_keys({"a": 1})
assert keys == ([(torch.utils._pytree.MappingKey("a"), 1)], ["a"])
x = torch.ones(2)
assert torch.conj(x) is x and torch.real(x) is x is x.resolve_conj() and not torch.is_conj(x)
with torch.inference_mode():
    assert torch.is_inference_mode_enabled() and torch.is_inference(x + 1) and not torch.is_inference(x)
assert x.to_dense() is x and x.to_dense(torch.float64).dtype == torch.float64
assert torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2", "AVX512")
assert str(type(x)) == "<class 'torch.Tensor'>" and pickle.loads(pickle.dumps(x)).tolist() == [1.0, 1.0]
holder = torch.nn.Linear(2, 2)
holder.act = torch.nn.ReLU()
for name, value in ("weight", x), ("act", torch.tanh):
    try:
        setattr(holder, name, value)
    except TypeError as error:
        assert " or None" in str(error), error
torch._foreach_maximum_([x], [torch.tensor([0.0, 3.0])])
assert x.tolist() == [1.0, 3.0]
from torch.distributions.multivariate_normal import _precision_to_scale_tril
from torch.distributions.transforms import _clipped_sigmoid
assert _precision_to_scale_tril(4 * torch.eye(2)).tolist() == [[0.5, 0.0], [0.0, 0.5]]
assert 0.999 < _clipped_sigmoid(x * 99)[1] < 1
uses = tvF.resize, decode_image, FrozenBatchNorm2d, KMNIST, torch.nn.FractionalMaxPool3d
for use in (*uses, download_url_to_file, torch.cuda.CUDAGraph, BlockMask, Wishart):
    try:
        use(x)
    except NotImplementedError as error:
        print(error)
for use in (lambda: torch.cuda.Stream(), lambda: torch.empty(2, dtype=torch.float8_e5m2)):
    try:
        use()
    except (RuntimeError, TypeError):
        print("refused")
"""


def test_names_are_imported_and_refused_by_name_when_used():
    lines = in_mode(LIBRARIES_PROGRAM).splitlines()
    assert len(lines) == 11, lines
    assert lines[0].startswith("[torchvision.transforms.v2.functional.resize] ranvier leaves it out: ")


@pytest.mark.parametrize(
    ("name", "eps", "most", "least"),
    [
        ("bfloat16", 0.0078125, 3.3895313892515355e38, 1.1754943508222875e-38),
        ("float8_e4m3fn", 0.125, 448.0, 0.015625),
        ("float8_e5m2", 0.25, 57344.0, 6.103515625e-05),
        ("float8_e5m2fnuz", 0.125, 57344.0, 3.0517578125e-05),
        ("float8_e8m0fnu", 1.0, 1.7014118346046923e38, 5.877471754111438e-39),
    ],
)
def test_limits_of_dtypes_that_can_be_named_only(name, eps, most, least):
    limits = rv.finfo(getattr(rv, name))
    assert (limits.eps, limits.max, limits.tiny, limits.smallest_normal) == (eps, most, least, least)
    assert limits.dtype == name


def test_a_buffer_is_registered_when_it_is_assigned():
    class Layer(rv.nn.Module):
        def __init__(self):
            super().__init__()
            self.kept = rv.nn.Buffer(rv.ones(2))
            self.hidden = rv.nn.Buffer(rv.zeros(1), persistent=False)

    layer = Layer()
    assert list(layer.state_dict()) == ["kept"]
    assert [name for name, _ in layer.named_buffers()] == ["kept", "hidden"]
    assert not list(layer.parameters())
    layer.load_state_dict({"kept": rv.tensor([3.0, 4.0])})
    assert (layer.kept * 2).tolist() == [6.0, 8.0]
    assert list(copy.deepcopy(layer).state_dict()) == ["kept"]
    layer.kept = rv.nn.Buffer(rv.ones(1), persistent=False)
    assert not layer.state_dict()


def test_a_subclass_is_made_on_the_memory_of_a_tensor():
    class Tagged(rv.Tensor):
        def __new__(cls, data, tag):
            out = rv.Tensor._make_subclass(cls, data, True)
            out.tag = tag
            return out

    data = rv.ones(2)
    tagged = Tagged(data, tag="a")
    data.fill_(2.0)
    assert tagged.tolist() == [2.0, 2.0]
    assert (tagged.tag, tagged.requires_grad, type(tagged)) == ("a", True, Tagged)
    with pytest.raises(TypeError):
        rv.Tensor(2, tag="a")


def test_cross_of_linalg_takes_the_last_dimension():
    x, y = rv.randn(3, 3), rv.randn(3, 3)
    assert rv.linalg.cross(x, y).tolist() == rv.cross(x, y, -1).tolist() != rv.cross(x, y).tolist()


# Texts that programs compare and cut apart: as PyTorch's.


TEXTS_PROGRAM = """
import torch
x = torch.zeros(2, 3, dtype=torch.float64)
print(x.shape, x.shape[2:], [torch.Size([1])], x.dtype, str(x.dtype).split(".")[-1], x.layout, x[:1, :1])
"""


def test_texts():
    expected = "torch.Size([2, 3]) torch.Size([]) [torch.Size([1])] torch.float64 float64 torch.strided "
    assert in_mode(TEXTS_PROGRAM) == f"{expected}tensor([[0.]], dtype=torch.float64)\n"
