"""Networks that make pictures and signals, and codes for them."""

import torch
from common import fill, labels, normal
from torch import from_numpy, nn


def denoising_diffusion_pytorch():
    """Networks for pictures and signals, a step of training, samples. Predictions, losses of given noise,
    gradients."""
    from denoising_diffusion_pytorch import GaussianDiffusion, GaussianDiffusion1D, Unet, Unet1D

    answer, times = {}, torch.tensor([1, 7])
    pictures, noise = (from_numpy(normal(2, 3, 16, 16, seed=seed)) for seed in (0, 1))
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


def diffusers():
    """A step of training of a UNet, pictures by each schedule, an autoencoder. Tiny networks of random
    weights."""
    import diffusers

    names = """
        DDIM DDPM DPMSolverMultistep DEISMultistep EulerDiscrete Heun PNDM UniPCMultistep
    """
    ends = {"EulerDiscrete": "EulerDiscreteScheduler", "Heun": "HeunDiscreteScheduler"}
    sizes = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4}
    down, up = ("DownBlock2D", "AttnDownBlock2D"), ("AttnUpBlock2D", "UpBlock2D")
    unet = diffusers.UNet2DModel(
        8, 3, 3, down_block_types=down, up_block_types=up, attention_head_dim=4, **sizes
    )
    fill(unet)
    images, noise = (from_numpy(normal(2, 3, 8, 8, seed=seed)) for seed in (0, 1))
    times = from_numpy(labels(2, classes=1000))
    noisy = diffusers.DDPMScheduler().add_noise(images, noise, times)
    loss = nn.functional.mse_loss(unet(noisy, times).sample, noise)
    loss.backward()
    answer = {"loss": loss, "gradient": unet.conv_in.weight.grad}
    for name in names.split():
        schedule = getattr(diffusers, ends.get(name, f"{name}Scheduler"))()
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
    return answer | {"autoencoder": encoder(from_numpy(normal(1, 3, 16, 16))).sample}


def vector_quantize_pytorch():
    """Quantized vectors, their codes, the losses and gradients. Each kind on one batch."""
    import vector_quantize_pytorch as vq

    kinds = {
        "plain": vq.VectorQuantize(16, 12),
        "cosine": vq.VectorQuantize(16, 12, use_cosine_sim=True),
        "low": vq.VectorQuantize(16, 12, codebook_dim=4),
        "heads": vq.VectorQuantize(16, 12, heads=2, separate_codebook_per_head=True),
        "learned": vq.VectorQuantize(16, 12, learnable_codebook=True, ema_update=False),
        "residual": vq.ResidualVQ(dim=16, num_quantizers=2, codebook_size=12),
        "finite": vq.FSQ([8, 5, 5, 3], dim=16),
        "free": vq.LFQ(codebook_size=16, dim=16),
        "simple": vq.SimVQ(dim=16, codebook_size=12),
    }
    answer = {}
    for name, layer in kinds.items():
        for buffer in layer.buffers():  # codes that were drawn
            if buffer.is_floating_point() and buffer.ndim > 1:
                buffer.copy_(from_numpy(normal(*buffer.shape, seed=7)))
        x = from_numpy(normal(2, 10, 16)).requires_grad_()
        out, codes, *loss = fill(layer)(x)
        (out.square().sum() + sum(part.sum() for part in loss)).backward()
        answer |= {name: out, f"{name} codes": codes, f"{name} slope": x.grad}
    return answer
