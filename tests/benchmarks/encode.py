"""Texts per second of `spanbert_jax.load(...).encode` beside `BertModel` in PyTorch, in one run.

    pip install -e '.[bench]'
    python tests/benchmarks/encode.py               # 12 x 768, V 8,000
    python tests/benchmarks/encode.py --size small  # 4 x 256

Both read the same Hugging Face folder of random weights and the same texts of 4 to 300 words, of
which half have fewer than 35, from strings to hidden states on the host, in float32. PyTorch goes
through them as its careful users do: sorted by length, 32 at a time, padded to the longest, without
gradients. Each has a process of its own. One JSON line per library, then the median ratios.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from side_by_side import median_ratio, take_turns

import spanbert_jax

SIZES = {"small": (256, 4), "base": (768, 12)}
"""Width and layers; heads of 64."""
NUM_WORDS = 7_995
OURS, THEIRS = "spanbert_jax", "transformers"


def write_model(folder: Path, size: str) -> None:
    """A BertModel of random weights, with a vocabulary of made-up words."""
    from transformers import BertConfig, BertModel

    width, layers = SIZES[size]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(NUM_WORDS))]
    config = BertConfig(
        vocab_size=len(pieces), hidden_size=width, num_hidden_layers=layers,
        num_attention_heads=width // 64, intermediate_size=4 * width,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')


def random_texts(number: int) -> list[str]:
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(np.log(35), 0.8, number), 4, 300).astype(int)
    return [" ".join(f"w{i}" for i in rng.integers(0, NUM_WORDS, n)) for n in lengths]


def prepare(name: str, args: argparse.Namespace) -> Callable[[], object]:
    """What one library does in a turn."""
    texts = random_texts(args.texts)
    return (our_encoder if name == OURS else torch_encoder)(args.folder, texts)


def our_encoder(folder: str, texts: list[str]) -> Callable[[], object]:
    model = spanbert_jax.load(folder)
    return lambda: model.encode(texts).hidden_states


def torch_encoder(folder: str, texts: list[str]) -> Callable[[], object]:
    import torch
    from transformers import AutoTokenizer, BertModel

    tokenizer, bert = AutoTokenizer.from_pretrained(folder), BertModel.from_pretrained(folder)
    bert.eval()

    @torch.inference_mode()
    def encode() -> list[np.ndarray]:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        states = []
        for start in range(0, len(order), 32):
            batch = [texts[i] for i in order[start : start + 32]]
            inputs = tokenizer(batch, padding=True, return_tensors="pt")
            states.append(bert(**inputs).last_hidden_state.numpy())
        return states

    return encode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5, help="timed turns of each library")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as args.folder:
        write_model(Path(args.folder), args.size)
        times = take_turns((OURS, THEIRS), prepare, args, rounds=args.rounds)
    tokens = sum(len(text.split()) + 2 for text in random_texts(args.texts))
    for name, turns in times.items():
        seconds = statistics.median(turn.wall for turn in turns)
        print(json.dumps({
            "benchmark": "encode", "size": args.size, "library": name,
            "texts_per_second": round(args.texts / seconds, 1),
            "tokens_per_second": round(tokens / seconds),
        }))  # fmt: skip
    ratios = {
        f"{clock}_ratio": median_ratio(times[OURS], times[THEIRS], clock)
        for clock in ("wall", "cpu")
    }
    print(json.dumps({"benchmark": "encode", "size": args.size, **ratios}))


if __name__ == "__main__":
    main()
