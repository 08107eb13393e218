"""Texts that programs compare and cut apart: as PyTorch's."""

import subprocess
import sys

PROGRAM = """
import torch
x = torch.zeros(2, 3, dtype=torch.float64)
print(x.shape, x.shape[2:], [torch.Size([1])], x.dtype, str(x.dtype).split(".")[-1], x.layout, x[:1, :1])
"""


def test_texts():
    done = subprocess.run(
        [sys.executable, "-m", "ranvier.torch", "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    expected = "torch.Size([2, 3]) torch.Size([]) [torch.Size([1])] torch.float64 float64 torch.strided "
    assert done.stdout == f"{expected}tensor([[0.]], dtype=torch.float64)\n"
