"""For reinforcement learning: an environment whose numbers come from NumPy, and a rollout."""

import gymnasium
import numpy as np
from weights import moved, normal


class Pull(gymnasium.Env):
    """A point is to be pulled to zero. Each episode has 50 steps."""

    def __init__(self, discrete=False):
        self.observation_space = gymnasium.spaces.Box(-10, 10, (4,), np.float32)
        self.action_space = (
            gymnasium.spaces.Discrete(3) if discrete else gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        )
        self.episode = 0

    def reset(self, *, seed=None, options=None):
        """A new start, which the number of the episode decides."""
        self.episode, self.step_number = self.episode + 1, 0
        self.state = normal(4, seed=self.episode)
        return self.state, {}

    def step(self, action):
        """The state moves by the action; the reward is its distance from zero."""
        push = np.full(2, float(action) - 1) if np.ndim(action) == 0 else np.asarray(action)
        self.state = moved(np.clip(0.95 * self.state + 0.1 * np.concatenate([push, push[::-1]]), -10, 10))
        self.step_number += 1
        return self.state, -float((self.state**2).sum()), False, self.step_number >= 50, {}


def fill_rollout(model):
    """Puts a rollout that NumPy drew into an algorithm's buffer, with the policy's own values."""
    import torch

    buffer, shape = model.rollout_buffer, model.action_space.shape
    buffer.reset()
    for i in range(buffer.buffer_size):
        observation = normal(1, 4, seed=[1, i])
        action = normal(1, *shape, seed=[2, i]) if shape else np.array([i % 3])
        with torch.no_grad():
            values, log_prob, _ = model.policy.evaluate_actions(
                torch.from_numpy(observation), torch.from_numpy(action)
            )
        buffer.add(
            observation, action, normal(1, seed=[3, i]), np.array([float(i % 50 == 0)]), values, log_prob
        )
    buffer.compute_returns_and_advantage(torch.zeros(1), np.ones(1))
