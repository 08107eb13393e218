"""Stable-Baselines3, DQN: learns in an environment."""

from jobs._reinforcement import Pull
from stable_baselines3 import DQN
from weights import fill, normal


def job():
    """Learns for 300 steps."""
    model = DQN(
        "MlpPolicy",
        Pull(discrete=True),
        learning_starts=50,
        batch_size=64,
        seed=0,
        target_update_interval=50,
        exploration_fraction=0.5,
        train_freq=4,
    )
    fill(model.policy)
    model.learn(300)
    actions, _ = model.predict(normal(8, 4), deterministic=True)
    return {"actions": actions}
