"""grad-cam: what a network looks at, by several methods."""

import torch
from pytorch_grad_cam import EigenCAM, GradCAM, GradCAMPlusPlus, LayerCAM, XGradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torchvision.models import resnet18
from weights import fill, normal


def job():
    """Maps of a ResNet's last layer."""
    network = fill(resnet18(num_classes=4)).eval()
    x = torch.from_numpy(normal(1, 3, 64, 64))
    results = {}
    for method in (GradCAM, GradCAMPlusPlus, XGradCAM, LayerCAM, EigenCAM):
        with method(model=network, target_layers=[network.layer3[-1]]) as cam:
            results[method.__name__] = cam(input_tensor=x, targets=[ClassifierOutputTarget(1)])[0, ::20, ::20]
    return results
