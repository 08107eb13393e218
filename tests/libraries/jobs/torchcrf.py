"""pytorch-crf: the likelihood of tags, its gradients, and the best tags."""

import torch
from torchcrf import CRF
from weights import fill, labels, normal


def job():
    """Losses with and without a mask, gradients, tags."""
    layer, tags = fill(CRF(5, batch_first=True)), torch.from_numpy(labels(3, 7, classes=5))
    scores, mask = torch.from_numpy(normal(3, 7, 5)).requires_grad_(), torch.ones(3, 7, dtype=torch.bool)
    mask[1, 4:] = False
    losses = [-layer(scores, tags, mask=mask, reduction=kind) for kind in ("sum", "mean", "token_mean")]
    torch.stack([*losses, -layer(scores, tags)]).sum().backward()
    answer = {
        "losses": torch.stack(losses),
        "slope": scores.grad,
        "tags": [tag for row in layer.decode(scores, mask) for tag in row],
    }
    return answer | {name: parameter.grad for name, parameter in layer.named_parameters()}
