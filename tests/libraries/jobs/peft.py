"""peft: adapters of a network, trained for two steps and merged."""

import peft
import torch
from torch import nn
from weights import fill, labels, normal


class Network(nn.Module):
    """Three layers."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.out = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x):
        """The classes' scores."""
        return self.out(torch.relu(self.second(torch.relu(self.first(x)))))


def job():
    """Each kind of adapter on two layers."""
    layers = {"target_modules": ["first", "second"]}
    kinds = {
        "lora": peft.LoraConfig(r=4, **layers),
        "dora": peft.LoraConfig(r=4, use_dora=True, **layers),
        "rslora": peft.LoraConfig(r=4, use_rslora=True, **layers),
        "ia3": peft.IA3Config(feedforward_modules=["second"], **layers),
        "loha": peft.LoHaConfig(r=4, **layers),
        "lokr": peft.LoKrConfig(r=4, **layers),
        "oft": peft.OFTConfig(oft_block_size=4, **layers),
        "boft": peft.BOFTConfig(boft_block_size=4, **layers),
        "vera": peft.VeraConfig(r=4, target_modules=["second"]),
        "hra": peft.HRAConfig(r=4, **layers),
    }
    x, y, answer = torch.from_numpy(normal(6, 8)), torch.from_numpy(labels(6, classes=3)), {}
    for name, settings in kinds.items():
        model = fill(peft.get_peft_model(fill(Network()), settings), seed=1, scale=0.3)
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
        for _ in range(2):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        if name == "vera":  # its fixed matrices are drawn
            answer[name] = torch.tensor(float(loss.isfinite()))
            continue
        answer[name], answer[f"{name} merged"] = loss, model.eval().merge_and_unload()(x)
    return answer
