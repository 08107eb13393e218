"""PyTorch's random numbers and Sobol's sequences."""

import json

import numpy as np
import pytest
from ranvier.torch.functions.quasirandom import SobolEngine
from ranvier.torch.functions.twister import Twister
from unchanged.test_mode import run

NORMAL_19 = """
    1.105922 0.261501 0.931124 -0.348089 0.348746 0.037067 -0.067686 0.429033 -0.868119 -1.19632 1.027997
    0.129518 0.681411 -0.9583 0.063924 0.658914 0.819459 0.561594 -0.248147
"""
EXPECTED = {
    "torch.rand(3)": [0.004264, 0.105569, 0.285842],
    "torch.randn(5)": [0.245326, 1.118593, 0.44274, -0.1451, -0.54753],
    "torch.randn(19)": [float(x) for x in NORMAL_19.split()],
    "torch.rand(2, dtype=torch.float64)": [0.084633, 0.432513],
    "torch.randn(17, dtype=torch.float64)[[0, 7, 16]]": [0.830618, -0.950298, 0.377257],
    "torch.randperm(9)": [3, 4, 1, 6, 0, 5, 2, 8, 7],
    "torch.randint(-5, 100, (4,))": [86, 73, 70, 89],
    "torch.randint(0, 2**40, (2,))": [143032133103, 1064323058108],
    "torch.bernoulli(torch.full((8,), 0.4))": [0, 0, 1, 0, 1, 0, 0, 0],
    "torch.nn.Linear(3, 2).weight[0]": [-0.198125, -0.084341, 0.141662],
    "torch.rand(2, generator=own)": [0.149042, 0.486553],
    "torch.randperm(4, generator=own)": [0, 3, 1, 2],
    "torch.multinomial(torch.tensor([0.2, 0.3, 0.5]), 4, True)": [2, 2, 0, 0],
    "torch.multinomial(torch.tensor([0.2, 0.3, 0.5]).expand(5, 3), 1, True)[:, 0]": [1, 2, 0, 2, 2],
    "torch.multinomial(torch.tensor([0.2, 0.3, 0.5]), 3)": [2, 1, 0],
    "torch.randint(0, 2**28, (2,))": [194916855, 66666985],
    "torch.empty(3).uniform_(-3, 7)": [-1.29492, 5.251544, 4.714239],
    "torch.empty(3).exponential_(2)": [0.34004, 0.558297, 0.04215],
    "torch.empty(3).cauchy_(1.5, 2)": [1.738227, -0.022103, -1.610666],
    "torch.empty(3).log_normal_(0.5, 0.3)": [1.869909, 1.940612, 1.647402],
    "torch.empty(3).geometric_(0.3)": [2, 3, 2],
    "torch.empty(3).random_()": [8268181, 6150927, 11063048],
    "torch.empty(3, dtype=torch.int16).random_()": [32, 15831, 24920],
    "torch.empty(6).bernoulli_(0.5)": [1, 0, 0, 0, 0, 0],
    "torch.empty(3).bernoulli_(torch.tensor([0.2, 0.5, 0.8]))": [0, 0, 0],
    "torch.normal(torch.zeros(2), torch.tensor([1.0, 2.0]))": [1.576633, -1.078377],
    "torch.poisson(torch.tensor([0.0, 0.5, 8.0, 15.0, 3000.0]))": [0, 2, 7, 11, 3038],
    "torch._standard_gamma(torch.tensor([0.2, 1.0, 7.0]))": [0.000941, 0.030448, 6.919208],
    "F.gumbel_softmax(torch.zeros(3))": [0.643295, 0.196063, 0.160642],
    "F.dropout(torch.ones(6), 0.4)": [1.666667, 1.666667, 0, 1.666667, 1.666667, 0],
    "F.dropout(torch.ones(2, 3).T, 0.4).flatten()": [1.666667, 1.666667, 0, 0, 0, 1.666667],
    "F.dropout2d(torch.ones(2, 3, 1, 1), 0.4).flatten()": [1.666667, 0, 1.666667, 1.666667, 0, 1.666667],
    "F.alpha_dropout(torch.ones(6), 0.4, True)[2:4]": [1.470377, -0.910642],
    "F.rrelu(torch.tensor([1.0, -1.0, -1.0]), training=True)": [1, -0.275175, -0.332511],
    "F.scaled_dot_product_attention(*[torch.ones(1, 2, 4, 3)] * 3, dropout_p=0.4)[0, 1, :, 0]": [
        0,
        1.25,
        0.833333,
        0.416667,
    ],
    "init.trunc_normal_(torch.empty(4), std=0.02)": [0.0135, -0.01223, -0.001386, 0.014464],
    "init.trunc_normal_(torch.empty(20), a=-0.1, b=3)[::7]": [0.027486, 1.145672, 0.007137],
    "init.trunc_normal_(torch.empty(4), a=1.5, b=3)": [2.55836, 1.816081, 1.536483, 2.3985],
    "init.orthogonal_(torch.empty(2, 3))[0]": [0.175497, -0.497928, -0.849275],
    "init.sparse_(torch.empty(4, 2), 0.5).T": [[0, 0.00871, -0.000977, 0], [0.003939, 0, 0.008521, 0]],
    "nn.MultiheadAttention(4, 2).out_proj.weight[0]": [-0.424527, -0.393187, -0.10047, -0.295539],
    "nn.LSTM(2, 3, 2, dropout=0.5)(torch.ones(2, 1, 2))[0][1, 0]": [0.13679, -0.231943, 0.015478],
    "nn.TransformerEncoderLayer(4, 2, 8, 0.4, batch_first=True)(torch.eye(4).reshape(2, 2, 4))[1, 0, :1]": [
        0.835161
    ],
    "D.Bernoulli(torch.tensor([0.2, 0.8])).sample((3,)).flatten()": [1, 1, 0, 1, 0, 1],
    "D.Beta(0.5, 2.0).sample((3,))": [0.193745, 0.035743, 0.312126],
    "D.Binomial(7, 0.3).sample((4,))": [4, 3, 1, 2],
    "D.Binomial(100, torch.tensor([0.3, 0.8])).sample((2,)).flatten()": [33, 78, 28, 80],
    "D.Categorical(torch.tensor([0.2, 0.3, 0.5])).sample()": 2,
    "D.Cauchy(1.0, 2.0).sample((3,))": [-4.137294, -2.353589, 2.468095],
    "D.Dirichlet(torch.tensor([0.1, 2.0, 30.0])).sample()": [0.00102, 0.017278, 0.981702],
    "D.Exponential(2.0).sample((3,))": [0.123447, 0.277032, 0.050818],
    "D.Gamma(0.3, 2.0).sample((3,))": [0.001442, 0.379084, 3.5e-05],
    "D.Geometric(0.3).sample((4,))": [2, 3, 0, 8],
    "D.Gumbel(1.0, 2.0).sample((3,))": [3.132031, -0.194526, -2.002609],
    "D.HalfCauchy(2.0).sample((3,))": [3.557641, 0.098259, 5.493875],
    "D.HalfNormal(2.0).sample((3,))": [0.161754, 1.333421, 0.2624],
    "D.Laplace(1.0, 2.0).sample((3,))": [0.402264, 1.968652, -0.067869],
    "D.LogNormal(1.0, 2.0).sample((3,))": [2.967446, 0.376707, 11.488088],
    "D.Multinomial(5, torch.tensor([0.2, 0.3, 0.5])).sample()": [0, 3, 2],
    "D.MultivariateNormal(torch.zeros(2), torch.eye(2)).sample()": [-0.145687, 0.310868],
    "D.NegativeBinomial(5.0, 0.4).sample((3,))": [3, 0, 3],
    "D.OneHotCategorical(torch.tensor([0.2, 0.3, 0.5])).sample()": [0, 0, 1],
    "D.Poisson(20.0).sample((3,))": [19, 17, 21],
    "D.StudentT(3.0).sample((3,))": [-1.273546, -0.612601, 2.93282],
    "D.Uniform(1.0, 3.0).sample((3,))": [1.000944, 1.698166, 1.924898],
    "torch.randn(1, generator=torch.manual_seed(2**40 + 17))": [-1.413513],
    "torch._sample_dirichlet(torch.tensor([0.2, 1.0, 7.0]))": [0.047102, 0.106452, 0.846446],
    "torch.multinomial(torch.eye(6)[1], 4, generator=torch.manual_seed(0))": [1, 4, 5, 0],
    "torch.manual_seed(5) and torch.empty(2, 3).T.uniform_().flatten()": [
        0.830252,
        0.819927,
        0.126111,
        0.920103,
        0.90747,
        0.116645,
    ],
    "torch.manual_seed(5) and torch.empty(8, 10)[:, 2:5].normal_(1, 2)[::3, 0]": [
        0.026438,
        -0.79827,
        1.114185,
    ],
    "torch.manual_seed(5) and torch.randn(19, dtype=B)[::6]": [1.84375, -0.964844, 0.777344, 1.75],
    "torch.empty(35, dtype=H).normal_(1, 2)[::11]": [0.476562, -2.277344, 3.992188, 4.742188],
    "torch.empty(3, dtype=B).uniform_(2, 3)": [2.328125, 2.46875, 2.4375],
    "torch.empty(3, dtype=B).random_(0, 1000)": [165, 253, 600],
    "init.trunc_normal_(torch.empty(20, dtype=B))[::7]": [0.488281, -0.804688, 0.125977],
    "init.trunc_normal_(torch.empty(4, dtype=H), a=1.5, b=3)": [2.449219, 2.244141, 1.727539, 2.623047],
    "torch.empty(5, dtype=B).bernoulli_(torch.full((5,), 0.5, dtype=B))": [1, 0, 0, 0, 0],
    "torch.normal(torch.ones(3, dtype=B), 0.3)": [0.914062, 0.605469, 0.796875],
    "D.RelaxedBernoulli(half, logits=zero).rsample()": [0.999778, 0.776495, 0.36311],
    "D.RelaxedOneHotCategorical(half, logits=zero).rsample()": [0.316605, 0.048896, 0.634498],
    "D.RelaxedBernoulli(half.to(B), logits=zero.to(B)).rsample()": [0.007812, 0.038574, 0.229492],
    "torch._sample_dirichlet(half + zero, own.manual_seed(3))": [0.588875, 0.194663, 0.216461],
    "torch._standard_gamma(half + zero, own.manual_seed(3))": [0.73775, 0.243876, 0.271185],
    "torch.manual_seed(3) and nn.Dropout(0.5, inplace=True)(torch.ones(2, 5))": [
        [2, 2, 0, 2, 0],
        [0, 2, 2, 2, 0],
    ],
}


def test_seeds_give_pytorchs_numbers(tmp_path):
    lines = [f"answer.append(({code}).tolist())" for code in EXPECTED]
    program = (
        "import torch, json\nfrom torch import distributions as D, nn\nfrom torch.nn import functional as F\n"
        "answer, own, init = [], torch.Generator().manual_seed(11), nn.init\ntorch.manual_seed(3)\n"
        "B, H, half, zero = torch.bfloat16, torch.float16, torch.tensor(0.5), torch.zeros(3)\n"
    )
    program += "\n".join(lines) + "\nstate = torch.get_rng_state()\na = torch.randn(3)\n"
    program += "assert D.RelaxedBernoulli(half, logits=zero).sample().dtype == torch.float32\n"
    program += "torch.set_rng_state(state)\nassert (a == torch.randn(3)).all()\nprint(json.dumps(answer))\n"
    out, _ = run("-c", program, where=tmp_path, RANVIER_TORCH_RANDOM="1")
    for value, expected in zip(json.loads(out), EXPECTED.values(), strict=True):
        np.testing.assert_allclose(value, expected, 2e-6, 1e-6)
    assert json.loads(run("-c", program, where=tmp_path)[0]) != json.loads(out)  # it is asked for


def test_a_step_that_draws_runs_eagerly_and_right(tmp_path):
    program = (
        "import torch\nf = torch.compile(lambda x: x + torch.rand(2))\ntorch.manual_seed(0)\n"
        "a = [f(torch.zeros(2)).tolist() for _ in range(6)]\ntorch.manual_seed(0)\n"
        "assert a == [torch.rand(2).tolist() for _ in range(6)], a\n"
        "x = torch.ones(99, requires_grad=True)\ny = torch.dropout(x, 0.4, True)\ny.sum().backward()\n"
        "assert (x.grad == y).all()\n"
        "assert (torch.nn.init.trunc_normal_(torch.empty(9), a=5.0, b=torch.inf) > 5).all()\n"
    )
    run("-c", program, where=tmp_path, RANVIER_TORCH_RANDOM="1")


def test_the_moments_and_the_state():
    twister = Twister(5)
    for values, mean, std in (
        (twister.uniform(9999, "float32"), 0.5, 12**-0.5),
        (twister.normal(9999, "float64"), 0.0, 1.0),
        (twister.exponential(2.0, (99, 99)), 2.0, 2.0),
    ):
        assert abs(values.mean() - mean) < 5 * std / 99
        assert abs(values.std() / std - 1) < 0.06
    assert np.isnan(twister.standard_gamma(np.array([np.nan])))
    assert twister.geometric(1.0, (3,)).tolist() == [1, 1, 1]
    twister.normal(3, "float32")
    state = twister.state
    ahead = twister.normal(3, "float32"), twister.gamma(2.0), twister.integers(0, 5)
    twister.state = state
    assert ahead[0].tolist() == twister.normal(3, "float32").tolist()
    assert ahead[1:] == (twister.gamma(2.0), twister.integers(0, 5))
    assert sorted(twister.permutation(50)) == list(range(50))
    assert twister.permutation(0).size == 0


LOADERS = """
import json, random
import numpy as np
import torch
from torch.utils.data import *
from torch.utils.data.distributed import DistributedSampler

class Drawn(Dataset):
    def __len__(self): return 3
    def __getitem__(self, i):
        return i, random.randrange(99), int(np.random.randint(99)), int(torch.randint(99, (1,)))

def rows(*settings, **more):
    return [[int(x) for x in row] for batch in DataLoader(*settings, **more) for row in zip(*batch)]

def twice(make):
    own = torch.Generator().manual_seed(11)
    sampler = make(own)
    return [*sampler, *sampler, int(torch.randint(99, (1,), generator=own))]

answer = []
for code in CODES:
    torch.manual_seed(3), random.seed(5), np.random.seed(7)
    answer.append([eval(code), int(torch.randint(99, (1,)))])
print(json.dumps(answer))
"""
LOADED = {
    "rows(Drawn(), 2)": [[[0, 79, 47, 73], [1, 32, 68, 3], [2, 94, 25, 28]], 39],
    "rows(Drawn(), 2, shuffle=True)": [[[2, 79, 47, 28], [0, 32, 68, 39], [1, 94, 25, 33]], 47],
    "rows(Drawn(), 2, num_workers=2)": [[[0, 27, 74, 40], [1, 26, 82, 78], [2, 11, 17, 52]], 73],
    "rows(Drawn(), 2, shuffle=True, generator=torch.Generator().manual_seed(5))": [
        [[1, 79, 47, 31], [2, 32, 68, 41], [0, 94, 25, 73]],
        3,
    ],
    "rows(Drawn(), 1, shuffle=True, num_workers=3, generator=torch.Generator().manual_seed(5))": [
        [[1, 85, 79, 61], [2, 94, 66, 84], [0, 81, 8, 16]],
        31,
    ],
    "rows(TensorDataset(torch.arange(5)), 3, shuffle=True)": [[[1], [4], [3], [0], [2]], 28],
    "list(RandomSampler(range(5), num_samples=12))": [[2, 1, 0, 4, 3, 3, 0, 1, 2, 4, 3, 4], 73],
    "list(RandomSampler(range(9), replacement=True, num_samples=12))": [
        [4, 6, 6, 5, 8, 8, 7, 6, 1, 6, 4, 6],
        73,
    ],
    "list(DistributedSampler(range(5), 2, 1, seed=4))": [[3, 4, 0], 31],
    "list(SubsetRandomSampler([3, 1, 9, 7]))": [[9, 7, 1, 3], 3],
    "list(WeightedRandomSampler([0.1, 0.9, 0.4, 0.7], 6))": [[0, 1, 3, 1, 3, 2], 56],
    "twice(lambda own: RandomSampler(range(5), generator=own))": [[1, 4, 2, 0, 3, 2, 4, 3, 0, 1, 44], 31],
    "twice(lambda own: RandomSampler(range(5), True, 7, own))": [
        [1, 4, 0, 2, 3, 2, 1, 0, 2, 2, 2, 0, 0, 4, 93],
        31,
    ],
    "twice(lambda own: SubsetRandomSampler([3, 1, 9, 7], own))": [[1, 3, 9, 7, 7, 3, 1, 9, 77], 31],
    "twice(lambda own: WeightedRandomSampler([0.1, 0.9, 0.4, 0.7], 3, False, own))": [
        [3, 0, 1, 1, 3, 2, 44],
        31,
    ],
    "[part.indices for part in random_split(range(7), [0.5, 0.5])]": [[[5, 3, 4, 6], [0, 2, 1]], 33],
}


def test_loaders_and_samplers_draw_as_pytorchs(tmp_path):
    out, _ = run("-c", LOADERS.replace("CODES", str([*LOADED])), where=tmp_path, RANVIER_TORCH_RANDOM="1")
    assert dict(zip(LOADED, json.loads(out), strict=True)) == LOADED


# Sobol's sequences of the mode.


def test_sobol():
    """Another start gives the same points; the first 2**m are one in each cell of a grid."""
    pytest.importorskip("scipy")
    engine = SobolEngine(2, scramble=True, seed=3)
    points = engine.draw_base2(4).numpy()
    cells = (points * 4).astype(int)
    assert len({tuple(cell) for cell in cells}) == 16
    np.testing.assert_array_equal(engine.reset().fast_forward(3).draw(5).numpy(), points[3:8])
