"""The PyTorch programs of a first course, of which only the import lines were changed.

Both libraries begin with the same weights, so that where torch is installed the losses are compared, too.
"""

import json
import subprocess
import sys

import numpy as np
import pytest

IMPORTS = {
    "ranvier": """
import ranvier as torch
import ranvier.nn as nn
import ranvier.optim as optim
from ranvier.data import datasets, transforms
""",
    "torch": """
import torch
import torch.nn as nn
import torch.optim as optim
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

# two hidden layers of leaky ReLUs
LEAKY = (
    BINARY.replace("self.relu = nn.ReLU()", "self.relu = nn.LeakyReLU(0.01)")
    .replace(
        "self.sigmoid = nn.Sigmoid()",
        "self.hidden = nn.Linear(hidden_size, hidden_size)\n        self.sigmoid = nn.Sigmoid()",
    )
    .replace("out = self.layer2(out)", "out = self.layer2(self.relu(self.hidden(out)))")
)

LISTED = """
class Stack(nn.Module):
    def __init__(self, input_size, hidden_sizes, output_size):
        super().__init__()
        layers = [nn.Linear(input_size, hidden_sizes[0]), nn.ReLU()]
        for i in range(len(hidden_sizes) - 1):
            layers.append(nn.Linear(hidden_sizes[i], hidden_sizes[i + 1]))
            layers.append(nn.ReLU())
        layers.append(nn.Linear(hidden_sizes[-1], output_size))
        self.network = nn.Sequential(*layers)

    def forward(self, x):
        return self.network(x)


model = Stack(input_size=10, hidden_sizes=[64, 32, 16], output_size=2)
print(model)
total_params = sum(p.numel() for p in model.parameters())
print(f"Total parameters: {total_params:,}")
same_start(model)
rng = np.random.default_rng(1)
X = torch.tensor(rng.normal(size=(600, 10)), dtype=torch.float32)
y = (X[:, 0] > X[:, 1]).long()
criterion, losses = nn.CrossEntropyLoss(), []
optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for epoch in range(60):
    optimizer.zero_grad()
    loss = criterion(model(X), y)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
with torch.no_grad():
    accuracy = (model(X).argmax(dim=1) == y).float().mean().item()
print(json.dumps({"losses": losses, "accuracy": accuracy}))
"""

STACK_TEXT = """Stack(
  (network): Sequential(
    (0): Linear(in_features=10, out_features=64, bias=True)
    (1): ReLU()
    (2): Linear(in_features=64, out_features=32, bias=True)
    (3): ReLU()
    (4): Linear(in_features=32, out_features=16, bias=True)
    (5): ReLU()
    (6): Linear(in_features=16, out_features=2, bias=True)
  )
)
Total parameters: 3,346
"""

IRIS = """
import sys

table = np.loadtxt(sys.argv[1], delimiter=",")
table = table[np.random.default_rng(0).permutation(len(table))]
X, y = table[:, :4], table[:, 4]
X = (X - X[:120].mean(0)) / X[:120].std(0)
X, y = torch.FloatTensor(X), torch.LongTensor(y)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
same_start(model)
criterion, losses = nn.CrossEntropyLoss(), []
optimizer = optim.Adam(model.parameters(), lr=0.02)
for epoch in range(200):
    optimizer.zero_grad()
    loss = criterion(model(X[:120]), y[:120])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
with torch.no_grad():
    probabilities = torch.softmax(model(X[120:]), dim=1)
    predicted = torch.argmax(probabilities, dim=1)
    accuracy = (predicted == y[120:]).float().mean().item()
assert torch.allclose(probabilities.sum(dim=1), torch.ones(30))
print(json.dumps({"losses": losses, "accuracy": accuracy}))
"""

PROGRAMS = {"binary": BINARY, "leaky": LEAKY, "listed": LISTED, "iris": IRIS}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What a program prints, run once by each library."""
    table = tmp_path_factory.mktemp("iris") / "iris.csv"
    known = {}

    def run(library, name):
        if (library, name) not in known:
            if not table.exists():
                from ranvier.data import datasets

                x, y = datasets.load_iris()
                np.savetxt(table, np.column_stack([x, y]), delimiter=",")
            program = IMPORTS[library] + BEGIN + PROGRAMS[name]
            command = [sys.executable, "-W", "error", "-c", program, str(table)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            assert done.returncode == 0, done.stderr
            known[library, name] = done.stdout
        return known[library, name]

    return run


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_learns(results, name):
    printed = results("ranvier", name)
    found = json.loads(printed.splitlines()[-1])
    assert found["losses"][-1] < 0.4 * found["losses"][0]
    assert found["accuracy"] >= (0.85 if name in ("binary", "leaky") else 0.93)
    if name == "listed":
        assert STACK_TEXT in printed
    if name == "binary":
        assert sum(line.startswith("Epoch [") for line in printed.splitlines()) == 10


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_computes_what_torch_computes(results, name, torch):
    ours, theirs = (json.loads(results(lib, name).splitlines()[-1]) for lib in ("ranvier", "torch"))
    np.testing.assert_allclose(ours["losses"][:10], theirs["losses"][:10], rtol=1e-5)
    np.testing.assert_allclose(ours["losses"], theirs["losses"], rtol=0.02, atol=1e-4)
    assert ours["accuracy"] == pytest.approx(theirs["accuracy"], abs=0.01)
    if name == "listed":
        assert STACK_TEXT in results("torch", name)
