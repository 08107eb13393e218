"""torch_geometric: graph networks of three kinds are trained, and a batch of graphs is pooled."""

import torch
from torch import nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GATConv, GCNConv, SAGEConv, global_mean_pool
from weights import fill, labels, normal


def job():
    """Ten steps of each on a graph of 200 nodes."""
    edges = torch.from_numpy(labels(2, 800, classes=200))
    data = Data(
        x=torch.from_numpy(normal(200, 16)), edge_index=edges, y=torch.from_numpy(labels(200, classes=4))
    )
    answer = {}
    for kind in (GCNConv, SAGEConv, GATConv):
        layers = nn.ModuleList([kind(16, 32), kind(32, 4)])
        fill(layers)
        optimizer, losses = torch.optim.Adam(layers.parameters(), lr=0.01), []
        for _ in range(10):
            optimizer.zero_grad()
            scores = layers[1](layers[0](data.x, data.edge_index).relu(), data.edge_index)
            loss = nn.functional.cross_entropy(scores, data.y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        answer[kind.__name__] = losses
    batch = Batch.from_data_list(
        [Data(x=data.x[i : i + 20], edge_index=edges[:, i : i + 9] % 20) for i in range(0, 100, 20)]
    )
    return answer | {"pooled": global_mean_pool(layers[0](batch.x, batch.edge_index), batch.batch)}
