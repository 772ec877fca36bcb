"""From the start of a process to the first vector of a query, against sentence-transformers.

Each figure is that of a fresh process: interpreter, imports, model, one query. The model is in the page cache, and ours
has been prepared for this machine by a load before, as it is from the second job on.

That first load is measured too, with an empty cache each time: also of a model of the shape of all-mpnet-base-v2 with
random weights, which has no reference vectors and is compared with itself.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from measuring import MINILM, packaged_minilm, run_script

ROUNDS = 9
FIRST_ROUNDS = 3
BAR = 1.0  # seconds
FIRST_BARS = {MINILM: 3.0, "all-mpnet-base-v2": 8.0}  # seconds
QUERY = "how long must water boil"

# The monotonic clock is the same in all processes of a machine (clock_gettime(2)).
OURS = """
import json, sys, time
from pathlib import Path
from kbjobs.embedding.choose import load_embedder
embedder = load_embedder(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
vector = embedder.embed_query(sys.argv[4])
print(json.dumps([time.monotonic(), len(vector), embedder.engine]))
"""

BASELINE = """
import json, sys, time
from sentence_transformers import SentenceTransformer
vector = SentenceTransformer(sys.argv[1], device="cpu").encode(sys.argv[2])
print(json.dumps([time.monotonic(), len(vector), "sentence-transformers"]))
"""


def first_vector(script: str, *arguments: object) -> tuple[float, str]:
    """Seconds from the start of the process to its first vector, and the engine."""
    started = time.monotonic()
    finished, dimension, engine = run_script(script, *arguments)
    assert dimension in (384, 768), dimension
    return finished - started, engine


def make_mpnet(models: Path) -> None:
    """Save a model of the shape of all-mpnet-base-v2 with random weights and the tokenizer of the packaged model."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoTokenizer, MPNetConfig, MPNetModel

    raw = models / "raw"
    MPNetModel(MPNetConfig(vocab_size=30527, max_position_embeddings=514, layer_norm_eps=1e-5)).save_pretrained(raw)
    AutoTokenizer.from_pretrained(packaged_minilm()).save_pretrained(raw)
    modules = [Transformer(str(raw), max_seq_length=384), Pooling(768, pooling_mode="mean")]
    SentenceTransformer(modules=modules, device="cpu").save(str(models / "all-mpnet-base-v2"))


def first_load(model: str, models: Path) -> tuple[float, str]:
    """Seconds from the start of a process to the first vector of a model that has never been loaded, and the engine."""
    with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as engines:
        return first_vector(OURS, model, models, engines, QUERY)


def main() -> None:
    """Print both medians, then the first loads."""
    with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as folder:
        models = Path(folder, "models")
        ours = (OURS, MINILM, models, Path(folder, "engines"), QUERY)
        baseline = (BASELINE, packaged_minilm(), QUERY)
        first_vector(*ours)
        first_vector(*baseline)
        pairs = [(first_vector(*ours), first_vector(*baseline)) for _ in range(ROUNDS)]
        engine = pairs[0][0][1]
        mine = [seconds for (seconds, _), _ in pairs]
        other = [seconds for _, (seconds, _) in pairs]
        print(
            f"{MINILM}, process start to first vector, {engine}: {statistics.median(mine):.2f} s"
            f" (bar {BAR} s, median of {ROUNDS}, slowest {max(mine):.2f})"
        )
        print(f"  sentence-transformers: {statistics.median(other):.2f} s (slowest {max(other):.2f})")
        print(f"  ratio: {statistics.median(mine) / statistics.median(other):.2f}")
        make_mpnet(models)
        for model, bar in FIRST_BARS.items():
            seconds, engines = zip(*(first_load(model, models) for _ in range(FIRST_ROUNDS)), strict=True)
            print(
                f"the first load, which prepares the model and measures the engines, of {model} ({engines[0]}):"
                f" {statistics.median(seconds):.1f} s (bar {bar:g} s, slowest {max(seconds):.1f})"
            )


if __name__ == "__main__":
    main()
