"""Names that stay out: libraries can import them, a use is refused by name."""

from __future__ import annotations

import pytest
from support.python import printed

_CODE = """
import importlib.util
from typing import Optional
import ranvier.torch
ranvier.torch.install()
import torch
import torch._dynamo.config
from torch._dynamo import allow_in_graph, disable
from torch.distributed.rpc import RRef
from torch.fx import Transformer, replace_pattern

def annotated(x: Optional[Transformer], y: "Transformer[int]") -> Transformer | None: ...

class Derived(Transformer): ...

torch._dynamo.config.suppress_errors = True
assert not isinstance(torch.nn.Linear(2, 2), Transformer)
assert allow_in_graph(annotated) is annotated is disable(annotated) is disable()(annotated)
assert not torch.compiler.is_compiling() and not torch._dynamo.is_compiling()
with torch.compiler.set_stance("force_eager"):
    torch._logging.set_logs(recompiles=True)
assert not hasattr(torch, "not_a_name") and importlib.util.find_spec("torch.not_a_name") is None
assert not any(hasattr(torch.special, name) for name in ("ops", "nn"))  # modules of ranvier alone
assert torch.ops is not torch.Tensor and torch.zeros(2).layout is not torch.sparse_coo
uses = Derived, Transformer, replace_pattern, RRef, torch.sparse.softmax, torch._dynamo.explain
for use in (*uses, torch.sparse_csr_tensor, torch.export.export):
    try:
        use(1)
    except NotImplementedError as error:
        print(error)
    else:
        raise AssertionError(use)
"""


def test_names_that_stay_out_are_imported_and_refused_when_called() -> None:
    lines = printed("-c", _CODE).splitlines()
    assert lines[0] == "[torch.fx.Transformer] ranvier leaves it out: there are no graphs of modules"
    assert lines[4] == "[torch.sparse.softmax] ranvier leaves it out: all tensors are dense"
    assert all("] ranvier leaves it out: " in line for line in lines)


_UNUSED = """
import torch
from torch.amp.grad_scaler import GradScaler
from torch.distributed import all_to_all_single, all_gather_into_tensor, reduce_scatter_tensor
from torch.distributed._functional_collectives import wait_tensor
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard
from torch.fx.experimental.symbolic_shapes import guard_or_false, statically_known_true

assert Shard(0) == Shard(dim=0) != Shard(1) and Shard(1).is_shard(1) and not Replicate().is_partial()
assert len({Replicate(), Replicate(), Partial()}) == 2 and repr(Shard(2)) == "Shard(dim=2)"
assert guard_or_false(2 > 1) and not statically_known_true(0)
guards = "cuda.is_current_stream_capturing xpu.is_current_stream_capturing _dynamo.utils.is_compiling"
guards += " utils._python_dispatch.is_traceable_wrapper_subclass _C._are_functorch_transforms_active"
guards += " _subclasses.fake_tensor.is_fake fx.experimental.is_fx_tracing _C._dispatch_has_kernel"
guards += " backends.cuda.is_flash_attention_available"
assert not any(eval(f"torch.{guard}()") for guard in guards.split())
assert "fbgemm" not in torch.backends.quantized.supported_engines and [*torch.fx.Transformer] == []
assert not torch._C._has_mkldnn and not isinstance(1, DTensor)

@torch._dynamo.substitute_in_graph(len)
@torch.jit.script_if_tracing
def three(): return 3

assert three() == 3 and torch._dynamo.mark_static_address(torch.ones(1)) is None
try:
    1 / 0
except torch._dynamo.exc.Unsupported:
    pass
except ZeroDivisionError:
    print("passed on")
x, y, z = torch.arange(4.0), torch.zeros(1, 4), torch.zeros(4)
all_gather_into_tensor(y, x), reduce_scatter_tensor(z, 2 * x), torch.distributed.all_to_all([y], [y + z])
assert y.tolist() == [[0.0, 3.0, 6.0, 9.0]]
all_to_all_single(z, x, [4], [4])
print(z.tolist())
"""


def test_names_that_are_only_imported_and_guards() -> None:
    assert printed("-m", "ranvier.torch", "-c", _UNUSED).splitlines() == ["passed on", "[0.0, 1.0, 2.0, 3.0]"]


@pytest.mark.parametrize("path", ["fx.passes", "fx.passes.shape_prop", "sparse_coo", "_dynamo.config"])
def test_the_reason_is_that_of_the_longest_path(path: str) -> None:
    from ranvier.torch.absent import why

    assert why(path)
    assert not why("nn")
    assert not why("fxx")


_LACKING = """
import ranvier.torch
ranvier.torch.install()
import torch, torchvision
from torch import nn


gone = next(name for name in ranvier.torch.names.LACKING.split() if not hasattr(torch.Tensor, name))
uses = f"torch.nope nn.Nope nn.functional.nope torch.optim.nope torchvision.nope torch.ones(1).{gone}"
for use in f"{uses} torchvision.models.nope torch.Tensor.{gone}".split():
    try:
        eval(use)
    except AttributeError as error:
        print(error)
    owner, _, name = use.rpartition(".")
    assert not hasattr(eval(owner), name) and getattr(eval(owner), name, 5) == 5
lines = "from torch import nope", "from torch.nn import Linear, Nope", "from torchvision.models import nope"
for line in lines:
    try:
        exec(line)
    except ImportError as error:
        assert error.name == line.split()[1], error.name
        print(error)
for line in ("import torch.nope", "from torch.nn.nope import x"):
    try:
        exec(line)
    except ModuleNotFoundError as error:
        assert error.name == line.split()[1], error.name
        print(error)
from torch import *
"""


def test_a_missing_name_says_whose_it_is() -> None:
    lines = printed("-c", _LACKING).splitlines()
    assert len(lines) == 13
    assert lines[1].startswith("module 'torch.nn' has no attribute 'Nope': ranvier")
    assert lines[9].startswith("cannot import name 'Nope' from 'torch.nn': ranvier")
    assert all("ranvier" in line and "docs/pytorch_names.md" in line for line in lines)
