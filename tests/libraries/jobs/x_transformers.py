"""x-transformers: a step of training of decoders with various parts, and text that one goes on with."""

import torch
from weights import fill, labels
from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

_PARTS = {
    "plain": {},
    "flash": {"attn_flash": True},
    "rotary": {"rotary_pos_emb": True, "use_rmsnorm": True, "ff_glu": True, "ff_swish": True},
    "alibi": {"alibi_pos_bias": True, "alibi_num_heads": 1},
    "relative": {"rel_pos_bias": True, "attn_qk_norm": True},
    "one head": {"attn_one_kv_head": True, "shift_tokens": 1},
    "memory": {"attn_num_mem_kv": 2, "gate_residual": True},
    "streams": {"num_residual_streams": 2, "add_value_residual": True},
}


def job():
    """Loss and a gradient of each."""
    tokens, answer = torch.from_numpy(labels(2, 12, classes=20)), {}
    for name, parts in _PARTS.items():
        layers = Decoder(dim=16, depth=2, heads=2, attn_dim_head=8, **parts)
        network = TransformerWrapper(num_tokens=20, max_seq_len=16, attn_layers=layers)
        model = fill(AutoregressiveWrapper(network))
        loss = model(tokens)
        loss.backward()
        answer[name] = torch.stack([loss, *(p.grad.norm() for p in model.parameters() if p.grad is not None)])
    answer["text"] = model.eval().generate(tokens[:1, :3], 6, temperature=0.0)
    return answer
