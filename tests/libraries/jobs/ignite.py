"""PyTorch-Ignite: engines train and evaluate, with metrics and handlers."""

import torch
from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.handlers import EarlyStopping, create_lr_scheduler_with_warmup
from ignite.metrics import Accuracy, ConfusionMatrix, Loss, RunningAverage
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from weights import fill, labels, normal


def job():
    """Fits 1,000 rows for three epochs."""
    data = TensorDataset(torch.from_numpy(normal(1000, 20)), torch.from_numpy(labels(1000, classes=3)))
    loader, model = (
        DataLoader(data, batch_size=50),
        fill(nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 3))),
    )
    optimizer, criterion = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), nn.CrossEntropyLoss()
    trainer = create_supervised_trainer(model, optimizer, criterion)
    metrics = {"accuracy": Accuracy(), "loss": Loss(criterion), "confusion": ConfusionMatrix(3)}
    evaluator = create_supervised_evaluator(model, metrics)
    RunningAverage(output_transform=lambda loss: loss).attach(trainer, "average")
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 60)
    trainer.add_event_handler(Events.ITERATION_STARTED, create_lr_scheduler_with_warmup(cosine, 0.01, 5))
    evaluator.add_event_handler(
        Events.COMPLETED, EarlyStopping(9, lambda engine: -engine.state.metrics["loss"], trainer)
    )
    losses = []

    @trainer.on(Events.EPOCH_COMPLETED)
    def evaluate(engine):
        losses.append(
            [
                evaluator.run(loader).metrics["loss"],
                engine.state.metrics["average"],
                optimizer.param_groups[0]["lr"],
            ]
        )

    trainer.run(loader, max_epochs=3)
    return {"losses": losses} | {name: evaluator.state.metrics[name] for name in ("accuracy", "confusion")}
