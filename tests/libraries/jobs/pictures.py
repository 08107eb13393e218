"""Networks for pictures, and what is computed with pictures."""

import numpy as np
import torch
from common import fill, labels, normal, step, uniform
from torch import from_numpy, nn


def efficientnet_pytorch():
    """Scores, the maps of each size, and a step of training without dropped paths. Scores, maps and the
    size of all gradients."""
    from efficientnet_pytorch import EfficientNet

    settings = {"num_classes": 4, "image_size": 32, "drop_connect_rate": 0.0, "dropout_rate": 0.0}
    model = fill(EfficientNet.from_name("efficientnet-b0", **settings), scale=2.0)
    images = from_numpy(normal(4, 3, 64, 64))
    answer = {"scores": model.eval()(images)}
    answer |= {name: values.detach() for name, values in model.extract_endpoints(images).items()}
    answer["scores"].square().mean().backward()
    return answer | {"slope": torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None])}


def facenet_pytorch():
    """The embedding of faces, a training step of it, and the three parts of its detector. An embedding
    and its gradient; what the parts say of pictures."""
    from facenet_pytorch import InceptionResnetV1
    from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

    embed = fill(InceptionResnetV1(pretrained=None), scale=0.3).eval()
    faces = embed(from_numpy(normal(2, 3, 96, 96)))
    (faces[0] - faces[1]).square().sum().backward()
    results = {"embedding": faces, "slope": embed.conv2d_1a.conv.weight.grad[:4]}
    for part, size in ((PNet, 40), (RNet, 24), (ONet, 48)):
        network = fill(part(pretrained=False), scale=0.3).eval()
        boxes, *_, scores = network(from_numpy(normal(2, 3, size, size)))
        results |= {f"{part.__name__}_boxes": boxes, f"{part.__name__}_scores": scores}
    return results


def kornia():
    """Filters, geometry, colors, losses and their gradients. Each function on two images."""
    import kornia
    from kornia import color, enhance, feature, filters, geometry, losses, morphology

    other, turn = from_numpy(uniform(2, 3, 16, 16, seed=1)), from_numpy(uniform(2, low=30, high=45))
    near = torch.eye(3) + 0.01 * from_numpy(normal(2, 3, 3))
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
        x = from_numpy(uniform(2, 3, 16, 16)).requires_grad_()
        answer[name] = function(x)
        if answer[name].requires_grad:
            answer[name].sum().backward()
            answer[f"{name} slope"] = x.grad
    points = from_numpy(uniform(1, 8, 2))
    moved = points + 0.01 * from_numpy(normal(1, 8, 2))
    return answer | {"homography": kornia.geometry.find_homography_dlt(points, moved)}


def monai():
    """Transforms of images with their affine maps and back, a loader, a network with a loss of its own.
    Three epochs; inference by windows; the inverse of what the transforms have done."""
    from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
    from monai.inferers import sliding_window_inference
    from monai.losses import DiceLoss
    from monai.networks.nets import UNet
    from monai.transforms import Compose, Flipd, Resized, Rotate90d, ScaleIntensityd, SpatialPadd

    images = [MetaTensor(from_numpy(x)[None], affine=torch.eye(4)) for x in normal(4, 16, 16)]
    samples = [{"image": x, "label": (x > 0).float()} for x in images]
    both = ["image", "label"]
    change = Compose([Flipd(both, 0), Rotate90d(both), SpatialPadd(both, (20, 20)), ScaleIntensityd("image")])
    network = UNet(2, 1, 1, (4, 8), (2,))
    fill(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    losses = []
    for _ in range(3):
        for batch in DataLoader(Dataset(samples, change), batch_size=2):
            loss = DiceLoss(sigmoid=True)(network(batch["image"]), batch["label"])
            losses.append(step(optimizer, loss))
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


def segmentation_models_pytorch():
    """Decoders, a training step, losses, scores. Three decoders on a small encoder, one of them trained."""
    import segmentation_models_pytorch as smp

    x = from_numpy(normal(1, 3, 64, 64))
    results = {}
    for name in ("Unet", "FPN", "Linknet"):
        network = fill(getattr(smp, name)("resnet18", encoder_weights=None, classes=2), scale=0.3).eval()
        results[name] = network(x)[0, :, ::20, ::20]
    target = (x[:, :1] > 0).long()
    losses = {
        "dice": smp.losses.DiceLoss("multiclass"),
        "jaccard": smp.losses.JaccardLoss("multiclass"),
        "focal": smp.losses.FocalLoss("multiclass"),
    }
    y = network(x)
    results |= {name: loss(y, target[:, 0]) for name, loss in losses.items()}
    results["dice"].backward()
    results["slope"] = network.segmentation_head[0].weight.grad
    counts = smp.metrics.get_stats(y.argmax(1), target[:, 0], mode="multiclass", num_classes=2)
    return results | {"score": smp.metrics.iou_score(*counts, reduction="micro")}


def timm():
    """Networks by name, a training step, features, losses and its optimizers. A step of training of each
    network, three of each optimizer."""
    import timm
    from timm.data.mixup import Mixup
    from timm.loss import SoftTargetCrossEntropy
    from timm.optim import create_optimizer_v2

    images, answer = from_numpy(normal(4, 3, 64, 64)), {}
    for name in ("test_byobnet", "test_convnext", "test_vit", "test_efficientnet"):
        settings = {"img_size": 64} if name == "test_vit" else {}
        model = fill(timm.create_model(name, num_classes=7, drop_path_rate=0.0, **settings))
        answer[name] = model.eval()(images)
        optimizer = create_optimizer_v2(model.train(), "adamw", lr=1e-3, weight_decay=0.05)
        mixed, targets = Mixup(mixup_alpha=0.8, num_classes=7)(images, from_numpy(labels(4, classes=7)))
        loss = SoftTargetCrossEntropy()(model(mixed), targets)
        loss.backward()
        optimizer.step()
        answer[f"{name} loss"] = loss
    features = fill(timm.create_model("resnet10t", features_only=True)).eval()(images)
    answer |= {f"features {i}": values for i, values in enumerate(features)}
    for name in ("adan", "lamb", "lion", "madgradw", "nadamw", "adopt", "laprop", "mars", "rmsproptf"):
        layer = fill(nn.Linear(6, 3))
        optimizer = create_optimizer_v2(layer, name, lr=0.01)
        for i in range(3):
            step(optimizer, layer(from_numpy(normal(5, 6, seed=i))).square().mean())
        answer[name] = layer.weight
    return answer


def torchvision():
    """Models, a training step, boxes, transforms of pictures, its layers and losses. Small models on
    pictures of 64 x 64, boxes, pictures."""
    from PIL import Image
    from torchvision import models, ops, utils
    from torchvision.transforms import v2

    x = from_numpy(normal(2, 3, 64, 64))
    results = {}
    for name in ("squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small", "mnasnet0_5"):
        network = fill(models.get_model(name, num_classes=4), scale=0.3 if name[0] == "s" else 0.5).eval()
        results[name] = network(x)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    loss, wanted = torch.nn.functional.cross_entropy, torch.tensor([0, 3])
    losses = [step(optimizer, loss(network(x), wanted)) for _ in range(3)]
    pyramid = fill(ops.FeaturePyramidNetwork([3, 3], 8))
    features = pyramid({"a": x, "b": x[..., ::2, ::2]})
    corner = from_numpy(abs(normal(40, 2)))
    boxes = torch.cat([corner, corner + 1 + from_numpy(abs(normal(40, 2)))], 1)
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


def ultralytics():
    """Detectors of its files, the loss and its gradient, the boxes that stay. Two nets, one of them with
    a loss."""
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import DetectionModel
    from ultralytics.utils.nms import non_max_suppression

    x = from_numpy(normal(1, 3, 64, 64))
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


def vit_pytorch():
    """A step of training of several vision transformers. Scores and the size of all gradients."""
    from vit_pytorch import ViT, cait, cct, cross_vit, cvt, deepvit, nest, simple_vit, t2t

    base = {"image_size": 32, "num_classes": 5}
    one = base | {"dim": 16, "depth": 1, "heads": 2, "mlp_dim": 32}
    stages = {}
    for i in (1, 2, 3):
        stages |= {f"s{i}_emb_dim": 8 * i, f"s{i}_depth": 1, f"s{i}_heads": i}
    convolution = {"img_size": 32, "embedding_dim": 16, "n_conv_layers": 1, "num_layers": 1, "num_heads": 2}
    no_chance = dict.fromkeys(("dropout_rate", "attention_dropout", "stochastic_depth_rate"), 0.0)
    small = {"sm_dim": 16, "sm_patch_size": 8, "sm_enc_depth": 1, "sm_enc_heads": 2}
    large = {"lg_dim": 16, "lg_patch_size": 16, "lg_enc_depth": 1, "lg_enc_heads": 2}
    crossed = {"depth": 1, "cross_attn_depth": 1, "cross_attn_heads": 2, "dropout": 0.0, "emb_dropout": 0.0}
    models = {
        "vit": ViT(patch_size=8, **one),
        "simple": simple_vit.SimpleViT(patch_size=8, **one),
        "deep": deepvit.DeepViT(patch_size=8, **one),
        "cait": cait.CaiT(patch_size=8, cls_depth=1, **one),
        "t2t": t2t.T2TViT(t2t_layers=((7, 4), (3, 2)), **one),
        "cct": cct.CCT(mlp_ratio=2, num_classes=5, **convolution, **no_chance),
        "cvt": cvt.CvT(num_classes=5, **stages),
        "nest": nest.NesT(patch_size=4, dim=16, heads=2, num_hierarchies=2, block_repeats=(1, 1), **base),
        "cross": cross_vit.CrossViT(**small, **large, **crossed, **base),
    }
    answer, images = {}, from_numpy(normal(2, 3, 32, 32))
    for name, model in models.items():
        answer[name] = fill(model)(images)
        answer[name].square().mean().backward()
        answer[f"{name} slope"] = sum(p.grad.square().sum() for p in model.parameters() if p.grad is not None)
    return answer
