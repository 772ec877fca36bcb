"""The documentation as ``kbjobs help`` prints it: whole pages, and symptoms with their remedies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from kbjobs.config.shipped_files import find_shipped
from kbjobs.errors import NotFoundError

SYMPTOMS = "troubleshooting"
LEAST_LETTERS = 12  # of a message's fixed words: fewer would fit messages of anything
LEFT_OUT = ("index", "contributing")  # tables of contents, and pages for contributors


@dataclass(frozen=True, slots=True)
class HelpTopic:
    """A page of the documentation, or a symptom of the troubleshooting page.

    Args:
        slug: its name on the command line, such as ``howto/zim`` or ``the-disk-is-full``.
        title: its heading.
        text: its Markdown, with the heading.
    """

    slug: str
    title: str
    text: str


def list_topics() -> list[HelpTopic]:
    """List every page, then every symptom.

    Raises:
        NotFoundError: the documentation is not installed.
    """
    folder = find_shipped("docs", "docs")
    pages = sorted(folder.rglob("*.md"))
    if not pages:
        raise NotFoundError(f"there are no pages in {folder}", "Install kbjobs again: its pages come with it.")
    shown = [page for page in pages if page.stem not in LEFT_OUT and page.parent.name not in LEFT_OUT]
    topics = [_read_page(page, folder) for page in shown]
    symptoms = [symptom for topic in topics if topic.slug == SYMPTOMS for symptom in _split_symptoms(topic.text)]
    return [*topics, *symptoms]


def find_topics(words: str) -> list[HelpTopic]:
    """Find topics by words: by the exact slug, else by the page's name or title, else by all words in slug or title.

    Args:
        words: a slug, or words of a title in any order.

    Raises:
        NotFoundError: no topic matches; the hint names the nearest.
    """
    topics = list_topics()
    wanted = _slug(words)
    if exact := [topic for topic in topics if wanted == topic.slug]:
        return exact
    if named := [topic for topic in topics if wanted in (topic.slug.rpartition("/")[2], _slug(topic.title))]:
        return named
    parts = wanted.split("-")
    found = [topic for topic in topics if all(part in f"{topic.slug} {_slug(topic.title)}" for part in parts)]
    if not found:
        near = get_close_matches(wanted, [topic.slug for topic in topics], 1)
        hint = f"Did you mean kbjobs help {near[0]}? " if near else ""
        raise NotFoundError(f"there is no help on {words!r}", hint + "kbjobs help lists all topics.")
    return found


def find_symptom(message: str) -> HelpTopic | None:
    """The symptom whose page quotes a message like this one; of several, the one that quotes most of it.

    Args:
        message: what the program says. The page quotes it after ``Message:``; its ``…`` stand for what varies.
    """
    with suppress(NotFoundError, OSError):  # without the pages the message has to do
        page = find_shipped("docs", "docs") / f"{SYMPTOMS}.md"
        scored = [(_count_quoted(symptom, message), symptom) for symptom in _split_symptoms(page.read_text("utf-8"))]
        score, best = max(scored, key=lambda pair: pair[0], default=(0, None))
        return best if score >= LEAST_LETTERS else None
    return None


def _count_quoted(symptom: HelpTopic, message: str) -> int:
    """How many letters of a message a symptom quotes; 0 if the message has not all that it quotes."""
    lines = "\n".join(line for line in symptom.text.splitlines() if line.startswith("Message: "))
    return max((_count_letters(quoted.split("…"), message) for quoted in re.findall('"([^"]+)"', lines)), default=0)


def _count_letters(parts: list[str], message: str) -> int:
    place = 0
    for part in parts:
        found = message.find(part, place)
        if found < 0:
            return 0
        place = found + len(part)
    return sum(map(len, parts))


def _read_page(page: Path, folder: Path) -> HelpTopic:
    text = page.read_text(encoding="utf-8")
    title = next((line[2:].strip() for line in text.splitlines() if line.startswith("# ")), page.stem)
    return HelpTopic(page.relative_to(folder).with_suffix("").as_posix(), title, text)


def _split_symptoms(text: str) -> Iterator[HelpTopic]:
    """Yield the sections under third-level headings."""
    for section in re.split(r"^(?=#{2,3} )", text, flags=re.MULTILINE):
        if section.startswith("### "):
            title = section.partition("\n")[0][4:].strip()
            yield HelpTopic(_slug(title), title, section.strip() + "\n")


def _slug(text: str) -> str:
    """Turn a heading into an anchor as forges and Sphinx do; slashes of paths stay."""
    return re.sub(r"[\s_]+", "-", re.sub(r"[^\w\s/-]", "", text.lower())).strip("-")
