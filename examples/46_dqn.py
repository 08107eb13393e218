"""CartPole by a double deep Q-network: replay buffer, target network, many updates in one call."""

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from ranvier import optim
from ranvier.nn import functional as F

CARTS, BUFFER, BATCH, STEPS, UPDATES, MOST_ROUNDS = 8, 50_000, 128, 32, 64, 1000
RATE, DISCOUNT, TARGET_RATE, ROUNDS_OF_CHANCE, LEAST_CHANCE = 5e-4, 0.99, 0.01, 15, 0.01
REWARD = 2 * (1 - DISCOUNT)  # of each step: no true value exceeds 2
SCALE = np.array([1 / 2.4, 0.5, 1 / 0.21, 0.5], np.float32)  # of observations, to about -1 to 1


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


class Buffer:
    """The last transitions. Observations after the end of an episode are not used."""

    def __init__(self) -> None:
        self.before, self.after = np.zeros((2, BUFFER, 4), np.float32)
        self.actions, self.going = np.zeros(BUFFER, np.int64), np.zeros(BUFFER, np.float32)
        self.count = 0

    def add(self, before, actions, ended, after) -> None:
        at = (self.count + np.arange(len(actions))) % BUFFER
        self.before[at], self.after[at], self.actions[at], self.going[at] = before, after, actions, ~ended
        self.count += len(actions)

    def arrays(self):
        return self.before, self.actions, self.after, self.going


def loss_of(values, actions, values_after, target_after, going):
    """Double Q-learning (van Hasselt and others, 2016): the values after a step choose, the target judges."""
    chosen = values.gather(1, actions.unsqueeze(1)).squeeze(1)
    best = target_after.gather(1, values_after.argmax(1, keepdim=True)).squeeze(1)
    return F.smooth_l1_loss(chosen, REWARD + DISCOUNT * going * best)


class Agent:
    def __init__(self, seed: int) -> None:
        rv.manual_seed(seed)
        self.values, self.target = (rv.mlp([4, 128, 128, 2]) for _ in range(2))
        self.target.load_state_dict(self.values.state_dict())
        self.optimizer = optim.Adam(self.values.parameters(), lr=RATE)
        self.judged = rv.compile(self.values)

    @rv.compile
    def _update(self, before, actions, after, going):
        with rv.no_grad():
            values_after, target_after = self.values(after), self.target(after)
        loss = loss_of(self.values(before), actions, values_after, target_after, going)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        with rv.no_grad():
            for slow, fast in zip(self.target.parameters(), self.values.parameters(), strict=True):
                slow.lerp_(fast, TARGET_RATE)
        return loss

    @rv.no_grad()
    def act(self, x):
        return self.judged(rv.from_numpy(x)).numpy().argmax(1)

    def learn(self, arrays, order):
        return self._update.run(*map(rv.from_numpy, arrays), indices=order).numpy()


def train(agent, carts, seed: int, goal: float = 475.0):
    """Until the mean of 100 episodes is the goal: (steps, mean) after each round."""
    rng, lengths, curve, buffer = np.random.default_rng(seed), [], [], Buffer()
    x, count = SCALE * carts.state.T.astype(np.float32), len(carts.ages)
    for turn in range(MOST_ROUNDS):
        chance = max(1 - turn / ROUNDS_OF_CHANCE, LEAST_CHANCE)
        for _ in range(STEPS):
            actions = np.where(rng.random(count) < chance, rng.integers(0, 2, count), agent.act(x))
            after, ended, finished = carts.step(actions)
            after *= SCALE
            kept = ~ended
            kept[ended] = finished < 500  # the time limit does not end the task
            buffer.add(x[kept], actions[kept], ended[kept], after[kept])
            lengths.extend(finished)
            x = after
        agent.learn(buffer.arrays(), rng.integers(0, min(buffer.count, BUFFER), (UPDATES, BATCH)))
        curve.append(((turn + 1) * STEPS * count, float(np.mean(lengths[-100:] or [0]))))
        if len(lengths) >= 100 and curve[-1][1] >= goal:
            break
    return np.array(curve)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    parser.add_argument("--seeds", type=int, default=1, help="runs")
    settings = parser.parse_args()
    settings.out.mkdir(parents=True, exist_ok=True)

    figure, axes = plt.subplots(figsize=(6, 4))
    for seed in range(settings.seeds):
        start = time.perf_counter()
        steps, means = train(Agent(seed), CartPole(CARTS, seed), seed).T
        axes.plot(steps, means)
        seconds = time.perf_counter() - start
        print(f"seed {seed}: {steps[-1]:.0f} steps in {seconds:.1f} s, mean return {means[-1]:.0f}")
    axes.set(xlabel="steps of all carts", ylabel="mean return of the last 100 episodes", ylim=(0, 510))
    figure.savefig(settings.out / "46_dqn.png", bbox_inches="tight")
    print(f"mean return at the end of the last run: {means[-1]:.0f} of 500")


if __name__ == "__main__":
    main()
