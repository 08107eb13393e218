"""Every example runs in its own process, prints a result, leaves a picture and nothing else.

Those of control have the physics of CartPole, and losses, by formulas of their own.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.image as matplotlib_image
import numpy as np
import pytest
import ranvier as rv
from support.imported import imported

FOLDER = Path(__file__).parents[2] / "examples"
SCRIPTS = Path(__file__).parent / "run_scripts.py"
PACKAGES = {  # what an extra allows to import
    "onnx": ["onnx"],
    "sklearn": ["sklearn", "scipy", "joblib"],
    "dask": ["dask", "distributed"],
}
EXAMPLES = sorted(FOLDER.glob("[0-9][0-9]_*.py"))


def extra_packages(example: Path) -> list[str]:
    """The packages of the extras in the example's line of the README: `pip install '.[plot,onnx]'`."""
    (line,) = re.findall(rf"^\| \[`{example.name}`\].*$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    extras = re.search(r"pip install '\.\[plot,([\w,]+)\]'", line)
    if extras is None:
        return []
    packages = []
    for extra in extras[1].split(","):
        packages += PACKAGES[extra]
    return packages


@pytest.fixture(scope="module")
def scripts() -> Iterator[subprocess.Popen[str]]:
    """A process that runs each example in a fork: to load matplotlib takes as long as a short example."""
    strict = {"MPLBACKEND": "Agg", "PYTHONWARNINGS": "error::RuntimeWarning,error::UserWarning"}
    environment = {"OMP_NUM_THREADS": "1", **os.environ, **strict}
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, str(SCRIPTS)], env=environment, **pipes)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.timeout(70)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_runs(example: Path, tmp_path: Path, scripts: subprocess.Popen[str]) -> None:
    for package in extra_packages(example):
        pytest.importorskip(package, reason=f"{package} is not installed")
    here = tmp_path / "here"
    out = tmp_path / "made" / "pictures"
    printed = tmp_path / "printed"
    here.mkdir()
    assert scripts.stdin
    assert scripts.stdout
    print(example, out, here, printed, sep="\t", file=scripts.stdin, flush=True)
    for reply in scripts.stdout:  # the first may be of an example that ran out of time
        script, code = reply.rstrip("\n").split("\t")
        if script == str(example):
            break
    assert code == "0", printed.read_text()
    assert re.search(r"\d", printed.read_text().splitlines()[-1]), "the last line is the result: a figure"
    assert list(here.iterdir()) == [], "an example writes to --out only"
    picture = out / f"{example.stem}.png"
    pixels = matplotlib_image.imread(picture)
    height, width = pixels.shape[:2]
    assert 200 <= height <= 2400
    assert 300 <= width <= 2400
    assert pixels[..., :3].std() > 0.02, "something is drawn"


@pytest.mark.timeout(200)
def test_the_embedding_service_runs_without_pytorch() -> None:
    for package in ("transformers", "tokenizers"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    command = [sys.executable, "-m", "ranvier.torch", str(FOLDER / "embedding_service.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "runs eagerly" not in done.stderr
    assert done.stdout.startswith("likeness to the first: [1.0, ")


def test_the_readme_lists_every_example_once_in_order() -> None:
    text = (FOLDER / "README.md").read_text()
    listed = re.findall(r"^\| \[`(\d\d_\w+\.py)`\]\((\d\d_\w+\.py)\) \|", text, re.MULTILINE)
    assert all(name == target for name, target in listed)
    assert [name for name, _ in listed] == [path.name for path in EXAMPLES]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_is_short_and_begins_with_what_it_shows(example: Path) -> None:
    text = example.read_text()
    most_lines = 190 if "class CartPole" in text else 130
    assert len(text.splitlines()) <= most_lines
    said = ast.get_docstring(ast.parse(text))
    assert said, "an example begins with a docstring"
    assert len(said.splitlines()[0]) > 20
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", text, re.MULTILINE))
    allowed = sys.stdlib_module_names | {"numpy", "ranvier", "matplotlib", *extra_packages(example)}
    assert imported <= allowed


# --- control


PPO = imported(FOLDER / "45_ppo.py")
DQN = imported(FOLDER / "46_dqn.py")


@pytest.mark.parametrize("module", [PPO, DQN], ids=["ppo", "dqn"])
def test_a_cart_obeys_the_equations_of_motion(module):
    """Newton's equations of the cart (1 kg) and a rod (0.1 kg, half of it 0.5 m) as a linear system:

    (M + m) a + m l cos w' = F + m l v^2 sin,   m l cos a + 4/3 m l^2 w' = m g l sin.
    """
    carts = module.CartPole(6, 0)
    rng = np.random.default_rng(1)
    # kg
    big = 1.0
    small = 0.1
    # m, m/s^2
    half = 0.5
    gravity = 9.8
    for _ in range(60):
        before = carts.state.copy()
        actions = rng.integers(0, 2, 6)
        seen, ended, _ = carts.step(actions)
        for i in range(6):
            x, v, angle, turning = before[:, i]
            sin = np.sin(angle)
            cos = np.cos(angle)
            mass = [[big + small, small * half * cos], [small * half * cos, 4 / 3 * small * half**2]]
            push = 10 if actions[i] else -10
            force = [push + small * half * turning**2 * sin, small * gravity * half * sin]
            a, w = np.linalg.solve(mass, force)
            after = np.array([x + 0.02 * v, v + 0.02 * a, angle + 0.02 * turning, turning + 0.02 * w])
            assert ended[i] == (abs(after[0]) > 2.4 or abs(after[2]) > np.radians(12))
            if ended[i]:
                assert (np.abs(carts.state[:, i]) <= 0.05).all()
            else:
                np.testing.assert_allclose(carts.state[:, i], after, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(seen, carts.state.T.astype(np.float32))


@pytest.mark.parametrize("module", [PPO, DQN], ids=["ppo", "dqn"])
def test_an_episode_ends_after_500_steps(module):
    carts = module.CartPole(1, 0)
    for step in range(1, 501):
        carts.state[:] = 0
        _, ended, lengths = carts.step(np.array([0]))
        assert ended[0] == (step == 500)
    assert lengths.tolist() == [500]
    assert carts.ages.tolist() == [0]


def test_advantages_are_the_sums_of_discounted_errors():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((7, 3))
    ended = rng.random((6, 3)) < 0.3
    expected = np.zeros((6, 3))
    for i in range(3):
        for t in range(6):
            weight = 1.0
            for s in range(t, 6):
                later = 0.0 if ended[s, i] else PPO.DISCOUNT * values[s + 1, i]
                expected[t, i] += weight * (1 + later - values[s, i])
                if ended[s, i]:
                    break
                weight *= PPO.DISCOUNT * PPO.TRACE
    np.testing.assert_allclose(PPO.advantages(values, ended), expected, rtol=1e-6, atol=1e-6)


def test_losses_of_ppo():
    rng = np.random.default_rng(0)
    n = 50
    scores = rng.standard_normal((n, 2))
    values = rng.standard_normal(n)
    actions = rng.integers(0, 2, n)
    old = -rng.random(n)
    advantage, returns, old_values = rng.standard_normal((3, n))
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    a = (advantage - advantage.mean()) / (advantage.std(ddof=1) + 1e-8)
    policy = value = entropy = 0.0
    for i in range(n):
        ratio = p[i, actions[i]] / np.exp(old[i])
        policy -= min(a[i] * ratio, a[i] * min(max(ratio, 0.8), 1.2)) / n
        near = old_values[i] + min(max(values[i] - old_values[i], -0.2), 0.2)
        value += 0.5 * max((values[i] - returns[i]) ** 2, (near - returns[i]) ** 2) / n
        entropy -= (p[i] * np.log(p[i])).sum() / n
    given = scores, values, actions, old, advantage, returns, old_values
    got = PPO.losses(*map(rv.tensor, given))
    np.testing.assert_allclose([t.item() for t in got], [policy, value, entropy], rtol=1e-12)


def test_loss_of_dqn():
    rng = np.random.default_rng(0)
    values, after, target = 3 * rng.standard_normal((3, 40, 2))
    actions = rng.integers(0, 2, 40)
    going = (rng.random(40) < 0.7).astype(float)
    rows = np.arange(40)
    best = target[rows, after.argmax(1)]
    error = np.abs(values[rows, actions] - DQN.REWARD - DQN.DISCOUNT * going * best)
    expected = np.where(error < 1, 0.5 * error**2, error - 0.5).mean()
    got = DQN.loss_of(*map(rv.tensor, (values, actions, after, target, going))).item()
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_updates_of_dqn_move_the_target_network_slowly():
    agent = DQN.Agent(0)
    rng = np.random.default_rng(0)
    before, after = rng.standard_normal((2, 50, 4)).astype(np.float32)
    arrays = before, rng.integers(0, 2, 50), after, np.ones(50, np.float32)
    target = [p.numpy().copy() for p in agent.target.state_dict().values()]
    for _ in range(6):  # single updates, so that each of the network's states is seen
        agent.learn(arrays, rng.integers(0, 50, (1, 16)))
        values = [p.numpy() for p in agent.values.state_dict().values()]
        target = [old + DQN.TARGET_RATE * (new - old) for old, new in zip(target, values, strict=True)]
    for got, expected in zip(agent.target.state_dict().values(), target, strict=True):
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-6, atol=1e-7)


def test_dqn_learns():
    """A part of a run: pushes at random keep a pole up for some 22 steps."""
    curve = DQN.train(DQN.Agent(0), DQN.CartPole(8, 0), 0, goal=100.0)
    assert curve[-1, 1] >= 100


def test_the_buffer_keeps_the_last_transitions(monkeypatch):
    monkeypatch.setattr(DQN, "BUFFER", 5)
    buffer = DQN.Buffer()
    for start in (0, 3, 6):
        rows = np.arange(start, start + 3)
        x = np.repeat(rows[:, None], 4, 1).astype(np.float32)
        buffer.add(x, rows, rows % 2 == 0, x + 1)
    before, actions, after, going = buffer.arrays()
    assert actions.tolist() == [5, 6, 7, 8, 4]
    np.testing.assert_array_equal(before[:, 0], actions)
    np.testing.assert_array_equal(after[:, 3], actions + 1)
    np.testing.assert_array_equal(going, actions % 2)
