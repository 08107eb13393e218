"""Methods and attributes with PyTorch's private names, which subclasses override and programs set."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.nn import hooks

X = rv.tensor([[1.0, -2.0]])


def test_hooks_of_all_modules():
    """They come before a module's own hooks; the last one that is removed leaves nothing behind."""
    log = []
    model = nn.Sequential(nn.Linear(2, 2))
    model[0].register_forward_hook(lambda module, args, y: log.append("own"))
    handles = [
        hooks.register_module_forward_pre_hook(lambda m, args: log.append(f"before {type(m).__name__}")),
        hooks.register_module_forward_hook(lambda m, args, y: log.append(f"after {type(m).__name__}")),
        hooks.register_module_full_backward_pre_hook(lambda m, dy: log.append(f"enter {type(m).__name__}")),
        hooks.register_module_full_backward_hook(lambda m, dx, dy: log.append(f"leave {type(m).__name__}")),
    ]
    x = X.clone().requires_grad_()
    model(x).sum().backward()
    forward = ["before Sequential", "before Linear", "after Linear", "own", "after Sequential"]
    assert log == [*forward, "enter Sequential", "enter Linear", "leave Linear", "leave Sequential"]
    for handle in handles:
        handle.remove()
    log.clear()
    model(x)
    assert log == ["own"]
    assert nn.Module._rv_hooks is None


def test_a_hook_of_all_modules_replaces_results():
    model = nn.Sequential(nn.Identity(), nn.Identity())
    with hooks.register_module_forward_hook(lambda module, args, y: y * 2):
        np.testing.assert_array_equal(model(X), X * 8)
    np.testing.assert_array_equal(model(X), X)


def test_captured_steps_notice_hooks_of_all_modules():
    model = nn.Linear(2, 1)
    step = rv.compile(lambda x: model(x).detach())
    expected = step(X).numpy().copy()
    for _ in range(3):
        step(X)
    with (
        hooks.register_module_forward_hook(lambda module, args, y: y * 3),
        pytest.warns(UserWarning, match="hooks of all modules"),
    ):
        found = [step(X) for _ in range(3)]
    for y in found:
        np.testing.assert_allclose(y, expected * 3, rtol=1e-6)
    for _ in range(3):
        np.testing.assert_array_equal(step(X), expected)


def test_a_hook_of_all_modules_gets_keywords():
    class Scaled(nn.Module):
        def forward(self, x, scale=1.0):
            return x * scale

    seen = []
    hook = lambda module, args, kwargs, y: seen.append(kwargs)  # noqa: E731
    with hooks.register_module_forward_hook(hook, with_kwargs=True):
        Scaled()(rv.ones(1), scale=2.0)
    assert seen == [{"scale": 2.0}]
    assert not hooks._of_all.keywords


def test_a_hook_that_is_removed_leaves_no_number():
    model = nn.Linear(2, 2)
    model.register_forward_pre_hook(lambda module, args, kwargs: None, with_kwargs=True).remove()
    model.register_forward_hook(
        lambda module, args, kwargs, y: None, with_kwargs=True, always_call=True
    ).remove()
    assert not model._forward_hooks_with_kwargs
    assert not model._forward_hooks_always_called


def test_hooks_of_registrations():
    log = []
    kinds = {"parameter": "p", "buffer": "b", "module": "m"}
    handles = [
        getattr(hooks, f"register_module_{kind}_registration_hook")(
            lambda module, name, value, word=word: log.append((word, name))
        )
        for kind, word in kinds.items()
    ]
    module = nn.Module()
    module.layer = nn.Linear(2, 2)
    module.register_buffer("x", rv.ones(1))
    module.w = nn.Parameter(rv.ones(1))
    module.add_module("k", nn.ReLU())
    module.register_parameter("q", None)
    for handle in handles:
        handle.remove()
    module.other = nn.ReLU()
    assert log == [("p", "weight"), ("p", "bias"), ("m", "layer"), ("b", "x"), ("p", "w"), ("m", "k")]


def test_a_hook_of_registrations_replaces_the_value():
    with hooks.register_module_parameter_registration_hook(lambda m, name, p: nn.Parameter(rv.ones(3))):
        module = nn.Module()
        module.w = nn.Parameter(rv.zeros(1))
    assert module.w.tolist() == [1.0] * 3


def test_call_impl_of_a_subclass_is_called():
    class Counted(nn.Linear):
        calls = 0

        def _call_impl(self, *args, **kwargs):
            Counted.calls += 1
            return super()._call_impl(*args, **kwargs)

    layer = Counted(2, 1)
    seen = []
    layer.register_forward_hook(lambda module, args, y: seen.append(y))
    y = layer(X)
    assert (Counted.calls, len(seen)) == (1, 1)
    np.testing.assert_array_equal(layer._wrapped_call_impl(X).detach(), y.detach())
    np.testing.assert_array_equal(layer._slow_forward(X).detach(), y.detach())


def test_whether_hooks_of_backward_are_there():
    layer = nn.Linear(2, 1)
    assert layer._is_full_backward_hook is None
    assert "_rv_hooks" not in vars(layer)
    handle = layer.register_full_backward_hook(lambda *gradients: None)
    assert layer._is_full_backward_hook is True
    assert len(layer._get_backward_hooks()[0]) == 1
    handle.remove()
    assert layer._get_backward_hooks() == ([], [])


def test_a_program_sets_the_padding_of_a_convolution():
    """Images that are circular along one axis alone."""
    layer = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular", bias=False)
    layer.weight.data.fill_(1.0)
    assert layer._reversed_padding_repeated_twice == (1, 1, 1, 1)
    image = rv.arange(16.0).reshape(1, 1, 4, 4)
    layer._reversed_padding_repeated_twice = (1, 1, 0, 0)
    expected = nn.functional.conv2d(nn.functional.pad(image, (1, 1, 0, 0), "circular"), layer.weight)
    np.testing.assert_array_equal(layer(image).detach(), expected.detach())
    same = nn.Conv2d(1, 1, 3, padding="same")
    assert same._reversed_padding_repeated_twice == [1, 1, 1, 1]


def test_output_padding_of_a_subclass_is_called():
    class Larger(nn.ConvTranspose1d):
        def _output_padding(self, input, output_size, *sizes):
            assert sizes == ((2,), (0,), (2,), 1, (1,))
            return (1,)

    assert Larger(1, 1, 2, stride=2)(rv.ones(1, 1, 3)).shape == (1, 1, 7)
    assert nn.ConvTranspose1d(1, 1, 2, stride=2)(rv.ones(1, 1, 3), output_size=(7,)).shape == (1, 1, 7)


def test_instance_norm_calls_its_parts():
    class Recorded(nn.InstanceNorm1d):
        seen = ()

        def _apply_instance_norm(self, input):
            Recorded.seen += (tuple(input.shape),)
            return super()._apply_instance_norm(input)

    layer = Recorded(2)
    assert layer(rv.ones(3, 2, 5)).shape == (3, 2, 5)
    assert layer(rv.ones(2, 5)).shape == (2, 5)
    assert Recorded.seen == ((3, 2, 5), (1, 2, 5))


def test_an_iterator_counts_its_batches():
    batches = iter(rv.data.DataLoader([1, 2, 3], 2))
    assert batches._num_yielded == 0
    assert [batches._num_yielded for _ in batches] == [1, 2]


def test_tables_of_modules_in_libraries_of_trees():
    """jax.tree and optree take them apart as dicts."""
    optree = pytest.importorskip("optree")
    layer = nn.BatchNorm1d(2)
    assert len(optree.tree_leaves(layer._parameters)) == 2
    assert optree.tree_map(lambda x: x.shape, layer._parameters) == {"bias": (2,), "weight": (2,)}
