"""ultralytics: detectors of its files, the loss and its gradient, the boxes that stay."""

import torch
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.nms import non_max_suppression
from weights import fill, normal


def job():
    """Two nets, one of them with a loss."""
    x = torch.from_numpy(normal(1, 3, 64, 64))
    results = {}
    for name in ("yolov8n", "yolo11n"):
        network = fill(DetectionModel(f"{name}.yaml", nc=3, verbose=False), scale=0.4)
        network.args = get_cfg()
        results[name] = network.eval()(x)[0][0, :, ::20]
    found = non_max_suppression(network(x)[0], 0.01, 0.5, max_det=5)[0]
    batch = {
        "img": x,
        "batch_idx": torch.zeros(2),
        "cls": torch.tensor([[0.0], [2.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.3, 0.4], [0.3, 0.4, 0.2, 0.2]]),
    }
    loss = network.train().loss(batch)[0]
    loss.sum().backward()
    return results | {"kept": found, "loss": loss, "slope": network.model[0].conv.weight.grad[:4]}
