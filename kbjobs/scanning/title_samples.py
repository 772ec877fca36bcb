"""Learning from a sample which parts the titles of a source's pages repeat."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence

from kbjobs.content.source_files import HTML_SUFFIXES, FoundFile
from kbjobs.content.titles import HEAD_LIMIT, SiteTitles, find_repeated, read_title
from kbjobs.scanning.enumeration import FactStore

SAMPLE = 60
"""Most pages whose titles are examined, spread evenly over those to read."""

LATER_SAMPLE = 20
"""Least titles needed to learn more about a source that was read before: a few new pages may be a single chapter."""

_FACT = "site titles"


class TitleRules:
    """The repeated parts of a source's titles, kept in its ledger. ``site`` holds the parts that are removed.

    A run that continues an interrupted one learns nothing new from the same files, and reads the rest by the same
    rules. A source that was first read by a version without rules keeps its titles: another title makes other passages,
    which may have been paid for.

    Args:
        facts: the ledger.
        is_new: whether the source has no documents yet, or all are read again.
    """

    def __init__(self, facts: FactStore, is_new: bool) -> None:
        self._facts = facts
        stored = facts.fact(_FACT)
        self._is_used = stored is not None or is_new
        prefixes, suffixes, self._begun = json.loads(stored) if stored else ((), (), [])
        self.site = SiteTitles(tuple(prefixes), tuple(suffixes))
        self._min_titles = LATER_SAMPLE if stored and not is_new else 0

    def learn(self, place: str, sample: Callable[[], Iterable[str]]) -> None:
        """Learn from the titles of some pages of the files ('') or an archive, unless this run has done so already."""
        if not self._is_used or place in self._begun:
            return
        titles = list(filter(None, sample()))
        if len(titles) >= self._min_titles:
            self.site = self.site.joined(find_repeated(titles))
        self._begun.append(place)
        self._write()

    def finish(self) -> None:
        """Record that all was read, so that later changes may teach more."""
        if self._begun:
            self._begun = []
            self._write()

    def _write(self) -> None:
        self._facts.set_fact(_FACT, json.dumps([*self.site, self._begun], ensure_ascii=False))


def sample_titles(files: Sequence[FoundFile]) -> list[str]:
    """Read the titles of some HTML pages."""
    pages = [file for file in files if file.path.suffix.lower() in HTML_SUFFIXES]
    titles = []
    for file in pages[:: max(1, len(pages) // SAMPLE)][:SAMPLE]:
        try:
            with file.path.open("rb") as page:
                titles.append(read_title(page.read(HEAD_LIMIT)))
        except OSError:  # reported when the document itself is read
            continue
    return titles
