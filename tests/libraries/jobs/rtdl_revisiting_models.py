"""rtdl_revisiting_models: MLP, ResNet and FT-Transformer are trained on a table."""

import torch
from rtdl_revisiting_models import MLP, FTTransformer, ResNet
from weights import fill, labels, normal


def job():
    """Eight steps of AdamW of each."""
    x, kinds, y = (
        torch.from_numpy(normal(128, 8)),
        torch.from_numpy(labels(128, 2, classes=4)),
        torch.from_numpy(normal(128, seed=1)),
    )
    options = FTTransformer.get_default_kwargs(n_blocks=2) | {"attention_dropout": 0.0, "ffn_dropout": 0.0}
    models = {
        "mlp": MLP(d_in=8, d_out=1, n_blocks=2, d_block=64, dropout=0.0),
        "resnet": ResNet(
            d_in=8,
            d_out=1,
            n_blocks=2,
            d_block=32,
            d_hidden=64,
            d_hidden_multiplier=None,
            dropout1=0.0,
            dropout2=0.0,
        ),
        "transformer": FTTransformer(n_cont_features=8, cat_cardinalities=[4, 4], d_out=1, **options),
    }
    answer = {}
    for name, model in models.items():
        fill(model)
        optimizer = (
            model.make_default_optimizer()
            if name == "transformer"
            else torch.optim.AdamW(model.parameters(), lr=1e-3)
        )
        losses = []
        for _ in range(8):
            optimizer.zero_grad()
            predicted = model(x, kinds) if name == "transformer" else model(x)
            loss = (predicted.squeeze(-1) - y).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        answer[name] = losses
    return answer
