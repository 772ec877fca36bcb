"""Tags from a local model: the categories nearest to the documents, and the key terms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kbjobs.content.terms import key_terms
from kbjobs.context import Context
from kbjobs.embedding.embedder import Embedder, EmbeddingError
from kbjobs.store import tag_rows as store
from kbjobs.store.ledger import Ledger
from kbjobs.store.tag_rows import TaggedDocument
from kbjobs.tagging.sampling import folder_of
from kbjobs.tagging.suggestion import EVIDENCE, make_tag
from kbjobs.tagging.vectors import document_vectors
from kbjobs.tagging.vocabulary import Vocabulary

# A document belongs to a category that is nearer by MIN_MARGIN than every other field, and nearer by MIN_NEARNESS than
# unrelated texts are. Both are in standard deviations of the model's similarities of unrelated texts, so that they hold
# for any model. Measured margins: the pages of examples/sources/preparedness have at least 4.4 by their passages and
# 2.6 by title and snippet with all-MiniLM-L6-v2, 3.9 and 3.3 with all-mpnet-base-v2; 60 pages of the Python
# documentation have at most 1.1 and 0.2, 100 abstracts on aerodynamics (Cranfield) at most 1.2 and 0.5.
MIN_MARGIN = 2.0
MIN_NEARNESS = 0.5
SECOND_BEST = 0.75  # a category at most this far behind the nearest one counts too
MIN_SHARE = 0.02  # least share of the documents that must belong to a category before it is suggested

MAX_SAMPLE = 500  # most documents embedded because they have no vectors
MAX_READ = 1_000  # most documents whose words are counted
TERMS = 15
BATCH = 32
VECTORS, EMBED, WORDS = (0.1, 0.5), (0.5, 0.9), (0.9, 1.0)


@dataclass(frozen=True, slots=True)
class Yardstick:
    """Vectors of the categories and other fields, and the model's similarities of unrelated texts."""

    categories: NDArray[np.float32]
    others: NDArray[np.float32]
    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class TagMatch:
    """A document that belongs to a category, with their cosine similarity; ``is_best``: it is the nearest category."""

    document: TaggedDocument
    category: int
    score: float
    is_best: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """The tags found, and the numbers of documents judged and embedded."""

    tags: list[dict[str, Any]]
    documents: int
    embedded: int


def tag_locally(
    context: Context, ledger: Ledger, model: str, documents: Sequence[TaggedDocument], vocabulary: Vocabulary
) -> Judged:
    """Suggest tags by comparing documents with the vocabulary, and by counting their words.

    Args:
        context: the job's context.
        ledger: the source's ledger.
        model: the name of a local model.
        documents: the documents to judge.
        vocabulary: the categories and the other fields.
    """
    context.progress(0, 0, "documents", f"loading {model}", (0.0, 0.0), eta_matters=False)
    matches, judged, embedded = _judge(context, ledger, model, documents, vocabulary)
    context.progress(0, 1, "documents", "counting words", WORDS, eta_matters=False)
    tags = _category_tags(matches, judged, vocabulary)
    tags += _term_tags(ledger, documents, matches, [tag["tag"] for tag in tags])
    return Judged(tags, judged, embedded)


def _judge(
    context: Context, ledger: Ledger, model: str, documents: Sequence[TaggedDocument], vocabulary: Vocabulary
) -> tuple[list[TagMatch], int, int]:
    """Match the documents with the categories; returns the matches and the numbers of documents judged and embedded."""
    from kbjobs.embedding.choose import load_embedder

    home, engine = context.home, context.settings.text("engine")
    with closing(load_embedder(model, home.models, home.engines, engine)) as embedder:
        yardstick = make_yardstick(embedder, vocabulary)
        by_id = {document.doc_id: document for document in documents}
        matches: list[TagMatch] = []
        seen: set[str] = set()
        for row in (row for row in ledger.models() if row.key == embedder.model_key):
            for doc_id, vector in document_vectors(context, ledger, row, "comparing documents", VECTORS):
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


def make_yardstick(embedder: Embedder, vocabulary: Vocabulary) -> Yardstick:
    """Embed the categories and other fields, and measure the similarities of unrelated texts."""
    described = [f"{category.tag}: {category.description}" for category in vocabulary.categories]
    categories = _embed(embedder, described)
    others = _embed(embedder, vocabulary.other_fields)
    unlike = categories @ others.T
    return Yardstick(categories, others, float(unlike.mean()), float(unlike.std()))


def _embed(embedder: Embedder, texts: Sequence[str]) -> NDArray[np.float32]:
    parts = [embedder.embed(list(texts[start : start + BATCH])) for start in range(0, len(texts), BATCH)]
    return np.concatenate(parts)


def match(document: TaggedDocument, vector: NDArray[np.float32], yardstick: Yardstick) -> list[TagMatch]:
    """Find the categories that a document belongs to: none, the nearest one, or a few.

    Args:
        document: the document.
        vector: its vector, of unit length.
        yardstick: vectors of the categories and other fields.
    """
    near = yardstick.categories @ vector
    min_score = max(
        float((yardstick.others @ vector).max()) + MIN_MARGIN * yardstick.deviation,
        yardstick.mean + MIN_NEARNESS * yardstick.deviation,
        float(near.max()) - SECOND_BEST * yardstick.deviation,
    )
    best = int(near.argmax())
    return [
        TagMatch(document, int(index), float(near[index]), int(index) == best)
        for index in np.flatnonzero(near >= min_score)
    ]


def _category_tags(matches: Sequence[TagMatch], judged: int, vocabulary: Vocabulary) -> list[dict[str, Any]]:
    by_category: dict[int, list[TagMatch]] = {}
    for one in matches:
        by_category.setdefault(one.category, []).append(one)
    tags = []
    for category, members in by_category.items():
        if len(members) < math.ceil(MIN_SHARE * judged):
            continue
        best = sorted(members, key=lambda one: (-one.score, one.document.doc_id))[:EVIDENCE]
        score = sum(one.score for one in best) / len(best)
        evidence = [(one.document, one.score) for one in best]
        tags.append(make_tag(vocabulary.categories[category].tag, "category", score, len(members), evidence))
    return sorted(tags, key=lambda tag: (-tag["documents"], -tag["score"], tag["tag"]))


def _term_tags(
    ledger: Ledger, documents: Sequence[TaggedDocument], matches: Sequence[TagMatch], chosen: Sequence[str]
) -> list[dict[str, Any]]:
    """Find the key terms. Documents of one category form a class; the others are classed by folder."""
    by_id = {document.doc_id: document for document in documents}
    groups = {one.document.doc_id: str(one.category) for one in matches if one.is_best}
    texts = store.document_texts(ledger, [document.doc_id for document in documents[:MAX_READ]])
    classed = [(doc_id, groups.get(doc_id) or folder_of(by_id[doc_id]), text) for doc_id, text in texts]
    excluded = frozenset(word for tag in chosen for word in tag.split())
    return [
        make_tag(
            term.word, "term", term.score, term.documents, [(by_id[doc_id], share) for doc_id, share in term.evidence]
        )
        for term in key_terms(classed, TERMS, excluded, EVIDENCE)
    ]
