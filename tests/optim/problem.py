"""The problem on which trajectories are compared with PyTorch's, and the settings that are compared.

Run with torch to write trajectories.json anew: ``python tests/optim/problem.py``. Rules that PyTorch lacks
stand at the end.
"""

import json
from pathlib import Path

import numpy as np

STEPS = 100
STORED = (1, 10, STEPS)
FILE = Path(__file__).with_name("trajectories.json")

CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.01, "weight_decay": 0.1, "maximize": True}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.9}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.5, "centered": True, "maximize": True}),
    ("Adam", {"lr": 0.05}),
    ("Adam", {"lr": 0.05, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.05, "amsgrad": True, "maximize": True}),
    ("Adam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("AdamW", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.3, "amsgrad": True}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "eps": 1e-3, "weight_decay": 0.1}),
    ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.5, "maximize": True}),
    ("Adadelta", {"lr": 1.0}),
    ("Adadelta", {"lr": 0.5, "rho": 0.5, "eps": 1e-3, "weight_decay": 0.1}),
    ("Adadelta", {"lr": 1.0, "eps": 1e-4, "maximize": True}),
    ("Adamax", {"lr": 0.05}),
    ("Adamax", {"lr": 0.05, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adamax", {"lr": 0.05, "maximize": True}),
    ("NAdam", {"lr": 0.05}),
    ("NAdam", {"lr": 0.05, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1, "momentum_decay": 0.1}),
    ("NAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("NAdam", {"lr": 0.05, "maximize": True}),
    ("RAdam", {"lr": 0.05}),
    ("RAdam", {"lr": 0.05, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.05, "maximize": True}),
    ("Rprop", {"lr": 0.05}),
    ("Rprop", {"lr": 0.05, "etas": (0.3, 1.5), "step_sizes": (1e-3, 0.2)}),
    ("Rprop", {"lr": 0.05, "maximize": True}),
    ("ASGD", {"lr": 0.1}),
    ("ASGD", {"lr": 0.1, "lambd": 0.1, "alpha": 0.5, "t0": 3, "weight_decay": 0.1}),
    ("ASGD", {"lr": 0.01, "t0": 0, "maximize": True}),
]
IDS = [f"{name}-{i}" for i, (name, _) in enumerate(CASES)]


class Power:
    """A function with state, which a state dict keeps."""

    def __init__(self, base):
        self.base = base

    def __call__(self, epoch):
        return self.base**epoch


def closure_of(optimizer, loss):
    """The closure of an optimizer's step: computes the loss and its gradients."""

    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    return closure


def start() -> np.ndarray:
    return np.linspace(-1.5, 2.0, 21).reshape(3, 7)


def gradient(p: np.ndarray, step: int) -> np.ndarray:
    """The gradient of a bumpy bowl, whose slope changes from step to step."""
    return p + 0.5 * np.sin(3 * p + step) * np.cos(step)


def trajectory(library: object, name: str, settings: dict, dtype: str = "float64") -> np.ndarray:
    """The parameter after each step; library: torch or ranvier. The dtype is the default one, too, in which
    NAdam and ASGD keep a number."""
    before = library.get_default_dtype()
    library.set_default_dtype(getattr(library, dtype))
    p = library.tensor(start().astype(dtype), requires_grad=True)
    optimizer = getattr(library.optim, name)([p], **settings)
    path = []
    for step in range(STEPS):
        value = p.detach().numpy()
        p.grad = library.tensor(gradient(value.astype("float64"), step).astype(dtype))
        optimizer.step()
        path.append(p.detach().numpy().copy())
    library.set_default_dtype(before)
    return np.array(path)


def through_a_file(folder: Path, state: dict) -> dict:
    """A state dict as a checkpoint keeps it."""
    from ranvier.serialization.files import read_checkpoint, write_checkpoint

    write_checkpoint(folder / "state.safetensors", state)
    return read_checkpoint(folder / "state.safetensors")


if __name__ == "__main__":
    import torch

    paths = [
        trajectory(torch, name, settings)[[s - 1 for s in STORED]].reshape(len(STORED), -1)[:, ::4].tolist()
        for name, settings in CASES
        if hasattr(torch.optim, name)
    ]
    FILE.write_text(json.dumps({"torch": torch.__version__, "steps": STORED, "paths": paths}) + "\n")
