"""vit-pytorch: a step of training of several vision transformers."""

import torch
from vit_pytorch import ViT, cait, cct, cross_vit, cvt, deepvit, nest, simple_vit, t2t
from weights import fill, normal

_BASE = {"image_size": 32, "num_classes": 5}
_ONE = _BASE | {"dim": 16, "depth": 1, "heads": 2, "mlp_dim": 32}
_CVT = {
    f"s{i}_{name}": size for i in (1, 2, 3) for name, size in (("emb_dim", 8 * i), ("depth", 1), ("heads", i))
}


def job():
    """Scores and the size of all gradients."""
    models = {
        "vit": ViT(patch_size=8, **_ONE),
        "simple": simple_vit.SimpleViT(patch_size=8, **_ONE),
        "deep": deepvit.DeepViT(patch_size=8, **_ONE),
        "cait": cait.CaiT(patch_size=8, cls_depth=1, **_ONE),
        "t2t": t2t.T2TViT(t2t_layers=((7, 4), (3, 2)), **_ONE),
        "cct": cct.CCT(
            img_size=32,
            embedding_dim=16,
            n_conv_layers=1,
            num_layers=1,
            num_heads=2,
            mlp_ratio=2,
            num_classes=5,
            dropout_rate=0.0,
            attention_dropout=0.0,
            stochastic_depth_rate=0.0,
        ),
        "cvt": cvt.CvT(num_classes=5, **_CVT),
        "nest": nest.NesT(patch_size=4, dim=16, heads=2, num_hierarchies=2, block_repeats=(1, 1), **_BASE),
        "cross": cross_vit.CrossViT(
            depth=1,
            sm_dim=16,
            sm_patch_size=8,
            sm_enc_depth=1,
            sm_enc_heads=2,
            lg_dim=16,
            lg_patch_size=16,
            lg_enc_depth=1,
            lg_enc_heads=2,
            cross_attn_depth=1,
            cross_attn_heads=2,
            dropout=0.0,
            emb_dropout=0.0,
            **_BASE,
        ),
    }
    answer, images = {}, torch.from_numpy(normal(2, 3, 32, 32))
    for name, model in models.items():
        answer[name] = fill(model)(images)
        answer[name].square().mean().backward()
        answer[f"{name} slope"] = sum(p.grad.square().sum() for p in model.parameters() if p.grad is not None)
    return answer
