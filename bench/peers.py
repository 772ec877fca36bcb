"""Peers that index and search the same texts; run by bench_search.py with the Python of their own environment.

``peers.py index PEER MODEL INPUT FOLDER`` builds an index; ``peers.py ask PEER MODEL INPUT FOLDER`` opens it in a new
process and answers the queries: prints documents and the median ms; ``first`` answers one query only. INPUT is JSON:
``documents``, pairs of number and text, and ``queries``. Each peer does as its documentation shows first, but that
both get the model's window as the size of a chunk where they cut at all, and txtai its hybrid search.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

CUT = 10
SEVERAL = 5  # chunks asked for each document wanted: several are of one document

Ask = Callable[[str], list[str]]


def distinct(documents: list[str]) -> list[str]:
    """Each document once, in order."""
    return list(dict.fromkeys(documents))[:CUT]


def llamaindex(model: str, folder: Path, documents: list[tuple[str, str]] | None) -> Ask:
    """LlamaIndex with Chroma as its vector store."""
    import chromadb
    from llama_index.core import Document, Settings, StorageContext, VectorStoreIndex
    from llama_index.core.node_parser import SentenceSplitter
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding
    from llama_index.vector_stores.chroma import ChromaVectorStore

    Settings.embed_model = HuggingFaceEmbedding(model_name=model, device="cpu")
    Settings.node_parser = SentenceSplitter(chunk_size=256, chunk_overlap=20)
    collection = chromadb.PersistentClient(str(folder)).get_or_create_collection("peer")
    store = ChromaVectorStore(chroma_collection=collection)
    if documents is not None:
        index = VectorStoreIndex.from_documents(
            [Document(text=text, metadata={"number": number}) for number, text in documents],
            storage_context=StorageContext.from_defaults(vector_store=store),
        )
    else:
        index = VectorStoreIndex.from_vector_store(store)
    retriever = index.as_retriever(similarity_top_k=CUT * SEVERAL)
    return lambda query: distinct([str(hit.metadata["number"]) for hit in retriever.retrieve(query)])


def txtai(model: str, folder: Path, documents: list[tuple[str, str]] | None) -> Ask:
    """txtai with vectors and words."""
    from txtai import Embeddings

    embeddings = Embeddings(path=model, hybrid=True)
    if documents is not None:
        embeddings.index([(number, text, None) for number, text in documents])
        embeddings.save(str(folder))
    else:
        embeddings.load(str(folder))
    return lambda query: distinct([str(number) for number, _ in embeddings.search(query, CUT)])


PEERS = {"LlamaIndex + Chroma": llamaindex, "txtai": txtai}


def main() -> None:
    """Index, or answer."""
    action, peer, model, source, folder = sys.argv[1:]
    content = json.loads(Path(source).read_text())
    begun = time.perf_counter()
    ask = PEERS[peer](model, Path(folder), content["documents"] if action == "index" else None)
    if action == "index":
        print(json.dumps({"seconds": time.perf_counter() - begun}))
        return
    queries = content["queries"][: 1 if action == "first" else None]
    found, times = [ask(queries[0])], [0.0]
    for query in queries[1:]:
        begun = time.perf_counter()
        found.append(ask(query))
        times.append(1000 * (time.perf_counter() - begun))
    print(json.dumps({"found": found, "milliseconds": statistics.median(times)}))


if __name__ == "__main__":
    main()
