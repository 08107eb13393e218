"""open_clip: pictures and texts in one space, with new weights, and its loss."""

import torch
from open_clip import CLIP, ClipLoss, tokenize
from weights import fill, normal


def job():
    """A small CLIP and its gradients."""
    vision = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    network = fill(CLIP(32, vision, text)).eval()
    pictures, words = network(torch.from_numpy(normal(3, 3, 32, 32)), tokenize(["a", "a dog", "two cats"]))[
        :2
    ]
    loss = ClipLoss()(pictures, words, torch.tensor(5.0))
    loss.backward()
    return {
        "pictures": pictures,
        "words": words,
        "loss": loss,
        "slope": network.visual.conv1.weight.grad[:2, :, ::4, ::4],
    }
