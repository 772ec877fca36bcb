"""The tutorial and the how-to guides: every command of theirs is run, and prints what the page shows."""

from __future__ import annotations

import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pypdfium2
import pytest

from kbjobs.config.home import Home
from kbjobs.daemon.launching import is_running, stop_daemon
from tests.conftest import ROOT
from tests.servers.chroma_process import ChromaProcess
from tests.servers.languages_server import LanguagesServer
from tests.servers.openai_server import OpenAIServer
from tests.servers.pinecone_server import PineconeServer
from tests.servers.s3_servers import StartedServers
from tests.servers.site_server import SiteServer
from tests.servers.wiki_server import WikiServer
from tests.tools.transcripts import Session, follow, is_shown, read_steps

PAGES = ROOT / "docs"
HOWTOS = sorted(path.stem for path in (PAGES / "howto").glob("*.md") if path.stem != "index")
OpenSession = Callable[..., Session]


@pytest.fixture
def session(engines: Path) -> Iterator[OpenSession]:
    """Opens a shell for a user with the example pages in ~/pages, the clone in ~/kbjobs, and the small model.

    The home folder's name is as long as that of the pages, /home/ada, so that tables are as wide.
    """
    user = Path("/tmp", secrets.token_hex(2))
    user.mkdir(mode=0o700)
    home = Home(user / ".local" / "share" / "kbjobs")
    home.path.mkdir(parents=True, mode=0o700)
    home.engines.symlink_to(engines)
    clone = user / "kbjobs"
    clone.mkdir()
    shutil.copytree(ROOT / "examples", clone / "examples")
    (clone / ".venv").symlink_to(Path(sys.executable).parents[1])
    (clone / "Makefile").write_text("demo:\n\t@.venv/bin/kbjobs demo\n")
    shutil.copytree(ROOT / "examples" / "sources" / "preparedness", user / "pages")

    def open_session(folder: str = "", names: Mapping[str, str] | None = None, **variables: str) -> Session:
        environment = {
            "HOME": str(user),
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "TZ": "UTC",
            "EDITOR": "true",
            "NO_PROXY": "127.0.0.1",
            "HF_ENDPOINT": "http://127.0.0.1:9",
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables,
        }
        if folder != "kbjobs":  # the tutorial chooses the small model itself
            (home.path / "config.toml").write_text('model = "all-MiniLM-L6-v2"\n')
        return Session(user, environment, names or {}, folder)

    yield open_session
    if is_running(home):
        stop_daemon(home, now=True, seconds=30)
    shutil.rmtree(user, ignore_errors=True)


pytestmark = pytest.mark.usefixtures("minilm")
# Guides whose commands are written for a shell alone: tests/test_readme.py checks their options, and what is named here
# runs what they show.
RUN_ELSEWHERE = {
    "assistant": "tests/commands/test_mcp.py",
    "builder": "tests/commands/test_builder.py",
    "job-type": "tests/phases/test_other_package.py",
    "ray": "tests/embedding/cluster/test_cluster_embedder.py",
    "render": "tests/scraping/rendering/test_rendering.py",
}
# Guides that need nothing but the example pages: those for a new user, and those whose source wiki is indexed before.
FRESH = ("folder", "install", "zim")
INDEXED = ("backup", "chain", "monitor", "night", "operate", "python", "search", "tags-and-map")
EVERYDAY = ("zim", "night", "search")
WITH_SERVER = ("chroma", "openai", "packs", "pdf", "pinecone", "site", "translate", "wiki")
PREPARED = {
    "python": ("mkdir ~/scripts", "cd ~/scripts"),
    "night": ("kbjobs sources add manuals ./pages/food", "kbjobs sources add guide ./pages/water"),
}
INDEX = "kbjobs sources add wiki ./pages --base-url https://wiki.example.org/ && kbjobs run index-offline wiki --quiet"


def guide(name: str) -> Path:
    return PAGES / "howto" / f"{name}.md"


def check_page(page: Path, session: Session) -> None:
    """Follow the page; fails with all that is printed otherwise than it shows."""
    if differences := follow(page, session):
        pytest.fail("\n".join(differences), pytrace=False)


def prepare(session: Session, *commands: str) -> Session:
    """Run what a guide takes for granted."""
    for command in commands:
        session.run(command)
    return session


def some_every_day(names: tuple[str, ...]) -> list[Any]:
    return [name if name in EVERYDAY else pytest.param(name, marks=pytest.mark.full) for name in names]


@pytest.mark.processes
@pytest.mark.slow
def test_the_tutorial(session: OpenSession) -> None:
    check_page(PAGES / "tutorial.md", session("kbjobs"))


@pytest.mark.processes
@pytest.mark.full
def test_the_example_of_the_readme(session: OpenSession) -> None:
    check_page(ROOT / "README.md", session())


def test_the_demo_of_the_readme_is_that_of_the_tutorial() -> None:
    shown, told = (
        re.search(r"prints:\n\n```text\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)
        for path in (ROOT / "README.md", PAGES / "tutorial.md")
    )
    assert shown is not None and told is not None
    assert is_shown(f"…{shown[1]}…", told[1])


def test_each_guide_is_followed_by_a_test() -> None:
    assert sorted((*FRESH, *INDEXED, *WITH_SERVER, *RUN_ELSEWHERE)) == HOWTOS
    for name, test in RUN_ELSEWHERE.items():
        assert not [step for step in read_steps(guide(name).read_text()) if step.command], name
        assert (ROOT / test).exists()


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("name", some_every_day(FRESH))
def test_a_guide_for_a_new_user(session: OpenSession, name: str) -> None:
    check_page(guide(name), session())


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("name", some_every_day(INDEXED))
def test_a_guide_for_an_indexed_source(session: OpenSession, name: str) -> None:
    opened = prepare(session(), INDEX, *PREPARED.get(name, ()))
    check_page(guide(name), opened)


@pytest.mark.processes
@pytest.mark.full
def test_the_guide_of_a_site(session: OpenSession) -> None:
    pages = ROOT / "examples" / "sources" / "preparedness"
    files = {f"/{path.relative_to(pages)}": path.read_text() for path in pages.rglob("*.html")}
    links = "".join(f"<li><a href='{name}'>{name}</a></li>" for name in files)
    start = f"<html lang=en><title>Guide</title><h1>Guide</h1><p>All pages of this guide.</p><ul>{links}</ul></html>"
    with SiteServer({"/": start, **files}) as server:
        check_page(guide("site"), session(names={"https://guide.example.org": server.url}))


@pytest.mark.processes
@pytest.mark.full
def test_the_guide_of_a_wiki(session: OpenSession, tmp_path: Path, mediawiki: Path) -> None:
    knots = {
        "Bowline": "The bowline makes a loop that does not slip. It can be untied even after a heavy load.",
        "Clove hitch": "The clove hitch fastens a rope to a post in two turns. It slips if the load swings.",
        "Sheet bend": "The sheet bend joins two ropes, a thick one and a thin one.",
    }
    with WikiServer(tmp_path / "wiki", mediawiki, knots) as server:
        check_page(guide("wiki"), session(names={"https://wiki.example.org": server.url}))


@pytest.mark.processes
@pytest.mark.full
def test_the_guide_of_pdfs(session: OpenSession, installation_guides: Path) -> None:
    opened = session()
    manuals = opened.user / "manuals"
    manuals.mkdir()
    with pypdfium2.PdfDocument(installation_guides / "install.en.pdf") as whole, pypdfium2.PdfDocument.new() as some:
        some.import_pages(whole, range(30, 50))  # twenty pages are read in a moment
        some.save(manuals / "install.en.pdf")
    check_page(guide("pdf"), opened)


@pytest.mark.processes
@pytest.mark.full
def test_the_guide_of_openai(session: OpenSession, openai_api: OpenAIServer) -> None:
    opened = session(names={"sk-example": openai_api.key}, OPENAI_BASE_URL=openai_api.url)
    check_page(guide("openai"), prepare(opened, INDEX))


@pytest.mark.processes
@pytest.mark.full
def test_the_guide_of_packs(session: OpenSession, s3_servers: StartedServers) -> None:
    server = s3_servers["weed"]
    opened = session(names={"https://s3.example.org": server.endpoint})
    check_page(guide("packs"), prepare(opened, INDEX))


@pytest.mark.processes
@pytest.mark.full
def test_the_guide_of_pinecone(session: OpenSession, openai_api: OpenAIServer, pinecone: PineconeServer) -> None:
    opened = session(
        names={"example-key": pinecone.key},
        OPENAI_BASE_URL=openai_api.url,
        OPENAI_API_KEY=openai_api.key,
        PINECONE_CONTROLLER_HOST=pinecone.url,
    )
    add = INDEX.replace("index-offline", "index-online")
    check_page(guide("pinecone"), prepare(opened, add))


@pytest.mark.processes
@pytest.mark.full
def test_the_guide_of_a_chroma_server(session: OpenSession, tmp_path: Path) -> None:
    with ChromaProcess(tmp_path / "chroma") as chroma:
        opened = session(names={"http://chroma.example.org:8000": chroma.url})
        check_page(guide("chroma"), prepare(opened, INDEX.partition(" && ")[0]))


@pytest.mark.processes
@pytest.mark.full
def test_the_guide_of_translation(session: OpenSession, languages_server: LanguagesServer) -> None:
    languages_server.offer("en", "es")
    languages_server.offer("es", "en")
    opened = session(KBJOBS_LANGUAGES_INDEX=languages_server.index_url)
    (opened.user / "guide.md").write_text("# Water\n\nBoil it.\n")
    check_page(guide("translate"), opened)


# -- the tool itself -----------------------------------------------------------------------------------


def test_commands_and_files_are_read() -> None:
    text = "Then `a.toml`:\n\n```toml\nx = 1\n```\n\n```console\n$ one \\\n> two\nout\n\n$ three\n```\n"
    steps = [(step.file, step.command, step.shown) for step in read_steps(text)]
    assert steps == [("a.toml", "", "x = 1\n"), ("", "one \\\ntwo", "out"), ("", "three", "")]


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("done in 1m 40s", "done in 3.2s", True),
        ("19 documents", "18 documents", False),
        ("a\n…\nz", "a\nb\nc\nz", True),
        ("a\n…\nz", "a\nz", True),
        ("cosine 0.655", "cosine 0.661", True),
        ("a  b", "a b", True),
    ],
)
def test_what_may_differ_is_told_from_what_may_not(shown: str, printed: str, same: bool) -> None:
    assert is_shown(shown, printed) is same
