"""What the 8-bit variant of a model saves of a whole index job, on this processor and on others it can act as.

Each round runs the job with the exact model, the job with the variant, and, on the processor as it is, the plain loop
of sentence-transformers, one after the other: see ``bench_indexing.py``, whose parts these are. ``ONEDNN_MAX_CPU_ISA``
makes oneDNN, which OpenVINO computes with, use no instructions above the one named
(https://uxlfoundation.github.io/oneDNN/dev_guide_cpu_dispatcher_control.html). It cannot give a processor what it
lacks: VNNI of AVX-512 is not that of AVX2, and without the latter ``AVX2_VNNI`` is ``AVX2``, so it is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path

from bench_indexing import PLAIN_LOOP, choose_pages, index_once
from measuring import MINILM, packaged_minilm, run_script

from kbjobs.embedding.choose import load_embedder
from kbjobs.embedding.cores import describe_processor

ISAS = {"ALL": 1.3, "AVX512_CORE_VNNI": 2.0, "AVX2_VNNI": 2.0, "AVX2": 2.0}
"""How many times as fast as with the exact model the job has to be, by the instructions that are used."""
PLAIN_BAR = 3.3


def compare(isa: str, root: Path, rounds: int) -> None:
    """Print the seconds of each round, then medians and ratios."""
    os.environ["ONEDNN_MAX_CPU_ISA"] = isa
    engines, chunks = root / f"engines-{isa}", root / "chunks.json"
    engines.mkdir()
    for name in (MINILM, f"{MINILM}:int8"):
        # Prepares and measures each once. In a process of its own, as the library reads the variable when it starts.
        run_script(PREPARE, name, root / "models", engines)
    exact, int8, plain = [], [], []
    for number in range(1, rounds + 1):
        runs = [index_once(root / "pages", name, root / "models", engines) for name in (MINILM, f"{MINILM}:int8")]
        exact.append(runs[0])
        int8.append(runs[1])
        told = f"  round {number}: {runs[0].engine} {runs[0].seconds:.2f} s, {runs[1].engine} {runs[1].seconds:.2f} s"
        if isa == "ALL":
            chunks.write_text(json.dumps(runs[0].texts))
            plain.append(run_script(PLAIN_LOOP, packaged_minilm(), chunks, root / f"chroma{number}")[0])
            told += f", plain loop {plain[-1]:.2f} s"
        print(told, flush=True)
    medians = [statistics.median(run.seconds for run in runs) for runs in (exact, int8)]
    print(
        f"{isa}: {len(exact[0].texts):,} passages, {exact[0].engine} {medians[0]:.2f} s, {int8[0].engine}"
        f" {medians[1]:.2f} s: {medians[0] / medians[1]:.2f} × (bar {ISAS[isa]})"
    )
    print(f"  peak memory: {max(run.peak for run in exact):.0f} and {max(run.peak for run in int8):.0f} MB")
    if plain:
        ratio = statistics.median(plain) / medians[1]
        print(f"  against the plain loop, {statistics.median(plain):.2f} s: {ratio:.2f} × (bar {PLAIN_BAR})")


PREPARE = f"""
import json, sys
from pathlib import Path
from {load_embedder.__module__} import {load_embedder.__name__}
embedder = {load_embedder.__name__}(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
embedder.embed(["Prepares the model and measures the engines, once."])
print(json.dumps(embedder.engine))
"""


def main() -> None:
    """Print the figures of all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--isa", choices=ISAS, action="append", help="only this; may be repeated")
    parser.add_argument("--chunks", type=int, default=1000, help="at least so many passages")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(describe_processor())
    with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as name:
        root = Path(name)
        (root / "models").mkdir()
        choose_pages(root / "pages", MINILM, root / "models", options.chunks)
        flags = Path("/proc/cpuinfo").read_text().split()
        for isa in options.isa or ISAS:
            if isa == "AVX2_VNNI" and "avx_vnni" not in flags:
                print(f"{isa}: this processor lacks it")
                continue
            compare(isa, root, options.rounds)


if __name__ == "__main__":
    main()
