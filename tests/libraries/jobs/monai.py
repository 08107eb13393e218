"""monai: transforms of images with their affine maps and back, a loader, a network with a loss of its own."""

import numpy as np
import torch
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.inferers import sliding_window_inference
from monai.losses import DiceLoss
from monai.networks.nets import UNet
from monai.transforms import Compose, Flipd, Resized, Rotate90d, ScaleIntensityd, SpatialPadd
from weights import fill, normal


def job():
    """Three epochs; inference by windows; the inverse of what the transforms have done."""
    images = [MetaTensor(torch.from_numpy(x)[None], affine=torch.eye(4)) for x in normal(4, 16, 16)]
    samples = [{"image": x, "label": (x > 0).float()} for x in images]
    both = ["image", "label"]
    change = Compose([Flipd(both, 0), Rotate90d(both), SpatialPadd(both, (20, 20)), ScaleIntensityd("image")])
    network = UNet(2, 1, 1, (4, 8), (2,))
    fill(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    losses = []
    for _ in range(3):
        for batch in DataLoader(Dataset(samples, change), batch_size=2):
            optimizer.zero_grad()
            loss = DiceLoss(sigmoid=True)(network(batch["image"]), batch["label"])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    first = decollate_batch(batch)[0]
    network.eval()
    with torch.no_grad():
        windows = sliding_window_inference(first["image"][None], (16, 16), 2, network)
    small = Resized("image", (8, 8))(samples[0])["image"]
    back = change.inverse(first)["label"]
    kinds = [windows, loss, first["image"], first["image"][0] * 2, small, back]
    return {
        "losses": losses,
        "classes": torch.tensor([float(type(x) is MetaTensor) for x in kinds]),
        "windows": windows.as_tensor()[0, 0, ::5, ::5],
        "small": small.as_tensor()[0, ::3, ::3],
        "affine": torch.as_tensor(np.asarray(first["image"].affine)),
        "inverse": back.as_tensor()[0, ::5, ::5],
    }
