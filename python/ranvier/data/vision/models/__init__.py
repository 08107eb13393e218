"""Networks that papers build on; their parameters have torchvision's names, so that its state dicts load.

>>> import ranvier as rv
>>> from ranvier.data.vision import models
>>> models.resnet18(num_classes=10).fc
Linear(in_features=512, out_features=10, bias=True)
"""

import typing as _typing

from ranvier.data.vision.models import resnet as resnet
from ranvier.data.vision.models import vgg as vgg
from ranvier.data.vision.models.resnet import *
from ranvier.data.vision.models.vgg import *


def __getattr__(name: str) -> _typing.Any:
    if name.endswith("_Weights"):
        raise AttributeError(
            f"[models] got {name}; no weights are downloaded: save torchvision's with "
            "safetensors.torch.save_file, then model.load_state_dict(rv.load(path))"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
