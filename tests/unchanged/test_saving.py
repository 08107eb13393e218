"""torch.save, torch.load and pickle in a program that this library runs in place of PyTorch."""

import io

import ranvier as rv
from ranvier.torch import files
from support.python import printed

PROGRAM = """
import copy, io, pickle, sys
import torch
from torch import nn
from torch.serialization import safe_globals

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout())
        self.head = nn.Linear(3, 1)
        self.act = torch.nn.functional.relu
        self.register_buffer("lost", torch.ones(1), persistent=False)
        self.size, self.dtype, self.device = torch.Size([2]), torch.float32, torch.device("cpu")

    def forward(self, x):
        return self.head(self.act(self.body(x)))

def hook(module, args, output):
    return output + 1

folder, x = sys.argv[1], torch.randn(4, 2)
net = Net()
net.head.register_forward_hook(hook)
optimizer = torch.optim.AdamW(net.parameters())
schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
net(x).sum().backward(); optimizer.step(); schedule.step()
net.eval()

torch.save(net, f"{folder}/net.pt")
with open(f"{folder}/net.pt", "rb") as file:
    content = file.read()
assert b"torch.nn.modules.batchnorm\\nBatchNorm1d" in content and b"ranvier" not in content
again = torch.load(f"{folder}/net.pt", weights_only=False)
assert torch.equal(again(x), net(x)) and list(again.state_dict()) == list(net.state_dict())
try:
    torch.load(f"{folder}/net.pt")
except pickle.UnpicklingError as error:
    assert "Weights only load failed" in str(error) and "__main__.Net" in str(error)
else:
    raise AssertionError
names = [nn.Sequential, nn.Linear, nn.BatchNorm1d, nn.Dropout, torch.nn.functional.relu]
with safe_globals([Net, hook, *names]):
    assert torch.equal(torch.load(f"{folder}/net.pt")(x), net(x))
attention = nn.MultiheadAttention(4, 2)
torch.save(attention, f"{folder}/attention.pt")
with safe_globals([nn.MultiheadAttention, nn.modules.linear.NonDynamicallyQuantizableLinear]):
    again = torch.load(f"{folder}/attention.pt")
assert torch.equal(again.out_proj.weight, attention.out_proj.weight)

state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(),
         "rng": torch.get_rng_state(), "epoch": 3}
stream = io.BytesIO()
torch.serialization.save(state, stream)
drawn = torch.rand(3)
stream.seek(0)
loaded = torch.load(stream, map_location=torch.device("cpu"))
torch.set_rng_state(loaded["rng"])
assert torch.equal(torch.rand(3), drawn)
fresh = Net()
fresh.load_state_dict(loaded["net"])
optimizer.load_state_dict(loaded["optimizer"]); schedule.load_state_dict(loaded["schedule"])
assert torch.is_tensor(loaded["optimizer"]["state"][0]["exp_avg"])
for copied in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
    assert torch.equal(copied(x), net(x))

# pickles of PyTorch's tensors that no torch.save wrote
from torch._utils import _rebuild_tensor_v2
from torch.storage import _load_from_bytes
print("end")
"""


def test_a_program_that_saves_and_loads(tmp_path):
    assert printed("-m", "ranvier.torch", "-c", PROGRAM, tmp_path) == "end\n"


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
