"""sb3-contrib, TRPO: learns in an environment; then an update from a given rollout."""

from jobs._reinforcement import Pull, fill_rollout
from sb3_contrib import TRPO
from weights import fill, normal


def job():
    """Learns for 512 steps. What is compared is one update, since the actions of the steps are drawn."""
    model = TRPO("MlpPolicy", Pull(), n_steps=256, batch_size=64, seed=0)
    model.learn(512)
    fill(model.policy)
    model.policy.optimizer.state.clear()
    fill_rollout(model)
    model.train()
    actions, _ = model.predict(normal(8, 4), deterministic=True)
    logged = model.logger.name_to_value
    return {
        "actions": actions,
        "divergence": logged["train/kl_divergence_loss"],
        "loss": logged["train/value_loss"],
    }
