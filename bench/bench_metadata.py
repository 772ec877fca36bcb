"""How many pages a second the metadata phase reads, and how often the language that it finds is right.

Each round reads the same pages three times, in turns: the whole phase with its ledger, our extraction called in a plain
loop, and the bare parser (selectolax). Then the languages: of the declaration of human rights, by the detector alone,
where it knows the language and the page is in the script that it learned it in; of a handbook in 26 languages by its
folders' names, and with these hidden, over the pages that are translated: those of which at most a fifth of the text
(of paragraphs longer than 20 characters) stands in the page of the same name of two other languages, too.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from measuring import PYTHON_DOCS, ROOT, temporary_home
from selectolax.lexbor import LexborHTMLParser

from kbjobs.config.settings import Settings
from kbjobs.content.document import Document
from kbjobs.content.document_reading import extract_page
from kbjobs.content.html import extract_html
from kbjobs.content.language import are_alike, is_detectable, read_tag
from kbjobs.content.language_rules import decide_language, weigh
from kbjobs.content.source_files import FoundFile, find_files
from kbjobs.context import Context
from kbjobs.phases import metadata
from kbjobs.scanning.source_languages import judge
from kbjobs.sources.registration import register
from kbjobs.store.sources import SourceFolder

HANDBOOK, UDHR = ROOT / ".cache" / "handbook", ROOT / ".cache" / "udhr"
ROUNDS = 5
MACRO = ({"bs", "hr", "sr"}, {"nb", "nn", "no"})


class Silent:
    """Shows no progress."""

    def report(self, *_: object) -> None:
        """Nothing."""

    def saved(self, steps: int) -> None:
        """Nothing."""


def run_phase(root: Path) -> float:
    """Seconds of the metadata phase over a new source."""
    with temporary_home() as home:
        register(home, "pages", [root])
        folder = SourceFolder(home.sources, "pages")
        context = Context(home, Settings(home), folder, 1, Silent(), lambda: False, logging.getLogger("bench"))
        begun = time.perf_counter()
        metadata.run(context, metadata.MetadataParams())
        return time.perf_counter() - begun


def timed(call: Callable[[], object]) -> float:
    """Seconds of a call."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def measure_speed(name: str, root: Path, bar: int) -> None:
    """Print pages a second of the phase, of our extraction and of the bare parser."""
    paths = [file.path for file in find_files([root]) if isinstance(file, FoundFile)]
    rounds = [
        (
            run_phase(root),
            timed(lambda: [extract_page("", path.read_bytes(), path.suffix) for path in paths]),
            timed(lambda: [LexborHTMLParser(path.read_bytes()) for path in paths]),
        )
        for _ in range(ROUNDS)
    ]
    phase, extraction, parser = (len(paths) / statistics.median(column) for column in zip(*rounds, strict=True))
    ratio = statistics.median(loop / whole for whole, loop, _ in rounds)
    print(
        f"{name}, {len(paths):,} pages: metadata {phase:.0f} pages/s (bar {bar}), our extraction in a loop"
        f" {extraction:.0f}, ratio {ratio:.2f} (bar 0.8); the bare parser {parser:.0f}"
    )


def measure_declarations() -> None:
    """Print how often the detector alone is right."""
    right = count = 0
    for path in sorted(UDHR.glob("*.html")):
        extract = extract_html(path.read_bytes())
        said = read_tag(extract.language)
        if said is None or not is_detectable(said) or "-" in said:
            continue
        document = Document("1", "page.html", "", "T", None, tuple(extract.blocks), "h", 1, ())
        found = weigh(document).detected
        count += 1
        right += found is not None and (found.tag == said or any({found.tag, said} <= group for group in MACRO))
    print(f"declaration of human rights, {count} languages: the detector alone {right / count:.3f} (bar 0.97)")


def measure_handbook() -> None:
    """Print how often the rules are right, and the detector with the rules' names hidden."""
    pages: dict[tuple[str, str], Document] = {}
    for file in find_files([HANDBOOK]):
        if isinstance(file, FoundFile):
            blocks = tuple(extract_html(file.path.read_bytes()).blocks)
            pages[file.path.parent.name, file.path.name] = Document("1", file.key, "", "T", None, blocks, "h", 1, ())
    evidence = {place: weigh(document) for place, document in pages.items()}
    verdict = judge(evidence.values())
    by_rules = [are_alike(decide_language(one, verdict) or "", place[0].lower()) for place, one in evidence.items()]
    print(f"handbook, {len(pages):,} pages: rules {sum(by_rules) / len(by_rules):.4f} (bar 0.995)", end="")
    hidden = []
    copies = Counter((name, text) for (_, name), page in pages.items() for text in {b.text for b in page.blocks})
    for (language, name), document in pages.items():
        long = [block.text for block in document.blocks if len(block.text) > 20]
        shared = sum(len(text) for text in long if copies[name, text] > 2) / max(1, sum(map(len, long)))
        if language == "en-US" or shared <= 0.2:
            nameless = Document("1", "page.html", "", "T", None, document.blocks, "h", 1, ())
            hidden.append(are_alike(decide_language(weigh(nameless)) or "", language.lower()))
    print(f"; names hidden, {len(hidden)} translated pages: {sum(hidden) / len(hidden):.3f} (bar 0.97)")


def main() -> None:
    """Print the figures with their bars."""
    measure_speed("Python documentation", PYTHON_DOCS, 300)
    measure_speed("handbook", HANDBOOK, 600)
    measure_declarations()
    measure_handbook()


if __name__ == "__main__":
    main()
