"""The first steps of control beside PyTorch: ``python -m benchmarks.training.control_first [--steps 2000]``.

examples/45_ppo.py and 46_dqn.py train until all carts together have made so many steps; the agent is ours or
the same in PyTorch. A process for each library and program trains three agents, one after another, on one
thread; the times are the processor's, in ms, without imports. In so few steps recordings count.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.training.control import TorchAgent

EXAMPLES = {"ppo": "45_ppo.py", "dqn": "46_dqn.py"}
SEEDS = 3


class Enough(Exception):
    """The carts have made all steps."""


def example(program: str) -> ModuleType:
    """The module of an example."""
    path = Path(__file__).parents[2] / "examples" / EXAMPLES[program]
    spec = importlib.util.spec_from_file_location(program, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TorchValues:
    """The agent of 46_dqn.py, in PyTorch."""

    def __init__(self, seed: int, dqn: Any) -> None:
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self._torch = torch
        self._dqn = dqn
        self._values = self._network()
        self._target = self._network()
        self._target.load_state_dict(self._values.state_dict())
        self._fast = list(self._values.parameters())
        self._slow = list(self._target.parameters())
        self._optimizer = torch.optim.Adam(self._fast, lr=dqn.RATE, foreach=True)

    def _network(self) -> Any:
        nn = self._torch.nn
        layers = [nn.Linear(4, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2)]
        for layer in layers[::2]:
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
        return nn.Sequential(*layers)

    def act(self, x: Any) -> Any:
        with self._torch.no_grad():
            return self._values(self._torch.from_numpy(x)).numpy().argmax(1)

    def learn(self, arrays: Any, order: Any) -> list[float]:
        tensors = [self._torch.from_numpy(array) for array in arrays]
        return [self._update(*[t[rows] for t in tensors]) for rows in self._torch.from_numpy(order)]

    def _update(self, before: Any, actions: Any, after: Any, going: Any) -> float:
        torch, dqn = self._torch, self._dqn
        with torch.no_grad():
            values_after = self._values(after)
            target_after = self._target(after)
        chosen = self._values(before).gather(1, actions[:, None])[:, 0]
        best = target_after.gather(1, values_after.argmax(1, keepdim=True))[:, 0]
        loss = torch.nn.functional.smooth_l1_loss(chosen, dqn.REWARD + dqn.DISCOUNT * going * best)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self._slow, self._fast, dqn.TARGET_RATE)
        return float(loss.item())


TORCH_AGENTS: dict[str, Any] = {"ppo": TorchAgent, "dqn": TorchValues}


def seconds(program: str, library: str, seed: int, steps: int) -> float:
    """The processor's time of the first steps of all carts, and of the updates that they lead to."""
    module: Any = example(program)
    carts = module.CartPole(module.CARTS if program == "dqn" else module.ENVIRONMENTS, seed)
    left = steps
    step = carts.step

    def counted(actions: Any) -> Any:
        nonlocal left
        left -= len(carts.ages)
        return step(actions)

    def learned(*args: Any) -> Any:
        result = learn(*args)
        if left <= 0:
            raise Enough
        return result

    carts.step = counted
    start = time.process_time()
    if library == "ranvier":
        module.rv.set_num_threads(1)
        agent = module.Agent(seed)
    else:
        agent = TORCH_AGENTS[program](seed, module)
    learn = agent.learn
    agent.learn = learned
    with contextlib.suppress(Enough):
        module.train(agent, carts, seed)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--of", nargs=2, help=argparse.SUPPRESS)  # program and library
    settings = parser.parse_args()
    if settings.of:
        program, library = settings.of
        importlib.import_module(library)
        print(json.dumps([seconds(program, library, seed, settings.steps) for seed in range(SEEDS)]))
        return
    for program in EXAMPLES:
        taken: dict[str, list[list[float]]] = {"ranvier": [], "torch": []}
        for _ in range(settings.rounds):
            for library, found in taken.items():
                command = [
                    sys.executable,
                    "-m",
                    "benchmarks.training.control_first",
                    "--of",
                    program,
                    library,
                ]
                command += ["--steps", str(settings.steps)]
                found.append(json.loads(subprocess.check_output(command)))
        ours = np.median(taken["ranvier"], axis=0)
        theirs = np.median(taken["torch"], axis=0)
        ratio = statistics.median(theirs / ours)
        cells = ", ".join(f"{1e3 * a:.0f} ({1e3 * b:.0f})" for a, b in zip(ours, theirs, strict=True))
        print(f"{program}, {settings.steps} steps: {cells} ms (PyTorch), over {ratio:.1f}", flush=True)


if __name__ == "__main__":
    main()
