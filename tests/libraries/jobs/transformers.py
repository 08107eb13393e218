"""transformers: models of text, images and sound, made of settings; losses, tokens, Trainer."""

import tempfile

import torch
import transformers as hf
from weights import fill, labels, normal

SMALL = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SMALL |= {"intermediate_size": 37, "max_position_embeddings": 32}
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


class Sentences(torch.utils.data.Dataset):
    """Rows of tokens, each with a class."""

    rows = labels(24, 7, classes=99, seed=1)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        tokens = torch.from_numpy(self.rows[i])
        return {"input_ids": tokens, "labels": int(tokens[0] > 49)}


def learned(model, **inputs):
    """The loss, and the sum of the gradients' sizes."""
    fill(model)
    loss = model(**inputs).loss
    loss.backward()
    return [loss.item(), sum(p.grad.abs().sum().item() for p in model.parameters() if p.grad is not None)]


def job():
    """One backward pass of six models, tokens of three, an epoch of Trainer."""
    tokens = torch.from_numpy(labels(2, 7, classes=96)) + 3
    both = {"input_ids": tokens, "labels": tokens}
    llama = hf.LlamaForCausalLM(hf.LlamaConfig(**SMALL, num_key_value_heads=2))
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4, "dropout_rate": 0.0}
    t5 = hf.T5ForConditionalGeneration(hf.T5Config(vocab_size=99, decoder_start_token_id=0, **sizes))
    sizes = {"vocab_size": 99, "n_embd": 32, "n_layer": 2, "n_head": 4, "attn_pdrop": 0.0}
    sizes |= {"resid_pdrop": 0.0, "embd_pdrop": 0.0}
    gpt = hf.GPT2LMHeadModel(hf.GPT2Config(**sizes, bos_token_id=1, eos_token_id=2))
    image = {k: v for k, v in SMALL.items() if k[:3] not in ("voc", "max")} | STILL
    vit = hf.ViTForImageClassification(hf.ViTConfig(**image, image_size=30, patch_size=10))
    sound = {"conv_dim": (16, 16), "conv_stride": (4, 4), "conv_kernel": (8, 8), "num_feat_extract_layers": 2}
    sound |= {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2, "mask_time_prob": 0.0}
    sound |= {"hidden_dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, "layerdrop": 0.0}
    wav = hf.Wav2Vec2ForSequenceClassification(hf.Wav2Vec2Config(**SMALL, **sound, feat_proj_dropout=0.0))
    classes = torch.tensor([0, 1])
    results = {
        "bert": learned(hf.BertForMaskedLM(hf.BertConfig(**SMALL, **STILL)), **both),
        "llama": learned(llama, **both),
        "t5": learned(t5, **both),
        "gpt2": learned(gpt, **both),
        "vit": learned(vit, pixel_values=torch.from_numpy(normal(2, 3, 30, 30)), labels=classes),
        "wav2vec2": learned(wav, input_values=torch.from_numpy(normal(2, 512)), labels=classes),
    }
    for name, model in (("llama", llama), ("t5", t5), ("gpt2", gpt)):
        kinds = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
        results[f"{name} greedy"] = model.eval().generate(tokens, **kinds)
        results[f"{name} beam"] = model.generate(tokens, **kinds, num_beams=3)
    model = hf.BertForSequenceClassification(hf.BertConfig(**SMALL, **STILL))
    fill(model)
    with tempfile.TemporaryDirectory() as folder:
        kinds = {
            "report_to": [],
            "use_cpu": True,
            "disable_tqdm": True,
            "train_sampling_strategy": "sequential",
        }
        settings = hf.TrainingArguments(
            folder, num_train_epochs=1, learning_rate=1e-3, logging_steps=1, **kinds
        )
        trainer = hf.Trainer(model, settings, train_dataset=Sentences(), eval_dataset=Sentences())
        trainer.train()
        results["losses"] = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        results["evaluated"] = [trainer.evaluate()["eval_loss"]]
    return results
