"""functorch.make_functional, weights that a program gives a recurrent layer, and copies of single modules."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.torch.modules import functional_modules
from support.python import in_mode
from support.refused import refused


def test_a_module_as_a_function_of_its_parameters():
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
    function, parameters = functional_modules.make_functional(model)
    x = rv.ones(4, 2)
    assert function(parameters, x).equal(model(x))
    with rv.no_grad():
        model[0].weight.zero_()  # The parameters are copies.
    doubled = [p * 2 for p in parameters]
    wanted = np.tanh(x.numpy() @ doubled[0].detach().numpy().T + doubled[1].detach().numpy())
    np.testing.assert_allclose(function(doubled, x).detach().numpy(), wanted, rtol=1e-6)
    slopes = rv.func.grad(lambda p: function(p, x).sum())(parameters)
    assert [s.shape for s in slopes] == [p.shape for p in parameters]
    fixed = functional_modules.make_functional(model, disable_autograd_tracking=True)[1]
    assert not any(p.requires_grad for p in fixed)
    refused(
        ValueError, "[functorch] got 1 parameters; expected 2: 0.weight, 0.bias", function, parameters[:1], x
    )


def test_buffers_are_arguments():
    model = nn.BatchNorm1d(2)
    refused(
        ValueError, "[make_functional] got a model with buffers", functional_modules.make_functional, model
    )
    function, parameters, buffers = functional_modules.make_functional_with_buffers(model)
    x = rv.tensor([[1.0, 2.0], [3.0, 6.0]])
    function(parameters, buffers, x)
    assert function.buffer_names == ("running_mean", "running_var", "num_batches_tracked")
    np.testing.assert_allclose(buffers[0].numpy(), [0.2, 0.4], rtol=1e-6)
    assert (model.running_mean == 0).all()


def test_an_ensemble():
    models = [nn.Linear(2, 3) for _ in range(4)]
    function, parameters, buffers = functional_modules.combine_state_for_ensemble(models)
    x = rv.ones(5, 2)
    every = rv.vmap(function, (0, 0, None))(parameters, buffers, x)
    for model, y in zip(models, every, strict=True):
        np.testing.assert_allclose(y.detach().numpy(), model(x).detach().numpy(), rtol=1e-6)
    assert all(p.requires_grad for p in parameters)
    combine = functional_modules.combine_state_for_ensemble
    refused(ValueError, "got models of several classes", combine, [nn.Linear(1, 1), nn.Identity()])
    refused(ValueError, "got no models", combine, [])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_weights_in_the_place_of_parameters(kind):
    layer, other = kind(3, 4, 2, bidirectional=True), kind(3, 4, 2, bidirectional=True)
    x = rv.randn(5, 2, 3)
    given = [w.detach().requires_grad_() for w in other._flat_weights]
    layer._flat_weights = given
    assert layer(x)[0].equal(other(x)[0])
    layer(x)[0].sum().backward()
    assert given[0].grad is not None
    assert layer.weight_ih_l0.grad is None
    own = nn.Parameter(rv.zeros(*given[0].shape))
    layer.weight_ih_l0 = own
    assert layer._flat_weights[0] is own
    assert layer._flat_weights[1] is given[1]
    with pytest.raises(ValueError, match="got 1 _flat_weights; expected 16"):
        layer._flat_weights = given[:1]


MODE = """
import torch
from torch import nn
import torch.nn.functional as F
from functorch import make_functional_with_buffers
from torch.testing._comparison import get_tolerances

class Conv(nn.Conv2d):
    __constants__ = [*nn.Conv2d.__constants__, "extra"]
assert {"in_channels", "stride", "extra"} <= {*Conv.__constants__}
assert type("Own", (nn.Linear,), {}).__constants__ == ["in_features", "out_features"]
assert not hasattr(nn.Module, "__constants__") and not hasattr(nn.Sequential, "__constants__")
model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
copy = model[1]._replicate_for_data_parallel()
assert copy.running_mean is model[1].running_mean and not list(copy.parameters()) and copy._is_replica
copy.weight, copy.bias = torch.ones(3), None
assert copy(torch.ones(2, 3)).shape == (2, 3) and len(list(model.parameters())) == 4
whole = model._replicate_for_data_parallel()
whole._modules["0"] = nn.Identity()
assert type(model[0]) is nn.Linear
assert isinstance(nn.ZeroPad2d(1), nn.ConstantPad2d) and isinstance(nn.ZeroPad1d(1), nn.ConstantPad1d)
F.soft_margin_loss = lambda *args, **settings: torch.tensor(7.0)  # before the class of the layer is made
assert nn.SoftMarginLoss()(torch.ones(1), torch.ones(1)) == 7.0
a, b, c = (torch.complex(torch.rand(3, 3), torch.rand(3, 3)) for _ in range(3))
got, wanted = torch.einsum("ij,kj,kl->il", a, b, c), a @ b.mT @ c
assert torch.allclose(got.real, wanted.real, atol=1e-5) and torch.allclose(got.imag, wanted.imag, atol=1e-5)
assert get_tolerances(torch.ones(1).half(), torch.ones(1), rtol=None, atol=None) == (0.001, 1e-5)
assert get_tolerances(torch.ones(1), rtol=0.5, atol=0.25) == (0.5, 0.25)
extra = nn.modules.conv._ConvTransposeNd._output_padding
assert extra(None, torch.ones(1, 1, 4, 4), (9, 10), (2, 2), (0, 0), (3, 3), 2) == (0, 1)
print("done")
"""


def test_names_of_layers_in_the_mode():
    assert in_mode(MODE).splitlines()[-1] == "done"
