"""bfloat16 in a program that this library runs in place of PyTorch: a name, and files that have it."""

from support.python import printed

PROGRAM = """
import io, struct, sys, warnings
import torch
from safetensors import safe_open

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    kinds = {torch.float32: 1, torch.bfloat16: 2, "bfloat16": 3}
    assert kinds[torch.bfloat16] == 2 != kinds[torch.float32] and torch.bfloat16 != torch.float32
    assert (torch.bfloat16.itemsize, str(torch.bfloat16)) == (2, "torch.bfloat16")
    assert torch.promote_types(torch.bfloat16, torch.bfloat16) is torch.bfloat16
    assert torch.finfo(torch.bfloat16).bits == 16 and torch.empty(0, dtype=torch.bfloat16).element_size() == 2
    assert not caught
    halves = bytearray(struct.pack("<4H", 0x3FC0, 0xC040, 0x7F80, 0x0001))  # 1.5, -3, inf, 2**-133
    expected = [1.5, -3.0, float("inf"), 2.0**-133]
    assert torch.frombuffer(halves, dtype=torch.bfloat16).tolist() == expected
    assert torch.frombuffer(halves, dtype=torch.uint8).view(torch.bfloat16).tolist() == expected
    path = sys.argv[1] + "/a.safetensors"
    head = b'{"a":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}}'
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(head)) + head + halves)
    with safe_open(path, framework="pt") as file:
        assert file.get_tensor("a").flatten().tolist() == expected
        assert file.get_slice("a")[1].tolist() == expected[2:]
    torch.set_default_dtype(torch.bfloat16)
    assert torch.ones(2).dtype == torch.zeros(2, dtype=torch.bfloat16).dtype == torch.float32
    assert torch.empty(2, dtype=torch.bfloat16, device="meta").to(torch.bfloat16).is_meta
    assert torch.nn.Linear(2, 2, dtype=torch.bfloat16).weight.dtype == torch.float32
print([str(warning.message) for warning in caught])
"""


def test_values_are_kept_as_float32_with_one_warning(tmp_path):
    text = "['[bfloat16] is kept as float32, which has all its numbers']\n"
    assert printed("-m", "ranvier.torch", "-c", PROGRAM, tmp_path) == text
