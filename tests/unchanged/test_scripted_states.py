"""torch.jit.script copies a module by its own state; functions of torch.functional are those of torch."""

from support.python import in_mode

PROGRAM = """
import pickle
import torch
from torch import nn

class Coded(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.code = ["a", "b"]

    def __getstate__(self):
        return {**self.__dict__, "code": dict.fromkeys(self.code, "text")}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.code = [name for name, text in state["code"].items() if text == "text"]

    def forward(self, x):
        return x * self.weight

model = Coded()
copy = torch.jit.script(model)
assert copy.code == ["a", "b"] and copy.weight is model.weight
assert copy(torch.ones(2)).tolist() == [1.0, 1.0]
assert torch.functional.broadcast_tensors is torch.broadcast_tensors
assert pickle.loads(pickle.dumps(torch.broadcast_tensors)) is torch.broadcast_tensors
assert issubclass(torch.jit.Error, RuntimeError)
print("done")
"""


def test_the_state_of_a_scripted_module():
    assert in_mode(PROGRAM).splitlines()[-1] == "done"
