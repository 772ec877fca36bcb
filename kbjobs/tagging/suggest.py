"""Finding the tags of a source: the nearest categories of its documents, and the terms that stand out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kbjobs.context import Context, PhaseResult
from kbjobs.crashpoints import crash_point
from kbjobs.embedding.base import Embedder, EmbeddingError
from kbjobs.errors import MissingRequirementError
from kbjobs.store import tagging as store
from kbjobs.store.ledger import Ledger
from kbjobs.store.tagging import TaggedDocument
from kbjobs.tagging.preparedness import CATEGORIES, OTHER_FIELDS
from kbjobs.tagging.state import current_state, is_current
from kbjobs.tagging.terms import key_terms
from kbjobs.wording import counted

# A document belongs to a category that is this much nearer than every other field, and nearer than unlike texts are.
# Both are counted in standard deviations of what the model gives for unlike texts, so that they hold for any model.
# Measured margins: the pages of examples/sources/preparedness at least 4.4 by their passages and 2.6 by title and
# snippet with all-MiniLM-L6-v2, 3.9 and 3.3 with all-mpnet-base-v2; 60 pages of the Python documentation at most 1.1
# and 0.2, 100 abstracts on aerodynamics (Cranfield) at most 1.2 and 0.5.
MIN_MARGIN = 2.0
MIN_NEARNESS = 0.5
SECOND_BEST = 0.75  # a category that is no farther behind the nearest one counts too
MIN_SHARE = 0.02  # of the documents that must belong to a category before it is suggested

MAX_SAMPLE = 500  # documents embedded because they have no vectors
MAX_READ = 1_000  # documents whose words are counted
TERMS = 15
EVIDENCE = 3  # documents named for a tag
BATCH = 32
VECTOR_STEP = 5_000  # vectors between two reports of progress
VECTORS, EMBED, WORDS = (0.1, 0.5), (0.5, 0.9), (0.9, 1.0)


@dataclass(frozen=True, slots=True)
class Yardstick:
    """Vectors of the categories and of the other fields, and how near unlike texts come with this model."""

    categories: NDArray[np.float32]
    others: NDArray[np.float32]
    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class Match:
    """A document that belongs to a category, and their cosine similarity."""

    document: TaggedDocument
    category: int
    score: float
    is_best: bool


def tag_source(context: Context, model: str, force: bool) -> PhaseResult:
    """Suggest tags for the context's source and write them to its manifest."""
    source = context.source
    ledger = Ledger(source.ledger)
    try:
        documents = store.kept_documents(ledger)
        if not documents:
            raise MissingRequirementError(
                f"source {source.id!r} has no documents in its ledger", f"kbjobs run metadata {source.id}"
            )
        state = current_state(ledger, model)
        if not force and is_current(source, state, model):
            suggested = (source.read().suggested_tags or {}).get("tags", [])
            return PhaseResult(
                {"documents": len(documents), "judged": 0, "embedded": 0, "tags": len(suggested), "unchanged": True},
                "nothing has changed since tags were suggested: they are left as they are (--force suggests anew)",
            )
        context.progress(0, 0, "documents", f"loading {model}", (0.0, 0.0), eta_matters=False)
        matches, judged, embedded = _judge(context, ledger, model, documents)
        context.progress(0, 1, "documents", "counting words", WORDS, eta_matters=False)
        tags = _category_tags(matches, judged)
        tags += _term_tags(ledger, documents, matches, [tag["tag"] for tag in tags])
    finally:
        ledger.close()
    crash_point("tags.before_write")
    source.write_suggested_tags({"state": state, "model": model, "documents": judged, "tags": tags})
    crash_point("tags.written")
    categories = [tag["tag"] for tag in tags if tag["kind"] == "category"]
    counts = {
        "documents": len(documents),
        "judged": judged,
        "embedded": embedded,
        "tags": len(tags),
        "categories": len(categories),
        "unchanged": False,
    }
    named = ", ".join(categories) or "no category of preparedness fits"
    return PhaseResult(counts, f"{counted(len(tags), 'tag')} suggested from {counted(judged, 'document')}: {named}")


def _judge(
    context: Context, ledger: Ledger, model: str, documents: Sequence[TaggedDocument]
) -> tuple[list[Match], int, int]:
    """Match the documents with the categories; returns also how many were judged and how many embedded for it."""
    from kbjobs.embedding.choose import load_embedder

    embedder = load_embedder(model, context.home.models, context.home.engines, context.settings.text("engine"))
    try:
        yardstick = make_yardstick(embedder)
        by_id = {document.doc_id: document for document in documents}
        matches: list[Match] = []
        seen: set[str] = set()
        for doc_id, vector in _document_vectors(context, ledger, embedder.model_key):
            seen.add(doc_id)
            matches += match(by_id[doc_id], vector, yardstick)
        sample = [document for document in documents if document.doc_id not in seen][:MAX_SAMPLE]
        embedded = 0
        for start in range(0, len(sample), BATCH):
            context.progress(start, len(sample), "documents", "comparing documents", EMBED)
            batch = sample[start : start + BATCH]
            try:
                vectors = embedder.embed([f"{document.title}\n{document.snippet}".strip() for document in batch])
            except EmbeddingError as error:
                context.log.warning("%d documents are left out: %s", len(batch), error.message)
                continue
            embedded += len(batch)
            for document, vector in zip(batch, vectors, strict=True):
                matches += match(document, vector, yardstick)
        return matches, len(seen) + embedded, embedded
    finally:
        embedder.close()


def make_yardstick(embedder: Embedder) -> Yardstick:
    """Embed the categories and the other fields."""
    categories = embedder.embed([f"{category.tag}: {category.description}" for category in CATEGORIES])
    others = embedder.embed(list(OTHER_FIELDS))
    unlike = categories @ others.T
    return Yardstick(categories, others, float(unlike.mean()), float(unlike.std()))


def match(document: TaggedDocument, vector: NDArray[np.float32], yardstick: Yardstick) -> list[Match]:
    """The categories that a document belongs to, by its vector of unit length: none, the nearest, or a few."""
    near = yardstick.categories @ vector
    least = max(
        float((yardstick.others @ vector).max()) + MIN_MARGIN * yardstick.deviation,
        yardstick.mean + MIN_NEARNESS * yardstick.deviation,
        float(near.max()) - SECOND_BEST * yardstick.deviation,
    )
    best = int(near.argmax())
    return [
        Match(document, int(index), float(near[index]), int(index) == best) for index in np.flatnonzero(near >= least)
    ]


def _document_vectors(context: Context, ledger: Ledger, key: str) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """For each document with vectors of the model, their mean, of unit length."""
    row = next((row for row in ledger.models() if row.key == key), None)
    if row is None:
        return
    total = ledger.count_chunks(row.profile)
    done = reported = 0
    for doc_id, group in groupby(store.passage_vectors(ledger, row.id, row.profile), key=lambda pair: pair[0]):
        vectors = np.stack([np.frombuffer(vector, "<f4") for _, vector in group])
        done += len(vectors)
        if done - reported >= VECTOR_STEP:
            context.progress(done, total, "chunks", "comparing documents", VECTORS)
            reported = done
        mean = vectors.mean(axis=0)
        length = float(np.linalg.norm(mean))
        if length > 0:
            yield doc_id, mean / length


def _category_tags(matches: Sequence[Match], judged: int) -> list[dict[str, Any]]:
    by_category: dict[int, list[Match]] = {}
    for one in matches:
        by_category.setdefault(one.category, []).append(one)
    tags = []
    for category, members in by_category.items():
        if len(members) < math.ceil(MIN_SHARE * judged):
            continue
        best = sorted(members, key=lambda one: (-one.score, one.document.doc_id))[:EVIDENCE]
        score = sum(one.score for one in best) / len(best)
        evidence = [(one.document, one.score) for one in best]
        tags.append(_tag(CATEGORIES[category].tag, "category", score, len(members), evidence))
    return sorted(tags, key=lambda tag: (-tag["documents"], -tag["score"], tag["tag"]))


def _term_tags(
    ledger: Ledger, documents: Sequence[TaggedDocument], matches: Sequence[Match], chosen: Sequence[str]
) -> list[dict[str, Any]]:
    """The key terms. A class is what belongs to one category; of the rest, what lies in one folder."""
    by_id = {document.doc_id: document for document in documents}
    groups = {one.document.doc_id: CATEGORIES[one.category].tag for one in matches if one.is_best}
    texts = store.document_texts(ledger, [document.doc_id for document in documents[:MAX_READ]])
    classed = [(doc_id, groups.get(doc_id) or _folder(by_id[doc_id]), text) for doc_id, text in texts]
    excluded = frozenset(word for tag in chosen for word in tag.split())
    return [
        _tag(term.word, "term", term.score, term.documents, [(by_id[doc_id], share) for doc_id, share in term.evidence])
        for term in key_terms(classed, TERMS, excluded, EVIDENCE)
    ]


def _folder(document: TaggedDocument) -> str:
    """The folder below the source's root that a document lies in; its path begins with the root's name."""
    parts = document.path.split("/")
    return "/" + parts[1] if len(parts) > 2 else "/"


def _tag(
    name: str, kind: str, score: float, documents: int, evidence: Sequence[tuple[TaggedDocument, float]]
) -> dict[str, Any]:
    return {
        "tag": name,
        "kind": kind,
        "score": round(score, 4),
        "documents": documents,
        "evidence": [
            {"doc_id": document.doc_id, "title": document.title, "url": document.url, "score": round(one, 4)}
            for document, one in evidence
        ],
    }
