"""Measuring the quality of a search with queries whose right documents are known: nDCG, recall, missed documents."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kbjobs.errors import NotFoundError, UsageError
from kbjobs.retrieval.hits import Hit

FORM = '{"query": "how long must water boil", "right": ["boiling-water.html"]}'
MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class JudgedQuery:
    """A query and its right documents, each with a grade above 0; a higher grade is better."""

    words: str
    right: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The scores of a query's hits.

    Args:
        words: the query.
        ndcg: from 0 to 1; 1 if the right documents come first, in order of grade.
        recall: the share of the right documents that are among the hits.
        missed: the right documents that are not among the hits.
    """

    words: str
    ndcg: float
    recall: float
    missed: tuple[str, ...]


def read_queries(file: Path) -> list[JudgedQuery]:
    """Read a file of queries: one JSON object per line, where ``right`` is a list of documents or an object of grades.

    Args:
        file: the file.

    Raises:
        NotFoundError: there is no such file.
        UsageError: the file cannot be read, or a line is not a query; the message names the line.
    """
    try:
        if file.stat().st_size > MAX_BYTES:
            raise UsageError(f"{file} has more than {MAX_BYTES >> 20} MB", "Split it.")
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {file}", f"It has a query a line: {FORM}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}", f"It has a query a line: {FORM}") from error
    queries = [_read_query(line, f"{file}:{number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not queries:
        raise UsageError(f"{file} has no queries", f"It has a query a line: {FORM}")
    return queries


def _read_query(line: str, place: str) -> JudgedQuery:
    try:
        found: Any = json.loads(line)
        words, right = found["query"], found["right"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UsageError(f"{place}: not a query", f"Write it like {FORM}") from None
    grades = dict.fromkeys(right, 1.0) if _are_names(right) else right
    if not (isinstance(words, str) and words.strip() and isinstance(grades, dict) and grades and _are_grades(grades)):
        raise UsageError(f"{place}: not a query", f"Write it like {FORM}, or with grades: {{…: 2, …: 1}}")
    return JudgedQuery(words, {name: float(grade) for name, grade in grades.items()})


def _are_names(right: object) -> bool:
    return isinstance(right, list) and all(isinstance(name, str) and name for name in right)


def _are_grades(grades: Mapping[str, Any]) -> bool:
    return all(
        name and isinstance(grade, int | float) and not isinstance(grade, bool) and 0 < grade < math.inf
        for name, grade in grades.items()
    )


def judge(
    queries: Sequence[JudgedQuery],
    find: Callable[[str], list[Hit]],
    on_done: Callable[[int], None] = lambda count: None,
) -> list[Judgement]:
    """Search for each query and score the hits.

    nDCG follows Järvelin and Kekäläinen (TOIS 2002) with linear gain and a logarithm of base 2, as in trec_eval's
    ndcg_cut; the cut is the number of hits that ``find`` returns.

    Args:
        queries: the queries.
        find: searches for words; returns the hits, best first, each document once.
        on_done: called after each query with the number of queries done.
    """
    judgements = []
    for number, query in enumerate(queries, 1):
        judgements.append(_score(query, find(query.words)))
        on_done(number)
    return judgements


def _score(query: JudgedQuery, hits: Sequence[Hit]) -> Judgement:
    left = dict(query.right)
    gain = 0.0
    for hit in hits:
        name = next((name for name in left if _is_meant(name, hit)), None)
        if name is not None:
            gain += left.pop(name) / math.log2(hit.rank + 1)
    best = sorted(query.right.values(), reverse=True)[: max(1, len(hits))]
    ideal = sum(grade / math.log2(rank + 1) for rank, grade in enumerate(best, 1))
    return Judgement(query.words, gain / ideal, 1 - len(left) / len(query.right), tuple(left))


def _is_meant(name: str, hit: Hit) -> bool:
    """Whether a name means a hit's document: its id, its address, or the end of its address."""
    return name in (hit.doc_id, hit.url) or hit.url.endswith("/" + name.lstrip("/"))
