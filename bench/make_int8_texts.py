"""Make the texts that 8-bit variants of models are calibrated and judged with: ``kbjobs/embedding/int8_texts/``.

They are sentences of the documentation and of the program's docstrings, in passages of 12 to 180 words, a passage a
line. Run it only to begin a new recipe of the variant (``kbjobs.embedding.variants.RECIPE``): with other texts, a model
gets other numbers.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "kbjobs" / "embedding" / "int8_texts"
LENGTHS = (12, 25, 50, 90, 140, 180)
"""Words; passages of an index are mostly long, queries short."""
FILES = {"calibration.txt": 96, "held-back.txt": 400}


def read_sentences() -> Iterator[str]:
    """Yield the sentences of pages and docstrings, without code, tables and links."""
    for page in sorted((ROOT / "docs").rglob("*.md")):
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        yield from split(
            "\n\n".join(part for part in text.split("\n\n") if not part.lstrip().startswith(("|", "<", ":")))
        )
    for module in sorted((ROOT / "kbjobs").rglob("*.py")):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield from split(ast.get_docstring(node) or "")


def split(text: str) -> Iterator[str]:
    """Yield a text's sentences of at least six words."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text).replace("`", "")
    for paragraph in text.split("\n\n"):
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", " ".join(paragraph.split())):
            if len(sentence.split()) >= 6 and "](" not in sentence and "http" not in sentence:
                yield sentence.lstrip("#-* ")


def main() -> None:
    """Write both files; no sentence is in two passages."""
    sentences = list(dict.fromkeys(read_sentences()))
    draw = random.Random(8)
    # Neighbours stay together, as in a passage of a page; what is drawn is where a passage begins.
    passages: list[str] = []
    place, number = 0, 0
    while place < len(sentences):
        words: list[str] = []
        wanted = LENGTHS[number % len(LENGTHS)]
        while place < len(sentences) and len(words) < wanted:
            words += sentences[place].split()
            place += 1
        passages.append(" ".join(words[:wanted]))
        number += 1
    draw.shuffle(passages)
    wanted = sum(FILES.values())
    if len(passages) < wanted:
        raise SystemExit(f"{len(passages)} passages, {wanted} are needed")
    TARGET.mkdir(exist_ok=True)
    for name, count in FILES.items():
        taken, passages = passages[:count], passages[count:]
        (TARGET / name).write_text("\n".join(taken) + "\n", encoding="utf-8")
        print(f"{name}: {count} passages, {sum(len(one.split()) for one in taken):,} words")


if __name__ == "__main__":
    main()
