"""The names of torch.autograd.graph, torch.autograd.forward_ad and torch.utils.hooks."""

import pytest
import ranvier as rv
from ranvier.torch import graph
from ranvier.torch.absent import absent
from support.refused import refused


def leaves():
    return rv.tensor([1.0, 2.0], requires_grad=True), rv.tensor([3.0, 4.0], requires_grad=True)


@pytest.mark.parametrize("mode", ["all", "any"])
def test_one_hook_for_several_tensors(mode):
    x, w = leaves()
    unused, seen = rv.ones(2, requires_grad=True), []
    with graph.register_multi_grad_hook([x, rv.ones(2), w, unused], seen.append, mode=mode):
        (x * w).sum().backward()
        (x * w).sum().backward()
    (x * w).sum().backward()
    if mode == "all":
        assert [[None if g is None else g.tolist() for g in gradients] for gradients in seen] == 2 * [
            [[3.0, 4.0], None, [1.0, 2.0], None]
        ]
    else:
        assert len(seen) == 2
        assert seen[0].tolist() in ([3.0, 4.0], [1.0, 2.0])
    refused(ValueError, "'most'", graph.register_multi_grad_hook, [x], seen.append, mode="most")


def test_all_gradients_arrive_before_the_end():
    x, w = leaves()
    order = []
    graph.register_multi_grad_hook([w], lambda gradients: order.append(gradients[0].tolist()))
    z = x * 1
    z.register_hook(lambda gradient: order.append("z"))
    (z.exp() * w).sum().backward()
    assert order == [rv.exp(x).tolist(), "z"]


def test_what_changes_nothing_and_what_is_refused():
    x, w = leaves()
    with graph.save_on_cpu(pin_memory=True), graph.disable_saved_tensors_hooks("no"):
        (x * w).sum().backward()
    assert graph.unpack_dual(x) == (x, None)
    y = x * w
    graph.increment_version(w.detach())
    refused(RuntimeError, "inplace", y.sum().backward)
    for path in ("graph.saved_tensors_hooks", "forward_ad.dual_level", "forward_ad.make_dual"):
        refused(NotImplementedError, f"[torch.autograd.{path}]", absent(f"autograd.{path}"), x)


def test_backward_hooks_called_by_hand():
    x, _ = leaves()
    module, seen = rv.nn.Identity(), []
    hook = graph.BackwardHook(
        module,
        [lambda m, dx, dy: seen.append((m is module, dx[0].tolist(), dy[0].tolist()))],
        [lambda m, dy: (dy[0] * 2,)],
    )
    (y,) = hook.setup_input_hook((x,))
    (hook.setup_output_hook(y * 3)).sum().backward()
    assert seen == [(True, [6.0, 6.0], [2.0, 2.0])]
    with pytest.warns(UserWarning, match="will not be serialized"):
        graph.warn_if_has_hooks(type("T", (), {"_backward_hooks": {0: print}}))
    marked = graph.unserializable_hook(lambda gradient: None)
    graph.warn_if_has_hooks(type("T", (), {"_backward_hooks": {0: marked}}))
