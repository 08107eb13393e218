"""Stable-Baselines3, SAC: learns in an environment."""

from jobs._reinforcement import Pull
from stable_baselines3 import SAC
from weights import fill, normal


def job():
    """Learns for 150 steps."""
    model = SAC(
        "MlpPolicy",
        Pull(),
        learning_starts=50,
        batch_size=64,
        policy_kwargs={"net_arch": [64, 64]},
        seed=0,
        ent_coef=0.0,
    )
    fill(model.policy)
    for parameter in model.actor.log_std.parameters():
        parameter.data.fill_(-30.0)  # the actions are not drawn
    model.learn(150)
    actions, _ = model.predict(normal(8, 4), deterministic=True)
    return {"actions": actions}
