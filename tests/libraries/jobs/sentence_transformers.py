"""sentence-transformers: sentences as vectors, losses of pairs, a model that is saved and loaded."""

import tempfile

import sentence_transformers as st
import torch
import transformers as hf
from sentence_transformers import losses
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers
from weights import fill

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "dog", "sat", "on", "mat", "hello", "world"]
SENTENCES = ["the cat sat on the mat", "hello world", "the dog"]


def job():
    """Vectors, ten steps with each of two losses, the same vectors from the files."""
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    named = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep")}
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37}
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    bert = hf.BertModel(hf.BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, **sizes, **still))
    with tempfile.TemporaryDirectory() as folder:
        fill(bert).save_pretrained(folder)
        hf.PreTrainedTokenizerFast(tokenizer_object=words, **named).save_pretrained(folder)
        transformer = Transformer(folder, max_seq_length=16)
        pooling = Pooling(transformer.get_word_embedding_dimension())
        model = st.SentenceTransformer(modules=[transformer, pooling], device="cpu")
        results = {"vectors": model.encode(SENTENCES)}
        first, second = (model.tokenize(texts) for texts in (SENTENCES, SENTENCES[::-1]))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        for loss in (losses.CosineSimilarityLoss(model), losses.MultipleNegativesRankingLoss(model)):
            values = []
            for _ in range(10):
                optimizer.zero_grad()
                value = loss([dict(first), dict(second)], torch.tensor([0.1, 0.9, 0.1]))
                value.backward()
                optimizer.step()
                values.append(value.item())
            results[type(loss).__name__] = values
        results["similarity"] = model.similarity(model.encode(SENTENCES), model.encode(SENTENCES))
        model.save(f"{folder}/saved")
        again = st.SentenceTransformer(f"{folder}/saved", device="cpu")
        results["loaded"] = again.encode(SENTENCES)
    return results
