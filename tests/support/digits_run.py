"""A short training run with rv.set_consistent(True): prints the level, and SHA-256 of the final weights."""

import hashlib

import numpy as np
import ranvier as rv
from ranvier import _core, nn, optim
from ranvier.data import datasets
from ranvier.nn import functional as F


def digits_run(dtype: str = "float32", steps: int = 20) -> str:
    rv.manual_seed(0)
    x, y = datasets.load_digits()
    x = x.reshape(-1, 1, 8, 8).astype(dtype)
    first = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(8, 16, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten()]
    head = [nn.Linear(64, 33), nn.GELU(), nn.LayerNorm(33), nn.Dropout(0.1), nn.Linear(33, 10)]
    model = nn.Sequential(*first, *second, *head)
    if dtype == "float64":
        model = model.double()
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    for step in range(steps):
        images, labels = x[step * 65 :][:65], y[step * 65 :][:65]
        loss = F.cross_entropy(model(rv.tensor(images)), rv.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()
    logits = model(rv.tensor(x[:3])).detach().numpy()  # few rows: dot products
    weights = hashlib.sha256()
    for array in (*(t.numpy() for t in model.state_dict().values()), logits):
        weights.update(np.ascontiguousarray(array).tobytes())
    return weights.hexdigest()


if __name__ == "__main__":
    level = _core.isa()
    rv.set_consistent(True)
    print(level, digits_run(), digits_run("float64"), rv.config.config()["arithmetic"])
