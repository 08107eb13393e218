"""PyTorch Lightning: a Trainer fits, validates and predicts."""

import logging

import pytorch_lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from weights import fill, labels, normal


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


def job():
    """Fits 1,000 rows for three epochs."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    data = TensorDataset(torch.from_numpy(normal(1000, 20)), torch.from_numpy(labels(1000, classes=3)))
    loader, model = DataLoader(data, batch_size=50), Classifier()
    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    trainer = pytorch_lightning.Trainer(max_epochs=3, accelerator="cpu", gradient_clip_val=1.0, **quiet)
    trainer.fit(model, loader, loader)
    validation = trainer.callback_metrics["val_loss"]
    scores = torch.cat(trainer.predict(model, loader))
    return {"losses": model.losses, "validation": validation, "scores": scores[:10]}
