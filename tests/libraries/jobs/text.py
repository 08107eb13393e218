"""Language, with sound and pictures beside it."""

import tempfile

import numpy as np
import torch
from common import fill, labels, normal, step
from torch import from_numpy, nn

SMALL = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SMALL |= {"intermediate_size": 37, "max_position_embeddings": 32}
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
LLAMA = SMALL | {"num_key_value_heads": 2, "max_position_embeddings": 64}
GPT = {"vocab_size": 99, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
LANGUAGE_MODELS = {
    "llama": lambda hf: hf.LlamaForCausalLM(hf.LlamaConfig(**LLAMA)),
    "qwen2": lambda hf: hf.Qwen2ForCausalLM(hf.Qwen2Config(**LLAMA)),
    "gpt2": lambda hf: hf.GPT2LMHeadModel(hf.GPT2Config(**GPT, bos_token_id=1, eos_token_id=2)),
}


class _Sentences(torch.utils.data.Dataset):
    """Rows of tokens, each with a class."""

    rows = labels(24, 7, classes=99, seed=1)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        tokens = from_numpy(self.rows[i])
        return {"input_ids": tokens, "labels": int(tokens[0] > 49)}


def _learned(model, **inputs):
    """The loss, and the sum of the gradients' sizes."""
    fill(model)
    loss = model(**inputs).loss
    loss.backward()
    return [loss.item(), sum(p.grad.abs().sum().item() for p in model.parameters() if p.grad is not None)]


def transformers():
    """Models of text, images and sound, made of settings; losses, tokens, Trainer. One backward pass of
    six models, tokens of three, an epoch of Trainer."""
    import transformers as hf

    tokens = from_numpy(labels(2, 7, classes=96)) + 3
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
        "bert": _learned(hf.BertForMaskedLM(hf.BertConfig(**SMALL, **STILL)), **both),
        "llama": _learned(llama, **both),
        "t5": _learned(t5, **both),
        "gpt2": _learned(gpt, **both),
        "vit": _learned(vit, pixel_values=from_numpy(normal(2, 3, 30, 30)), labels=classes),
        "wav2vec2": _learned(wav, input_values=from_numpy(normal(2, 512)), labels=classes),
    }
    for name, model in (("llama", llama), ("t5", t5), ("gpt2", gpt)):
        kinds = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
        results[f"{name} greedy"] = model.eval().generate(tokens, **kinds)
        results[f"{name} beam"] = model.generate(tokens, **kinds, num_beams=3)
    model = hf.BertForSequenceClassification(hf.BertConfig(**SMALL, **STILL))
    fill(model)
    with tempfile.TemporaryDirectory() as folder:
        kinds = {"report_to": [], "use_cpu": True, "disable_tqdm": True, "logging_steps": 1}
        kinds |= {"train_sampling_strategy": "sequential", "num_train_epochs": 1, "learning_rate": 1e-3}
        settings = hf.TrainingArguments(folder, **kinds)
        trainer = hf.Trainer(model, settings, train_dataset=_Sentences(), eval_dataset=_Sentences())
        trainer.train()
        results["losses"] = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        results["evaluated"] = [trainer.evaluate()["eval_loss"]]
    return results


def _write_gguf(path, kind):
    """Writes a Llama of llama.cpp whose matrices are of this kind."""
    import gguf

    settings = {"vocab_size": 96, "context_length": 64, "embedding_length": 32, "block_count": 2}
    settings |= {"feed_forward_length": 64, "head_count": 4, "head_count_kv": 2, "rope_freq_base": 1e4}
    settings["layer_norm_rms_eps"] = 1e-5
    file, kind = gguf.GGUFWriter(path, "llama"), gguf.GGMLQuantizationType[kind]
    for name, value in settings.items():
        getattr(file, f"add_{name}")(value)
    parts = {"attn_q": (32, 32), "attn_k": (16, 32), "attn_v": (16, 32), "attn_output": (32, 32)}
    parts |= {"ffn_gate": (64, 32), "ffn_up": (64, 32), "ffn_down": (32, 64)}
    matrices = {"token_embd": (96, 32), "output": (96, 32)}
    matrices |= {f"blk.{i}.{name}": shape for i in range(2) for name, shape in parts.items()}
    draws = np.random.default_rng(5)  # not moved by ulps, which could round to other integers
    for name, shape in matrices.items():
        values = draws.normal(size=shape).astype(np.float32) / 2
        file.add_tensor(f"{name}.weight", gguf.quantize(values, kind), raw_dtype=kind)
    for name in ("output_norm", *(f"blk.{i}.{part}_norm" for i in range(2) for part in ("attn", "ffn"))):
        file.add_tensor(f"{name}.weight", 1 + normal(32, scale=0.1))
    for part in ("header", "kv_data", "tensors"):
        getattr(file, f"write_{part}_to_file")()
    file.close()


def language_models():
    """Text of language models in float32 and bfloat16, with the caches, read again from a file. The
    tokens of three models in both dtypes, one prompt of which is shorter; the bytes of a file. Logits of a
    model from files of llama.cpp."""
    import transformers as hf

    kinds = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    prompts = from_numpy(labels(3, 8, classes=96)) + 3
    shown = torch.ones_like(prompts)
    prompts[0, :3] = shown[0, :3] = 0
    results = {}
    for name, make in LANGUAGE_MODELS.items():
        model = fill(make(hf), scale=3.0).eval()
        for dtype in (torch.float32, torch.bfloat16):
            model = model.to(dtype)
            with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
                ways = {"greedy": {}, "static": {"cache_implementation": "static"}, "beam": {"num_beams": 2}}
                for way, settings in ways.items():
                    texts = model.generate(prompts, attention_mask=shown, **kinds, **settings)
                    for i, text in enumerate(texts):
                        results[f"{name} {str(dtype)[6:]} {way} {i}"] = text[8:]
                model.save_pretrained(folder)
                again = type(model).from_pretrained(folder, dtype="auto").eval()
                assert again.dtype == dtype
                assert all(
                    torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)
                )
    for kind in ("F32", "Q8_0", "Q4_0"):
        with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
            _write_gguf(f"{folder}/model.gguf", kind)
            model = hf.AutoModelForCausalLM.from_pretrained(folder, gguf_file="model.gguf").eval()
            results[f"gguf {kind}"] = model(prompts[1:] % 96).logits
    return results


def sentence_transformers():
    """Sentences as vectors, losses of pairs, a model that is saved and loaded. Vectors, ten steps with
    each of two losses, the same vectors from the files."""
    import sentence_transformers as st
    import transformers as hf
    from sentence_transformers import losses
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary += ["the", "cat", "dog", "sat", "on", "mat", "hello", "world"]
    sentences = ["the cat sat on the mat", "hello world", "the dog"]
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    named = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep")}
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37}
    sizes |= STILL | {"vocab_size": len(vocabulary), "max_position_embeddings": 32}
    bert = hf.BertModel(hf.BertConfig(**sizes))
    with tempfile.TemporaryDirectory() as folder:
        fill(bert).save_pretrained(folder)
        hf.PreTrainedTokenizerFast(tokenizer_object=words, **named).save_pretrained(folder)
        transformer = Transformer(folder, max_seq_length=16)
        pooling = Pooling(transformer.get_word_embedding_dimension())
        model = st.SentenceTransformer(modules=[transformer, pooling], device="cpu")
        results = {"vectors": model.encode(sentences)}
        first, second = (model.tokenize(texts) for texts in (sentences, sentences[::-1]))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        for loss in (losses.CosineSimilarityLoss(model), losses.MultipleNegativesRankingLoss(model)):
            values = []
            for _ in range(10):
                value = loss([dict(first), dict(second)], torch.tensor([0.1, 0.9, 0.1]))
                values.append(step(optimizer, value))
            results[type(loss).__name__] = values
        results["similarity"] = model.similarity(model.encode(sentences), model.encode(sentences))
        model.save(f"{folder}/saved")
        again = st.SentenceTransformer(f"{folder}/saved", device="cpu")
        results["loaded"] = again.encode(sentences)
    return results


def x_transformers():
    """A step of training of decoders with various parts, and text that one goes on with. Loss and a
    gradient of each."""
    from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

    kinds = {
        "plain": {},
        "flash": {"attn_flash": True},
        "rotary": {"rotary_pos_emb": True, "use_rmsnorm": True, "ff_glu": True, "ff_swish": True},
        "alibi": {"alibi_pos_bias": True, "alibi_num_heads": 1},
        "relative": {"rel_pos_bias": True, "attn_qk_norm": True},
        "one head": {"attn_one_kv_head": True, "shift_tokens": 1},
        "memory": {"attn_num_mem_kv": 2, "gate_residual": True},
        "streams": {"num_residual_streams": 2, "add_value_residual": True},
    }
    tokens, answer = from_numpy(labels(2, 12, classes=20)), {}
    for name, parts in kinds.items():
        layers = Decoder(dim=16, depth=2, heads=2, attn_dim_head=8, **parts)
        network = TransformerWrapper(num_tokens=20, max_seq_len=16, attn_layers=layers)
        model = fill(AutoregressiveWrapper(network))
        loss = model(tokens)
        loss.backward()
        answer[name] = torch.stack([loss, *(p.grad.norm() for p in model.parameters() if p.grad is not None)])
    answer["text"] = model.eval().generate(tokens[:1, :3], 6, temperature=0.0)
    return answer


def peft():
    """Adapters of a network, trained for two steps and merged. Each kind of adapter on two layers."""
    import peft

    class Network(nn.Module):
        """Three layers."""

        def __init__(self):
            super().__init__()
            self.first, self.second, self.out = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 3)

        def forward(self, x):
            """The classes' scores."""
            return self.out(torch.relu(self.second(torch.relu(self.first(x)))))

    layers = {"target_modules": ["first", "second"]}
    kinds = {
        "lora": peft.LoraConfig(r=4, **layers),
        "dora": peft.LoraConfig(r=4, use_dora=True, **layers),
        "rslora": peft.LoraConfig(r=4, use_rslora=True, **layers),
        "ia3": peft.IA3Config(feedforward_modules=["second"], **layers),
        "loha": peft.LoHaConfig(r=4, **layers),
        "lokr": peft.LoKrConfig(r=4, **layers),
        "oft": peft.OFTConfig(oft_block_size=4, **layers),
        "boft": peft.BOFTConfig(boft_block_size=4, **layers),
        "vera": peft.VeraConfig(r=4, target_modules=["second"]),
        "hra": peft.HRAConfig(r=4, **layers),
    }
    x, y, answer = from_numpy(normal(6, 8)), from_numpy(labels(6, classes=3)), {}
    for name, settings in kinds.items():
        model = fill(peft.get_peft_model(fill(Network()), settings), seed=1, scale=0.3)
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
        for _ in range(2):
            loss = nn.functional.cross_entropy(model(x), y)
            step(optimizer, loss)
        if name == "vera":  # its fixed matrices are drawn
            answer[name] = torch.tensor(float(loss.isfinite()))
            continue
        answer[name], answer[f"{name} merged"] = loss, model.eval().merge_and_unload()(x)
    return answer


def torchcrf():
    """The likelihood of tags, its gradients, and the best tags. Losses with and without a mask,
    gradients, tags."""
    from torchcrf import CRF

    layer, tags = fill(CRF(5, batch_first=True)), from_numpy(labels(3, 7, classes=5))
    scores, mask = from_numpy(normal(3, 7, 5)).requires_grad_(), torch.ones(3, 7, dtype=torch.bool)
    mask[1, 4:] = False
    losses = [-layer(scores, tags, mask=mask, reduction=kind) for kind in ("sum", "mean", "token_mean")]
    torch.stack([*losses, -layer(scores, tags)]).sum().backward()
    answer = {
        "losses": torch.stack(losses),
        "slope": scores.grad,
        "tags": [tag for row in layer.decode(scores, mask) for tag in row],
    }
    return answer | {name: parameter.grad for name, parameter in layer.named_parameters()}


def whisper():
    """Log-mel spectra, a training step, decoding, transcription with times of words. A small model with
    weights that are drawn; three seconds of noise and a tone."""
    import whisper
    from whisper.model import ModelDimensions, Whisper

    tone = torch.sin(torch.arange(48000) * 0.05)
    audio = from_numpy(normal(48000)).float() * 0.1 + tone
    mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(audio))
    sizes = {"n_audio_state": 32, "n_audio_head": 2, "n_audio_layer": 2, "n_vocab": 51865}
    sizes |= {"n_text_ctx": 64, "n_text_state": 32, "n_text_head": 2, "n_text_layer": 2}
    model = Whisper(ModelDimensions(n_mels=80, n_audio_ctx=1500, **sizes))
    fill(model)
    tokens = from_numpy(labels(1, 12, classes=50000))
    logits = model(mel[None], tokens[:, :-1])
    loss = torch.nn.functional.cross_entropy(logits[0], tokens[0, 1:])
    loss.backward()
    model.eval()
    language, chances = model.detect_language(mel)
    options = [{}, {"beam_size": 3}]
    decoded = [
        whisper.decode(model, mel, whisper.DecodingOptions(language="en", sample_len=8, fp16=False, **o))
        for o in options
    ]
    said = whisper.transcribe(
        model, audio, language="en", fp16=False, word_timestamps=True, sample_len=12, temperature=0.0
    )
    words = [word for segment in said["segments"] for word in segment["words"]]
    return {
        "mel": mel[::17, ::301],
        "loss": loss,
        "gradients": [p.grad.norm() for p in model.parameters() if p.grad is not None][::7],
        "heads": model.alignment_heads.indices().T.float(),
        "language": [language.item(), chances["en"], chances["de"]],
        "tokens": [float(t) for d in decoded for t in d.tokens[:3]],
        "probabilities": [d.avg_logprob for d in decoded],
        "times": [word[key] for word in words for key in ("start", "end")],
    }


def open_clip():
    """Pictures and texts in one space, with new weights, and its loss. A small CLIP and its gradients."""
    from open_clip import CLIP, ClipLoss, tokenize

    vision = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    network = fill(CLIP(32, vision, text)).eval()
    pictures, words = network(from_numpy(normal(3, 3, 32, 32)), tokenize(["a", "a dog", "two cats"]))[:2]
    loss = ClipLoss()(pictures, words, torch.tensor(5.0))
    loss.backward()
    return {
        "pictures": pictures,
        "words": words,
        "loss": loss,
        "slope": network.visual.conv1.weight.grad[:2, :, ::4, ::4],
    }
