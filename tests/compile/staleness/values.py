"""What a step makes of a value: products of four values, of which neighbours may compare equal, and uses.

The value is an attribute that is replaced, the content of a container that stays the same, or an argument.
"""

from compile.staleness.rows import tables, texts

FILLED = "o.clear(); (o.extend if isinstance(o, list) else o.update)(new)"
IN_PLACE = {"in_place": texts(make="o = type(v)(v)", read="o", change=FILLED)}
TWO_WAYS = {
    "": texts(make="Plain(v)", read="o.value", change="="),
    "argument": texts(
        step="lambda x, a: small.train(x, use(a))", inputs="(*default_inputs(n), _values[n % 4])"
    ),
}
THREE_WAYS = TWO_WAYS | IN_PLACE

ROWS = r"""
# four values: what a step makes of one, as a number
== values: values -> use @ TWO_WAYS
1, 3, 2, 4 -> 1.0 if v > 2 else 3.0; float((v > 2 and 5) or v); math.sqrt(v) if v > 2 else float(v)
    counted(v); looped(v); float('%d' % v); {1: 1.0, 2: 5.0, 3: 7.0}.get(v, 9.0); v * 3.0
    float(v // 2 + v % 2 + (v << 1) + (v & 1)); (lambda v: v)(v) + v; abs(-v) * 1.0
    float(divmod(v, 2)[1] + v)
0, 1, 0, 1 -> 1.0 + (not v)
True, False, True, False -> 2.0 if v else 0.5
None, 1, None, 1 -> 1.0 if v is None else 3.0
None, 1.0, None, 2.0 -> 1.5 if v is None else v
1, True, 1.0, True -> 1.0 if isinstance(v, bool) else 3.0; 1.0 if type(v) is int else 3.0; kinds(v)
1, len, 2, abs -> 1.0 if callable(v) else 3.0
1.0, 2.0, 3.0, 1.0 -> float(f'{v:.1f}'); v; pow(v, 2)
1.0, 2.0, 1.5, 1.0 -> float(math.floor(v) + math.ceil(v)); float(round(v, 1)); max(v, 1.7); min([v, 1.2])
1.0, NAN, 2.0, NAN -> v
0.0, -0.0, 0.0, -0.0 -> signs(v)
0j, complex(0.0, -0.0), complex(-0.0, 0.0), 0j -> signs([v.real, v.imag])
1j, 2j, 1 + 1j, 1j -> v.real + 2 * v.imag
10**20, 10**20 + 10**6, 10**20, 3 -> float(v % 10**9) / 1e6 + 1.0
'sum', 'mean', 'sum', 'none' -> float(len(v)); 1.0 if v == 'sum' else 3.0; 1.0 if v.startswith('s') else 3.0
    1.0 if 'su' in v else 3.0
'a', 'A', 'a', 'b' -> float(v == 'a') + 1.0
*['a' * 700 + c + 'a' * 300 for c in 'bcdb'], -> float(ord(v[700])) / 50
b'a', b'b', b'ab', b'a' -> float(sum(v)) / 99
range(0, 3, 2), range(0, 4, 2), range(0, 1, 1), range(0, 1, 2) -> float(v.stop + v.step)
range(0), range(2, 2), range(0), range(2, 2) -> float(v.stop)
int, float, int, str -> 1.0 if v is int else 2.0
..., None, ..., 1.0 -> 1.0 if v is ... else 2.0
rv.float32, rv.float64, rv.float32, rv.float64 -> 2.0 if v == rv.float64 else 1.0
abs, float, lambda a: a * 3, abs -> v(1.5)
*[(lambda f: lambda: f)(f) for f in FOUR], -> v()
*[Always(f).get for f in FOUR], -> v()
Color.RED, Color.GREEN, Color.RED, Color.GREEN -> 1.0 if v is Color.RED else 3.0; float(v.value)
    float(len(v.name))
1, Level.ONE, 1, Level.TWO -> kinds(v) + float(v)
Bits.A, Bits.B, Bits(3), Bits.B -> 1.0 if Bits.A in v else 3.0
'a', Text('a'), 'a', Text('a') -> getattr(v, 'extra', 1.0)
1.0, Number(1.0), 1.0, Number(1.0) -> getattr(v, 'extra', 1.0)
*map(np.float32, (1, 2, 3, 1)), -> float(v) + 0.5; v; v.item()
*map(np.int64, (1, 2, 3, 1)), -> counted(v)
1.0, np.float64(1.0), np.float32(1.0), 1.0 -> kinds(v)
1, np.int64(1), True, 1 -> kinds(v)
np.True_, np.False_, np.True_, np.False_ -> 1.0 if v else 3.0
*map(np.float64, (0.0, -0.0, 0.0, -0.0)), -> v; signs(v)
np.float32(1), np.float64(1), np.float16(1), np.float32(1) -> float(v.itemsize)
*map(np.dtype, ('f4', 'f8', 'f2', 'f4')), -> float(v.itemsize)
(1, 0), (True, 0), (1.0, 0), (1, False) -> kinds(v)
(0.0,), (-0.0,), (0.0,), (-0.0,) -> signs(v)
(1.0, 2.0), (1.0, 3.0), (2.0,), (1.0, 2.0) -> float(sum(v)) + len(v)
(1, 2), Pair(1, 2), (1, 2), Pair(1, 2) -> 2.0 if hasattr(v, '_fields') else 1.0
*[Pair(n, 0) for n in (1, 2, 3, 1)], -> float(v.first + len(v))
*[fractions.Fraction(n, 3) for n in (1, 2, 4, 5)], -> float(v)
!*map(decimal.Decimal, ('1.0', '1.00', '1.0', '1')), -> float(len(str(v)))
!slice(0, 1, 1), slice(0, 1, 2), slice(0, 3, 1), slice(0, 1, 3) -> float(v.step); float(len([1, 2, 3][v]))
!b'a', bytearray(b'a'), b'a', bytearray(b'a') -> 2.0 if type(v) is bytes else 1.0
*[frozenset({one}) for one in (1, True, 1.0, 1)], -> kinds(v)
*map(frozenset, ({1}, {1, 2}, (), {2})), -> 1.0 if 2 in v else 3.0; float(len(v))
# objects, and lists and dicts of a thousand items or of objects
== objects: values -> use @ TWO_WAYS
Base(), Derived(), Base(), Derived() -> 1.0 if isinstance(v, Derived) else 3.0
    2.0 if type(v) is Base else 1.0
*[Plain(n) if n % 2 else Base() for n in range(4)], -> 1.0 if hasattr(v, 'value') else 3.0
    getattr(v, 'value', 3.0)
*map(Always, FOUR), -> v.value
*map(Never, FOUR), -> v.value
*map(Raises, FOUR), -> v.value
*[type('Own', (Rich,), {'__class__': property(lambda self: list)})(f) for f in FOUR], -> v.value
*map(Slotted, FOUR), -> v.value
*[functools.reduce(lambda v, _: [v], range(200), f) for f in FOUR], -> innermost(v)
*[[[{'a': (one,)}]] for one in (1, True, 1.0, 1)], -> kinds(v[0][0]['a'])
# containers, also filled anew in place
== containers: values -> use @ THREE_WAYS
[1], [True], [1.0], [1] -> kinds(v)
{1: 0}, {True: 0}, {1.0: 0}, {1: 0} -> kinds(v)
{'a': 1}, {'a': True}, {'a': 1.0}, {'a': 1} -> kinds(v)
[0.0], [-0.0], [0.0], [-0.0] -> signs(v)
{'a': 0.0}, {'a': -0.0}, {'a': 0.0}, {'a': -0.0} -> signs(v)
[1.0], [NAN], [NAN, NAN], [1.0] -> float(len(v)) if v[0] == v[0] else 5.0
*[{1: 0, 2: 0}, {2: 0, 1: 0}] * 2, -> float(next(iter(v)))
*[{'a': {1: 0, 2: 0}}, {'a': {2: 0, 1: 0}}] * 2, -> float(next(iter(v['a'])))
*[[Always(f)] for f in FOUR], -> v[0].value
*[{'a': Always(f)} for f in FOUR], -> v['a'].value
*[[Never(f)] for f in FOUR], -> v[0].value
*[[Raises(f)] for f in FOUR], -> v[0].value
*[[0.0] * 700 + [f] + [0.0] * 300 for f in FOUR], -> !argument!float(v[700])
[1], [1, 2], [], [1] -> float(len(v)); 1.0 if v else 3.0; float(sum(v)); 1.0 if 2 in v else 3.0
    (lambda *a: 1.0 + len(a))(*v)
[1], [4, 2], [3], [1] -> float(max(v)); float(sorted(v)[0]); float(next(iter(reversed(v)))); v[-1] * 1.0
[0], [0, 1], [], [1] -> 1.0 + any(v); 1.0 + all(v)
['a'], ['a', 'b'], ['ccc'], [] -> float(len(','.join(v)))
[[1]], [[2]], [[3, 4]], [[1]] -> float(v[0][0])
{1: 1}, {1: 1, 2: 2}, {}, {2: 1} -> float(len(v)); float(sum(v)); 1.0 if 2 in v else 3.0
    sum(v.values()) + 1.0
[np.ones(3), 1.0], [np.ones(3), 2.0], [np.ones(3), 3.0], [np.ones(3), 1.0] -> !,in_place!float(v[1])
{1}, {True}, {1.0}, {2} -> kinds(v) if 2 not in v else 9.0
{1}, {1, 2}, set(), {3} -> float(len(v)); 1.0 if 2 in v else 3.0; float(len(v.union({1, 2})))
# a list that stays the same object, among the arguments of functions: of the input x
== passed: values -> use @ IN_PLACE
[4, 3], [12, 1], [6, 2, 1], [4, 3] -> x.reshape(v)[0].mean() * x; x.reshape(*v).sum(0).sum() * x
[0, 0], [1, 0], [1, 2], [0, 0] -> x * F.pad(x, v).mean()
[0], [1], [0, 1], [0] -> x * x.sum(tuple(v), keepdim=True); x * x.flip(v); x * x[:, v].sum(); x * x[v].sum()
[0, 1], [1, 0], [0, 1], [1, 0] -> x * x.permute(*v)[0, 0] + x * x.permute(*v)[0, 1]
[2], [2, 2], [3], [2] -> x * (rv.zeros(v) + 1).sum()
[1, 3], [2, 2], [3, 1], [1, 3] -> x * rv.split(x, v)[0].sum()
[2], [3], [4], [2] -> x * x.mean().expand(v).sum(); x * x.roll(v[0], 0)
[1.0], [2.0], [3.0, 4.0], [1.0] -> x * rv.full((3,), v[0]); x * rv.cat([x * a for a in v]).sum()
    functools.reduce(lambda y, a: y * a, v, x); x * rv.tensor(v).sum(); x * rv.constant(v).sum()
    x * float(np.sum(v)); x * tuple(v)[-1]; x * list(v)[-1]; x * rv.constant(np.array(v, np.float32)).sum()
    x * sum(a * b for a, b in zip(v, v)); x * v.copy()[-1]; x * sum(map(lambda a: a * 2, v))
    x * (v + [1.0])[0]; x * sum(itertools.chain(v, v)); x * math.prod(v)
    x * list(itertools.accumulate(v))[-1]; x * math.fsum(v); x * heapq.nlargest(1, v)[0]
    x * statistics.mean(v); x * functools.reduce(operator.mul, v); x * copy.deepcopy(v)[-1]
    x * sum(i + a for i, a in enumerate(v))
[1.0], [3.0, 2.0], [3.0, 9.0], [1.0] -> x * (max(v) - min(v) + 1); x * max(v, key=lambda a: -a)
    x * sorted(v, key=abs)[0]; x * sum(map(abs, v))
[('a', 1.0)], [('a', 2.0)], [('a', 3.0)], [('a', 1.0)] -> x * dict(v)['a']
!['1', '5'], ['2', '5'], ['3', '5'], ['1', '5'] -> x * float('{}.{}'.format(*v))
[1], [0, 1], [1, 1], [0] -> x * len(list(filter(None, v)))
[7], [1, 7], [1, 1, 7], [7] -> x * (1 + v.index(7)); x * (1 + v.count(1)); x * (1 + bisect.bisect(v, 1.5))
[1], [1, 2], [], [1] -> x * len(v * 2); x * (2.0 if v == [1] else 3.0); x * (2.0 if v < [1, 1] else 3.0)
    x * len(repr(v)); x * sum(1 for _ in itertools.product(v, v)); x * len(dict.fromkeys(v)); x * len(set(v))
    x * (1 + collections.Counter(v)[2]); !x * len(json.dumps(v))
# an object whose special methods all use its number
== special: values -> use
. make: Odd(v)
. read: o
. change: o.value = new
1, 3, 2, 4 -> 1.0 if v else 3.0; float(len(v)); sum(v); 1.0 if 3 in v else 3.0; 1.0 if v == 3 else 3.0
    float(v); 1.0 if v != 3 else 3.0; !float(hash(v) % 100); 1.0 if v < 3 else 3.0; 1.0 if 3 > v else 3.0
    int(v) * 1.0; counted(v); v + 1.0; 1.0 + v; 2.0 * v; -v * 1.0; abs(v) * 1.0; round(v) * 1.0
    float(len(str(v))); v[0] * 1.0; float(len(repr(v))); float(len(f'{v}')); v() * 1.0
    1.0 if v in [3, 7] else 3.0; 1.0 if sorted([v, Odd(3)])[0] is v else 3.0
"""
tables(ROWS, TWO_WAYS=TWO_WAYS, THREE_WAYS=THREE_WAYS, IN_PLACE=IN_PLACE)
