"""The examples of control: the physics of CartPole, and the losses, by formulas of their own."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import ranvier as rv

FOLDER = Path(__file__).parents[2] / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PPO, DQN = example("45_ppo"), example("46_dqn")


@pytest.mark.parametrize("module", [PPO, DQN], ids=["ppo", "dqn"])
def test_a_cart_obeys_the_equations_of_motion(module):
    """Newton's equations of the cart (1 kg) and a rod (0.1 kg, half of it 0.5 m) as a linear system:

    (M + m) a + m l cos w' = F + m l v^2 sin,   m l cos a + 4/3 m l^2 w' = m g l sin.
    """
    carts, rng = module.CartPole(6, 0), np.random.default_rng(1)
    big, small, half, gravity = 1.0, 0.1, 0.5, 9.8
    for _ in range(60):
        before, actions = carts.state.copy(), rng.integers(0, 2, 6)
        seen, ended, _ = carts.step(actions)
        for i in range(6):
            x, v, angle, turning = before[:, i]
            sin, cos = np.sin(angle), np.cos(angle)
            mass = [[big + small, small * half * cos], [small * half * cos, 4 / 3 * small * half**2]]
            force = [
                (10 if actions[i] else -10) + small * half * turning**2 * sin,
                small * gravity * half * sin,
            ]
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
    values, ended = rng.standard_normal((7, 3)), rng.random((6, 3)) < 0.3
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
    scores, values = rng.standard_normal((n, 2)), rng.standard_normal(n)
    actions, old = rng.integers(0, 2, n), -rng.random(n)
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
    actions, going = rng.integers(0, 2, 40), (rng.random(40) < 0.7).astype(float)
    rows = np.arange(40)
    best = target[rows, after.argmax(1)]
    error = np.abs(values[rows, actions] - DQN.REWARD - DQN.DISCOUNT * going * best)
    expected = np.where(error < 1, 0.5 * error**2, error - 0.5).mean()
    got = DQN.loss_of(*map(rv.tensor, (values, actions, after, target, going))).item()
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_updates_of_dqn_move_the_target_network_slowly():
    agent, rng = DQN.Agent(0), np.random.default_rng(0)
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
