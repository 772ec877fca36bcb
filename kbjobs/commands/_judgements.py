"""``kbjobs search --judge``: the scores of queries, the worst first."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from kbjobs.commands._render import is_terminal, print_json
from kbjobs.commands._table import Column, print_list
from kbjobs.retrieval.hits import Hit
from kbjobs.services.judging import judge, read_queries

COLUMNS = (
    Column("NDCG", is_number=True),
    Column("RECALL", is_number=True),
    Column("QUERY", good=30, least=12),
    Column("MISSED", good=20, least=8),
)


def print_judgements(file: Path, find: Callable[[str], list[Hit]], *, as_json: bool) -> None:
    """Score the queries of a file and print each score, then the mean.

    Args:
        file: the queries.
        find: searches for words.
        as_json: whether to print JSON.

    Raises:
        KbjobsError: the file is not one of queries, or a search fails.
    """
    queries = read_queries(file)

    def show_progress(done: int) -> None:
        if is_terminal(sys.stderr):
            print(f"\r{done:,} of {len(queries):,} queries", end="\n" if done == len(queries) else "", file=sys.stderr)

    found = judge(queries, find, show_progress)
    ndcg, recall = (statistics.mean(values) for values in ([one.ndcg for one in found], [one.recall for one in found]))
    if as_json:
        print_json({"ndcg": ndcg, "recall": recall, "queries": [asdict(one) for one in found]})
        return
    rows = [
        (f"{one.ndcg:.3f}", f"{one.recall:.2f}", one.words, ", ".join(one.missed))
        for one in sorted(found, key=lambda one: one.ndcg)
    ]
    print_list(COLUMNS, [*rows, (f"{ndcg:.4f}", f"{recall:.3f}", f"mean of {len(found):,}", "")])
