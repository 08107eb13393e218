"""States and files of programs: saved, safetensors, bfloat16, memory that processes share."""

import io

import ranvier as rv
from ranvier.torch import files
from support.python import in_mode, printed

PROGRAM = """
import io, pickle, sys
import torch
from torch import nn
from torch.serialization import safe_globals

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.act = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), torch.nn.functional.relu
        self.size, self.dtype, self.device = torch.Size([2]), torch.float32, torch.device("cpu")

    def forward(self, x):
        return self.act(self.body(x))

def loaded(value, **settings):
    torch.serialization.save(value, stream := io.BytesIO())
    content = stream.getvalue()
    assert b"ranvier" not in content
    return torch.load(io.BytesIO(content), **settings)

net, x = Net().eval(), torch.randn(4, 2)
assert torch.equal(loaded(net, weights_only=False)(x), net(x))
try:
    loaded(net)
except pickle.UnpicklingError as error:
    assert "Weights only load failed" in str(error) and "__main__.Net" in str(error)
else:
    raise AssertionError
with safe_globals([Net, nn.Sequential, nn.Linear, nn.BatchNorm1d, torch.nn.functional.relu]):
    assert torch.equal(loaded(net)(x), net(x))
attention = nn.MultiheadAttention(4, 2)
with safe_globals([nn.MultiheadAttention, nn.modules.linear.NonDynamicallyQuantizableLinear]):
    assert torch.equal(loaded(attention).out_proj.weight, attention.out_proj.weight)
schedule = torch.optim.lr_scheduler.StepLR(torch.optim.AdamW(net.parameters()), 2)
state = loaded({"schedule": schedule.state_dict(), "rng": torch.get_rng_state()}, map_location=x.device)
drawn = torch.rand(3)
torch.set_rng_state(state["rng"]), schedule.load_state_dict(state["schedule"])
assert torch.equal(torch.rand(3), drawn)
for conv in (nn.Conv1d(2, 3, 3, padding="same"), nn.Conv2d(2, 3, 3, padding=1), nn.ConvTranspose2d(2, 3, 2)):
    image = torch.randn(1, 2, *[5] * len(conv.kernel_size))
    assert torch.equal(loaded(conv, weights_only=False)(image), conv(image))

# pickles of PyTorch's tensors that no torch.save wrote
from torch._utils import _rebuild_tensor_v2
from torch.storage import _load_from_bytes
print("end")
"""  # more of files: tests/formats/test_pytorch_files.py


def test_a_program_that_saves_and_loads():
    assert in_mode(PROGRAM) == "end\n"


def test_a_file_of_the_programs_own_is_flushed():
    class Upload:
        def __init__(self):
            self.parts, self.sent = [], None

        def write(self, content):
            self.parts.append(content)

        def flush(self):
            self.sent = b"".join(self.parts)

    f = Upload()
    files.save({"w": rv.ones(2)}, f)
    assert rv.load(io.BytesIO(f.sent))["w"].tolist() == [1, 1]


# safetensors.torch in a program that this library runs in place of PyTorch.


SAFETENSORS = """
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


def test_a_program_with_safetensors(tmp_path):
    assert in_mode(SAFETENSORS, tmp_path) == "end\n"


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
    assert in_mode(MAPPED, tmp_path) == text


# bfloat16 in a program that this library runs in place of PyTorch: its names, and files that have it.


BFLOAT16_PROGRAM = """
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
    in_mode(BFLOAT16_PROGRAM, tmp_path)


# Memory that processes have in common: `share_memory_` of tensors, `share_memory` of modules.


SHARED_PROGRAM = """
import copy, os
import torch
import torch.multiprocessing as mp
from torch import nn

def train(net, total, part, brain):
    assert brain.dtype is torch.bfloat16 and brain.tolist() == [1.5, 2.0]
    brain *= 2
    assert part.is_shared() and part.shape == (2, 2)
    part += 1
    assert net.weight.is_shared() and type(net.weight) is nn.Parameter and net.weight.requires_grad
    optimizer = torch.optim.SGD(net.parameters(), 0.5)
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    total += net.count
    total.data.mul_(2)

if __name__ == "__main__":
    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    for method in {"spawn", mp.get_all_start_methods()[0]}:
        net, total = nn.Linear(2, 1), torch.zeros(3).share_memory_()
        net.register_buffer("count", torch.tensor(7.0))
        assert net.share_memory() is net and not torch.ones(2).is_shared()
        weight, rows = net.weight.detach().clone(), torch.zeros(3, 3).share_memory_()
        brain = torch.tensor([1.5, 2.0]).bfloat16().share_memory_()
        process = mp.get_context(method).Process(target=train, args=(net, total, rows.t()[1:, :2], brain))
        process.start()
        process.join()
        assert process.exitcode == 0, method
        assert torch.equal(net.weight, weight - 0.5) and total.tolist() == [14.0] * 3
        assert brain.tolist() == [3.0, 4.0] and brain.is_shared()
        assert rows.tolist() == [[0.0, 1.0, 1.0]] * 2 + [[0.0] * 3]
        assert not copy.deepcopy(net).weight.is_shared()
    del net, total, rows, brain
    assert not os.path.isdir("/dev/shm") or {n for n in os.listdir("/dev/shm") if n[:3] == "psm"} <= before
"""


def test_processes_train_one_network(tmp_path):
    (tmp_path / "program.py").write_text(SHARED_PROGRAM)
    printed("-m", "ranvier.torch", tmp_path / "program.py")
