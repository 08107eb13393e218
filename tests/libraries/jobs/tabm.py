"""tabm: an ensemble in one network is trained on a table."""

import torch
from rtdl_num_embeddings import LinearReLUEmbeddings
from tabm import TabM
from torch import nn
from weights import fill, labels, normal


def job():
    """Ten steps of AdamW."""
    x, kinds = torch.from_numpy(normal(256, 8)), torch.from_numpy(labels(256, 2, classes=4))
    y = torch.from_numpy(labels(256, classes=3, seed=1))
    model = TabM.make(
        n_num_features=8,
        cat_cardinalities=[4, 4],
        d_out=3,
        n_blocks=2,
        d_block=64,
        dropout=0.0,
        k=8,
        num_embeddings=LinearReLUEmbeddings(8, 16),
    )
    fill(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=3e-4)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        predicted = model(x, kinds)
        loss = nn.functional.cross_entropy(predicted.flatten(0, 1), y.repeat_interleave(8))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return {"losses": losses, "probabilities": model(x[:8], kinds[:8]).softmax(-1).mean(1)}
