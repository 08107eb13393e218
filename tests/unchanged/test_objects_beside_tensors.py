"""Objects that are no Tensors, but have `__torch_function__`, as operands of Tensors."""

import pytest
from support.python import in_mode

PROGRAM = """
import torch

class Diagonal:
    def __init__(self, values):
        self.values = values

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return func.__name__, func is getattr(torch, func.__name__, None), [type(x).__name__ for x in args]

x, d = torch.ones(2, 2), Diagonal(torch.ones(2))
print({call})
print((x + x).tolist())
try:
    x + "text"
except TypeError:
    print("refused")
"""


@pytest.mark.parametrize(
    ("call", "name", "is_function"),
    [
        ("x @ d", "matmul", False),
        ("x + d", "add", False),
        ("x - d", "sub", False),
        ("x / d", "div", False),
        ("x < d", "lt", False),
        ("torch.matmul(x, d)", "matmul", True),
        ("torch.add(x, d)", "add", True),
        ("torch.sum(d)", "sum", True),
    ],
)
def test_the_first_operand_that_asks(call, name, is_function):
    lines = in_mode(PROGRAM.replace("{call}", call)).splitlines()
    kinds = ["Tensor", "Diagonal"] if "x" in call else ["Diagonal"]
    assert lines[-3:] == [str((name, is_function, kinds)), "[[2.0, 2.0], [2.0, 2.0]]", "refused"]


REGISTRY = """
import torch
known = {torch.Tensor.matmul: "product", torch.Tensor.add: "sum", torch.add: "function"}

class Diagonal:
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return known[func]

x = torch.ones(2, 2)
print(x @ Diagonal(), x + Diagonal(), torch.add(x, Diagonal()), known[torch.Tensor.add])
print(torch.Tensor.add == torch.Tensor.sub, torch.Tensor.add == torch.add)
"""


def test_methods_that_were_registered_before_anything_asked():
    assert in_mode(REGISTRY).splitlines()[-2:] == ["product sum function sum", "False False"]
