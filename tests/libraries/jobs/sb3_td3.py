"""Stable-Baselines3, TD3: learns in an environment."""

from jobs._reinforcement import Pull
from stable_baselines3 import TD3
from weights import fill, normal


def job():
    """Learns for 150 steps."""
    model = TD3(
        "MlpPolicy",
        Pull(),
        learning_starts=50,
        batch_size=64,
        policy_kwargs={"net_arch": [64, 64]},
        seed=0,
        target_policy_noise=0.0,
    )
    fill(model.policy)
    model.learn(150)
    actions, _ = model.predict(normal(8, 4), deterministic=True)
    return {"actions": actions}
