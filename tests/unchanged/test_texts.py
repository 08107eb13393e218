"""Texts that programs compare and cut apart: as PyTorch's."""

from support.python import printed

PROGRAM = """
import torch
x = torch.zeros(2, 3, dtype=torch.float64)
print(x.shape, x.shape[2:], [torch.Size([1])], x.dtype, str(x.dtype).split(".")[-1], x.layout, x[:1, :1])
"""


def test_texts():
    expected = "torch.Size([2, 3]) torch.Size([]) [torch.Size([1])] torch.float64 float64 torch.strided "
    assert printed("-m", "ranvier.torch", "-c", PROGRAM) == f"{expected}tensor([[0.]], dtype=torch.float64)\n"
