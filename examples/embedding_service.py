"""Sentences as vectors, without PyTorch: transformers and tokenizers on this library.

    python -m ranvier.torch examples/embedding_service.py

Random weights of the size of all-MiniLM-L6-v2, and a tokenizer that is built here: with files of a model,
`BertModel.from_pretrained(folder)` and `Tokenizer.from_file(folder + "/tokenizer.json")` take their places.
"""

import tempfile
import time

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

letters = [mark + letter for letter in "abcdefghijklmnopqrstuvwxyz0123456789'.,?!" for mark in ("", "##")]
words = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters])}
tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
tokenizer.post_processor = processors.TemplateProcessing(
    single="[CLS] $A [SEP]", special_tokens=[(word, words[word]) for word in ("[CLS]", "[SEP]")]
)
tokenizer.enable_truncation(256)
tokenizer.enable_padding(pad_to_multiple_of=16)  # few shapes: each is recorded once

folder = tempfile.TemporaryDirectory()  # as the files of a model would be: the weights are mapped, not copied
sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
BertModel(BertConfig(vocab_size=30522, **sizes), add_pooling_layer=False).save_pretrained(folder.name)
model = torch.compile(BertModel.from_pretrained(folder.name, add_pooling_layer=False).eval())


@torch.no_grad()
def embed(sentences):
    """A vector of length 1 for each sentence: the mean of its tokens' states."""
    rows = tokenizer.encode_batch(sentences)
    mask = torch.tensor([row.attention_mask for row in rows])
    states = model(input_ids=torch.tensor([row.ids for row in rows]), attention_mask=mask).last_hidden_state
    means = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    return torch.nn.functional.normalize(means, dim=-1)


vectors = embed(["A cat sits on the mat.", "A cat sat on a mat.", "Rates were raised by a quarter point."])
print("likeness to the first:", [round(x, 3) for x in (vectors @ vectors[0]).tolist()])
began = time.perf_counter()
for number in range(50):
    embed([f"Sentence {number}"])
print(f"{1e3 * (time.perf_counter() - began) / 50:.1f} ms a sentence, one by one")
