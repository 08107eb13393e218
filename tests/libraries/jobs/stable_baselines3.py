"""Stable-Baselines3 and sb3-contrib: each algorithm learns in an environment.

The actions of PPO, A2C and TRPO are drawn: of these an update from a given rollout is compared.
"""

from copy import deepcopy

from jobs._reinforcement import Pull, fill_rollout
from sb3_contrib import TRPO
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from weights import fill, normal

WIDE = {"learning_starts": 50, "batch_size": 64, "policy_kwargs": {"net_arch": [64, 64]}}
ON_POLICY = {
    A2C: {"n_steps": 64},
    PPO: {"n_steps": 256, "batch_size": 64, "n_epochs": 4},
    TRPO: {"n_steps": 256, "batch_size": 64},
}
OFF_POLICY = {
    DQN: {"learning_starts": 50, "batch_size": 64, "train_freq": 4}
    | {"target_update_interval": 50, "exploration_fraction": 0.5},
    SAC: {**WIDE, "ent_coef": 0.0},
    TD3: {**WIDE, "target_policy_noise": 0.0},
}
LOSSES = ("value_loss", "policy_loss", "policy_gradient_loss", "kl_divergence_loss")


def updated(kind, settings):
    """Learns for 512 steps; then the losses and actions of one update."""
    model = kind("MlpPolicy", Pull(), seed=0, **settings)
    model.learn(512)
    model.num_timesteps, model._current_progress_remaining = 0, 1.0
    fill(model.policy)
    model.policy.optimizer.state.clear()
    fill_rollout(model)
    model.train()
    logged = model.logger.name_to_value
    return model, [logged[f"train/{name}"] for name in LOSSES if f"train/{name}" in logged]


def learned(kind, settings):
    """Learns for some steps, without actions that are drawn."""
    model = kind("MlpPolicy", Pull(discrete=kind is DQN), seed=0, **deepcopy(settings))  # which SAC changes
    fill(model.policy)
    for parameter in model.actor.log_std.parameters() if kind is SAC else ():
        parameter.data.fill_(-30.0)
    return model.learn(300 if kind is DQN else 150)


def job():
    """The losses and the actions of each algorithm."""
    results = {}
    for kind, settings in ON_POLICY.items():
        model, results[f"{kind.__name__} losses"] = updated(kind, settings)
        results[kind.__name__] = model.predict(normal(8, 4), deterministic=True)[0]
    for kind, settings in OFF_POLICY.items():
        results[kind.__name__] = learned(kind, settings).predict(normal(8, 4), deterministic=True)[0]
    return results
