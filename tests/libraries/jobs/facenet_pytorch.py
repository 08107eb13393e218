"""facenet-pytorch: the embedding of faces, a training step of it, and the three parts of its detector."""

import torch
from facenet_pytorch import InceptionResnetV1
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from weights import fill, normal


def job():
    """An embedding and its gradient; what the parts say of pictures."""
    embed = fill(InceptionResnetV1(pretrained=None), scale=0.3).eval()
    faces = embed(torch.from_numpy(normal(2, 3, 96, 96)))
    (faces[0] - faces[1]).square().sum().backward()
    results = {"embedding": faces, "slope": embed.conv2d_1a.conv.weight.grad[:4]}
    for part, size in ((PNet, 40), (RNet, 24), (ONet, 48)):
        network = fill(part(pretrained=False), scale=0.3).eval()
        boxes, *_, scores = network(torch.from_numpy(normal(2, 3, size, size)))
        results |= {f"{part.__name__}_boxes": boxes, f"{part.__name__}_scores": scores}
    return results
