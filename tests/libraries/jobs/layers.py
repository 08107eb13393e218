"""Layers of other kinds: of patches, graphs, splines and spikes."""

import tempfile

import torch
from common import fill, labels, normal, step, uniform
from torch import from_numpy, nn


def einops():
    """Rearranged and reduced tensors, its layers, and their gradients. A network of patches, ten steps."""
    from einops import einsum, pack, rearrange, reduce, repeat, unpack
    from einops.layers.torch import EinMix, Rearrange, Reduce

    x = from_numpy(normal(32, 3, 16, 16))
    network = nn.Sequential(
        Rearrange("b c (h p) (w q) -> b (h w) (c p q)", p=4, q=4),
        EinMix("b t c -> b t d", weight_shape="c d", bias_shape="d", c=48, d=32),
        nn.GELU(),
        Reduce("b t d -> b d", "mean"),
        nn.Linear(32, 4),
    )
    fill(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    losses = [step(optimizer, network(x).square().mean()) for _ in range(10)]
    tokens, shapes = pack([x, x[:, 0]], "b *")
    return {
        "losses": losses,
        "rearranged": rearrange(x, "b c (h p) w -> (b p) w h c", p=2)[::9, ::5],
        "repeated": repeat(reduce(x, "b c h w -> b c", "max"), "b c -> b (c r)", r=2)[::9],
        "einsum": einsum(x, x, "b c h w, b c v w -> b h v")[::9, ::5],
        "unpacked": unpack(tokens, shapes, "b *")[1][::9, ::5],
    }


def pykan():
    """A network of splines is trained with LBFGS and Adam. Eight steps of each."""
    from kan import KAN

    x = from_numpy(uniform(400, 2, low=-1))
    y = torch.exp(torch.sin(torch.pi * x[:, :1]) + x[:, 1:] ** 2)
    data = {"train_input": x[:300], "train_label": y[:300], "test_input": x[300:], "test_label": y[300:]}
    answer = {}
    for name in ("LBFGS", "Adam"):
        with tempfile.TemporaryDirectory() as folder:
            model = KAN(width=[2, 4, 1], grid=4, k=3, seed=0, ckpt_path=folder, auto_save=False)
            for k, layer in enumerate(model.act_fun):
                fill(layer, seed=k, scale=0.1)
            losses = model.fit(
                data, opt=name, steps=8, lr=0.1 if name == "Adam" else 1.0, lamb=0.001, log=100
            )
        answer[name], answer[f"{name}_test"] = losses["train_loss"], losses["test_loss"]
    return answer


def snntorch():
    """Networks of spiking neurons are trained through surrogate gradients. Three steps of Adam over eight
    moments with each neuron."""
    import snntorch as snn
    from snntorch import functional, spikegen, surrogate, utils

    neurons = {
        "Leaky": {"beta": 0.9},
        "Lapicque": {"beta": 0.9},
        "Synaptic": {"alpha": 0.8, "beta": 0.9},
        "Alpha": {"alpha": 0.9, "beta": 0.8},
        "RLeaky": {"beta": 0.9, "all_to_all": False, "V": 0.5},
    }
    x, wanted, answer = from_numpy(normal(16, 12)), from_numpy(labels(16, classes=4)), {}
    for name, settings in neurons.items():
        neuron = getattr(snn, name)(init_hidden=True, spike_grad=surrogate.atan(), **settings)
        network = nn.Sequential(fill(nn.Linear(12, 24)), neuron, fill(nn.Linear(24, 4)))
        optimizer, losses = torch.optim.Adam(network.parameters(), lr=1e-2), []
        for _ in range(3):
            utils.reset(network)
            given = torch.stack([network(x) for _ in range(8)])
            loss = nn.functional.cross_entropy(given.mean(0), wanted)
            step(optimizer, loss)
            losses.append(loss.item())
        answer[name] = losses
    answer["latency"] = spikegen.latency(from_numpy(uniform(6)), num_steps=5)
    answer["rate"] = functional.ce_rate_loss()(given, wanted)
    return answer


def torch_geometric():
    """Graph networks of three kinds are trained, and a batch of graphs is pooled. Ten steps of each on a
    graph of 200 nodes."""
    from torch_geometric.data import Batch, Data
    from torch_geometric.nn import GATConv, GCNConv, SAGEConv, global_mean_pool

    edges = from_numpy(labels(2, 800, classes=200))
    data = Data(x=from_numpy(normal(200, 16)), edge_index=edges, y=from_numpy(labels(200, classes=4)))
    answer = {}
    for kind in (GCNConv, SAGEConv, GATConv):
        layers = nn.ModuleList([kind(16, 32), kind(32, 4)])
        fill(layers)
        optimizer, losses = torch.optim.Adam(layers.parameters(), lr=0.01), []
        for _ in range(10):
            scores = layers[1](layers[0](data.x, data.edge_index).relu(), data.edge_index)
            losses.append(step(optimizer, nn.functional.cross_entropy(scores, data.y)))
        answer[kind.__name__] = losses
    batch = Batch.from_data_list(
        [Data(x=data.x[i : i + 20], edge_index=edges[:, i : i + 9] % 20) for i in range(0, 100, 20)]
    )
    return answer | {"pooled": global_mean_pool(layers[0](batch.x, batch.edge_index), batch.batch)}
