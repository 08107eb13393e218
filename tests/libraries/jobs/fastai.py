"""fastai: images as tensors of its own classes, a data block, a learner that fits."""

import torch
from fastai.vision.all import (
    SGD,
    CategoryBlock,
    CrossEntropyLossFlat,
    DataBlock,
    ImageBlock,
    IndexSplitter,
    Learner,
    Normalize,
    PILImage,
    TensorImage,
    TensorMask,
    accuracy,
    imagenet_stats,
)
from torch import nn
from weights import fill, normal


def job():
    """Two epochs of SGD, and which classes tensors have after it."""
    images = (normal(24, 16, 16, 3) * 40 + 128).clip(0, 255).astype("uint8")
    block = DataBlock(
        (ImageBlock, CategoryBlock),
        get_x=lambda i: PILImage.create(images[i]),
        get_y=lambda i: i % 2,
        splitter=IndexSplitter(range(16, 24)),
        batch_tfms=[Normalize.from_stats(*imagenet_stats, cuda=False)],
    )
    data = block.dataloaders(range(24), bs=4, num_workers=0, device=torch.device("cpu"))
    data.train = data.train.new(shuffle=False)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    fill(network)
    settings = {"loss_func": CrossEntropyLossFlat(), "metrics": [accuracy], "opt_func": SGD}
    learner = Learner(data, network, **settings)
    with learner.no_bar(), learner.no_logging():
        learner.fit(2, 0.1)
        predictions = learner.get_preds()[0]
    x, y = data.valid.one_batch()
    mask = TensorMask(y.long())
    kinds = [x + 1, x[0], x.mean(), torch.stack([x, x]), network(x), mask.float() * 2, mask == 1]
    return {
        "losses": [float(value) for row in learner.recorder.values for value in row],
        "predictions": predictions.flatten()[::3],
        "classes": torch.tensor(
            [[isinstance(k, TensorImage), isinstance(k, TensorMask)] for k in kinds]
        ).float(),
        "batch": torch.tensor(x[0, :, ::5, ::5]),
    }
