"""denoising-diffusion-pytorch: networks for pictures and signals, a step of training, samples."""

import torch
from denoising_diffusion_pytorch import GaussianDiffusion, GaussianDiffusion1D, Unet, Unet1D
from weights import fill, normal


def job():
    """Predictions, losses of given noise, gradients."""
    answer, times = {}, torch.tensor([1, 7])
    pictures, noise = (torch.from_numpy(normal(2, 3, 16, 16, seed=seed)) for seed in (0, 1))
    network = fill(Unet(dim=8, dim_mults=(1, 2)))
    for objective in ("pred_noise", "pred_v", "pred_x0"):
        model = GaussianDiffusion(network, image_size=16, timesteps=20, objective=objective)
        answer[objective] = model.p_losses(pictures, times, noise=noise)
        answer[objective].backward()
    answer["slope"] = torch.stack([p.grad.norm() for p in network.parameters()])
    small = fill(Unet1D(dim=8, dim_mults=(1, 2), channels=3))
    model = GaussianDiffusion1D(small, seq_length=16, timesteps=20)
    answer["signals"] = model.p_losses(pictures[:, :, 0], times, noise=noise[:, :, 0])
    return answer | {"noisy": model.q_sample(pictures[:, :, 1], times, noise[:, :, 1])}
