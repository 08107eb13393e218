"""Learning by reward."""

from copy import deepcopy

import gymnasium
import numpy as np
import torch
from common import fill, moved, normal
from torch import from_numpy


class _Pull(gymnasium.Env):
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


def _fill_rollout(model):
    """Puts a rollout that NumPy drew into an algorithm's buffer, with the policy's own values."""
    buffer, shape = model.rollout_buffer, model.action_space.shape
    buffer.reset()
    for i in range(buffer.buffer_size):
        observation = normal(1, 4, seed=[1, i])
        action = normal(1, *shape, seed=[2, i]) if shape else np.array([i % 3])
        with torch.no_grad():
            values, log_prob, _ = model.policy.evaluate_actions(from_numpy(observation), from_numpy(action))
        buffer.add(
            observation, action, normal(1, seed=[3, i]), np.array([float(i % 50 == 0)]), values, log_prob
        )
    buffer.compute_returns_and_advantage(torch.zeros(1), np.ones(1))


def stable_baselines3():
    """Each algorithm learns in an environment. The actions of PPO, A2C and TRPO are drawn: of these an
    update from a given rollout is compared. The losses and the actions of each algorithm."""
    from sb3_contrib import TRPO
    from stable_baselines3 import A2C, DQN, PPO, SAC, TD3

    wide = {"learning_starts": 50, "batch_size": 64, "policy_kwargs": {"net_arch": [64, 64]}}
    on_policy = {
        A2C: {"n_steps": 64},
        PPO: {"n_steps": 256, "batch_size": 64, "n_epochs": 4},
        TRPO: {"n_steps": 256, "batch_size": 64},
    }
    off_policy = {
        DQN: {"learning_starts": 50, "batch_size": 64, "train_freq": 4}
        | {"target_update_interval": 50, "exploration_fraction": 0.5},
        SAC: {**wide, "ent_coef": 0.0},
        TD3: {**wide, "target_policy_noise": 0.0},
    }
    names = ("value_loss", "policy_loss", "policy_gradient_loss", "kl_divergence_loss")

    def updated(kind, settings):
        """Learns for 512 steps; then the losses and actions of one update."""
        model = kind("MlpPolicy", _Pull(), seed=0, **settings)
        model.learn(512)
        model.num_timesteps, model._current_progress_remaining = 0, 1.0
        fill(model.policy)
        model.policy.optimizer.state.clear()
        _fill_rollout(model)
        model.train()
        logged = model.logger.name_to_value
        return model, [logged[f"train/{name}"] for name in names if f"train/{name}" in logged]

    def learned(kind, settings):
        """Learns for some steps, without actions that are drawn."""
        settings = deepcopy(settings)  # which SAC changes
        model = kind("MlpPolicy", _Pull(discrete=kind is DQN), seed=0, **settings)
        fill(model.policy)
        for parameter in model.actor.log_std.parameters() if kind is SAC else ():
            parameter.data.fill_(-30.0)
        return model.learn(300 if kind is DQN else 150)

    results = {}
    for kind, settings in on_policy.items():
        model, results[f"{kind.__name__} losses"] = updated(kind, settings)
        results[kind.__name__] = model.predict(normal(8, 4), deterministic=True)[0]
    for kind, settings in off_policy.items():
        results[kind.__name__] = learned(kind, settings).predict(normal(8, 4), deterministic=True)[0]
    return results


def tianshou():
    """Collects in an environment, and learns. Trains for 300 steps, without steps that are drawn."""
    from tianshou.algorithm import DQN
    from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
    from tianshou.algorithm.optim import AdamOptimizerFactory
    from tianshou.data import Batch, Collector, VectorReplayBuffer
    from tianshou.env import DummyVectorEnv
    from tianshou.trainer import OffPolicyTrainerParams
    from tianshou.utils.net.common import Net

    env = _Pull(discrete=True)
    net = fill(Net(state_shape=(4,), action_shape=3, hidden_sizes=[64, 64]))
    policy = DiscreteQLearningPolicy(model=net, action_space=env.action_space, eps_training=0.0)
    algorithm = DQN(
        policy=policy, optim=AdamOptimizerFactory(lr=1e-3), n_step_return_horizon=3, target_update_freq=20
    )
    environments = DummyVectorEnv([lambda: _Pull(discrete=True)])
    collector = Collector[object](algorithm, environments, VectorReplayBuffer(1000, 1))
    collector.reset()
    collector.collect(n_step=100)
    result = algorithm.run_training(
        OffPolicyTrainerParams(
            training_collector=collector,
            max_epochs=1,
            epoch_num_steps=300,
            collection_step_num_env_steps=10,
            update_step_num_gradient_steps_per_sample=0.2,
            batch_size=64,
        )
    )
    values = policy(Batch(obs=normal(8, 4), info={})).logits
    return {"steps": result.train_step, "values": values}
