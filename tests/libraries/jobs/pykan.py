"""pykan: a network of splines is trained with LBFGS and Adam."""

import tempfile

import torch
from kan import KAN
from weights import fill, uniform


def job():
    """Eight steps of each."""
    x = torch.from_numpy(uniform(400, 2, low=-1))
    y = torch.exp(torch.sin(torch.pi * x[:, :1]) + x[:, 1:] ** 2)
    data = {"train_input": x[:300], "train_label": y[:300], "test_input": x[300:], "test_label": y[300:]}
    answer = {}
    for name in ("LBFGS", "Adam"):
        with tempfile.TemporaryDirectory() as folder:
            model = KAN(width=[2, 4, 1], grid=4, k=3, seed=0, ckpt_path=folder, auto_save=False)
            for k, layer in enumerate(model.act_fun):
                fill(layer, seed=k, scale=0.1)
            losses = model.fit(
                data, opt=name, steps=8, lr=0.1 if name == "Adam" else 1.0, lamb=0.001, log=100
            )
        answer[name], answer[f"{name}_test"] = losses["train_loss"], losses["test_loss"]
    return answer
