"""Downloads: speed beside curl, what a kill costs, and the first load of a model that came as ONNX.

- A file of 400 MB from a server on the loopback, by ``fetch_file`` (which also computes its sha256) and by curl, in
  turns. Neither waits for the disk: a model's folder is synced once, when it is published.
- The same file with the process killed 30 times at chosen bytes: what is sent again, and the hash in the end.
- ``load_embedder`` of all-MiniLM-L6-v2 and of a model of the shape of all-mpnet-base-v2 with random weights, both with
  an ONNX file alone, with an empty cache: conversion, comparison and trial. Neither may import torch.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from measuring import ROOT, packaged_minilm, run_script

sys.path.insert(0, str(ROOT))

from kbjobs.downloads.file_download import WantedFile, fetch_file

SIZE, ROUNDS, KILLS = 400_000_000, 5, 30

FETCH = """
import sys
from pathlib import Path
from kbjobs.downloads.file_download import WantedFile, fetch_file
print(fetch_file(WantedFile(sys.argv[1], int(sys.argv[2]), sys.argv[3]), Path(sys.argv[4])).sha256)
"""
LOAD = """
import json, sys, time
from pathlib import Path
started = time.perf_counter()
from kbjobs.embedding.choose import load_embedder
embedder = load_embedder(sys.argv[1], Path("/nonexistent"), Path(sys.argv[2]))
heavy = sorted({"torch", "sentence_transformers", "transformers"} & set(sys.modules))
print(json.dumps([time.perf_counter() - started, embedder.engine, heavy]))
"""


class FileServer(ThreadingHTTPServer):
    """Sends one file, from any byte on, and counts what it has sent; ``rate`` is in bytes a second."""

    daemon_threads = True

    def __init__(self, file: Path) -> None:
        self.file, self.rate, self.sent = file, 0.0, 0
        super().__init__(("127.0.0.1", 0), _Sending)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/file"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: Any, address: Any) -> None:
        """A client that was killed is no error."""


class _Sending(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FileServer

    def log_message(self, *arguments: object) -> None:
        """Nothing is printed."""

    def do_GET(self) -> None:
        size = self.server.file.stat().st_size
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Content-Length", str(size - start))
        self.end_headers()
        self.wfile.flush()
        with self.server.file.open("rb") as file:
            if not self.server.rate:
                self.connection.sendfile(file, start)
                return
            file.seek(start)
            began, sent = time.monotonic(), 0
            while piece := file.read(64 * 1024):
                self.connection.sendall(piece)
                sent += len(piece)
                self.server.sent += len(piece)
                time.sleep(max(0.0, sent / self.server.rate - (time.monotonic() - began)))


def measure_speed(server: FileServer, sha256: str, folder: Path, rounds: int) -> None:
    """Seconds of both, in turns, and the ratio of the medians."""
    target = folder / "here"
    ours: list[float] = []
    curls: list[float] = []
    for _ in range(rounds):
        for seconds, work in (
            (curls, lambda: subprocess.run(["curl", "-sf", "-o", str(target), server.url], check=True)),
            (ours, lambda: fetch_file(WantedFile(server.url, SIZE, sha256), target)),
        ):
            target.unlink(missing_ok=True)
            started = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - started)
    target.unlink()
    mine, other = statistics.median(ours), statistics.median(curls)
    print(
        f"{SIZE / 1e6:.0f} MB: {mine:.2f} s, curl {other:.2f} s: {other / mine:.2f} of its speed"
        f" (bar 0.9, median of {rounds})"
    )


def measure_kills(server: FileServer, sha256: str, folder: Path, kills: int) -> None:
    """Kill the process at random bytes; print what was sent again."""
    server.rate, server.sent = 100_000_000.0, 0
    target, chance = folder / "killed", random.Random(5)
    command = [sys.executable, "-c", FETCH, server.url, str(SIZE), sha256, str(target)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    part = folder / "killed.part"
    for number in range(kills):
        wish = int((number + chance.random()) / (kills + 1) * SIZE)
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
            while not (part.exists() and part.stat().st_size > wish):
                if process.poll() is not None:
                    sys.exit("the download ended before it was killed")
                time.sleep(0.001)
            process.kill()
    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    is_right = ended.stdout.strip() == sha256
    resent = (server.sent - SIZE) / kills
    server.rate = 0.0
    told = "right" if is_right else "WRONG"
    print(f"{kills} kills: {resent / 1e6:.2f} MB sent again a kill (bar 1), the hash is {told}")


def make_minilm(folder: Path) -> None:
    """The packaged model with an ONNX file in the place of its weights."""
    from sentence_transformers import SentenceTransformer

    shutil.copytree(packaged_minilm(), folder)
    export_onnx(SentenceTransformer(str(folder), device="cpu"), folder)
    (folder / "model.safetensors").unlink()


def make_mpnet(folder: Path) -> None:
    """A model of the shape of all-mpnet-base-v2: random weights, and the tokenizer of the packaged model."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import MPNetConfig, MPNetModel

    raw = folder.with_name("raw")
    MPNetModel(MPNetConfig(initializer_range=0.05)).save_pretrained(raw)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copy(packaged_minilm() / name, raw / name)
    modules = [Transformer(str(raw), max_seq_length=384), Pooling(768, pooling_mode="mean")]
    model = SentenceTransformer(modules=modules, device="cpu")
    model.save(str(folder))
    export_onnx(model, folder)
    (folder / "model.safetensors").unlink()


def export_onnx(model: Any, folder: Path) -> None:
    """Write ``onnx/model.onnx`` into a model's folder, as the hub's repositories ship one."""
    import torch

    class HiddenState(torch.nn.Module):  # type: ignore[misc]
        """The transformer up to its last hidden state."""

        def __init__(self) -> None:
            super().__init__()
            self.transformer = model[0].auto_model

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            """Run it."""
            given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
            return self.transformer(**given).last_hidden_state

    (folder / "onnx").mkdir()
    ids = torch.full((2, 8), 5)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {name: {0: "texts", 1: "tokens"} for name in [*names, "last_hidden_state"]}
    torch.onnx.export(
        HiddenState().eval(),
        (ids, torch.ones_like(ids), torch.zeros_like(ids)),
        str(folder / "onnx" / "model.onnx"),
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_axes=axes,
        dynamo=False,
    )


def measure_loads(name: str, model: Path, folder: Path, rounds: int, bar: float) -> None:
    """Seconds of the first load in a process of its own, with an empty cache each time."""
    found = []
    for number in range(rounds):
        found.append(run_script(LOAD, model, folder / f"engines-{number}"))
        shutil.rmtree(folder / f"engines-{number}")
    seconds = statistics.median(one[0] for one in found)
    imported = sorted({module for one in found for module in one[2]}) or "no torch"
    print(f"first load of {name}: {seconds:.2f} s (bar {bar:g}, median of {rounds}), {found[0][1]}, {imported}")


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--kills", type=int, default=KILLS)
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as name:
        folder = Path(name)
        body = b"".join(random.Random(number).randbytes(10_000_000) for number in range(SIZE // 10_000_000))
        (folder / "file").write_bytes(body)
        sha256 = hashlib.sha256(body).hexdigest()
        del body
        server = FileServer(folder / "file")
        measure_speed(server, sha256, folder, options.rounds)
        measure_kills(server, sha256, folder, options.kills)
        server.shutdown()
        for called, make, bar in (("all-MiniLM-L6-v2", make_minilm, 4.0), ("mpnet", make_mpnet, 10.0)):
            make(folder / called)
            measure_loads(called, folder / called, folder, options.rounds, bar)


if __name__ == "__main__":
    main()
