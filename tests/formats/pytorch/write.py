"""Writes the files of this folder, with PyTorch: `python tests/formats/pytorch/write.py`.

old.pt, of the form before version 1.6, has all of the values, weights.pt the first ones. module.pt is a whole
module. big.pt has the bytes of its numbers in the other order.
"""

import zipfile
from collections import OrderedDict
from pathlib import Path

import torch

HERE = Path(__file__).parent

x = torch.arange(6.0)
values = OrderedDict(
    x=x,
    part=x[2:].view(2, 2).t(),
    brain=torch.tensor([1.5, -3.0], dtype=torch.bfloat16),
    about={"epoch": 3, "names": ("a", None), "size": torch.Size([2, 3]), "dtype": torch.float64},
)
torch.save(values, HERE / "weights.pt")
values["empty"] = torch.empty(0, 3)
values["number"] = torch.tensor(7)
values["half"] = torch.tensor([1.5, -2.0], dtype=torch.float16)
values["weight"] = torch.nn.Parameter(torch.tensor([True, False]), requires_grad=False)
torch.save(values, HERE / "old.pt", _use_new_zipfile_serialization=False)
layer = torch.nn.Linear(2, 1, bias=False).eval()
layer.weight.data = torch.tensor([[1.0, 2.0]])
torch.save(layer, HERE / "module.pt")
torch.save({"x": torch.tensor([1.0, 2.0]), "n": torch.tensor([3, 4])}, HERE / "little.pt")
with zipfile.ZipFile(HERE / "little.pt") as little, zipfile.ZipFile(HERE / "big.pt", "w") as big:
    for name in little.namelist():
        data = little.read(name)
        if name.endswith("byteorder"):
            data = b"big"
        elif "/data/" in name:
            size = 4 if name[-1] == "0" else 8
            data = b"".join(data[i : i + size][::-1] for i in range(0, len(data), size))
        big.writestr(name, data)
(HERE / "little.pt").unlink()
