"""kornia: filters, geometry, colors, losses and their gradients."""

import kornia
import torch
from kornia import color, enhance, feature, filters, geometry, losses, morphology
from weights import normal, uniform


def job():
    """Each function on two images."""
    other, turn = (
        torch.from_numpy(uniform(2, 3, 16, 16, seed=1)),
        torch.from_numpy(uniform(2, low=30, high=45)),
    )
    near = torch.eye(3) + 0.01 * torch.from_numpy(normal(2, 3, 3))
    functions = {
        "gauss": lambda x: filters.gaussian_blur2d(x, (3, 3), (1.5, 1.5)),
        "median": lambda x: filters.median_blur(x, (3, 3)),
        "bilateral": lambda x: filters.bilateral_blur(x, (3, 3), 0.1, (1.5, 1.5)),
        "sobel": filters.sobel,
        "rotate": lambda x: geometry.rotate(x, turn),
        "warp": lambda x: geometry.warp_perspective(x, near, (12, 12)),
        "pyramid": lambda x: geometry.build_pyramid(x, 2)[1],
        "lab": color.rgb_to_lab,
        "hsv": color.rgb_to_hsv,
        "contrast": lambda x: enhance.adjust_contrast(x, 0.7),
        "clahe": lambda x: enhance.equalize_clahe(x, grid_size=(2, 2)),
        "jpeg": lambda x: enhance.jpeg_codec_differentiable(x, torch.tensor([50.0, 50.0])),
        "dilation": lambda x: morphology.dilation(x, torch.ones(3, 3)),
        "ssim": lambda x: losses.ssim_loss(x, other, 5),
        "harris": feature.harris_response,
        "argmax": geometry.subpix.spatial_soft_argmax2d,
    }
    answer = {}
    for name, function in functions.items():
        x = torch.from_numpy(uniform(2, 3, 16, 16)).requires_grad_()
        answer[name] = function(x)
        if answer[name].requires_grad:
            answer[name].sum().backward()
            answer[f"{name} slope"] = x.grad
    points = torch.from_numpy(uniform(1, 8, 2))
    moved = points + 0.01 * torch.from_numpy(normal(1, 8, 2))
    return answer | {"homography": kornia.geometry.find_homography_dlt(points, moved)}
