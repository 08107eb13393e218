"""Names of nn, optim and utils.data that libraries import, in the mode."""

import numpy as np
import ranvier as rv
from ranvier.torch.former import svd
from support.python import printed

PROGRAM = """
import torch, copy, pickle
from torch import nn
from torch.nn.init import _calculate_fan_in_and_fan_out
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.modules.module import _IncompatibleKeys
from torch.nn.modules.rnn import RNNBase
from torch.nn.utils.stateless import _reparametrize_module, functional_call
from torch.nn.utils import parametrizations
from torch.optim import lr_scheduler
from torch.utils.data._utils.collate import default_collate
from torch.utils.data.dataloader import _BaseDataLoaderIter, _MultiProcessingDataLoaderIter
from torch.utils.tensorboard.summary import hparams

layer = nn.Linear(2, 3)
assert _calculate_fan_in_and_fan_out(layer.weight) == (2, 3)
assert isinstance(layer.load_state_dict(layer.state_dict()), _IncompatibleKeys)
assert isinstance(nn.BatchNorm1d(2), _BatchNorm) and isinstance(nn.GRU(1, 1), RNNBase)
zero = {"weight": torch.zeros(3, 2), "bias": torch.ones(3)}
with _reparametrize_module(layer, zero):
    assert layer(torch.ones(2)).tolist() == [1.0, 1.0, 1.0]
assert functional_call(layer, zero, torch.ones(2)).tolist() == [1.0, 1.0, 1.0]
members = [nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).eval() for _ in range(4)]
state, x = torch.func.stack_module_state(members), torch.randn(5, 2)
assert all(p.is_leaf and p.requires_grad for p in state[0].values()) and len(state[1]) == 3
both = torch.func.vmap(lambda *state: torch.func.functional_call(members[0], state, (x,)))(*state)
assert torch.allclose(both, torch.stack([m(x) for m in members]), atol=1e-6)
schedule = lr_scheduler.StepLR(torch.optim.SGD(layer.parameters(), lr=1.0), 1)
assert schedule.__module__ == lr_scheduler.__name__ == "torch.optim.lr_scheduler"
assert type(pickle.loads(pickle.dumps(schedule))) is lr_scheduler.StepLR
batches = iter(torch.utils.data.DataLoader([1, 2, 3], batch_size=2))
assert isinstance(batches, _BaseDataLoaderIter)
assert default_collate([1, 2]).tolist() == [1, 2]
assert torch._C._nn._parse_to("cpu", torch.float64)[1] == torch.float64
print("done")
"""


def test_names_that_libraries_import():
    assert printed("-m", "ranvier.torch", "-c", PROGRAM) == "done\n"


def test_svd_gives_v_itself():
    x = rv.randn(4, 2, dtype=rv.float64)
    for some in (True, False):
        u, s, v = svd(x, some=some)
        assert (u.shape[1], v.shape) == (2 if some else 4, (2, 2))
        np.testing.assert_allclose((u[:, :2] @ rv.diag(s) @ v.T).numpy(), x.numpy(), atol=1e-12)
    assert not svd(x, compute_uv=False).V.any()
