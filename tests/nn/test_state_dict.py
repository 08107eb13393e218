"""state_dict and load_state_dict: what is loaded, and PyTorch's texts for what does not fit."""

import numpy as np
import pytest
from ranvier import nn
from support.refused import refused


def test_loading_takes_arrays_and_foreign_tensors():
    class Foreign:  # what a torch tensor looks like from outside
        def __init__(self, value):
            self.value = value

        def detach(self):
            return self

        def cpu(self):
            return np.asarray(self.value)

    net = nn.Linear(1, 1)
    net.load_state_dict({"weight": np.array([[7.0]]), "bias": Foreign([8.0])})
    assert (net.weight.item(), net.bias.item(), net.weight.dtype) == (7.0, 8.0, np.float32)


LINEAR = {"0.weight": np.full((1, 2), 7.0), "0.bias": np.full(1, 7.0)}
MISSING = 'Missing key(s) in state_dict: "0.weight", "0.bias", "1.weight", "1.bias". \n\t'
SIZE = "size mismatch for {}: copying a param with shape torch.Size({}) from checkpoint, the shape in "
SIZE += "current model is torch.Size({})."
WHOLE = {**LINEAR, "1.weight": np.ones((3, 1)), "1.bias": np.ones(3)}


@pytest.mark.parametrize(
    ("state", "settings", "loaded", "text"),
    [  # PyTorch's texts, with a last line where the remedy is known
        ({**LINEAR, "1.weight": np.ones(4), "1.bias": np.ones(())}, {}, True,
         SIZE.format("1.weight", [4], [3, 1]) + "\n\t" + SIZE.format("1.bias", [], [3])),
        ({**LINEAR, "1.weight": np.ones(4)}, {"strict": False}, True, SIZE.format("1.weight", [4], [3, 1])),
        ({**LINEAR, "1.weight": np.ones(4)}, {"strict": False, "assign": True}, True,
         SIZE.format("1.weight", [4], [3, 1])),
        ({**LINEAR, "x": 1}, {}, True,
         'Missing key(s) in state_dict: "1.weight", "1.bias". \n\tUnexpected key(s) in state_dict: "x". '),
        ({"epoch": 1, "model": WHOLE}, {}, False, MISSING
         + 'Unexpected key(s) in state_dict: "epoch", "model". \n\t'
         'The state dict is the entry "model" of what is given: load that.'),
        ({f"module.{name}": x for name, x in LINEAR.items()}, {}, False, "given names begin with 'module.'"),
        *(({**WHOLE, "0.weight": x}, {}, False, 'While copying the parameter named "0.weight", expected a '
           f"Tensor or an array of numbers from checkpoint but received {type(x)}") for x in (None, "a", {})),
    ],
)  # fmt: skip
def test_loading_loads_what_fits_and_says_all_that_does_not(state, settings, loaded, text):
    net = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 3))
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state, **settings)
    shown = str(caught.value)
    assert shown.startswith("[load_state_dict] Error(s) in loading state_dict for Sequential:\n\t")
    assert text in shown
    assert bool((net[0].weight == 7).all()) == loaded


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ([1], "got list; expected a mapping of names to arrays"),
        (nn.Linear(1, 1), "; its method state_dict gives one"),
        ("model.pt", "; rv.load reads a file"),
        ({0: 1}, "got the key 0; expected names of weights"),
    ],
)
def test_loading_what_is_no_state_dict(state, text):
    refused(TypeError, text, nn.Linear(1, 1).load_state_dict, state)


def test_loading_names_without_their_prefix():
    text = "The names expected begin with '0.': put it"
    refused(RuntimeError, text, nn.Sequential(nn.Linear(1, 1)).load_state_dict, {"weight": 1})


def test_the_text_of_what_was_loaded():
    net = nn.Linear(1, 1)
    assert repr(net.load_state_dict(net.state_dict())) == "<All keys matched successfully>"
    result = net.load_state_dict({"weight": np.ones((1, 1)), "x": np.ones(1)}, strict=False)
    assert str(result) == "_IncompatibleKeys(missing_keys=['bias'], unexpected_keys=['x'])"
    assert result == (["bias"], ["x"])
