"""One percent of a source changes: seconds and embedded passages of the next run, beside LangChain and LlamaIndex.

20,000 pages of one short passage each. Then 100 are changed, 50 are deleted, and 50 are added whose text is another
page's. All three embed with our engine (all-MiniLM-L6-v2) and store in ChromaDB on disk:

- ``index-offline``: the phase, which looks at every file, and verifies what it publishes;
- LangChain: its indexing API with a record manager in SQLite, ``cleanup="full"``; it is given the documents in memory;
- LlamaIndex: an IngestionPipeline with a docstore, ``UPSERTS_AND_DELETE``; likewise, its docstore kept as a file.

The first build is not timed. Each round copies it, and runs once over unchanged pages, because a copy of an index is
verified anew before it counts as one that nobody has written to. The update is timed: from the loaded model and modules
to its end, with the loading of what was kept, each in a process of its own, in turns. First comes whether it is right:
every page there once, with its present text, and nothing else. ``--peers PYTHON`` is the interpreter of an environment
with bench/requirements.txt and kbjobs itself.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from measuring import MINILM, packaged_minilm

PAGES, CHANGED, DELETED, DOUBLED, ROUNDS = 20_000, 100, 50, 50, 5

COUNTING = """
import json, logging, os, shutil, sys, time
from pathlib import Path
from kbjobs.phases.job_type import PhaseRequest
from kbjobs.embedding.choose import load_embedder
folder, pages, step = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
engines = Path(sys.argv[4])
model = load_embedder("all-MiniLM-L6-v2", folder / "no-models", engines, "openvino")
model.embed(["warm"])
embedded = 0
embed = model.embed
def counting(texts):
    global embedded
    embedded += len(texts)
    return embed(texts)
def read():
    return {name: (pages / name).read_text() for name in sorted(os.listdir(pages))}
def tell(seconds, stored):
    # stored: texts by page, each page's texts in a list
    wanted = read()
    right = len(stored) == len(wanted) and all(
        len(stored.get(name, [])) == 1 and text in stored[name][0] for name, text in wanted.items())
    count = sum(map(len, stored.values()))
    print(json.dumps({"seconds": seconds, "embedded": embedded, "is_right": right, "stored": count,
                      "wanted": len(wanted)}))
"""

OURS = (
    COUNTING
    + """
import chromadb, kbjobs.indexing.pipeline, kbjobs.embedding.deferred_embedder
model.embed = counting
kbjobs.embedding.deferred_embedder.open_embedder = lambda *_: model
from kbjobs.context import Context
from kbjobs.phases import index_offline
from kbjobs.sources.registration import register
from kbjobs.config.settings import Home, Settings
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
home = Home(folder / "home")
home.prepare()
os.environ["KBJOBS_MODEL"] = "all-MiniLM-L6-v2"
source = SourceFolder(home.sources, "docs")
if not source.manifest.exists():
    register(home, "docs", [pages])

class Silent:
    def report(self, *_): pass
    def saved(self, steps): pass

started = time.perf_counter()
plan = index_offline.plan(PhaseRequest(home, Settings(home), index_offline.IndexOfflineParams(), source))
context = Context(home, Settings(home), source, 1, Silent(), lambda: False, logging.getLogger("bench"))
index_offline.run(context, plan.params)
seconds = time.perf_counter() - started
shutil.rmtree(folder / "looked-at", ignore_errors=True)  # Chroma writes to what it opens
shutil.copytree(next(source.vectors.glob("*/")), folder / "looked-at")
collection = chromadb.PersistentClient(str(folder / "looked-at")).list_collections()[0]
stored = {}
ledger = Ledger(source.ledger)
names = {row[0]: row[1].rpartition("/")[2] for row in ledger.connection.execute("SELECT doc_id, path FROM documents")}
for first in range(0, collection.count(), 5000):
    found = collection.get(limit=5000, offset=first, include=["documents", "metadatas"])
    for text, about in zip(found["documents"], found["metadatas"]):
        stored.setdefault(names[about["doc_id"]], []).append(text)
tell(seconds, stored)
"""
)

LANGCHAIN = (
    COUNTING
    + """
import chromadb
from langchain_chroma import Chroma
from langchain_classic.indexes import SQLRecordManager
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.indexing import index

class Ours(Embeddings):
    def embed_documents(self, texts): return counting(texts).tolist()
    def embed_query(self, text): return counting([text])[0].tolist()

documents = [Document(text, metadata={"source": name}) for name, text in read().items()]
started = time.perf_counter()
records = SQLRecordManager("bench", db_url=f"sqlite:///{folder}/records.db")
records.create_schema()
store = Chroma("bench", Ours(), persist_directory=str(folder / "chroma"))
index(documents, records, store, cleanup="full", source_id_key="source", batch_size=1000, key_encoder="blake2b")
seconds = time.perf_counter() - started
stored = {}
for first in range(0, store._collection.count(), 5000):
    found = store._collection.get(limit=5000, offset=first, include=["documents", "metadatas"])
    for text, about in zip(found["documents"], found["metadatas"]):
        stored.setdefault(about["source"], []).append(text)
tell(seconds, stored)
"""
)

LLAMAINDEX = (
    COUNTING
    + """
import chromadb
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.schema import Document
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.vector_stores.chroma import ChromaVectorStore

class Ours(BaseEmbedding):
    def _get_text_embedding(self, text): return counting([text])[0].tolist()
    def _get_text_embeddings(self, texts): return counting(texts).tolist()
    def _get_query_embedding(self, text): return counting([text])[0].tolist()
    async def _aget_query_embedding(self, text): return self._get_query_embedding(text)

documents = [Document(text=text, doc_id=name, metadata={"source": name}, excluded_embed_metadata_keys=["source"])
             for name, text in read().items()]
started = time.perf_counter()
kept = folder / "docstore.json"
docstore = SimpleDocumentStore.from_persist_path(str(kept)) if kept.exists() else SimpleDocumentStore()
client = chromadb.PersistentClient(str(folder / "chroma"))
collection = client.get_or_create_collection("bench", configuration={"hnsw": {"space": "cosine"}})
pipeline = IngestionPipeline(
    transformations=[Ours(embed_batch_size=256)], docstore=docstore, vector_store=ChromaVectorStore(collection),
    docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE, disable_cache=True)
if not kept.exists():  # the store takes no more than 5,461 at once, and the pipeline hands all over: build in parts
    pipeline.docstore_strategy = DocstoreStrategy.UPSERTS
    for first in range(0, len(documents), 5000):
        pipeline.run(documents=documents[first : first + 5000])
else:
    pipeline.run(documents=documents)
docstore.persist(str(kept))
seconds = time.perf_counter() - started
stored = {}
for first in range(0, collection.count(), 5000):
    found = collection.get(limit=5000, offset=first, include=["documents", "metadatas"])
    for text, about in zip(found["documents"], found["metadatas"]):
        stored.setdefault(about["source"], []).append(text)
tell(seconds, stored)
"""
)


def write_pages(folder: Path) -> None:
    """Write the first state of the source."""
    folder.mkdir()
    for number in range(PAGES):
        (folder / f"{number:05}.txt").write_text(_text(number))


def _text(number: int, word: str = "boils") -> str:
    return f"Well {number} of valley {number % 97} gives {number * 7 % 1013} litres a day; its water {word} at dawn."


def change_pages(folder: Path) -> None:
    """Change one percent of it; files that stay may be links to others, so none is written over."""
    for number in range(0, CHANGED * 50, 50):
        (folder / f"{number:05}.txt").unlink()
        (folder / f"{number:05}.txt").write_text(_text(number, "freezes"))
    for number in range(1, DELETED * 50, 50):
        (folder / f"{number:05}.txt").unlink()
    for number in range(DOUBLED):
        (folder / f"{PAGES + number:05}.txt").write_text(_text(number * 50 + 7))


def run(interpreter: str, script: str, *arguments: object) -> Any:
    """Run one contender's script in a process of its own; what it told."""
    ended = subprocess.run(
        [interpreter, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if ended.returncode:
        sys.exit(f"a measured script failed:\n{ended.stderr[-3000:]}")
    return json.loads(ended.stdout.splitlines()[-1])


def main() -> None:
    """Build once, then update copies of it in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--peers", help="interpreter of an environment with bench/requirements.txt and kbjobs")
    asked = parser.parse_args()
    contenders = {"index-offline": (sys.executable, OURS)}
    if asked.peers:
        contenders |= {"LangChain": (asked.peers, LANGCHAIN), "LlamaIndex": (asked.peers, LLAMAINDEX)}
    packaged_minilm()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="kbjobs-bench-") as name:
        top = Path(name)
        pages, changed, aside, built = top / "pages", top / "changed", top / "aside", top / "built"
        write_pages(pages)
        shutil.copytree(pages, changed, copy_function=os.link)
        change_pages(changed)
        for contender, (interpreter, script) in contenders.items():
            (built / contender).mkdir(parents=True)
            first = run(interpreter, script, built / contender, pages, "build", top / "engines")
            print(f"{contender}: built in {first['seconds']:.1f} s, {first['embedded']:,} embedded")
        for _ in range(asked.rounds):
            for contender, (interpreter, script) in contenders.items():
                copy = top / "copy"
                shutil.copytree(built / contender, copy, symlinks=True)
                run(interpreter, script, copy, pages, "unchanged", top / "engines")
                pages.rename(aside)
                changed.rename(pages)
                told[contender] = run(interpreter, script, copy, pages, "update", top / "engines")
                pages.rename(changed)
                aside.rename(pages)
                seconds[contender].append(told[contender]["seconds"])
                shutil.rmtree(copy)
    ours = statistics.median(seconds["index-offline"])
    for contender, values in seconds.items():
        last, median = told[contender], statistics.median(values)
        print(
            f"{contender}: {median:.2f} s ({min(values):.2f}-{max(values):.2f}), {last['embedded']:,} embedded;"
            f" {'right' if last['is_right'] else 'WRONG'}: {last['stored']:,} stored of {last['wanted']:,} pages;"
            f" {median / ours:.1f} x index-offline"
        )
    print(f"model {MINILM}; bar: 3 x LangChain, and right")


if __name__ == "__main__":
    main()
