"""Names that libraries import as they start: timm, kornia, transformers, bitsandbytes, geoopt."""

import copy

import pytest
import ranvier as rv
from support.python import printed

PROGRAM = """
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
uses = tvF.resize, decode_image, FrozenBatchNorm2d, KMNIST, torch.conv_transpose3d
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
    lines = printed("-m", "ranvier.torch", "-c", PROGRAM).splitlines()
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
