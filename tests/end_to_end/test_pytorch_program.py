"""An ordinary PyTorch program, of which only the import lines were changed."""

import subprocess
import sys

import pytest

IMPORTS = {
    "ranvier": """
import ranvier as torch
import ranvier.nn as nn
import ranvier.nn.functional as F
import ranvier.optim as optim
from ranvier.utils.data import DataLoader, TensorDataset
""",
    "torch": """
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset
""",
}

PROGRAM = """
import numpy as np

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.manual_seed(0)
rng = np.random.default_rng(0)
points = rng.uniform(-1, 1, (400, 2))
labels = (points[:, 0] * points[:, 1] > 0).astype(np.float64)

x = torch.FloatTensor(points).to(device)
y = torch.FloatTensor(labels).reshape(-1, 1)
x_train, x_test, y_train, y_test = x[:300], x[300:], y[:300], y[300:]


class Net(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.fc1 = nn.Linear(2, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.drop = nn.Dropout(0.05)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = self.drop(torch.tanh(self.fc2(x)))
        return torch.sigmoid(self.out(x))


model = Net(32).to(device)
criterion = nn.BCELoss()
optimizer = optim.Adam(model.parameters(), lr=0.02)
loader = DataLoader(TensorDataset(x_train, y_train), batch_size=50, shuffle=True)
print(model)
print(sum(p.numel() for p in model.parameters() if p.requires_grad))

for epoch in range(60):
    model.train()
    running = 0.0
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
        running += loss.item() * len(xb)
    if epoch % 20 == 0:
        print(f"epoch {epoch}: loss {running / len(x_train):.4f}", flush=True)

model.eval()
with torch.no_grad():
    out = model(x_test)
    predicted = (out > 0.5).float()
    accuracy = (predicted == y_test).float().mean()
assert not out.requires_grad
assert out.shape == (100, 1)
assert predicted.numpy().sum() > 10

state = {name: value.clone() for name, value in model.state_dict().items()}
other = Net(32)
other.load_state_dict(state)
other.eval()
assert torch.allclose(other(x_test), out)
print(f"accuracy {accuracy.item():.3f}")
assert accuracy.item() > 0.9
"""

MODEL_TEXT = """Net(
  (fc1): Linear(in_features=2, out_features=32, bias=True)
  (fc2): Linear(in_features=32, out_features=32, bias=True)
  (drop): Dropout(p=0.05, inplace=False)
  (out): Linear(in_features=32, out_features=1, bias=True)
)
1185
"""


@pytest.mark.parametrize("library", ["ranvier", "torch"])
def test_program_runs_with_only_its_imports_changed(library):
    if library == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORTS[library] + PROGRAM],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(MODEL_TEXT)
