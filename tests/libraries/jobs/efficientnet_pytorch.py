"""efficientnet_pytorch: scores, the maps of each size, and a step of training without dropped paths."""

import torch
from efficientnet_pytorch import EfficientNet
from weights import fill, normal


def job():
    """Scores, maps and the size of all gradients."""
    settings = {"num_classes": 4, "image_size": 32, "drop_connect_rate": 0.0, "dropout_rate": 0.0}
    model = fill(EfficientNet.from_name("efficientnet-b0", **settings), scale=2.0)
    images = torch.from_numpy(normal(4, 3, 64, 64))
    answer = {"scores": model.eval()(images)}
    answer |= {name: values.detach() for name, values in model.extract_endpoints(images).items()}
    answer["scores"].square().mean().backward()
    return answer | {"slope": torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None])}
