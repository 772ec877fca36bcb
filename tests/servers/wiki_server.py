"""A real MediaWiki on the loopback: Debian's packages, PHP's own web server and SQLite.

``with WikiServer(folder, packages, {"Knots": "A knot."}) as wiki``: ``wiki.url`` is where it starts. Its pages are
written, moved and deleted by its own maintenance scripts. ``packages`` is what tests/real/fetch_inputs.sh has unpacked.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

EXTENSIONS = (
    "ctype dom fileinfo iconv intl mbstring pdo pdo_sqlite sqlite3 tokenizer xml xmlreader xmlwriter simplexml posix"
)
SETTINGS = """
$wgRightsUrl = "https://creativecommons.org/licenses/by-sa/4.0/";
$wgRightsText = "CC BY-SA 4.0";
$wgJobRunRate = 0;
$wgParserCacheType = CACHE_NONE;  // it counts in seconds: a link to a page that was made in the same one stays red
$wgEnableUploads = true;
"""
# What a wiki writes, and what the packages link to /etc and /var.
MADE_ANEW = ("LocalSettings.php", "config", "extensions", "images", "extensions-core")
STARTING = 20.0  # seconds


def link_or_copy(source: str, target: str) -> None:
    """A second name for a file, or a copy where the target is on another file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


class WikiServer:
    """A wiki in a folder of its own, which must be empty.

    Args:
        folder: where its files, its database and its copy of MediaWiki are.
        packages: the unpacked packages: ``bin``, ``lib`` and ``share``.
        pages: the texts of its pages by title; a main page is there anyway.
        settings: more lines of LocalSettings.php.
    """

    def __init__(self, folder: Path, packages: Path, pages: dict[str, str], settings: str = "") -> None:
        self.folder, self._packages, self._pages, self._settings = folder, packages, pages, settings
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.url = f"http://{self._address}"
        self.root = folder / "wiki"
        self._server: subprocess.Popen[bytes] | None = None
        self._php = [str(next((packages / "bin").glob("php8*")))]
        ini = folder / "ini"
        self._environment = os.environ | {"PHP_INI_SCAN_DIR": str(ini), "PHP_CLI_SERVER_WORKERS": "2"}
        ini.mkdir(parents=True)
        modules = next((packages / "lib" / "php").glob("2*"))
        lines = [f"extension_dir={modules}", *(f"extension={name}.so" for name in EXTENSIONS.split())]
        (ini / "all.ini").write_text("\n".join(lines))

    def __enter__(self) -> Self:
        self._install()
        self.write(self._pages)
        self.maintain("initSiteStats", "--update")
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _install(self) -> None:
        source = self._packages / "share" / "mediawiki"
        shutil.copytree(
            source, self.root, symlinks=True, copy_function=link_or_copy,
            ignore=lambda folder, names: MADE_ANEW if Path(folder) == source else (),
        )  # fmt: skip
        for place in (self.root / "extensions", self.root / "images", self.folder / "data", self.folder / "texts"):
            place.mkdir()
        self.maintain(
            "install", "--dbtype=sqlite", f"--dbpath={self.folder / 'data'}", "--dbname=wiki",
            f"--server={self.url}", "--scriptpath=", "--lang=en", "--pass=only-for-this-minute", "--skins=Vector",
            "Test Wiki", "Admin",
        )  # fmt: skip
        self.configure(SETTINGS + self._settings)
        # PHP's server would send a missing file to index.php.
        (self.root / "robots.txt").write_text("User-agent: *\nDisallow: /private\n")

    def configure(self, settings: str) -> None:
        """Add lines to LocalSettings.php; they count from the next request on."""
        with (self.root / "LocalSettings.php").open("a") as file:
            file.write(settings)

    def maintain(self, script: str, *arguments: str, text: str = "") -> str:
        """Run one of MediaWiki's maintenance scripts; returns what it printed."""
        done = subprocess.run(
            [*self._php, "maintenance/run.php", script, *arguments], cwd=self.root, env=self._environment, check=False,
            capture_output=True, text=True, input=text,
        )  # fmt: skip
        if done.returncode:
            raise AssertionError(f"{script} failed: {done.stdout}{done.stderr}")
        return done.stdout

    def write(self, pages: dict[str, str]) -> None:
        """Write pages, new or again, as edits that recent changes show."""
        texts = self.folder / "texts"
        shutil.rmtree(texts)
        texts.mkdir()
        # A file's name is a title where a title may be a file's name.
        plain = {title: text for title, text in pages.items() if "/" not in title and len(title) < 200}
        for title, text in plain.items():
            (texts / f"{title}.txt").write_text(text)
        if plain:
            files = [str(path) for path in sorted(texts.iterdir())]
            self.maintain("importTextFiles", "--user", "Admin", "--rc", "--overwrite", "--summary", "seed", *files)
        for title in pages.keys() - plain.keys():
            self.maintain("edit", "--user", "Admin", title, text=pages[title])
        self.maintain("runJobs")

    def move(self, old: str, new: str, leaves_redirect: bool = True) -> None:
        """Move a page, as its log shows."""
        (self.folder / "moves").write_text(f"{old}|{new}\n")
        options = [] if leaves_redirect else ["--noredirects"]
        self.maintain("moveBatch", "--u", "Admin", "--r", "moved", *options, str(self.folder / "moves"))
        self.maintain("runJobs")

    def delete(self, *titles: str) -> None:
        """Delete pages, as the log shows."""
        (self.folder / "titles").write_text("\n".join(titles) + "\n")
        self.maintain("deleteBatch", "--u", "Admin", "--r", "deleted", str(self.folder / "titles"))
        self.maintain("runJobs")

    def start(self) -> None:
        """Answer requests; returns when it does."""
        log = (self.folder / "access.log").open("ab")
        self._server = subprocess.Popen(
            [*self._php, "-S", self._address, "-t", str(self.root)], cwd=self.root, env=self._environment,
            stderr=log, stdout=log, start_new_session=True,
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + STARTING
        while True:
            try:
                self.ask(action="query", meta="siteinfo")
                return
            except urllib.error.HTTPError:
                raise
            except OSError:
                if time.monotonic() > deadline or self._server.poll() is not None:
                    self.stop()
                    raise
                time.sleep(0.05)

    def stop(self) -> None:
        """End the server and its workers."""
        if self._server is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait()
            self._server = None

    def ask(self, **parameters: Any) -> Any:
        """What its API answers."""
        query = urlencode({"format": "json", "formatversion": 2, **parameters})
        with urllib.request.urlopen(f"{self.url}/api.php?{query}", timeout=30) as answer:
            return json.loads(answer.read())

    def requests(self) -> list[str]:
        """The paths and queries that were asked for, without those of :meth:`ask`'s start-up look."""
        lines = (self.folder / "access.log").read_text(errors="replace").splitlines()
        return [line.split("GET ", 1)[1] for line in lines if "GET " in line]

    def forget_requests(self) -> None:
        """Begin the list of requests anew."""
        (self.folder / "access.log").write_text("")
