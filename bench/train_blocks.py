"""Trains the trees that choose a page's main text, and says how well they do on sites that they have not seen.

    python bench/train_blocks.py [--write]

needs scikit-learn (bench/requirements.txt) beside kbjobs, and ../shared/data/web-pages.tar.xz. Pages of a site are in
one of five parts; each part is judged by trees trained on the others. The blocks that hold a marked sentence, and all
of the pages whose whole text is known, have a label; the others get the one that trees trained without their part
give them, and count little.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import GroupKFold
from web_pages import (
    WORD,
    WebPage,
    count_shingles,
    fold,
    hash_archive,
    read_pages,
    score_sentences,
    score_whole,
    unpacked,
)

from kbjobs.content.block_choice import keep, measure_blocks
from kbjobs.content.block_features import describe_blocks
from kbjobs.content.block_trees import LEAVES, MODEL, read_forest
from kbjobs.content.html import read_html
from kbjobs.content.outline import Outline

SEED = 0
PARTS = 5
TREES = 200
LEARNING_RATE = 0.06
PSEUDO_WEIGHT = 0.15
Array = NDArray[np.float64]


@dataclass
class Page:
    """A page, the numbers of its blocks, their labels from 0 to 1, and what each counts; 0 for one without a label."""

    known: WebPage
    kept: str  # the text of a page that needs no choice
    outline: Outline | None
    described: NDArray[np.float32]
    labels: Array
    weights: Array


def prepare(known: WebPage) -> Page:
    """The page as the trees see it."""
    reading = read_html(known.content)
    kept = "\n".join(block.text for block in reading.extract.blocks)
    if reading.outline is None or not reading.outline.blocks:
        return Page(known, kept, None, np.zeros((0, 0), np.float32), np.zeros(0), np.zeros(0))
    texts = [fold(block.text) for block in reading.outline.blocks]
    labels, weights = label_whole(known, texts) if known.expected else label_sentences(known, texts)
    return Page(known, kept, reading.outline, describe_blocks(reading.outline, reading.facts), labels, weights)


def label_sentences(known: WebPage, texts: Sequence[str]) -> tuple[Array, Array]:
    """Labels of the blocks that hold a marked sentence, or a part of one."""
    labels, weights = np.zeros(len(texts)), np.zeros(len(texts))
    joined = " ".join(texts)
    starts = np.cumsum([0, *[len(text) + 1 for text in texts]])[:-1]
    for label, sentences in ((0.0, known.unwanted), (1.0, known.wanted)):
        for sentence in sentences:
            count = joined.count(sentence)
            at = joined.find(sentence)
            while at >= 0:
                first = int(np.searchsorted(starts, at, "right")) - 1
                last = int(np.searchsorted(starts, at + len(sentence) - 1, "right")) - 1
                labels[first : last + 1], weights[first : last + 1] = label, 1 / count
                at = joined.find(sentence, at + 1)
    return labels, weights


def label_whole(known: WebPage, texts: Sequence[str]) -> tuple[Array, Array]:
    """Labels of all blocks: whether most of their runs of words are in the text that is known."""
    shingles = count_shingles([known.expected])
    words_of_all = " ".join(WORD.findall(known.expected.casefold()))
    labels, weights = np.zeros(len(texts)), np.zeros(len(texts))
    for row, text in enumerate(texts):
        words = WORD.findall(text.casefold())
        if len(words) < 4:
            labels[row] = bool(words) and " ".join(words) in words_of_all
        else:
            own = count_shingles([text])
            labels[row] = sum(count for run, count in own.items() if run in shingles) >= 0.5 * own.total()
        weights[row] = min(3.0, 0.15 * max(1, len(words)) ** 0.5)
    return labels, weights


def fit(rows: Sequence[NDArray[np.float32]], labels: Sequence[Array], weights: Sequence[Array]) -> Any:
    """A classifier; a label between 0 and 1 counts for both classes."""
    all_rows = np.concatenate(rows)
    all_labels, all_weights = np.concatenate(labels), np.concatenate(weights)
    both = np.concatenate([all_rows, all_rows])
    classes = np.repeat([1, 0], len(all_rows))
    counts = np.concatenate([all_weights * all_labels, all_weights * (1 - all_labels)])
    used = counts > 1e-3
    model = HistGradientBoostingClassifier(
        max_iter=TREES, max_leaf_nodes=LEAVES - 1, learning_rate=LEARNING_RATE, l2_regularization=3.0,
        min_samples_leaf=20, max_features=0.3, random_state=SEED,
    )  # fmt: skip
    return model.fit(both[used], classes[used], sample_weight=counts[used])


def judge_unseen(
    pages: Sequence[Page],
    rows: Sequence[NDArray[np.float32]],
    labels: Sequence[Array],
    weights: Sequence[Array],
) -> list[Array]:
    """What is said of each page by trees that were trained on other sites."""
    order = {site: number for number, site in enumerate(sorted({page.known.site for page in pages}))}
    turned = np.random.RandomState(SEED).permutation(len(order))
    groups = [turned[order[page.known.site]] for page in pages]
    found: list[Array] = [np.zeros(0)] * len(pages)
    for others, part in GroupKFold(PARTS).split(pages, groups=groups):
        model = fit(*([given[at] for at in others] for given in (rows, labels, weights)))
        for at in part:
            found[at] = model.predict_proba(rows[at])[:, 1]
    return found


def guess_labels(pages: Sequence[Page], found: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """Labels and weights with those guessed that nobody has given."""
    labels, weights = [], []
    for page, guessed in zip(pages, found, strict=True):
        unknown = page.weights == 0
        labels.append(np.where(unknown, guessed, page.labels))
        weights.append(np.where(unknown, PSEUDO_WEIGHT * 2 * np.abs(guessed - 0.5), page.weights))
    return labels, weights


def report(name: str, everything: Sequence[Page], pages: Sequence[Page], found: Sequence[Array]) -> dict[str, float]:
    """Print how well the texts agree that would be kept; returns the two F1."""
    texts = {page.known.name: page.kept for page in everything}
    for page, said in zip(pages, found, strict=True):
        if page.outline is not None:
            chosen = keep(said, measure_blocks(page.outline))
            blocks = [block.text for block, is_kept in zip(page.outline.blocks, chosen, strict=True) if is_kept]
            texts[page.known.name] = "\n".join(blocks) or page.kept
    sentences = [page.known for page in everything if not page.known.expected]
    whole = [page.known for page in everything if page.known.expected]
    scores = score_sentences(sentences, texts), score_whole(whole, texts)
    for kind, (precision, recall, f1) in zip(("sentences", "whole"), scores, strict=True):
        print(f"{name:28} {kind:10} precision {precision:.3f}  recall {recall:.3f}  F1 {f1:.4f}", flush=True)
    return {"sentences": scores[0][2], "whole": scores[1][2]}


def flatten(model: Any, rows: Sequence[NDArray[np.float32]]) -> dict[str, Any]:
    """A classifier's trees as the arrays of a Forest, which are compared with it on all rows."""
    trees = [predictors[0].nodes for predictors in model._predictors]
    shape = len(trees), LEAVES - 1
    arrays: dict[str, Any] = {
        "features": np.zeros(shape, np.int16),
        "thresholds": np.full(shape, np.inf, np.float32),  # always met: rules out nothing
        "masks": np.full(shape, 0xFFFF, np.uint16),
        "values": np.zeros((len(trees), LEAVES), np.float32),
    }
    for number, nodes in enumerate(trees):
        _flatten_tree(nodes, {key: array[number] for key, array in arrays.items()})
    arrays |= {key: np.ascontiguousarray(arrays[key].T) for key in ("features", "thresholds", "masks")}
    arrays["baseline"] = np.array(float(np.ravel(model._baseline_prediction)[0]))
    forest = read_forest(arrays)
    for one in rows:
        if not np.allclose(forest.predict(one), model.predict_proba(one)[:, 1], atol=1e-5):
            raise SystemExit("the flat trees say something else than those of scikit-learn")
    return arrays


def _flatten_tree(nodes: NDArray[Any], arrays: dict[str, NDArray[Any]]) -> None:
    leaves = decisions = 0

    def walk(at: int) -> list[int]:
        nonlocal leaves, decisions
        node = nodes[at]
        if node["is_leaf"]:
            arrays["values"][leaves] = node["value"]
            leaves += 1
            return [leaves - 1]
        here = decisions
        decisions += 1
        left = walk(node["left"])
        arrays["features"][here] = node["feature_idx"]
        # thresholds are float64: the largest float32 that is not above keeps every decision on float32 numbers
        threshold = np.float32(node["num_threshold"])
        arrays["thresholds"][here] = (
            threshold if threshold <= node["num_threshold"] else np.nextafter(threshold, np.float32(-np.inf))
        )
        arrays["masks"][here] = 0xFFFF & ~sum(1 << leaf for leaf in left)
        return left + walk(node["right"])

    walk(0)


def main() -> None:
    """Train, print, and write the model if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help=f"write {MODEL.name}")
    options = parser.parse_args()
    with unpacked() as folder:
        if folder is None:
            return
        everything = [prepare(known) for known in read_pages(folder)]
    pages = [page for page in everything if page.outline is not None]
    print(f"{len(everything)} pages, {sum(len(page.labels) for page in pages):,} blocks to judge", flush=True)
    rows = [page.described for page in pages]
    labels, weights = [page.labels for page in pages], [page.weights for page in pages]
    found = judge_unseen(pages, rows, labels, weights)
    report("marked blocks alone", everything, pages, found)
    labels, weights = guess_labels(pages, found)
    found = judge_unseen(pages, rows, labels, weights)
    report("and guessed labels", everything, pages, found)
    labels, weights = guess_labels(pages, found)
    found = judge_unseen(pages, rows, labels, weights)
    scores = report("and guessed again", everything, pages, found)
    if options.write:
        arrays = flatten(fit(rows, labels, weights), rows)
        facts: dict[str, Any] = {"data": hash_archive(), **{f"f1_{kind}": f1 for kind, f1 in scores.items()}}
        np.savez_compressed(MODEL, **arrays, **facts)
        print(f"{Path(MODEL).name}: {MODEL.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
