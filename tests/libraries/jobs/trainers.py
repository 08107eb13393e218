"""Loops of training that a library runs."""

import logging
import tempfile

import torch
from common import fill, labels, normal
from torch import from_numpy, nn
from torch.utils.data import DataLoader, TensorDataset


def accelerate():
    """A loop of training with accumulated and clipped gradients, its state saved and loaded. Four updates
    of a network."""
    from accelerate import Accelerator

    accelerator = Accelerator(gradient_accumulation_steps=2)
    model = fill(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    data = TensorDataset(from_numpy(normal(32, 8)), from_numpy(labels(32, classes=3)))
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


def fastai():
    """Images as tensors of its own classes, a data block, a learner that fits. Two epochs of SGD, and
    which classes tensors have after it."""
    from fastai.vision import all as fv

    images = (normal(24, 16, 16, 3) * 40 + 128).clip(0, 255).astype("uint8")
    block = fv.DataBlock(
        (fv.ImageBlock, fv.CategoryBlock),
        get_x=lambda i: fv.PILImage.create(images[i]),
        get_y=lambda i: i % 2,
        splitter=fv.IndexSplitter(range(16, 24)),
        batch_tfms=[fv.Normalize.from_stats(*fv.imagenet_stats, cuda=False)],
    )
    data = block.dataloaders(range(24), bs=4, num_workers=0, device=torch.device("cpu"))
    data.train = data.train.new(shuffle=False)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    fill(network)
    settings = {"loss_func": fv.CrossEntropyLossFlat(), "metrics": [fv.accuracy], "opt_func": fv.SGD}
    learner = fv.Learner(data, network, **settings)
    with learner.no_bar(), learner.no_logging():
        learner.fit(2, 0.1)
        predictions = learner.get_preds()[0]
    x, y = data.valid.one_batch()
    mask = fv.TensorMask(y.long())
    kinds = [x + 1, x[0], x.mean(), torch.stack([x, x]), network(x), mask.float() * 2, mask == 1]
    return {
        "losses": [float(value) for row in learner.recorder.values for value in row],
        "predictions": predictions.flatten()[::3],
        "classes": [[isinstance(k, kind) for kind in (fv.TensorImage, fv.TensorMask)] for k in kinds],
        "batch": torch.tensor(x[0, :, ::5, ::5]),
    }


def ignite():
    """Engines train and evaluate, with metrics and handlers. Fits 1,000 rows for three epochs."""
    from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
    from ignite.handlers import EarlyStopping, create_lr_scheduler_with_warmup
    from ignite.metrics import Accuracy, ConfusionMatrix, Loss, RunningAverage

    data = TensorDataset(from_numpy(normal(1000, 20)), from_numpy(labels(1000, classes=3)))
    loader = DataLoader(data, batch_size=50)
    model = fill(nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 3)))
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
        loss, rate = evaluator.run(loader).metrics["loss"], optimizer.param_groups[0]["lr"]
        losses.append([loss, engine.state.metrics["average"], rate])

    trainer.run(loader, max_epochs=3)
    return {"losses": losses} | {name: evaluator.state.metrics[name] for name in ("accuracy", "confusion")}


def pytorch_lightning():
    """A Trainer fits, validates and predicts. Fits 1,000 rows for three epochs."""
    import pytorch_lightning

    class Classifier(pytorch_lightning.LightningModule):
        """A network of two layers, its losses, its optimizer and schedule."""

        def __init__(self):
            super().__init__()
            self.net, self.losses = fill(nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 3))), []

        def training_step(self, batch, _):
            """The loss of a batch."""
            loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            self.log("train_loss", loss)
            self.losses.append(loss.item())
            return loss

        def validation_step(self, batch, _):
            """Notes the loss of a batch."""
            self.log("val_loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

        def predict_step(self, batch, _):
            """The classes' scores."""
            return self.net(batch[0])

        def configure_optimizers(self):
            """AdamW, slower in each epoch."""
            optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    data = TensorDataset(from_numpy(normal(1000, 20)), from_numpy(labels(1000, classes=3)))
    loader, model = DataLoader(data, batch_size=50), Classifier()
    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    trainer = pytorch_lightning.Trainer(max_epochs=3, accelerator="cpu", gradient_clip_val=1.0, **quiet)
    trainer.fit(model, loader, loader)
    validation = trainer.callback_metrics["val_loss"]
    scores = torch.cat(trainer.predict(model, loader))
    return {"losses": model.losses, "validation": validation, "scores": scores[:10]}
