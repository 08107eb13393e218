"""Ordinary PyTorch programs, of which only the import lines were changed.

The classifier begins with the same weights in both libraries, and its losses are compared where torch is
installed.
"""

import json
import os
import subprocess
import sys

import numpy as np
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

# Weights that do not depend on the library's random numbers; and what is compared: the last line, as JSON.
BEGIN = """
import json
import numpy as np

torch.manual_seed(42)
print(f"version {torch.__version__}")


def same_start(model):
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for p in model.parameters():
            bound = 1 / np.sqrt(p.shape[-1])
            p.copy_(torch.from_numpy(rng.uniform(-bound, bound, tuple(p.shape)).astype(np.float32)))
"""

BINARY = """
rng = np.random.default_rng(42)
X = rng.normal(size=(1000, 20))
y = (X[:, 0] * X[:, 1] + X[:, 2] > 0).astype(float)
X_train, X_test, y_train, y_test = X[:800], X[800:], y[:800], y[800:]
X_train = torch.FloatTensor(X_train)
y_train = torch.FloatTensor(y_train).reshape(-1, 1)
X_test = torch.FloatTensor(X_test)
y_test = torch.FloatTensor(y_test).reshape(-1, 1)


class Classifier(nn.Module):
    def __init__(self, input_size, hidden_size, output_size):
        super(Classifier, self).__init__()
        self.layer1 = nn.Linear(input_size, hidden_size)
        self.relu = nn.ReLU()
        self.layer2 = nn.Linear(hidden_size, output_size)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x):
        out = self.layer1(x)
        out = self.relu(out)
        out = self.layer2(out)
        out = self.sigmoid(out)
        return out


model = Classifier(input_size=20, hidden_size=32, output_size=1)
same_start(model)
criterion = nn.BCELoss()
optimizer = optim.Adam(model.parameters(), lr=0.01)
losses = []
for epoch in range(100):
    outputs = model(X_train)
    loss = criterion(outputs, y_train)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    if (epoch + 1) % 10 == 0:
        model.eval()
        assert not model.training
        with torch.no_grad():
            test_outputs = model(X_test)
            test_loss = criterion(test_outputs, y_test)
            predictions = (test_outputs > 0.5).float()
            accuracy = (predictions == y_test).float().mean()
        print(
            f'Epoch [{epoch+1}/100], Train Loss: {loss.item():.4f}, Test Loss: {test_loss.item():.4f}, '
            f'Accuracy: {accuracy.item():.4f}'
        )
        model.train()
print(json.dumps({"losses": losses, "accuracy": accuracy.item()}))
"""

QUADRANTS = """
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

QUADRANTS_TEXT = """Net(
  (fc1): Linear(in_features=2, out_features=32, bias=True)
  (fc2): Linear(in_features=32, out_features=32, bias=True)
  (drop): Dropout(p=0.05, inplace=False)
  (out): Linear(in_features=32, out_features=1, bias=True)
)
1185
"""

RUN = """
import json
import sys

for name, program in json.load(sys.stdin).items():
    print(f"=== {name}")
    exec(compile(program, name, "exec"), {"__name__": "__main__"})
"""


@pytest.fixture(scope="module")
def results():
    """The output of the programs; both run in one process of a library."""
    known = {}

    def run(library):
        if library not in known:
            given = {n: IMPORTS[library] + BEGIN + p for n, p in (("binary", BINARY), ("net", QUADRANTS))}
            done = subprocess.run(
                [sys.executable, "-W", "error", "-c", RUN],
                input=json.dumps(given), env={**os.environ, "OMP_NUM_THREADS": "1"},
                capture_output=True, text=True, timeout=240, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            parts = [part.partition("\n") for part in done.stdout.split("=== ")[1:]]
            known[library] = {name: text for name, _, text in parts}
        return known[library]

    return run


def test_a_classifier_learns(results):
    printed = results("ranvier")["binary"].splitlines()
    found = json.loads(printed[-1])
    assert found["losses"][-1] < 0.4 * found["losses"][0]
    assert found["accuracy"] >= 0.85
    assert sum(line.startswith("Epoch [") for line in printed) == 10


def test_a_classifier_computes_what_torch_computes(results, torch):
    ours, theirs = (json.loads(results(lib)["binary"].splitlines()[-1]) for lib in ("ranvier", "torch"))
    np.testing.assert_allclose(ours["losses"][:10], theirs["losses"][:10], rtol=1e-5)
    np.testing.assert_allclose(ours["losses"], theirs["losses"], rtol=0.02, atol=1e-4)
    assert ours["accuracy"] == pytest.approx(theirs["accuracy"], abs=0.01)


@pytest.mark.parametrize("library", ["ranvier", "torch"])
def test_program_with_a_loader(results, library):
    """Its assertions are in the program."""
    if library == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    assert QUADRANTS_TEXT in results(library)["net"]
