"""tianshou, DQN: collects in an environment, and learns."""

from jobs._reinforcement import Pull
from tianshou.algorithm import DQN
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Batch, Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OffPolicyTrainerParams
from tianshou.utils.net.common import Net
from weights import fill, normal


def job():
    """Trains for 300 steps, without steps that are drawn."""
    env = Pull(discrete=True)
    net = fill(Net(state_shape=(4,), action_shape=3, hidden_sizes=[64, 64]))
    policy = DiscreteQLearningPolicy(model=net, action_space=env.action_space, eps_training=0.0)
    algorithm = DQN(
        policy=policy, optim=AdamOptimizerFactory(lr=1e-3), n_step_return_horizon=3, target_update_freq=20
    )
    environments = DummyVectorEnv([lambda: Pull(discrete=True)])
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
