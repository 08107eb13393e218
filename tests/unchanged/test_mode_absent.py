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
from torch.fx import GraphModule, symbolic_trace
from torch.fx.experimental.symbolic_shapes import guard_or_false

def annotated(x: Optional[GraphModule], y: "GraphModule[int]") -> GraphModule | None: ...

class Derived(GraphModule): ...

torch._dynamo.config.suppress_errors = True
assert not isinstance(torch.nn.Linear(2, 2), GraphModule)
assert allow_in_graph(annotated) is annotated is disable(annotated) is disable()(annotated)
assert not torch.compiler.is_compiling() and not torch._dynamo.is_compiling()
assert not hasattr(torch, "not_a_name") and importlib.util.find_spec("torch.not_a_name") is None
assert torch.ops is not torch.Tensor and torch.zeros(2).layout is not torch.sparse_coo
uses = Derived, GraphModule, symbolic_trace, guard_or_false, RRef, torch.sparse.mm, torch._dynamo.explain
for use in (*uses, torch.sparse_coo_tensor, torch.ops.aten.add, torch.export.export):
    try:
        use(1)
    except NotImplementedError as error:
        print(error)
    else:
        raise AssertionError(use)
"""


def test_names_that_stay_out_are_imported_and_refused_when_called() -> None:
    lines = printed("-c", _CODE).splitlines()
    assert lines[0] == "[torch.fx.GraphModule] ranvier leaves it out: there are no graphs of modules"
    assert lines[5] == "[torch.sparse.mm] ranvier leaves it out: all tensors are dense"
    assert all("] ranvier leaves it out: " in line for line in lines)


@pytest.mark.parametrize("path", ["fx", "fx.Node", "sparse_coo", "_dynamo.config"])
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
