"""CartPole by proximal policy optimization: all minibatches of an update are one call into the core."""

import argparse
import importlib
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from ranvier import nn, optim
from ranvier.nn import functional as F

ENVIRONMENTS, STEPS, EPOCHS, BATCH, MOST_UPDATES = 8, 128, 10, 64, 200
RATE, DISCOUNT, TRACE, CLIP, ENTROPY, VALUE, NORM = 1e-3, 0.98, 0.8, 0.2, 0.0, 0.5, 0.5


class CartPole:
    """Several carts with a pole each (Barto, Sutton and Anderson, 1983), with the numbers of CartPole-v1."""

    limits = np.array([[2.4], [12 * np.pi / 180]])  # of position and angle

    def __init__(self, count: int, seed: int) -> None:
        self.rng, self.ages = np.random.default_rng(seed), np.zeros(count, int)
        self.state = self.rng.uniform(-0.05, 0.05, (4, count))  # position, velocity, angle, its velocity

    def step(self, actions):
        """Pushes left (0) or right (1): observations (carts, 4), which episodes ended, and their lengths.

        Each step counts 1. A cart whose episode has ended begins a new one.
        """
        _, speed, angle, turning = self.state
        cos, sin = np.cos(angle), np.sin(angle)
        push = (20.0 * actions - 10.0 + 0.05 * turning * turning * sin) / 1.1
        turn = (9.8 * sin - cos * push) / (0.5 * (4 / 3 - 0.1 / 1.1 * cos * cos))
        self.state += 0.02 * np.array([speed, push - 0.05 / 1.1 * turn * cos, turning, turn])
        self.ages += 1
        ended = (np.abs(self.state[::2]) > self.limits).any(0) | (self.ages >= 500)
        lengths = self.ages[ended]
        if len(lengths):
            self.state[:, ended] = self.rng.uniform(-0.05, 0.05, (4, len(lengths)))
            self.ages[ended] = 0
        return self.state.T.astype(np.float32), ended, lengths


class Gymnasium:
    """The same with the environments of the package gymnasium."""

    def __init__(self, count: int, seed: int) -> None:
        make = importlib.import_module("gymnasium").make
        self.all, self.ages = [make("CartPole-v1") for _ in range(count)], np.zeros(count, int)
        self.state = np.array([one.reset(seed=seed * count + i)[0] for i, one in enumerate(self.all)]).T

    def step(self, actions):
        taken = [one.step(int(a)) for one, a in zip(self.all, actions, strict=True)]
        self.ages += 1
        ended = np.array([terminated or truncated for _, _, terminated, truncated, _ in taken])
        lengths = self.ages[ended]
        self.ages[ended] = 0
        rows = [self.all[i].reset()[0] if end else taken[i][0] for i, end in enumerate(ended)]
        return np.array(rows, np.float32), ended, lengths


def advantages(values, ended):
    """Generalized advantages (Schulman and others, 2015) of rewards of 1: values (steps + 1, carts)."""
    going = DISCOUNT * ~ended
    errors = 1 + going * values[1:] - values[:-1]
    result, later = np.empty_like(errors), np.zeros(values.shape[1])
    for t in reversed(range(len(errors))):
        result[t] = later = errors[t] + TRACE * going[t] * later
    return result.astype(np.float32)


def losses(scores, values, actions, old, advantage, returns, old_values):
    """Of the policy, clipped; of the values, clipped; the entropy (Schulman and others, 2017)."""
    log = F.log_softmax(scores, 1)
    ratio = (log.gather(1, actions.unsqueeze(1)).squeeze(1) - old).exp()
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    policy = -rv.minimum(advantage * ratio, advantage * ratio.clamp(1 - CLIP, 1 + CLIP)).mean()
    near = old_values + (values - old_values).clamp(-CLIP, CLIP)
    value = 0.5 * rv.maximum((values - returns) ** 2, (near - returns) ** 2).mean()
    return policy, value, -(log.exp() * log).sum(1).mean()


def network(outputs: int, gain: float) -> nn.Module:
    layers = [nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs)]
    for layer, size in zip(layers[::2], (2**0.5, 2**0.5, gain), strict=True):
        nn.init.orthogonal_(layer.weight, size)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


class Agent:
    """Two networks, which are called from Python once for each step of the carts and once for each update."""

    def __init__(self, seed: int) -> None:
        rv.manual_seed(seed)
        self.actor, self.critic = network(2, 0.01), network(1, 1.0)
        self.parameters = [*self.actor.parameters(), *self.critic.parameters()]
        self.optimizer = optim.Adam(self.parameters, lr=RATE, eps=1e-5)

    @rv.compile
    def _probabilities(self, x):
        return F.softmax(self.actor(x), 1)

    @rv.compile
    def _judged(self, x, actions):
        log = F.log_softmax(self.actor(x[: len(actions)]), 1)
        return log.gather(1, actions.unsqueeze(1)).squeeze(1), self.critic(x).squeeze(1)

    @rv.compile
    def _update(self, x, *more):
        policy, value, entropy = losses(self.actor(x), self.critic(x).squeeze(1), *more)
        self.optimizer.zero_grad()
        (policy + VALUE * value - ENTROPY * entropy).backward()
        nn.utils.clip_grad_norm_(self.parameters, NORM)
        self.optimizer.step()

    @rv.no_grad()
    def right(self, x):
        """The probability of a push to the right."""
        return self._probabilities(rv.from_numpy(x)).numpy()[:, 1]

    @rv.no_grad()
    def judge(self, x, actions):
        """The logarithms of the probabilities of the actions, and the values of all x."""
        return [t.numpy() for t in self._judged(rv.from_numpy(x), rv.from_numpy(actions))]

    def learn(self, arrays, order, rate: float) -> None:
        self.optimizer.param_groups[0]["lr"] = rate
        self._update.run(*map(rv.from_numpy, arrays), indices=order)


def train(agent, carts, seed: int, goal: float = 475.0):
    """Until the mean of 100 episodes is the goal: (steps, mean) after each update."""
    rng, lengths, curve = np.random.default_rng(seed), [], []
    x, count = carts.state.T.astype(np.float32), len(carts.ages)
    seen, actions = np.empty((STEPS + 1, count, 4), np.float32), np.empty((STEPS, count), np.int64)
    ended = np.empty((STEPS, count), bool)
    for update in range(MOST_UPDATES):
        for t in range(STEPS):
            seen[t] = x
            actions[t] = rng.random(count) < agent.right(x)
            x, ended[t], finished = carts.step(actions[t])
            lengths.extend(finished)
        seen[STEPS] = x
        old, values = agent.judge(seen.reshape(-1, 4), actions.reshape(-1))
        values = values.reshape(STEPS + 1, count)
        advantage = advantages(values, ended)
        arrays = actions, old, advantage, advantage + values[:-1], values[:-1]
        order = np.concatenate([rng.permutation(actions.size) for _ in range(EPOCHS)]).reshape(-1, BATCH)
        arrays = [seen[:-1].reshape(-1, 4), *[np.ascontiguousarray(a).reshape(-1) for a in arrays]]
        agent.learn(arrays, order, RATE * (1 - update / MOST_UPDATES))
        curve.append(((update + 1) * actions.size, float(np.mean(lengths[-100:]))))
        if len(lengths) >= 100 and curve[-1][1] >= goal:
            break
    return np.array(curve)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    parser.add_argument("--seeds", type=int, default=1, help="runs")
    parser.add_argument("--gymnasium", action="store_true", help="its CartPole-v1 (pip install gymnasium)")
    settings = parser.parse_args()
    settings.out.mkdir(parents=True, exist_ok=True)

    figure, axes = plt.subplots(figsize=(6, 4))
    for seed in range(settings.seeds):
        start = time.perf_counter()
        carts = (Gymnasium if settings.gymnasium else CartPole)(ENVIRONMENTS, seed)
        steps, means = train(Agent(seed), carts, seed).T
        seconds = time.perf_counter() - start
        axes.plot(steps, means)
        print(f"seed {seed}: {steps[-1]:.0f} steps in {seconds:.1f} s, mean return {means[-1]:.0f}")
    axes.set(xlabel="steps of all carts", ylabel="mean return of the last 100 episodes", ylim=(0, 510))
    figure.savefig(settings.out / "45_ppo.png", bbox_inches="tight")
    print(f"mean return at the end of the last run: {means[-1]:.0f} of 500")


if __name__ == "__main__":
    main()
