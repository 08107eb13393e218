"""Arguments and results: keywords, containers of tensors, layouts, aliases, what the caller holds of them."""

from compile.staleness.rows import tables

ROWS = r"""
# the step -> its arguments in call n
== arguments: step -> inputs
. make: A, B, C = tensor, lambda n: tensor(n + 100), lambda n: tensor(n + 200)
lambda *a, **k: small.train(*keyworded(*a, **k)) -> (), {'mask': B(n), 'x': A(n)}
    (), {'x': A(n), 'mask': B(n)}; (), {'x': A(n), 'mask': B(n), 'bias': C(n)}
    (), {'mask': B(n), 'x': A(n), 'bias': C(n)}; (), {'bias': C(n), 'x': A(n), 'mask': B(n)}
    (), {'x': A(n), 'mask': B(n)} if n % 2 else {'mask': B(n), 'x': A(n)}
    (A(n),), {'mask': B(n), 'bias': C(n)}; (A(n),), {'bias': C(n), 'mask': B(n)}
    ((A(n), B(n)), {}) if n % 2 else ((A(n),), {'mask': B(n)}); (A(n),), {'mask': B(n)} if n % 2 else {}
    (A(n),), {'scale': 2.0} if n % 2 else {}; (A(n),), {'scale': n % 3 * 1.0}
    (), {'scale': n % 3 * 1.0, 'mask': B(n), 'x': A(n)}; (A(n),), {'flag': n % 2 == 0}
    (A(n), None if n % 2 else B(n))
lambda *xs: small.train(*summed(*xs)) -> (rv.tensor(drawn(n)),); (A(n, ((4, 3), (2, 3), (1, 3))[n % 3]),)
    (A(n, ((4, 3), (3,), (2, 2, 3))[n % 3]),); (A(n, (0 if n % 3 == 2 else 4, 3)),)
    (A(n, dtype=(np.float32, np.float64)[n % 2]),); (A(n, (n, 3)),)
    (rv.tensor((INTS + n).astype((np.int64, np.int32)[n % 2])),); (A(n) if n % 2 else A(n, (3, 4)).T,)
    (A(n) if n % 2 else A(n, (8, 6))[::2, ::2],); !(A(n) if n % 2 else rv.from_numpy(drawn(n)[::-1]),)
    (A(n) if n % 2 else A(n, (1, 3)).expand(4, 3),); (A(n),) * 2; (KEPT, KEPT if n % 2 else B(n)); (KEPT,)
    (lambda t: (t[:4], t[4:] if n % 2 else t[1:5]))(A(n, (8, 3))); (A(n), A(n, (3,) if n % 2 else (1, 3)))
    (A(n), rv.tensor(drawn(n) > 0)); (A(n), rv.tensor(float(n))); tuple(A(n + k) for k in range(1 + n % 3))
    (A(n, (1 + n % 3, 3)),)
lambda t: small.train(rv.as_tensor(t[0]).float(), len(t) + t[1] * 0.1) -> (Doubled(A(n)),)
    (Doubled(drawn(n)),); (Row((A(n), n)),); !(Row((drawn(n), n)),); (Pair(drawn(n), n),)
lambda parts: small.train(*opened(parts)) -> ([A(n), B(n)],); ((A(n), B(n)),); ({'a': A(n), 'b': B(n)},)
    (Pair(A(n), B(n)),); ([[A(n)], (B(n), [1.0])],); ({'a': [A(n), 1.0], 'b': [B(n)]},)
    !(SimpleNamespace(a=A(n), b=B(n)),); ([A(n), B(n), *[C(n)] * (n % 3)],)
    !(collections.OrderedDict(a=A(n), b=B(n)),); ((list, tuple)[n % 2]([A(n), B(n)]),)
    ({'a': A(n), 'b': B(n)} if n % 2 else {'b': B(n), 'a': A(n)},)
lambda x: small.train(rv.as_tensor(x).float(), 1.5) ->
    (rv.from_numpy(drawn(n).astype('<f4' if n % 2 else '=f4')),); !(drawn(n).astype('>f4'),); (drawn(n),)
!lambda x: small.train(rv.as_tensor(x), 2.0 if isinstance(x, rv.Tensor) else 3.0) ->
    (A(n) if n % 2 else drawn(n),)
lambda x: small.train(x, float(len(x) + x.shape[0] * x.ndim)) -> (A(n, (1 + n % 3, 3)),)
lambda x: small.train(x.float(), 2.0 if x.dtype == rv.float64 else float(x.numel())) ->
    (A(n, (1 + n % 2, 3), (np.float32, np.float64)[n % 3 == 0]),)
lambda x: small.train(x, 2.0 if x.is_contiguous() else 3.0) -> (A(n) if n % 2 else A(n, (3, 4)).T,)
lambda x: small.train(x, float(x.stride(0))) -> (A(n, (8, 3))[:: 1 + n % 2][:4],)
lambda x: ((x * x).sum().backward(), x.grad * 1.0)[1] -> (A(n).requires_grad_(),)
lambda x: small.train(x.detach(), 1.5) -> (A(n).requires_grad_(n % 2 == 1),)
lambda x: small.train(x, getattr(x, 'note', 1.0)) -> (given(A(n), **({'note': 2.0} if n % 2 else {})),)
lambda x: small.train(x, 1.0 if x.grad is None else 2.0) ->
    (given(A(n), grad=rv.ones(4, 3) if n % 2 else None),)
lambda x, y: small.train(x, 2.0 if x is y else 3.0) -> (KEPT, KEPT if n % 3 else KEPT.clone())
!lambda x, y: small.train(x, 2.0 if x.data_ptr() == y.data_ptr() else 3.0) ->
    (KEPT, KEPT if n % 3 else KEPT.clone())
!lambda x: x -> (A(n),)
!lambda x: x[:2] -> (A(n),)
lambda **xs: small.train(xs['a'] - xs['b'] * 3, float(len(xs))) ->
    (), {'abc'[k]: A(n + 10 * k) for k in range(1 + n % 2, -1, -1)}
lambda x, number: small.train(x, number * 0.1) -> (A(n), n)
lambda x, a: small.train(x, a.value) -> (A(n), Plain(1.0 + n % 3))
!lambda x, model: model(x).sum() -> (A(n), nn.Linear(3, 2))
lambda x, /, scale, *, shift=0.0, **more: small.train(x * scale + shift, len(more) + 1) ->
    (A(n),), {'shift': float(n % 2), 'scale': 2.0, **({'extra': 1.0} if n % 3 else {})}
# made | the step | its arguments -> the change
== arguments: make | step | inputs -> change
. watch: [small, o]
[nn.Parameter(rv.full((4, 3), k)) for k in (1.0, 2.0)] | lambda x: gradient(o[0], (x * o[0]).sum()) |
    (o[n % 2],) -> -
!o = nn.Parameter(rv.ones(4, 3)); train = descends(lambda x: (x * o).sum(), optim.SGD([o], lr=0.1)) |
    lambda x: (train(x), x * 1.0) | (o.detach() if n % 2 else tensor(n),) -> -
!rv.zeros(4, 3) | lambda x: (o.add_(1.0), x * 2.0)[1] | (o if n % 2 else tensor(n),) -> -
tensor(0) | lambda x: small.train(x, 1.5) | (o,) -> o.mul_(2.0)
![tensor(k) for k in range(12)] | lambda x: x.mul_(2.0).sum() | (o[n],) -> -
![tensor(k, (5, 3)) for k in range(12)] | lambda x, y: (x.mul_(2.0) * y).sum() | (o[n][:4], o[n][1:]) -> -
![] | lambda x, found: found.append(1) or x * float(len(found)) | (tensor(n), o) -> -
![[tensor(k)] for k in range(12)] | lambda xs: xs.append(xs[0] * 2.0) or xs[0].sum() | (o[n],) -> -
Plain() | lambda a: small.train(a.value, 1.5) | (given(o, value=tensor(n)),) -> -
Plain() | lambda x, a: small.train(x, a.f) | (tensor(n), SimpleNamespace(f=1.0 + n)) -> -
![nn.Linear(3, 3), nn.Linear(3, 3)] | lambda x, model: model(x).sum() | (tensor(n), o[0]) -> o.reverse()
nn.Linear(3, 3); opt = sgd(o) | lambda m, opt, x: descends(squares(m), opt)(x) | (o, opt, tensor(n)) ->
    opt.param_groups[0]['lr'] = 0.1 * n
Plain(1.0) | lambda x: small.train(x, o.value) | (tensor(n)[: 1 + n % 2],) -> o.value = new
nn.Conv2d(32, 32, 3, padding=1) | lambda x: o(x).detach() | (tensor(n, (2, 32, 28, 28)),) ->
    rv.set_winograd(n % 2 == 0)
[Plain(v), Plain(v)]; of_other_shapes = lambda: o[1].value * 2 |
    lambda x: small.train(x, o[0].value if len(x) == 4 else of_other_shapes()) | (tensor(n)[: 3 + n % 2],) ->
    o[0].value = o[1].value = 1.0 + n
# attributes of an argument that hide those of its class, and those of its class
tensor(0) | lambda a: small.train(KEPT, a.sum()) | (o,) -> o.sum = lambda: new
nn.Parameter(rv.ones(3)) | rv.no_grad()(lambda a: KEPT * a.sum()) | (o,) -> o.sum = lambda: new
Base() | lambda a: small.train(KEPT, a.call(1.5)) | (o,) -> o.call = lambda value: new
Pair(1, 2); Pair.scale = v | lambda a: small.train(KEPT, a.scale) | (o,) -> Pair.scale = new
optim.SGD([nn.Parameter(rv.ones(3))], lr=0.5) | lambda a: small.train(KEPT, 1.0 + len(a.state)) | (o,) ->
    o.state = dict.fromkeys(range(n))
== raises: step -> inputs
. flags: raises
lambda x: small.train(x, 1.5) -> (tensor(n, (4, 5 if n in (3, 6) else 3)),)
    default_inputs(n) * (1 + (n in (3, 6)))
lambda x, scale=1.5: small.train(x, scale) -> (default_inputs(n), {'scal' if n in (3, 6) else 'scale': 2.0})
== raises: make | change -> read
. flags: raises
SimpleNamespace(shape=(4, 3), factor=1.0) | o.shape = (5, 5) if n == 1 else (4, 3); o.factor = new ->
    small.train(x.reshape(o.shape), o.factor)[1]
Plain(1.5) | o.value = n % 2 == 0 -> if not o.value: raise ValueError\nreturn 1.5
Plain(5) | o.value = 5 - 2 * n -> assert o.value > 3, 'too small'\nreturn 1.5
# what the caller does with results -> what the step returns, of (loss, y, the weight)
== results: each -> read
. more: def returns(loss, y, w): return <read>
. step: lambda x: returns(*small.train(x, 1.5), small.w)
result -> loss; loss, y; [loss, [y]]; {'loss': loss, 'more': {'y': y}}; Pair(loss, y); Settings(loss, y)
    (y, y); !SimpleNamespace(loss=loss, y=y); None; (loss, 3, 'text', None); (y, y[0]); y.T; loss.expand(3)
    (y, y.shape); w.grad; w.grad.clone(); w.grad[:2]; w; w.detach(); w.data; w.detach()[:2]; loss.detach()
    !(loss, {1, 2}); collections.OrderedDict(y=y, loss=loss); (loss, rv.zeros(2)); (loss, rv.rand(2))
    y.argmax(1); y > 0; [t for t in (loss, y)]; !(loss, np.ones(2)); ([y], [y * 2]); (y * 9).long()
    y.double(); SlottedSettings(y); Settings([y], collections.OrderedDict(a=Settings({'b': loss}, None)))
    rv.constant(np.full(3, 2, np.float32)) + loss; Given(loss, 2.0); Late(loss); Closed(loss); !Row((loss, y))
    Doubled(loss); !(lambda both: (both, both))([y]); !(lambda b: [b, {'b': b}])({'y': y}); !Bag(y=y)
    !(lambda made: made.append(made) or made)([y]); !Settings(y, {1}); !(loss, (y * 2).requires_grad_())
changed_in_place(result) -> loss; loss, y; [loss, [y]]; (y, y); (y, y[0]); Pair(loss, y); w.grad.clone()
    (loss, rv.zeros(2))
# how the step clears gradients -> what the caller holds of them
== gradients: clear -> kept
. make: w, kept, sums = nn.Parameter(rv.ones(3)), [], []; o = optim.SGD([w], lr=0.01)
. more: def step(x):
..     <clear>
..     loss = (x * w * w).sum()
..     loss.backward()
..     return loss
. step: step
. watch: [w, kept[-6:], sums[-2:]]
. each: kept.append(<kept>)
% HELD
    w.grad; (w.grad, setattr(w, 'grad', None))[0]; w.grad[:2]; w.grad.numpy(); w.grad.detach()
    w.grad.mul_(2.0); setattr(w, 'grad', w.grad * 0.5); setattr(w, 'grad', rv.zeros(3)); 0
    sums.append(w.grad + sum(sums[-1:]))
w.grad = None -> <HELD>
w.grad is not None and w.grad.zero_() -> <HELD>
w -> <HELD>
o.step() -> <HELD>
== released: make -> read
. flags: released
None -> 1.5
== arguments: make -> read
. inputs: (o[0],)
. each: o.__setitem__(0, result.detach())
. flags: whole
[rv.ones(4, 3)] -> small.train(x, 1.5)[1] * 0.5
"""
tables(ROWS)
