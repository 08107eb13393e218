"""Stable-Baselines3, PPO: learns in an environment; then an update from a given rollout."""

from jobs._reinforcement import Pull, fill_rollout
from stable_baselines3 import PPO
from weights import fill, normal


def job():
    """Learns for 512 steps. What is compared is one update, since the actions of the steps are drawn."""
    model = PPO("MlpPolicy", Pull(), n_steps=256, batch_size=64, n_epochs=4, seed=0)
    model.learn(512)
    model.num_timesteps, model._current_progress_remaining = 0, 1.0
    fill(model.policy)
    model.policy.optimizer.state.clear()
    fill_rollout(model)
    model.train()
    actions, _ = model.predict(normal(8, 4), deterministic=True)
    logged = model.logger.name_to_value
    return {
        "actions": actions,
        "loss": [
            logged["train/value_loss"],
            logged["train/policy_loss" if "train/policy_loss" in logged else "train/policy_gradient_loss"],
        ],
    }
