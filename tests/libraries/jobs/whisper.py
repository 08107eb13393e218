"""openai-whisper: log-mel spectra, a training step, decoding, transcription with times of words."""

import torch
import whisper
from weights import fill, labels, normal
from whisper.model import ModelDimensions, Whisper


def job():
    """A small model with weights that are drawn; three seconds of noise and a tone."""
    tone = torch.sin(torch.arange(48000) * 0.05)
    audio = torch.from_numpy(normal(48000)).float() * 0.1 + tone
    mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(audio))
    sizes = {"n_audio_state": 32, "n_audio_head": 2, "n_audio_layer": 2, "n_vocab": 51865}
    sizes |= {"n_text_ctx": 64, "n_text_state": 32, "n_text_head": 2, "n_text_layer": 2}
    model = Whisper(ModelDimensions(n_mels=80, n_audio_ctx=1500, **sizes))
    fill(model)
    tokens = torch.from_numpy(labels(1, 12, classes=50000))
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
