"""diffusers: a step of training of a UNet, pictures by each schedule, an autoencoder."""

import diffusers
import torch
from torch import nn
from weights import fill, labels, normal

_SCHEDULES = """
    DDIM DDPM DPMSolverMultistep DEISMultistep EulerDiscrete Heun PNDM UniPCMultistep
"""
_ENDS = {"EulerDiscrete": "EulerDiscreteScheduler", "Heun": "HeunDiscreteScheduler"}


def job():
    """Tiny networks of random weights."""
    sizes = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4}
    down, up = ("DownBlock2D", "AttnDownBlock2D"), ("AttnUpBlock2D", "UpBlock2D")
    unet = diffusers.UNet2DModel(
        8, 3, 3, down_block_types=down, up_block_types=up, attention_head_dim=4, **sizes
    )
    fill(unet)
    images, noise = (torch.from_numpy(normal(2, 3, 8, 8, seed=seed)) for seed in (0, 1))
    times = torch.from_numpy(labels(2, classes=1000))
    noisy = diffusers.DDPMScheduler().add_noise(images, noise, times)
    loss = nn.functional.mse_loss(unet(noisy, times).sample, noise)
    loss.backward()
    answer = {"loss": loss, "gradient": unet.conv_in.weight.grad}
    for name in _SCHEDULES.split():
        schedule = getattr(diffusers, _ENDS.get(name, f"{name}Scheduler"))()
        schedule.set_timesteps(4)
        x, settings = noise, {"generator": torch.Generator().manual_seed(0)} if name == "DDIM" else {}
        with torch.no_grad():
            for time in schedule.timesteps:
                drawn = unet(schedule.scale_model_input(x, time), time).sample
                if name == "DDPM":  # without its noise
                    x = schedule.step(drawn, time, x).pred_original_sample
                else:
                    x = schedule.step(drawn, time, x, **settings).prev_sample
        answer[name] = x
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    encoder = fill(diffusers.AutoencoderKL(latent_channels=4, sample_size=16, **blocks, **sizes))
    return answer | {"autoencoder": encoder(torch.from_numpy(normal(1, 3, 16, 16))).sample}
