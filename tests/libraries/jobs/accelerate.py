"""accelerate: a loop of training with accumulated and clipped gradients, its state saved and loaded."""

import tempfile

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from weights import fill, labels, normal


def job():
    """Four updates of a network."""
    accelerator = Accelerator(gradient_accumulation_steps=2)
    model = fill(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    data = TensorDataset(torch.from_numpy(normal(32, 8)), torch.from_numpy(labels(32, classes=3)))
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    model, optimizer, loader, schedule = accelerator.prepare(model, optimizer, DataLoader(data, 4), schedule)
    losses = []
    for x, y in loader:
        with accelerator.accumulate(model):
            loss = nn.functional.cross_entropy(model(x), y)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        losses.append(loss.item())
    with tempfile.TemporaryDirectory() as folder:
        accelerator.save_state(folder)
        weights = model[0].weight.detach().clone()
        nn.init.zeros_(model[0].weight)
        accelerator.load_state(folder)
    return {"losses": losses, "trained": weights, "loaded": model[0].weight, "rate": schedule.get_last_lr()}
