"""neuromancer: a policy learns to control a system, through a problem of objectives and constraints."""

import torch
from neuromancer.constraint import variable
from neuromancer.dataset import DictDataset
from neuromancer.loss import PenaltyLoss
from neuromancer.modules.blocks import MLP
from neuromancer.problem import Problem
from neuromancer.system import Node, System
from neuromancer.trainer import Trainer
from torch.utils.data import DataLoader
from weights import fill, normal


def job():
    """Five epochs over 200 starts, of ten steps each."""
    torch.manual_seed(0)
    a, b = torch.tensor([[1.2, 1.0], [0.0, 1.0]]), torch.tensor([[1.0], [0.5]])
    policy = fill(MLP(2, 1, bias=True, linear_map=torch.nn.Linear, nonlin=torch.nn.GELU, hsizes=[20, 20]))
    closed = System([Node(policy, ["x"], ["u"]), Node(lambda x, u: x @ a.T + u @ b.T, ["x", "u"], ["x"])], nsteps=10)
    x, u = variable("x"), variable("u")
    action = 0.01 * (u == 0.0) ^ 2
    state, bounds = 1.0 * (x[:, :-1, :] == 0.0) ^ 2, 10.0 * (u < 1.0)
    problem = Problem([closed], PenaltyLoss([action, state], [bounds]))
    data = DictDataset({"x": torch.from_numpy(normal(200, 1, 2))}, name="train")
    loader = DataLoader(data, batch_size=100, collate_fn=data.collate_fn)
    check = DictDataset({"x": torch.from_numpy(normal(50, 1, 2, seed=1))}, name="dev")
    trainer = Trainer(
        problem, loader, DataLoader(check, batch_size=50, collate_fn=check.collate_fn),
        optimizer=torch.optim.AdamW(problem.parameters(), lr=0.01), epochs=5, train_metric="train_loss", dev_metric="dev_loss", eval_metric="dev_loss",
    )
    best = trainer.train()
    problem.load_state_dict(best)
    result = problem(next(iter(loader)) | {"name": "train"})
    return {"loss": result["train_loss"], "x": result["train_x"][::30], "u": result["train_u"][::30]}
