"""A decoder of 8 or 4 bits writes the tokens of a NumPy model that computes with the same integers.

The NumPy model reads the whole text at once, without a cache. A number that is rounded otherwise can become
another integer, which moves the logits by more than a rounding. How far is measured: the inputs of its
products are moved by some roundings at random.
"""

import numpy as np
import pytest
import ranvier as rv
import reference.quantized as reference
from ranvier import nn
from reference.attention import attention, causal_mask
from reference.norm import rms_norm

WORDS, WIDTH, HEADS, SHARED, INNER, LAYERS, ROOM = 3000, 128, 4, 2, 192, 3, 64
HEAD, PROMPT, LENGTH = WIDTH // HEADS, 5, 45
ROUNDINGS = 16 * 2.0**-24  # relative to the greatest number of a row, which decides its integers
SPEEDS = 100.0 ** -np.linspace(0, 1, HEAD // 2, endpoint=False)
FORMS = {"int8": ("int8", None), "q8_0": ("int8", 32), "q4_0": ("int4", 32)}


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.before, self.after = nn.RMSNorm(WIDTH, eps=1e-6), nn.RMSNorm(WIDTH, eps=1e-6)
        self.q, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH, bias=False)
        self.k, self.v = nn.Linear(WIDTH, SHARED * HEAD), nn.Linear(WIDTH, SHARED * HEAD)
        self.gate, self.up = nn.Linear(WIDTH, INNER, bias=False), nn.Linear(WIDTH, INNER, bias=False)
        self.down = nn.Linear(INNER, WIDTH, bias=False)

    def forward(self, x, places, cos, sin, cache):
        def turned(x):
            first, second = x.chunk(2, -1)
            return x * cos + rv.cat((-second, first), -1) * sin

        h = self.before(x)
        q, k, v = (f(h).unflatten(-1, (-1, HEAD)).transpose(1, 2) for f in (self.q, self.k, self.v))
        new = turned(k), v
        k, v = (
            new if cache is None else (a.index_copy_(2, places, b) for a, b in zip(cache, new, strict=True))
        )
        mask = rv.arange(k.shape[2]) <= places[:, None]
        y = nn.functional.scaled_dot_product_attention(turned(q), k, v, mask, enable_gqa=True)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        h = self.after(x)
        return x + self.down(nn.functional.silu(self.gate(h)) * self.up(h))


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, WORDS, bias=False)
        self.words.weight = self.head.weight
        self.blocks, self.norm = nn.ModuleList(Block() for _ in range(LAYERS)), nn.RMSNorm(WIDTH, eps=1e-6)
        self.register_buffer("speeds", rv.tensor(np.tile(SPEEDS, 2).astype(np.float32)))

    def forward(self, text, places, caches=(None,) * LAYERS):
        x, angles = self.words(text), places[:, None] * self.speeds
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block(x, places, angles.cos(), angles.sin(), cache)
        return self.head(self.norm(x))


@pytest.fixture(scope="module")
def trained():
    """A model that knows a text of random words by heart, so that its first logit is far above the second."""
    rv.manual_seed(0)
    model, text = Decoder(), rv.randint(0, WORDS, (1, LENGTH + 1))
    optimizer = rv.optim.Adam(model.parameters(), 3e-3)
    for _ in range(60):
        logits = model(text[:, :-1], rv.arange(LENGTH))
        loss = nn.functional.cross_entropy(logits[0], text[0, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval(), text[:, :PROMPT]


@rv.no_grad()
def written(model, prompt, captured):
    """The tokens of a text, and the logits after the prompt and after each further token."""
    caches = [[rv.zeros(1, SHARED, ROOM, HEAD) for _ in "kv"] for _ in range(LAYERS)]

    def step(text, places):
        return model(text, places, caches)[:, -1]

    following = rv.compile(step) if captured else step
    tokens, logits = prompt[0].tolist(), [step(prompt, rv.arange(PROMPT))]
    for at in range(PROMPT, LENGTH):
        token = logits[-1].argmax(-1, keepdim=True)
        tokens.append(int(token))
        logits.append(following(token, rv.arange(at, at + 1)))
    assert not captured or len(following.programs) == 1
    return tokens, rv.cat(logits).numpy()


def logits_of(state, matrices, kind, tokens, rng=None):
    """The same logits in NumPy; with rng the inputs of products are moved."""

    def linear(x, name):
        if rng is not None:
            x = x + ROUNDINGS * abs(x).max(-1, keepdims=True) * rng.uniform(-1, 1, x.shape)
        y = reference.product(x.astype(np.float32), *matrices[f"{name}.weight"], kind)[0]
        return y + state.get(f"{name}.bias", 0)

    def norm(x, name):
        return rms_norm(x, 1, state[f"{name}.weight"], 1e-6)

    turns = np.exp(1j * np.arange(len(tokens))[:, None] * SPEEDS)

    def turned(x):
        y = (x[..., : HEAD // 2] + 1j * x[..., HEAD // 2 :]) * turns
        return np.concatenate((y.real, y.imag), -1)

    x = reference.values(*matrices["words.weight"], kind)[tokens].astype(np.float64)
    for i in range(LAYERS):
        at = f"blocks.{i}"
        h = norm(x, f"{at}.before")
        q, k, v = (linear(h, f"{at}.{name}").reshape(len(x), -1, HEAD).swapaxes(0, 1) for name in "qkv")
        k, v = (np.repeat(a, HEADS // SHARED, 0) for a in (turned(k), v))
        y = attention(turned(q), k, v, causal_mask(len(x), len(x)))
        x = x + linear(y.swapaxes(0, 1).reshape(x.shape), f"{at}.out")
        h = norm(x, f"{at}.after")
        gate = linear(h, f"{at}.gate")
        x = x + linear(gate / (1 + np.exp(-gate)) * linear(h, f"{at}.up"), f"{at}.down")
    return linear(norm(x, "norm"), "head")[PROMPT - 1 :]


@pytest.mark.parametrize("kind", FORMS)
def test_tokens(kind, trained, threads, rng):
    model, prompt = trained
    dtype, group = FORMS[kind]
    small = rv.quantize(model, dtype, group=group)
    state = {name: w.detach().numpy() for name, w in model.state_dict().items()}
    matrices = {name: reference.quantize(w, kind) for name, w in state.items() if w.ndim == 2}
    tokens = written(small, prompt, captured=False)[0]
    expected = logits_of(state, matrices, kind, tokens)
    moved = max(abs(logits_of(state, matrices, kind, tokens, rng) - expected).max() for _ in range(4))
    second, best = np.sort(expected, -1)[:, -2:].T
    assert (best - second > 4 * moved).all()
    assert tokens[PROMPT:] == expected[:-1].argmax(-1).tolist()
    for count in (1, 2):
        threads(count)
        for captured in (False, True):
            found, logits = written(small, prompt, captured)
            assert found == tokens
            assert abs(logits - expected).max() < 2 * moved
