"""One file from a server that fails: what has come is kept, nothing wrong is taken, nothing is sent to strangers."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kbjobs.downloads.file_download import WantedFile, fetch_file
from kbjobs.errors import DownloadError, JobCancelled, TransientError, UnavailableError
from kbjobs.net import requesting
from kbjobs.net.requesting import RefusedError, may_carry_token
from kbjobs.system.crashpoints import VARIABLE
from tests.conftest import FACTOR, ROOT, fill_disk, rest_full, wait_until
from tests.servers.hub_server import Fault, HubServer
from tests.servers.site_server import Page, SiteServer, make_certificate

NAME = "file.bin"
BODY = random.Random(1).randbytes(3_000_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
GIT = hashlib.sha1(b"blob %d\0" % len(BODY) + BODY).hexdigest()


@pytest.fixture
def hub() -> Iterator[HubServer]:  # without a model
    with HubServer() as server:
        server.add("acme/words", {NAME: BODY})
        yield server


def wanted(hub: HubServer, **more: Any) -> WantedFile:
    return WantedFile(f"{hub.url}/acme/words/resolve/main/{NAME}", **more)


KNOWN = [{}, {"size": len(BODY)}, {"sha256": SHA256}, {"size": len(BODY), "git_sha1": GIT}]


@pytest.mark.parametrize("known", KNOWN)
def test_a_file_comes_whole(hub: HubServer, tmp_path: Path, known: dict[str, Any]) -> None:
    told: list[tuple[int, int | None]] = []
    found = fetch_file(wanted(hub, **known), tmp_path / NAME, on_progress=lambda *facts: told.append(facts))
    assert (found.size, found.sha256) == (len(BODY), SHA256)
    assert (tmp_path / NAME).read_bytes() == BODY
    assert told[-1] == (len(BODY), len(BODY))
    assert {path.name for path in tmp_path.glob(f"{NAME}*")} == {NAME, f"{NAME}.lock"}


def test_an_empty_file(hub: HubServer, tmp_path: Path) -> None:
    hub.add("acme/words", {NAME: b""})
    assert fetch_file(wanted(hub, size=0), tmp_path / NAME).size == 0
    assert (tmp_path / NAME).read_bytes() == b""


@pytest.mark.parametrize("known", rest_full(KNOWN, KNOWN[0]))
def test_a_broken_connection_goes_on_where_it_broke(hub: HubServer, tmp_path: Path, known: dict[str, Any]) -> None:
    hub.faults[NAME] = [Fault(cut_after=1_000_000), Fault(cut_after=1_000_000)]
    assert fetch_file(wanted(hub, **known), tmp_path / NAME).sha256 == SHA256
    first, second, third = hub.starts(NAME)
    assert first == 0 < second < third
    assert hub.sent[NAME] < len(BODY) + 2_000_000


@pytest.mark.parametrize("status", rest_full([429, 500, 502, 503, 504], 503))
def test_a_server_in_trouble_is_asked_again_when_it_wishes(hub: HubServer, tmp_path: Path, status: int) -> None:
    hub.faults[NAME] = [Fault(status=status, headers={"Retry-After": "2"})]
    start = time.monotonic()
    assert fetch_file(wanted(hub), tmp_path / NAME).sha256 == SHA256
    assert time.monotonic() - start >= 2


def test_a_server_that_wishes_for_more_time_than_it_gets(hub: HubServer, tmp_path: Path) -> None:
    hub.faults[NAME] = [Fault(status=429, headers={"Retry-After": "600"})]
    start = time.monotonic()
    with pytest.raises(TransientError, match=r"is busy.*left alone for 600 s") as caught:
        fetch_file(wanted(hub), tmp_path / NAME)
    assert time.monotonic() - start < 5
    assert "run the same again later" in caught.value.hint


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with HubServer() as gone:
        url = gone.url
    with pytest.raises(TransientError, match=r"does not answer \(connection refused\)"):
        fetch_file(WantedFile(f"{url}/{NAME}"), tmp_path / NAME, give_up_seconds=0.5)


def test_a_server_that_falls_silent(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requesting, "IDLE_SECONDS", 0.5)
    hub.faults[NAME] = [Fault(silent=True)]
    assert fetch_file(wanted(hub), tmp_path / NAME).sha256 == SHA256
    assert len(hub.starts(NAME)) == 2


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault(alter=True, lasting=True), "its sha256 is"),
        (Fault(body=BODY[:-1], lasting=True), "has 2,999,999 bytes, it should have 3,000,000"),
        (Fault(body=BODY + b"x", lasting=True), "has 3,000,001 bytes, it should have 3,000,000"),
    ],
)
def test_what_is_not_what_was_announced_is_refused(hub: HubServer, tmp_path: Path, fault: Fault, says: str) -> None:
    hub.faults[NAME] = [fault]
    with pytest.raises(DownloadError, match=says):
        fetch_file(wanted(hub, size=len(BODY), sha256=SHA256), tmp_path / NAME)
    assert not (tmp_path / NAME).exists()
    assert not (tmp_path / f"{NAME}.part").exists()


def test_a_part_that_was_spoilt_is_found_out_and_fetched_anew(hub: HubServer, tmp_path: Path) -> None:
    stop_after(hub, tmp_path, sha256=SHA256)
    with (tmp_path / f"{NAME}.part").open("r+b") as part:
        part.write(b"\0" * 1000)  # a power cut, say
    assert fetch_file(wanted(hub, sha256=SHA256), tmp_path / NAME).sha256 == SHA256
    assert hub.starts(NAME)[-1] == 0


def stop_after(hub: HubServer, folder: Path, bytes_here: int = 1_000_000, **known: Any) -> None:
    """Fetch a part of the file, and give up."""
    hub.faults[NAME] = [Fault(cut_after=bytes_here)]
    with pytest.raises(TransientError, match=r"does not answer|broke off") as caught:
        fetch_file(wanted(hub, **known), folder / NAME, give_up_seconds=0.0)
    assert "goes on from there" in caught.value.hint
    assert 0 < (folder / f"{NAME}.part").stat().st_size <= bytes_here
    assert not (folder / NAME).exists()


@pytest.mark.parametrize("known", KNOWN)
def test_a_later_call_goes_on(hub: HubServer, tmp_path: Path, known: dict[str, Any]) -> None:
    stop_after(hub, tmp_path, **known)
    here = (tmp_path / f"{NAME}.part").stat().st_size
    assert fetch_file(wanted(hub, **known), tmp_path / NAME).sha256 == SHA256
    assert hub.starts(NAME) == [0, here]


@pytest.mark.parametrize("known", [{}, {"sha256": SHA256}])
def test_a_server_that_knows_no_ranges_starts_again(hub: HubServer, tmp_path: Path, known: dict[str, Any]) -> None:
    stop_after(hub, tmp_path, **known)
    hub.faults[NAME] = [Fault(ignores_range=True)]
    assert fetch_file(wanted(hub, **known), tmp_path / NAME).sha256 == SHA256


def test_a_file_that_was_changed_meanwhile_is_not_mixed(tmp_path: Path) -> None:
    """If-Range: the server answers with the whole of the new one."""
    other = BODY[:1_000] + b"x" * 2_000_000
    pages: dict[str, Any] = {"/f": Page(BODY, etag='"1"', reset_after=500_000)}

    with SiteServer(pages) as server:
        with pytest.raises(TransientError):
            fetch_file(WantedFile(f"{server.url}/f"), tmp_path / "f", give_up_seconds=0.0)
        pages["/f"] = Page(other, etag='"2"')
        fetch_file(WantedFile(f"{server.url}/f"), tmp_path / "f")
        assert server.requests[-1].headers.get("if-range") == '"1"'
    assert (tmp_path / "f").read_bytes() == other


@pytest.mark.parametrize("etag", ["", 'W/"1"'])
def test_without_proof_that_it_is_the_same_a_part_is_not_used(tmp_path: Path, etag: str) -> None:
    pages: dict[str, Any] = {"/f": Page(BODY, etag=etag, reset_after=500_000)}
    with SiteServer(pages) as server:
        with pytest.raises(TransientError):
            fetch_file(WantedFile(f"{server.url}/f"), tmp_path / "f", give_up_seconds=0.0)
        pages["/f"] = Page(BODY, etag=etag)
        fetch_file(WantedFile(f"{server.url}/f"), tmp_path / "f")
        assert "range" not in server.requests[-1].headers
    assert (tmp_path / "f").read_bytes() == BODY


def test_a_part_of_another_version_is_not_used(hub: HubServer, tmp_path: Path) -> None:
    stop_after(hub, tmp_path, sha256=SHA256)
    hub.add("acme/words", {NAME: BODY[::-1]})
    other = hashlib.sha256(BODY[::-1]).hexdigest()
    fetch_file(wanted(hub, sha256=other), tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == BODY[::-1]
    assert hub.starts(NAME) == [0, 0]


def test_a_file_that_never_ends_is_cut_off(tmp_path: Path) -> None:
    server = SiteServer({"/f": Page(b"x" * 100_000, endless=True)})
    with server, pytest.raises(DownloadError, match="sends more than 1,000,000 bytes"):
        fetch_file(WantedFile(f"{server.url}/f", most=1_000_000), tmp_path / "f")
    assert not (tmp_path / "f.part").exists()


# -- who may see the token ----------------------------------------------------------------------------


def test_the_token_goes_to_the_host_that_was_named_and_to_no_other(hub: HubServer, tmp_path: Path) -> None:
    with HubServer() as store:
        store.add("acme/words", {NAME: BODY})
        hub.faults[NAME] = [Fault(location=store.url + "{path}")]
        assert fetch_file(wanted(hub), tmp_path / NAME, token="hf_secret").sha256 == SHA256
        assert [asked.headers.get("authorization") for asked in hub.asked] == ["Bearer hf_secret"]
        assert [asked.headers.get("authorization") for asked in store.asked] == [None]


def test_the_token_does_not_come_back_after_a_detour(hub: HubServer, tmp_path: Path) -> None:
    """Somebody else has then chosen the address that it would be sent to."""
    with HubServer() as store:
        store.add("acme/words", {NAME: BODY})
        store.faults[NAME] = [Fault(location=hub.url + "{path}")]
        hub.faults[NAME] = [Fault(location=store.url + "{path}"), None]
        fetch_file(wanted(hub), tmp_path / NAME, token="hf_secret")
        told = [asked.headers.get("authorization") for asked in (*hub.asked, *store.asked)]
        assert told == ["Bearer hf_secret", None, None]


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("https://huggingface.co/x", True),
        ("http://127.0.0.1:8000/x", True),
        ("http://[::1]/x", True),
        ("http://localhost/x", True),
        ("http://hub.example.org/x", False),
        ("http://192.168.1.5/x", False),
        ("http://127.0.0.1.example.org/x", False),
    ],
)
def test_the_token_is_sent_by_https_or_on_this_machine(url: str, may: bool) -> None:
    assert may_carry_token(url) is may


def test_an_encrypted_answer_is_not_followed_into_the_open(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "public.pem"))
    with SiteServer({"/f": Page(location=f"{hub.url}/f"), "/g": b"whole"}, certificate=certificate) as server:
        assert fetch_file(WantedFile(f"{server.url}/g"), tmp_path / "g").size == 5
        with pytest.raises(DownloadError, match="without encryption; it is not followed"):
            fetch_file(WantedFile(f"{server.url}/f"), tmp_path / "f")
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(DownloadError, match="certificate of the server is not valid"):
            fetch_file(WantedFile(f"{server.url}/f"), tmp_path / "f")


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://[::", "//", "http://"])
def test_a_redirect_to_nowhere(tmp_path: Path, location: str) -> None:
    with SiteServer({"/f": Page(location=location)}) as server, pytest.raises((DownloadError, RefusedError)):
        fetch_file(WantedFile(f"{server.url}/f"), tmp_path / "f")


def test_a_redirect_that_goes_round_in_circles(tmp_path: Path) -> None:
    with SiteServer({"/f": Page(location="/f")}) as server, pytest.raises(DownloadError, match="from one address"):
        fetch_file(WantedFile(f"{server.url}/f"), tmp_path / "f")


@pytest.mark.parametrize(
    "answer", [b"", b"\0\1\2\3", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300]
)
def test_an_answer_that_is_none(tmp_path: Path, answer: bytes) -> None:
    with SiteServer({"/f": Page(raw=answer or b"\r\n")}) as server, pytest.raises(TransientError):
        fetch_file(WantedFile(f"{server.url}/f"), tmp_path / "f", give_up_seconds=0.0)


# -- this machine -------------------------------------------------------------------------------------


def test_a_wish_to_stop_is_heard_while_the_server_is_silent(hub: HubServer, tmp_path: Path) -> None:
    hub.rate = 400_000.0
    asked = time.monotonic() + 1.0

    def check() -> None:
        if time.monotonic() > asked:
            raise JobCancelled("stopped")

    start = time.monotonic()
    with pytest.raises(JobCancelled):
        fetch_file(wanted(hub), tmp_path / NAME, check=check)
    assert time.monotonic() - start < 3
    assert (tmp_path / f"{NAME}.part").stat().st_size > 0


def test_a_disk_that_fills_up_keeps_what_has_come(
    hub: HubServer, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filler = fill_disk(small_disk, 1_000_000)
    with pytest.raises(UnavailableError, match=r"MB are free on the disk of .*, file.bin needs"):
        fetch_file(wanted(hub, sha256=SHA256), small_disk / NAME)
    monkeypatch.setattr("kbjobs.downloads.file_download.SPARE_BYTES", -(10**9))  # somebody else fills it meanwhile
    with pytest.raises(UnavailableError, match="is full") as caught:
        fetch_file(wanted(hub, sha256=SHA256), small_disk / NAME)
    assert "The partial download is kept" in caught.value.hint
    here = (small_disk / f"{NAME}.part").stat().st_size
    assert 0 < here < len(BODY)
    filler.unlink()
    assert fetch_file(wanted(hub, sha256=SHA256), small_disk / NAME).sha256 == SHA256
    assert hub.starts(NAME)[-1] == here


def test_of_two_at_once_the_second_takes_what_the_first_has_fetched(hub: HubServer, tmp_path: Path) -> None:
    hub.rate = 3_000_000.0
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(fetch_file(wanted(hub), tmp_path / NAME).sha256)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [SHA256] * 3
    assert hub.starts(NAME) == [0]


PROGRAM = """
import sys
from pathlib import Path
from kbjobs.downloads.file_download import WantedFile, fetch_file
size, sha = (int(sys.argv[3]), sys.argv[4]) if len(sys.argv) > 3 else (None, None)
print(fetch_file(WantedFile(sys.argv[1], size, sha), Path(sys.argv[2])).sha256)
"""

Start = Callable[..., "subprocess.Popen[str]"]


def start(hub: HubServer, target: Path, *known: object, **environment: str) -> subprocess.Popen[str]:
    """Fetch the file in a process of its own."""
    command = [sys.executable, "-c", PROGRAM, wanted(hub).url, str(target), *map(str, known)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT), **environment}
    )


@pytest.mark.parametrize("known", [(), (len(BODY), SHA256)])
@pytest.mark.parametrize("point", ["download.noted", "download.received", "download.checked", "download.renamed"])
def test_a_kill_at_each_point(hub: HubServer, tmp_path: Path, point: str, known: tuple[object, ...]) -> None:
    marker = tmp_path / "killed"
    with start(hub, tmp_path / NAME, *known, **{VARIABLE: f"{point}:{marker}"}) as process:
        assert process.wait(30) == -signal.SIGKILL
    with start(hub, tmp_path / NAME, *known) as process:
        assert process.communicate(timeout=30)[0].strip() == SHA256
    assert (tmp_path / NAME).read_bytes() == BODY


@pytest.mark.long
def test_kills_at_any_byte(hub: HubServer, tmp_path: Path) -> None:
    """Nothing is sent twice but what was on its way, the file is right in the end."""
    kills = 5 * FACTOR
    body = random.Random(2).randbytes(8_000_000 * kills)
    sha256 = hashlib.sha256(body).hexdigest()
    hub.add("acme/words", {NAME: body})
    hub.rate = 40_000_000.0
    part = tmp_path / f"{NAME}.part"
    chance = random.Random(3)
    for number in range(kills):
        wish = int((number + chance.random()) / (kills + 1) * len(body))
        with start(hub, tmp_path / NAME, len(body), sha256) as process:
            wait_until(lambda wish=wish: part.exists() and part.stat().st_size > wish, 30, 0.002)
            process.kill()
    hub.rate = None
    with start(hub, tmp_path / NAME, len(body), sha256) as process:
        assert process.communicate(timeout=60)[0].strip() == sha256
    starts = hub.starts(NAME)
    assert starts == sorted(set(starts))
    assert hub.sent[NAME] - len(body) <= 1_000_000 * kills
