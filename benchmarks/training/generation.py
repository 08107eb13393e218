"""A character model beside PyTorch and JAX: ``python -m benchmarks.training.generation``.

4 layers, 128 wide, 4 heads, norms first, 65 characters. A training step: 12 sequences of 64 characters,
AdamW. A token: the logits of one more character where the keys and values of ``context`` ones are kept, the
mean of TOKENS calls in a row; "whole": ours without a cache, which reads all of them again. ranvier:
`rv.compile`. PyTorch: eager, with a cache written by hand around scaled_dot_product_attention. JAX: jit, with
the same and donated buffers. One process for each library, in turns; the time is the shortest of a turn, its
median over the turns. All begin with the same weights, and losses and logits are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers.turns import InTurns, answer, arguments, medians

Array = np.ndarray[Any, Any]
LAYERS, WIDTH, HEADS, CHARACTERS, MOST = 4, 128, 4, 65, 256
BATCH, LENGTH, RATE, DECAY, CHECKED = 12, 64, 1e-3, 0.01, 5
TOKENS = 32
CASES = ("train", "64", "128", "256")
LIBRARIES = ("ranvier", "whole", "torch", "jax")
Step = Callable[[], Any]


def weights() -> dict[str, Array]:
    """The state dict of the model of ranvier_model()."""
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {"embed.weight": (CHARACTERS, WIDTH), "place.weight": (MOST, WIDTH)}
    for i in range(LAYERS):
        at = f"blocks.layers.{i}."
        for name, rows, columns in (
            ("self_attn.in_proj_", 3 * WIDTH, WIDTH),
            ("self_attn.out_proj.", WIDTH, WIDTH),
            ("linear1.", 4 * WIDTH, WIDTH),
            ("linear2.", WIDTH, 4 * WIDTH),
        ):
            shapes[f"{at}{name}weight"], shapes[f"{at}{name}bias"] = (rows, columns), (rows,)
        for name in ("norm1", "norm2"):
            shapes[f"{at}{name}.weight"] = shapes[f"{at}{name}.bias"] = (WIDTH,)
    shapes |= {"blocks.norm.weight": (WIDTH,), "blocks.norm.bias": (WIDTH,)}
    shapes |= {"head.weight": (CHARACTERS, WIDTH), "head.bias": (CHARACTERS,)}
    scaled = {name: rng.standard_normal(shape) / np.sqrt(shape[-1]) for name, shape in shapes.items()}
    return {name: x.astype(np.float32) for name, x in scaled.items()}


def tokens() -> tuple[Array, Array]:
    """Inputs and targets of a training step, (BATCH, LENGTH)."""
    text = np.random.default_rng(1).integers(0, CHARACTERS, (BATCH, LENGTH + 1))
    return np.ascontiguousarray(text[:, :-1]), np.ascontiguousarray(text[:, 1:])


def written() -> Array:
    """A text to read, (1, MOST)."""
    return np.random.default_rng(2).integers(0, CHARACTERS, (1, MOST))


def ranvier_model() -> Any:
    import ranvier as rv
    from ranvier import nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.place = nn.Embedding(CHARACTERS, WIDTH), nn.Embedding(MOST, WIDTH)
            layer = nn.TransformerEncoderLayer(
                WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True
            )
            self.blocks = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(WIDTH))
            self.head = nn.Linear(WIDTH, CHARACTERS)

        def forward(self, text: Any, cache: Any = None) -> Any:
            length = text.shape[1]
            place = self.place.weight[:length] if cache is None else self.place(cache.positions(length))
            return self.head(self.blocks(self.embed(text) + place, is_causal=True, cache=cache))

    model = Model()
    model.load_state_dict({name: rv.tensor(x) for name, x in weights().items()})
    return model


def ranvier_step(case: str, with_cache: bool) -> Step:
    import ranvier as rv
    from ranvier import nn, optim

    model = ranvier_model()
    if case == "train":
        optimizer = optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
        x, y = (rv.tensor(a) for a in tokens())

        @rv.compile
        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x).reshape(-1, CHARACTERS), y.reshape(-1))
            loss.backward()
            optimizer.step()
            return loss

        return lambda: step(x, y)
    length, text = int(case), rv.tensor(written())
    fast = rv.compile(model.eval())
    if not with_cache:
        read = text[:, :length].clone()
        return lambda: fast(read)[:, -1:]
    cache = nn.KeyValueCache(1, HEADS, MOST, WIDTH // HEADS, layers=LAYERS)
    with rv.no_grad():
        model(text[:, : length - TOKENS], cache)
    last = [text[:, i : i + 1].clone() for i in range(length - TOKENS, length)]

    def run() -> Any:
        cache.crop(length - TOKENS)
        for one in last:
            logits = fast(one, cache)
        return logits

    return run


def torch_step(case: str) -> Step:
    import torch
    from torch.nn import functional as F

    w = {name: torch.from_numpy(x).requires_grad_(case == "train") for name, x in weights().items()}
    kept = torch.zeros(LAYERS, 2, 1, HEADS, MOST, WIDTH // HEADS)

    def norm(x: Any, name: str) -> Any:
        return F.layer_norm(x, (WIDTH,), w[f"{name}.weight"], w[f"{name}.bias"])

    def model(text: Any, at: int | None = None) -> Any:
        n, length = text.shape
        x = w["embed.weight"][text] + w["place.weight"][(at or 0) : (at or 0) + length]
        for i in range(LAYERS):
            name = f"blocks.layers.{i}."
            h = norm(x, f"{name}norm1")
            h = F.linear(h, w[f"{name}self_attn.in_proj_weight"], w[f"{name}self_attn.in_proj_bias"])
            q, k, v = h.view(n, length, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
            if at is not None:
                kept[i, 0, :, :, at : at + length], kept[i, 1, :, :, at : at + length] = k, v
                k, v = kept[i, 0, :, :, : at + length], kept[i, 1, :, :, : at + length]
            h = F.scaled_dot_product_attention(q, k, v, is_causal=length > 1)
            h = h.transpose(1, 2).reshape(n, length, WIDTH)
            x = x + F.linear(h, w[f"{name}self_attn.out_proj.weight"], w[f"{name}self_attn.out_proj.bias"])
            h = F.gelu(
                F.linear(norm(x, f"{name}norm2"), w[f"{name}linear1.weight"], w[f"{name}linear1.bias"])
            )
            x = x + F.linear(h, w[f"{name}linear2.weight"], w[f"{name}linear2.bias"])
        return F.linear(norm(x, "blocks.norm"), w["head.weight"], w["head.bias"])

    if case == "train":
        optimizer = torch.optim.AdamW(w.values(), lr=RATE, weight_decay=DECAY, fused=True)
        x, y = (torch.from_numpy(a) for a in tokens())

        def step() -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x).reshape(-1, CHARACTERS), y.reshape(-1))
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step
    length, text = int(case), torch.from_numpy(written())

    @torch.inference_mode()
    def run() -> Any:
        for i in range(length - TOKENS, length):
            logits = model(text[:, i : i + 1], i)
        return logits

    with torch.inference_mode():
        model(text[:, : length - TOKENS], 0)
    return run


def jax_step(case: str) -> Step:
    import jax
    import jax.numpy as jnp

    w = {name: jnp.asarray(x) for name, x in weights().items()}

    def norm(w: Any, x: Any, name: str) -> Any:
        mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(var + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(w: Any, x: Any, name: str) -> Any:
        return x @ w[f"{name}weight"].T + w[f"{name}bias"]

    def model(w: Any, text: Any, kept: Any = None, at: Any = 0) -> Any:
        n, length = text.shape
        x = w["embed.weight"][text] + jax.lax.dynamic_slice_in_dim(w["place.weight"], at, length)
        for i in range(LAYERS):
            name = f"blocks.layers.{i}."
            h = linear(w, norm(w, x, f"{name}norm1"), f"{name}self_attn.in_proj_")
            q, k, v = h.reshape(n, length, 3, HEADS, WIDTH // HEADS).transpose(2, 0, 3, 1, 4)
            if kept is not None:
                kept = jax.lax.dynamic_update_slice(kept, jnp.stack([k, v])[None], (i, 0, 0, 0, at, 0))
                k, v = kept[i]
            scores = q @ k.swapaxes(2, 3) / np.sqrt(WIDTH // HEADS)
            seen = jnp.arange(k.shape[2]) <= at + jnp.arange(length)[:, None]
            h = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf)) @ v
            h = h.transpose(0, 2, 1, 3).reshape(n, length, WIDTH)
            x = x + linear(w, h, f"{name}self_attn.out_proj.")
            h = jax.nn.gelu(linear(w, norm(w, x, f"{name}norm2"), f"{name}linear1."), approximate=False)
            x = x + linear(w, h, f"{name}linear2.")
        return linear(w, norm(w, x, "blocks.norm"), "head."), kept

    if case == "train":
        x, y = (jnp.asarray(a) for a in tokens())

        def loss(w: Any, x: Any, y: Any) -> Any:
            scores = jax.nn.log_softmax(model(w, x)[0])
            return -jnp.take_along_axis(scores, y[..., None], 2).mean()

        def update(state: Any, x: Any, y: Any) -> Any:
            w, m, v, t = state
            value, g = jax.value_and_grad(loss)(w, x, y)
            t += 1
            m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
            v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)

            def moved(w: Any, m: Any, v: Any) -> Any:
                step = m / (1 - 0.9**t) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)
                return w * (1 - RATE * DECAY) - RATE * step

            return (jax.tree.map(moved, w, m, v), m, v, t), value

        step = jax.jit(update, donate_argnums=0)
        state = (w, *(jax.tree.map(jnp.zeros_like, w) for _ in range(2)), jnp.zeros(()))

        def run() -> Any:
            nonlocal state
            state, value = step(state, x, y)
            return value.block_until_ready()

        return run
    length, text = int(case), written()
    fast = jax.jit(model, donate_argnums=2)
    kept = jnp.zeros((LAYERS, 2, 1, HEADS, MOST, WIDTH // HEADS))
    kept = fast(w, text[:, : length - TOKENS], kept, 0)[1]
    ones = [(jnp.asarray(text[:, i : i + 1]), jnp.asarray(i)) for i in range(length - TOKENS, length)]

    def write() -> Any:
        nonlocal kept
        for one, at in ones:
            logits, kept = fast(w, one, kept, at)
        return logits.block_until_ready()

    return write


def work(library: str) -> None:
    makers = {"torch": torch_step, "jax": jax_step}
    make = makers.get(library, lambda case: ranvier_step(case, library == "ranvier"))
    answer(make, CHECKED, lambda case: TOKENS if case != "train" and library != "whole" else 1)


def main() -> None:
    settings = arguments(__doc__, LIBRARIES, 1.0)
    if settings.worker:
        return work(settings.worker)
    print(f"| ms | threads | {' | '.join(settings.libraries)} | best peer / ours |")
    print("|---|" + "---|" * (len(settings.libraries) + 2))
    for threads in settings.threads:
        module = "benchmarks.training.generation"
        processes = {name: InTurns(module, name, threads) for name in settings.libraries}
        for case in (name for name in CASES if settings.part in name):
            asked = {name: p for name, p in processes.items() if (case, name) != ("train", "whole")}
            times = medians([*asked.values()], case, settings, rtol=1e-3, atol=1e-4)
            found = {name: 1e3 * seconds for name, seconds in zip(asked, times, strict=True)}
            peers = [found[name] for name in ("torch", "jax") if name in found]
            ratio = f"{min(peers) / found['ranvier']:.2f}" if peers else ""
            row = " | ".join(f"{found[name]:.3f}" if name in found else "" for name in processes)
            title = "training step" if case == "train" else f"a token, context {case}"
            print(f"| {title} | {threads} | {row} | {ratio} |", flush=True)
        for process in processes.values():
            process.close()


if __name__ == "__main__":
    main()
