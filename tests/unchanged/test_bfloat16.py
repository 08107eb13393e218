"""bfloat16 in a program that this library runs in place of PyTorch: its names, and files that have it."""

from support.python import printed

PROGRAM = """
import io, struct, sys, warnings
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load, save_file

warnings.simplefilter("error")
kinds = {torch.float32: 1, torch.bfloat16: 2, "bfloat16": 3}
assert kinds[torch.bfloat16] == 2 != kinds[torch.float32] and torch.bfloat16 != torch.float32
assert (torch.bfloat16.itemsize, str(torch.bfloat16)) == (2, "torch.bfloat16")
assert torch.promote_types(torch.bfloat16, torch.bfloat16) is torch.bfloat16
assert torch.promote_types(torch.bfloat16, torch.float16) is torch.float32
assert torch.bfloat16.to_complex() is torch.promote_types(torch.bfloat16, torch.complex32) is torch.complex64
assert torch.finfo(torch.bfloat16).bits == 16 and torch.empty(0, dtype=torch.bfloat16).element_size() == 2
halves = bytearray(struct.pack("<4H", 0x3FC0, 0xC040, 0x7F80, 0x0001))  # 1.5, -3, inf, 2**-133
expected = [1.5, -3.0, float("inf"), 2.0**-133]
x = torch.frombuffer(halves, dtype=torch.bfloat16)
x[0] = 2
assert struct.unpack("<H", halves[:2]) == (0x4000,)
x[0] = 1.5
words = torch.frombuffer(halves, dtype=torch.uint8)
assert x.tolist() == words.view(torch.bfloat16).tolist() == expected
assert (x.nbytes, x.dtype, x.type()) == (8, torch.bfloat16, "torch.BFloat16Tensor")
assert isinstance(torch.ones(2).bfloat16(), torch.BFloat16Tensor) and not isinstance(x, torch.HalfTensor)
assert torch.BFloat16Tensor([1.5]).dtype is torch.ones(1).type("torch.BFloat16Tensor").dtype is torch.bfloat16
view = words.view(torch.bfloat16)
view[1] = 1
assert x.tolist()[1] == 1 and not words.float().requires_grad_().view(torch.bfloat16).requires_grad
x[1] = -3
for to_array in (lambda: x.numpy(), lambda: np.asarray(x), lambda: np.save(io.BytesIO(), x)):
    try:
        to_array()
    except TypeError as error:
        assert "Got unsupported ScalarType BFloat16" in str(error)
    else:
        raise AssertionError
path = sys.argv[1] + "/a.safetensors"
head = b'{"a":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}}'
with open(path, "wb") as file:
    file.write(struct.pack("<Q", len(head)) + head + halves)
with safe_open(path, framework="pt") as file:
    assert file.get_tensor("a").flatten().tolist() == expected
    assert file.get_slice("a")[1].tolist() == expected[2:]
save_file({"a": x}, path)
for a in (load(open(path, "rb").read())["a"], torch.load(path)["a"]):
    assert a.dtype is torch.bfloat16 and a.tolist() == expected
for kind in (torch.bfloat16, torch.float16):
    torch.set_default_dtype(kind)
    made = torch.ones(2), torch.tensor(0.5), torch.tensor([1, 0.5]), torch.arange(2.0), torch.rand(1)
    made += (torch.ones(1, dtype=torch.int8) / 2,)
    assert {y.dtype for y in made} == {kind} == {torch.get_default_dtype()}
    assert str(torch.ones(1)) == "tensor([1.])"
torch.set_default_dtype(torch.float32)
meta = torch.empty(2, dtype=torch.bfloat16, device="meta")
assert meta.to(torch.bfloat16).is_meta and (meta + 1).dtype is torch.bfloat16 and meta.nbytes == 4
torch.testing.assert_close(x[:2], x[:2] * 1.01)
"""


def test_what_a_program_sees(tmp_path):
    printed("-m", "ranvier.torch", "-c", PROGRAM, tmp_path)
