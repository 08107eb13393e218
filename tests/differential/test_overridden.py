"""The methods that PyTorch calls on modules, optimizers, schedules and loaders are called here, too.

Each program overrides methods, as a subclass may, and logs their calls; PyTorch logs the same ones.
"""

import importlib

import pytest


def watched(cls, names, log):
    """A subclass whose methods of these names log their calls."""

    def logging(name):
        def method(self, *args, **kwargs):
            log.append(name)
            return getattr(super(made, self), name)(*args, **kwargs)

        return method

    made = type("Watched", (cls,), {name: logging(name) for name in names.split()})
    return made


def of_state_dicts(torch):
    log = []
    names = (
        "state_dict _save_to_state_dict _load_from_state_dict load_state_dict get_extra_state set_extra_state"
    )
    Inner = watched(torch.nn.Linear, names.replace("get_extra_state set_extra_state", ""), log)

    class Extra(torch.nn.Module):
        _version = 3

        def get_extra_state(self):
            log.append("get")
            return {"a": 1}

        def set_extra_state(self, state):
            log.append(("set", state))

    net = torch.nn.Sequential(Inner(1, 1), torch.nn.BatchNorm1d(1), Extra())
    net.register_state_dict_pre_hook(lambda m, prefix, keep: log.append(("before", prefix, keep)))
    net[0]._register_state_dict_hook(lambda m, s, prefix, local: log.append(("after", prefix, local)))
    net[1].register_state_dict_post_hook(lambda m, s, prefix, local: s.pop(prefix + "running_var") and None)
    state = net.state_dict(prefix="net.")
    log.append(list(state))
    log.append({name: version["version"] for name, version in state._metadata.items()})
    net[0]._register_load_state_dict_pre_hook(
        lambda s, prefix, local, strict, missing, unexpected, errors: s.update({prefix + "bias": s.pop("b")})
    )

    def passing(m, s, prefix, *rest):
        s["b"] = s.pop("first", s.get("0.bias"))
        log.append(("loading", prefix))

    net.register_load_state_dict_pre_hook(passing)
    net.register_load_state_dict_post_hook(lambda m, keys: keys.missing_keys.remove("1.running_var"))
    state = net.state_dict()
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        log.append("nexpected" in str(error))
    except KeyError as error:
        log.append(str(error))
    return log


def of_modules(torch):
    log = []
    nn = torch.nn
    Layer = watched(nn.Linear, "train _apply extra_repr _get_name apply", log)
    net = nn.Sequential(Layer(2, 2), nn.ReLU())
    net.eval()
    net.train()
    log.append(net.training)
    net.double()
    net.apply(lambda m: None)
    repr(net)
    list(net.modules())
    Top = watched(nn.Sequential, "named_parameters parameters named_modules named_buffers train", log)
    top = Top(nn.Linear(1, 1), nn.BatchNorm1d(1))
    list(top.parameters())
    list(top.buffers())
    list(top.modules())
    list(top.children())
    top.requires_grad_(False)
    top.zero_grad()
    top.eval()
    Registering = watched(nn.Module, "register_parameter register_buffer add_module", log)
    own = Registering()
    own.weight = nn.Parameter(torch.zeros(1))
    own.register_buffer("count", torch.zeros(1), persistent=False)
    own.layer = nn.ReLU()
    own.register_module("other", nn.ReLU())
    log.append((list(own._parameters), list(own._buffers), list(own._modules)))
    log.append(own._non_persistent_buffers_set)
    return log


def of_containers(torch):
    log = []
    nn = torch.nn
    Dict = watched(nn.ModuleDict, "update __setitem__ add_module __delitem__", log)
    layers = Dict({"a": nn.ReLU()})
    layers.update([("b", nn.Tanh())])
    layers["b"] = nn.ReLU()
    layers.pop("a")
    Of = watched(nn.ModuleList, "extend append add_module __iadd__ insert", log)
    several = Of([nn.ReLU(), nn.ReLU()])
    several.append(nn.Tanh())
    several += [nn.Tanh()]
    several.insert(0, nn.Identity())
    log.append(len(several))
    Seq = watched(nn.Sequential, "add_module append", log)
    seq = Seq(nn.ReLU(), nn.ReLU())
    seq.append(nn.Tanh())
    seq.extend([nn.Tanh()])
    log.append(len(seq + nn.Sequential(nn.ReLU())))
    return log


def of_registries(torch):
    nn = torch.nn
    layer = nn.Linear(2, 1)
    log = [list(layer._parameters), list(layer._modules)]
    weight = layer._parameters.pop("weight")
    layer.weight = weight.detach() * 2  # an attribute, no parameter
    layer._parameters["bias"] = torch.ones(1)  # any tensor
    log += [[n for n, _ in layer.named_parameters()], layer.bias.tolist()]
    layer._parameters = {"bias": nn.Parameter(torch.zeros(1))}
    layer._buffers = {"count": torch.zeros(2)}
    log += [list(layer.state_dict()), layer.count.tolist()]
    layer.add_module("nothing", None)
    log += [dict(layer._modules), list(layer.children()), repr(layer)]
    layer.register_forward_hook(lambda m, x, y: y * 0)
    layer.register_forward_pre_hook(lambda m, x: None)
    layer.register_full_backward_hook(lambda m, x, y: None)
    recurrent = nn.GRU(2, 3, 2, bidirectional=True)
    log += [recurrent._flat_weights_names, len(recurrent._flat_weights), nn.BatchNorm1d(2)._version]
    kinds = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks"
    log.append([len(getattr(layer, kind)) for kind in kinds])
    layer._forward_hooks.clear()
    layer._backward_hooks = {}
    log.append([len(getattr(layer, kind)) for kind in kinds])
    return log


def of_optimizers(torch):
    log = []
    p = torch.zeros(2, requires_grad=True)
    names = "add_param_group zero_grad state_dict load_state_dict __setstate__"
    optimizer = watched(torch.optim.SGD, names, log)([p], lr=0.5, momentum=0.5)
    optimizer.register_step_pre_hook(lambda o, args, kwargs: log.append(("before", len(args), [*kwargs])))
    last = optimizer.register_step_post_hook(lambda o, args, kwargs: log.append(("after", len(args))))
    optimizer.register_state_dict_pre_hook(lambda o: log.append("saving"))
    optimizer.register_state_dict_post_hook(lambda o, s: {**s, "more": 1})
    optimizer.register_load_state_dict_pre_hook(lambda o, s: log.append(("loading", s["more"])))
    optimizer.register_load_state_dict_post_hook(lambda o: log.append("loaded"))
    (p * p).sum().backward()
    optimizer.step()
    optimizer.step(closure=lambda: log.append("loss"))
    optimizer.load_state_dict(optimizer.state_dict())
    last.remove()
    optimizer.step()
    optimizer.zero_grad()
    saved = optimizer.state_dict()
    optimizer.param_groups[0]["initial_lr"] = 3.0
    optimizer.load_state_dict(saved)
    log.append("initial_lr" in optimizer.param_groups[0])

    class Own(torch.optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {"lr": 1.0})

        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    state = self.state[p]
                    if not state:
                        state.update(step=0, mean=torch.zeros_like(p), past=[torch.ones(1)], more={"a": 1})
                    state["step"] += 1
                    state["mean"].add_(1)

    own = Own([p])
    own.step()
    own.load_state_dict(own.state_dict())
    own.step()
    state = own.state[p]
    log.append([state["step"], state["mean"].tolist(), state["past"][0].item(), state["more"]])
    return log


def of_schedules(torch):
    log = []
    schedules = torch.optim.lr_scheduler

    def optimizer(groups=1):
        params = [{"params": [torch.zeros(1, requires_grad=True)]} for _ in range(groups)]
        return torch.optim.SGD(params, lr=1.0)

    names = "step get_lr _update_lr _get_closed_form_lr _initial_step get_last_lr"
    schedule = watched(schedules.StepLR, names, log)(optimizer(), 2, 0.5)
    for epoch in (None, None, 5):
        schedule.step() if epoch is None else schedule.step(epoch)
    log.append((schedule.get_last_lr(), schedule._step_count, schedule.last_epoch))

    class Halving(schedules.LRScheduler):
        def get_lr(self):
            log.append((self._get_lr_called_within_step, self._is_initial))
            return [group["lr"] / 2 for group in self.optimizer.param_groups]

    log.append(Halving(optimizer()).get_last_lr())
    names = "step _reduce_lr _is_better _reset _init_is_better"
    plateau = watched(schedules.ReduceLROnPlateau, names, log)(optimizer(2), "max", patience=0, cooldown=1)
    for value in (1, 2, 1, 1, 1):
        plateau.step(value)
    plateau._reset()
    log.append((plateau.get_last_lr(), plateau.best, plateau.in_cooldown))
    sgd = optimizer()
    parts = [watched(schedules.ConstantLR, "step _update_lr _initial_step", log)(sgd, 0.5), Halving(sgd)]
    both = schedules.SequentialLR(sgd, parts, milestones=[1])
    for _ in range(2):
        both.step()
    log.append(both.get_last_lr())
    return log


def of_loaders(torch):
    log = []
    data = torch.utils.data

    class Squares(data.Dataset):
        def __getitem__(self, index):
            log.append(index)
            return torch.tensor(index) ** 2

        def __len__(self):
            return 5

    class Several(Squares):
        def __getitems__(self, indices):
            log.append(("several", indices))
            return [self[i] for i in indices]

    class Whole(data.DataLoader):  # as in torchtuples: the data set gets all indices of a batch
        @property
        def _auto_collation(self):
            return False

        @property
        def _index_sampler(self):
            return self.batch_sampler

    values = []
    pairs = data.BatchSampler(data.SequentialSampler(range(5)), 2, False)
    loaders = [
        data.DataLoader(Squares(), batch_size=None),
        data.DataLoader(Squares(), batch_size=None, sampler=pairs),
        data.DataLoader(Squares(), batch_size=None, sampler=[[3, 1], [2]]),
        data.DataLoader(Several(), batch_size=2, drop_last=True),
        data.DataLoader(Squares(), batch_sampler=pairs),
        Whole(Squares(), batch_size=2, collate_fn=lambda x: x),
    ]
    for loader in loaders:
        values.append([batch.tolist() for batch in loader])
        log.append((loader._auto_collation, loader.batch_size, loader.collate_fn.__name__, len(loader)))
        log.append(loader._index_sampler is loader.batch_sampler)
    log.append(values)
    for name in ("batch_size", "dataset", "sampler", "batch_sampler", "drop_last", "persistent_workers"):
        try:
            setattr(loaders[0], name, getattr(loaders[0], name))
        except ValueError:
            log.append(name)
    log.append({"dataset", "sampler", "batch_size", "num_workers", "timeout"} <= vars(loaders[0]).keys())
    list(watched(data.DataLoader, "_get_iterator __len__", log)(Squares(), 3))
    Order = watched(data.SequentialSampler, "__iter__", log)
    list(data.DataLoader(Squares(), 2, sampler=Order(range(3))))
    Batches = watched(data.BatchSampler, "__iter__", log)
    list(data.DataLoader(Squares(), batch_sampler=Batches(range(3), 2, True)))
    Part = watched(data.Subset, "__len__", log)
    part = Part(Squares(), [4, 0])
    log.append([len(part), part.indices, part[0].item(), type(part.dataset).__name__])
    return log


PROGRAMS = [of_state_dicts, of_modules, of_containers, of_registries, of_optimizers, of_schedules, of_loaders]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_overridden_methods_are_called_as_in_pytorch(program):
    pytest.importorskip("torch", reason="torch is not installed")
    ours, theirs = (program(importlib.import_module(name)) for name in ("ranvier", "torch"))
    assert ours == theirs
