"""From the start of a process to the first vector of a query, against sentence-transformers.

Each figure is that of a fresh process: interpreter, imports, model, one query. The model is in the page cache, and ours
has been prepared for this machine by a load before, as it is from the second job on.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from measuring import MINILM, packaged_minilm, run_script

ROUNDS = 9
BAR = 1.0  # seconds
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
    assert dimension == 384, dimension
    return finished - started, engine


def main() -> None:
    """Print both medians."""
    with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as folder:
        ours = (OURS, MINILM, Path(folder, "models"), Path(folder, "engines"), QUERY)
        baseline = (BASELINE, packaged_minilm(), QUERY)
        prepared, _ = first_vector(*ours)
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
        print(f"  the one load that converts the model and measures the engines: {prepared:.1f} s")


if __name__ == "__main__":
    main()
