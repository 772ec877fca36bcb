"""index-online against the OpenAI API's limits, and beside what others make of the same passages.

A server of its own process on the loopback answers each request after 200 ms. It counts tokens as the API does, tells
its limits in headers and refuses what is beyond them.

- A limit of 2,000,000 tokens and 600 requests a minute: how much of what the server allowed up to its last answer was
  bought, and how many requests it refused, in the first minute and later. Its windows fill steadily and begin full.
- No limit: the time from the first request to the last answer, as the server sees it, of the whole job's embedding
  (with ledger and vector store), of a loop of the openai library, one request after the other, and of LangChain's and
  LlamaIndex's OpenAI embeddings, all with 128 passages a request, in turns. ``--peers PYTHON`` is the interpreter of an
  environment with bench/requirements.txt; without it the last two are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measuring import ROOT

PASSAGES, LIMITED_PASSAGES, ROUNDS, LATENCY = 5_120, 14_000, 5, 0.2
TOKENS_A_MINUTE, REQUESTS_A_MINUTE = 2_000_000, 600
KEY = "sk-test-Zq8Hn3Vw0Lk5Tr2Yb7Xc9Md4"

SERVE = """
import base64, json, random, struct, sys, time
from tests.servers.openai_server import OpenAIServer, Reply, Window
latency, tokens, requests = float(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
draw = random.Random(1)
numbers = [[draw.gauss(0, 1) for _ in range(1536)] for _ in range(256)]
vectors = [base64.b64encode(struct.pack("<1536f", *row)).decode() for row in numbers]

class Quick(OpenAIServer):
    answered = 0.0
    def _sell(self, body, texts, request, reply):
        with self.lock:
            self.sold_texts.extend(texts)
            self.sold_tokens += request["tokens"]
        data = [{"object": "embedding", "index": n, "embedding": vectors[n % 256]} for n in range(len(texts))]
        usage = {"prompt_tokens": request["tokens"], "total_tokens": request["tokens"]}
        self.answered = time.monotonic()
        return reply, {"object": "list", "data": data, "model": body["model"], "usage": usage}

with Quick() as server:
    server.always = Reply(delay=latency)
    print(server.url, flush=True)
    for line in sys.stdin:
        if line == "begin\\n":
            server.windows = {"requests": Window(requests), "tokens": Window(tokens)}
            server.requests.clear(), server.sold_texts.clear()
            server.sold_tokens = server.most_at_once = 0
        else:
            first = server.requests[0]["time"]
            refused = [one["time"] - first for one in server.requests if one.get("status") == 429]
            told = {"seconds": server.answered - first, "tokens": server.sold_tokens, "texts": len(server.sold_texts),
                    "distinct": len(set(server.sold_texts)), "requests": len(server.requests),
                    "refused": len(refused), "refused_later": sum(one > 60 for one in refused),
                    "at_once": server.most_at_once}
            print(json.dumps(told), flush=True)
"""

OURS = """
import json, logging, sys
from pathlib import Path
from kbjobs.phases.job_type import PhaseRequest
from kbjobs.context import Context
from kbjobs.phases import index_online
from kbjobs.sources.registration import register
from kbjobs.config.settings import Home, Settings
from kbjobs.store.sources import SourceFolder
home = Home(Path(sys.argv[1]))
home.prepare()
register(home, "docs", [Path(sys.argv[2])])

class Silent:
    def report(self, *_): pass
    def saved(self, steps): pass

source = SourceFolder(home.sources, "docs")
plan = index_online.plan(PhaseRequest(home, Settings(home), index_online.IndexOnlineParams(), source))
context = Context(home, Settings(home), source, 1, Silent(), lambda: False, logging.getLogger("bench"))
index_online.run(context, plan.params)
"""

LOOP = """
import sys, json
from openai import OpenAI
texts = json.load(open(sys.argv[1]))
client = OpenAI()
for first in range(0, len(texts), 128):
    client.embeddings.create(model="text-embedding-3-small", input=texts[first : first + 128])
"""

LANGCHAIN = """
import sys, json
from langchain_openai import OpenAIEmbeddings
texts = json.load(open(sys.argv[1]))
model = OpenAIEmbeddings(model="text-embedding-3-small", chunk_size=128, check_embedding_ctx_length=False)
model.embed_documents(texts)
"""

LLAMAINDEX = """
import sys, json
from llama_index.embeddings.openai import OpenAIEmbedding
texts = json.load(open(sys.argv[1]))
OpenAIEmbedding(model="text-embedding-3-small", embed_batch_size=128).get_text_embedding_batch(texts)
"""


class Server:
    """The server's process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.url = self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def tell(self, word: str) -> None:
        """Send it a word."""
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()

    def measure(self, interpreter: str, script: str, *arguments: object) -> Any:
        """Run a script that asks it; what it saw of that."""
        self.tell("begin")
        environment = os.environ | {"OPENAI_BASE_URL": self.url, "OPENAI_API_BASE": self.url, "OPENAI_API_KEY": KEY}
        ended = subprocess.run(
            [interpreter, "-c", script, *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            sys.exit(f"a measured script failed:\n{ended.stderr}")
        self.tell("report")
        return json.loads(self._read())


@contextmanager
def serving(tokens: float, requests: float) -> Iterator[Server]:
    """A server with these limits a minute."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(LATENCY), str(tokens), str(requests)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield Server(process)
        finally:
            process.kill()


def write_texts(folder: Path, count: int) -> list[str]:
    """Pages of one passage each, of about 370 tokens, and their texts."""
    folder.mkdir()
    texts = []
    for number in range(count):
        text = " ".join(f"Well {number} holds water for {number % 97 + step} days in winter." for step in range(26))
        (folder / f"{number:05}.html").write_text(f"<html><title>Well {number}</title><p>{text}</p></html>")
        texts.append(f"Well {number}\n{text}")
    return texts


def measure_limit(rounds: int, passages: int) -> None:
    """Print how much of a limit is used."""
    shares = []
    for _ in range(rounds):
        with (
            tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as name,
            serving(TOKENS_A_MINUTE, REQUESTS_A_MINUTE) as server,
        ):
            folder = Path(name)
            write_texts(folder / "pages", passages)
            seen = server.measure(sys.executable, OURS, folder / "home", folder / "pages")
            allowed = TOKENS_A_MINUTE * (1 + seen["seconds"] / 60)
            shares.append(seen["tokens"] / allowed)
            print(
                f"limit: {seen['tokens']:,} tokens in {seen['seconds']:.1f} s, {seen['requests']} requests,"
                f" {seen['at_once']} at once at most; {shares[-1]:.3f} of what was allowed; refused {seen['refused']},"
                f" after the first minute {seen['refused_later']}; bought twice {seen['texts'] - seen['distinct']}"
            )
    print(f"limit: median {statistics.median(shares):.3f} of what the server allowed (bar 0.95)")


def measure_speed(rounds: int, peers: str | None) -> None:
    """Print seconds without a limit, of all contenders in turns."""
    contenders = {"the openai library in a loop": (sys.executable, LOOP)}
    if peers:
        contenders |= {"LangChain": (peers, LANGCHAIN), "LlamaIndex": (peers, LLAMAINDEX)}
    seconds: dict[str, list[float]] = {name: [] for name in ("index-online", *contenders)}
    with serving(1e12, 1e9) as server:
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as name:
                folder = Path(name)
                texts = write_texts(folder / "pages", PASSAGES)
                (folder / "texts.json").write_text(json.dumps(texts))
                seen = server.measure(sys.executable, OURS, folder / "home", folder / "pages")
                assert seen["texts"] == seen["distinct"] == PASSAGES, seen
                seconds["index-online"].append(seen["seconds"])
                for contender, (interpreter, script) in contenders.items():
                    seconds[contender].append(server.measure(interpreter, script, folder / "texts.json")["seconds"])
    ours = statistics.median(seconds["index-online"])
    for name, values in seconds.items():
        median = statistics.median(values)
        print(
            f"no limit: {name}: {median:.2f} s ({min(values):.2f}-{max(values):.2f}),"
            f" {PASSAGES / median:,.0f} passages/s; index-online is {median / ours:.1f} x as fast"
        )
    print("bar: 6 x the openai library in a loop")


def main() -> None:
    """Print both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--limit-rounds", type=int, default=1, help="a minute and a half each")
    parser.add_argument("--peers", help="interpreter of an environment with bench/requirements.txt")
    asked = parser.parse_args()
    if asked.rounds:
        measure_speed(asked.rounds, asked.peers)
    if asked.limit_rounds:
        measure_limit(asked.limit_rounds, LIMITED_PASSAGES)


if __name__ == "__main__":
    main()
