"""An embedding service: sentences through an encoder of MiniLM-L6's size, mean pooling, normalised.

    python -m benchmarks.embedding [--rounds 3]

transformers runs on this library and on PyTorch with the same lines; ONNX Runtime, OpenVINO and CTranslate2
get files that PyTorch's process writes. RANVIER_PEER_TORCH names the Python that has torch, transformers,
onnx and ctranslate2; RANVIER_PEER_ONNXRUNTIME, RANVIER_PEER_OPENVINO and RANVIER_PEER_CTRANSLATE2 name
those of the others; this Python has transformers. Each run is a process with one thread; they take turns.
The weights are random, and the embeddings have to agree. Times are those of the processor, so that others
on the machine matter less; the first is from the start of the process to the first embedding.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIZES = {
    "vocab_size": 30522,
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}
ONE, MANY = (1, 16), (16, 128)
LIBRARIES = "ranvier", "ranvier compiled", "torch", "onnxruntime", "openvino", "ctranslate2"


def inputs(shape):
    """Token numbers, and the mask, in which each sentence but the first has padding."""
    rows, length = shape
    ids = np.random.default_rng(0).integers(1000, 30000, shape)
    return ids, (np.arange(length) < length - 3 * np.arange(rows)[:, None] % length).astype(np.int64)


def with_torch(folder, compiled=False):
    """transformers: on PyTorch, or on what is in its place."""
    import torch
    from transformers import BertConfig, BertModel

    torch.set_num_threads(1)
    if (folder / "model.safetensors").exists():
        model = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    else:
        model = BertModel(BertConfig(**SIZES), add_pooling_layer=False).eval()
    run = torch.compile(model) if compiled else model

    def pooled(ids, mask):
        h = run(input_ids=ids, attention_mask=mask).last_hidden_state
        w = mask[:, :, None].to(h.dtype)
        return torch.nn.functional.normalize((h * w).sum(1) / w.sum(1), dim=-1)

    def embed(ids, mask):
        with torch.no_grad():
            return pooled(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()

    embed.model, embed.pooled = model, pooled
    return embed


def with_onnxruntime(folder):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, ["CPUExecutionProvider"])
    return lambda ids, mask: session.run(None, {"ids": ids, "mask": mask})[0]


def with_openvino(folder):
    import openvino

    options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    model = openvino.Core().compile_model(folder / "model.onnx", "CPU", options)
    return lambda ids, mask: model([ids, mask])[0]


def with_ctranslate2(folder):
    import ctranslate2

    settings = {"compute_type": "float32", "intra_threads": 1, "inter_threads": 1}
    encoder = ctranslate2.Encoder(str(folder / "ctranslate2"), device="cpu", **settings)

    def embed(ids, mask):
        rows = [row[: sum(m)] for row, m in zip(ids.tolist(), mask.tolist(), strict=True)]
        h = np.array(encoder.forward_batch(rows).last_hidden_state)
        w = mask[:, :, None].astype(h.dtype)
        y = (h * w).sum(1) / w.sum(1)
        return y / np.linalg.norm(y, axis=-1, keepdims=True)

    return embed


def write(folder):
    """The files of the others, by PyTorch: its weights, ONNX, and CTranslate2's where it is there."""
    import torch

    embed = with_torch(folder)
    embed.model.save_pretrained(folder)
    network = torch.nn.Module()
    network.model, network.forward = embed.model.eval(), embed.pooled
    example = tuple(torch.from_numpy(x) for x in inputs((2, 16)))
    axes = {"ids": {0: "rows", 1: "length"}, "mask": {0: "rows", 1: "length"}}
    names = {"input_names": ["ids", "mask"], "output_names": ["embeddings"], "dynamic_axes": axes}
    torch.onnx.export(network, example, folder / "model.onnx", dynamo=False, opset_version=17, **names)
    import ctranslate2
    from tokenizers import Tokenizer, models
    from transformers import BertConfig, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", *(f"word{i}" for i in range(SIZES["vocab_size"] - 2))]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)
    BertConfig.position_embedding_type = (
        "absolute"  # an attribute of earlier versions, which the converter reads
    )
    ctranslate2.converters.TransformersConverter(str(folder)).convert(str(folder / "ctranslate2"))


def child(library, folder):
    """In a process of its own: prints the figures, writes the embeddings."""
    name = "torch" if library.startswith("ranvier") else library
    make = {"compiled": True} if library == "ranvier compiled" else {}
    embed = globals()[f"with_{name}"](folder, **make)
    one, many = inputs(ONE), inputs(MANY)
    embed(*one)
    first = time.process_time()

    def milliseconds(given, calls):
        times = []
        for _ in range(calls):
            began = time.process_time()
            embed(*given)
            times.append(time.process_time() - began)
        return 1e3 * statistics.median(
            times[calls // 3 :]
        )  # a compiled model records and checks its first calls

    figures = {"first": first, "one": milliseconds(one, 90), "many": milliseconds(many, 9)}
    figures["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    np.save(folder / f"{library}.npy", np.concatenate([embed(*one), embed(*many)]))
    print(json.dumps(figures))


def start(library, folder, what):
    """A process with a library; what it prints, or None."""
    peer = os.environ.get(f"RANVIER_PEER_{library.upper()}", sys.executable)
    ours = library.startswith("ranvier")
    command = [sys.executable, "-m", "ranvier.torch"] if ours else [peer]
    settings = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    settings["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in paths if path)
    command += [os.path.abspath(__file__), what, library, str(folder)]
    done = subprocess.run(command, env=settings, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{library} {what}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
    return None if done.returncode else done.stdout


def main():
    """Prints a line for each library."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    found = {library: [] for library in LIBRARIES}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start("torch", folder, "write")
        for _ in range(rounds):
            for library, runs in found.items():
                if (printed := start(library, folder, "child")) is not None:
                    runs.append(json.loads(printed.splitlines()[-1]))
        print("library            first s  memory MB  1 x 16 ms  16 x 128 ms  difference")
        for library, runs in found.items():
            if runs:
                median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
                difference = abs(np.load(folder / f"{library}.npy") - np.load(folder / "ranvier.npy")).max()
                assert difference < 1e-5, f"{library} gives other embeddings"
                shown = "{first:7.2f} {memory:10.0f} {one:10.2f} {many:12.0f}".format(**median)
                print(f"{library:18} {shown}     {difference:.0e}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2], Path(sys.argv[3]))
    elif sys.argv[1:2] == ["write"]:
        write(Path(sys.argv[3]))
    else:
        main()
