"""safetensors.torch in a program that this library runs in place of PyTorch."""

from support.python import printed

PROGRAM = """
import sys
import torch
from safetensors import safe_open
from safetensors.torch import load, load_file, load_model, save, save_file, save_model

path = sys.argv[1] + "/weights.safetensors"
kept = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([True, False]), "c": torch.ones(2).half()}
save_file(kept, path, metadata={"format": "pt"})
with safe_open(path, framework="pt", device="cpu") as file:
    opened = {name: file.get_tensor(name) for name in file.keys()}
for loaded in (load_file(path), load(save(kept)), opened, torch.load(path)):
    for name, value in kept.items():
        assert torch.equal(loaded[name], value) and loaded[name].dtype == value.dtype
        loaded[name].zero_()
try:
    save_file({"x": kept["a"], "y": kept["a"][1:]}, path)
except RuntimeError as error:
    assert "share memory" in str(error)
else:
    raise AssertionError
model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
model[1].weight = model[0].weight
save_model(model, path)
assert load_model(model, path) == (set(), [])
print("end")
"""


def test_a_program_that_saves_and_loads(tmp_path):
    assert printed("-m", "ranvier.torch", "-c", PROGRAM, tmp_path) == "end\n"


MAPPED = """
import sys
import ranvier
import torch
from safetensors.torch import load_file, save_file

path = sys.argv[1] + "/weights"
ranvier.save(torch.nn.Linear(2**11, 2**12), path + ".model")
save_file({"a": torch.ones(2**22), "b": torch.ones(2**22)}, path)
torch.save({"a": torch.ones(2**23)}, path + ".pt")

def in_memory():
    lines = open("/proc/self/status").read().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssFile", "RssAnon")))

def loaded():
    ours = ranvier.load(path), ranvier.load(path + ".model")
    return load_file(path), torch.load(path + ".pt", mmap=True), *ours

loaded()
before = in_memory()
kept = loaded()
print(in_memory() - before < 4000)
for of in kept[:3]:
    assert of["a"].untyped_storage().nbytes() == of["a"].nbytes and of["a"].storage_offset() == 0
print(float(kept[0]["b"].sum()), float(kept[1]["a"].sum()), float(kept[2]["a"].sum()))
"""


def test_weights_are_not_read_before_they_are_used(tmp_path):
    text = f"True\n{2.0**22} {2.0**23} {2.0**22}\n"
    assert printed("-m", "ranvier.torch", "-c", MAPPED, tmp_path) == text
