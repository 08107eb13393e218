"""torchvision: models, a training step, boxes, transforms of pictures, its layers and losses."""

import numpy as np
import torch
from PIL import Image
from torchvision import models, ops, utils
from torchvision.transforms import v2
from weights import fill, normal


def job():
    """Small models on pictures of 64 x 64, boxes, pictures."""
    x = torch.from_numpy(normal(2, 3, 64, 64))
    results = {}
    for name in ("squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small", "mnasnet0_5"):
        network = fill(models.get_model(name, num_classes=4), scale=0.3 if name[0] == "s" else 0.5).eval()
        results[name] = network(x)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(x), torch.tensor([0, 3]))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    pyramid = fill(ops.FeaturePyramidNetwork([3, 3], 8))
    features = pyramid({"a": x, "b": x[..., ::2, ::2]})
    corner = torch.from_numpy(abs(normal(40, 2)))
    boxes = torch.cat([corner, corner + 1 + torch.from_numpy(abs(normal(40, 2)))], 1)
    picture = Image.fromarray((np.arange(48 * 40 * 3) % 251).reshape(48, 40, 3).astype(np.uint8))
    prepared = models.SqueezeNet1_1_Weights.DEFAULT.transforms()
    return {
        **results,
        "losses": losses,
        "pyramid": features["b"][0, :2, ::9],
        "iou": ops.generalized_box_iou(boxes, boxes[:3]).sum(0),
        "focal": ops.sigmoid_focal_loss(boxes, (boxes > 1).float(), reduction="mean"),
        "squeezed": fill(ops.SqueezeExcitation(3, 2))(x)[0, :, ::30, ::30],
        "prepared": prepared(picture)[:, ::50, ::50],
        "flipped": v2.functional.hflip(v2.functional.resize(x, [20, 30]))[0, :, ::9, ::9],
        "grid": utils.make_grid(x, nrow=2)[:, ::40, ::40],
    }
