"""The model of benchmarks.training.decoder as a file for llama.cpp, which has no words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize

from benchmarks.quantized.decoder_matrices import MATRICES
from benchmarks.quantized.rounds import Array
from benchmarks.training import decoder
from benchmarks.training.decoder import LAYERS, WIDTH, WORDS, numbers

KINDS = {"float32": "F32", "bfloat16": "BF16", "int8": "Q8_0", "int4": "Q4_0"}
NAMES = {
    "attention.q": "attn_q",
    "attention.k": "attn_k",
    "attention.v": "attn_v",
    "attention.out": "attn_output",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
    "before": "attn_norm",
    "after": "ffn_norm",
}


def tensors() -> Iterator[tuple[str, Array]]:
    yield "token_embd.weight", numbers("words.weight", (WORDS, WIDTH))
    yield "output_norm.weight", numbers("norm.weight", (WIDTH,))
    for i in range(LAYERS):
        for name, theirs in NAMES.items():
            shape = MATRICES.get(name, (WIDTH,))
            yield f"blk.{i}.{theirs}.weight", numbers(f"layers.{i}.{name}.weight", shape)
            if name[-1] in "qkv" and name in MATRICES:
                yield f"blk.{i}.{theirs}.bias", numbers(f"layers.{i}.{name}.bias", shape[:1])


def write(path: str, precision: str) -> None:
    writer = GGUFWriter(path, "qwen2")
    writer.add_block_count(LAYERS)
    writer.add_context_length(decoder.ROOM)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(decoder.INNER)
    writer.add_head_count(decoder.HEADS)
    writer.add_head_count_kv(decoder.SHARED)
    writer.add_rope_freq_base(decoder.BASE)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(WORDS)
    writer.add_tokenizer_model("none")
    for name, x in tensors():
        kind = GGMLQuantizationType[KINDS[precision] if x.ndim == 2 else "F32"]
        data = np.asarray(x, np.float32) if kind.name == "F32" else quantize(x, kind)
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
