"""transformers: text of language models in float32 and bfloat16, with the caches, read again from a file."""

import tempfile

import torch
import transformers as hf
from weights import fill, labels

SMALL = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SMALL |= {"num_key_value_heads": 2, "intermediate_size": 37, "max_position_embeddings": 64}
GPT = {"vocab_size": 99, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
MODELS = {
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**SMALL)),
    "qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**SMALL)),
    "gpt2": lambda: hf.GPT2LMHeadModel(hf.GPT2Config(**GPT, bos_token_id=1, eos_token_id=2)),
}
KINDS = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}


def job():
    """The tokens of three models in both dtypes, one prompt of which is shorter; the bytes of a file."""
    prompts = torch.from_numpy(labels(3, 8, classes=96)) + 3
    shown = torch.ones_like(prompts)
    prompts[0, :3] = shown[0, :3] = 0
    results = {}
    for name, make in MODELS.items():
        model = fill(make(), scale=3.0).eval()
        for dtype in (torch.float32, torch.bfloat16):
            model = model.to(dtype)
            with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
                ways = {"greedy": {}, "static": {"cache_implementation": "static"}, "beam": {"num_beams": 2}}
                for way, settings in ways.items():
                    texts = model.generate(prompts, attention_mask=shown, **KINDS, **settings)
                    for i, text in enumerate(texts):
                        results[f"{name} {str(dtype)[6:]} {way} {i}"] = text[8:]
                model.save_pretrained(folder)
                again = type(model).from_pretrained(folder, dtype="auto").eval()
                assert again.dtype == dtype
                assert all(
                    torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)
                )
    return results
