"""Pages that want out of the browser, or want to keep it: nothing is reached, nothing stays, the crawl goes on."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.context import PhaseResult
from kbjobs.scraping import crawl
from kbjobs.scraping.rendering import page_browser, page_gate, page_rendering
from kbjobs.scraping.rendering.browser_processes import find_tree
from tests.scraping.rendering.conftest import script, with_script
from tests.scraping.test_scrape import files_of, page, scrape_site
from tests.servers.site_server import Answer, Page, Request, SiteServer

pytestmark = [pytest.mark.usefixtures("chromium"), pytest.mark.slow]
METADATA = "169.254.169.254"


@contextlib.contextmanager
def listening(kind: socket.SocketKind) -> Iterator[tuple[int, list[bytes]]]:
    """A port of the loopback, and what arrives there."""
    heard: list[bytes] = []
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            sock.listen()

        def hear() -> None:
            with contextlib.suppress(OSError):
                while True:
                    heard.append(sock.accept()[1] if kind == socket.SOCK_STREAM else sock.recv(2048))

        threading.Thread(target=hear, daemon=True).start()
        yield sock.getsockname()[1], heard
        sock.shutdown(socket.SHUT_RDWR) if kind == socket.SOCK_STREAM else None


def render(home: Home, url: str, source: str = "site", **params: Any) -> PhaseResult:
    return scrape_site(home, url, source, render="always", max_depth=20, **params)


def chromiums() -> list[int]:
    """The living processes of browsers below this one."""
    found = []
    for process in find_tree(os.getpid()):
        with contextlib.suppress(OSError):
            if b"chromium" in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")[0]:
                found.append(process)
    return found


def read_net_log(file: Path) -> tuple[set[str], set[str]]:
    """What Chromium connected or sent to, and how it looked names up, by its own log.

    It also "connects" UDP sockets, to see which address it would have; that sends nothing.
    """
    log = json.loads(file.read_text())
    kinds = {number: name for name, number in log["constants"]["logEventTypes"].items()}
    connected, looked_up = set(), set()
    for event in log["events"]:
        kind, given = kinds[event["type"]], event.get("params", {})
        if kind == "TCP_CONNECT_ATTEMPT" and "address" in given:
            connected.add(given["address"])
        if kind == "UDP_BYTES_SENT":
            connected.add("UDP")
        if kind.startswith(("HOST_RESOLVER_SYSTEM_TASK", "HOST_RESOLVER_DNS_TASK", "DNS_TRANSACTION")):
            looked_up.add(kind)
    return connected, looked_up


def test_no_way_leads_out(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net_log = tmp_path / "net.json"
    monkeypatch.setattr(page_browser, "SWITCHES", (*page_browser.SWITCHES, f"--log-net-log={net_log}"))
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret of this machine")
    with listening(socket.SOCK_STREAM) as (tcp, dialled), listening(socket.SOCK_DGRAM) as (udp, packets):
        tries = f"""
          const note = (name) => (found) => {{ document.title += ' ' + name + ':' + String(found).slice(0, 40); }};
          const failed = (name) => () => {{ document.title += ' ' + name + ':failed'; }};
          for (const [name, url] of [['port', 'http://127.0.0.1:{tcp}/'], ['meta', 'http://{METADATA}/latest/'],
              ['redirect', '/to-metadata'], ['local', 'http://localhost:{tcp}/'], ['file', 'file://{secret}'],
              ['six', 'http://[::1]:{tcp}/'], ['decimal', 'http://2852039166/'], ['put', '/write']])
            fetch(url, {{method: name === 'put' ? 'PUT' : 'GET', mode: 'no-cors'}})
              .then((r) => r.text()).then(note(name), failed(name));
          for (const url of ['ws://127.0.0.1:{tcp}/', 'wss://127.0.0.1:{tcp}/'])
            new WebSocket(url).onerror = failed('ws');
          navigator.sendBeacon('http://127.0.0.1:{tcp}/beacon', 'x');
          new EventSource('http://127.0.0.1:{tcp}/events');
          const peer = new RTCPeerConnection({{iceServers: [{{urls: 'stun:127.0.0.1:{udp}'}},
            {{urls: 'turn:127.0.0.1:{tcp}?transport=tcp', username: 'u', credential: 'c'}}]}});
          peer.createDataChannel('x');
          peer.createOffer().then((offer) => peer.setLocalDescription(offer));
          navigator.serviceWorker.register('/worker.js').then(note('worker'), failed('worker'));
          document.head.insertAdjacentHTML('beforeend', '<link rel=dns-prefetch href="//prefetched.example.org">'
            + '<link rel=preconnect href="http://127.0.0.1:{tcp}"><link rel=prefetch href="http://127.0.0.1:{tcp}/p">'
            + '<link rel=stylesheet href="http://127.0.0.1:{tcp}/s.css"><img src="http://127.0.0.1:{tcp}/i.png">'
            + '<iframe src="file://{secret}"></iframe><iframe src="http://127.0.0.1:{tcp}/frame"></iframe>');
          const rules = document.createElement('script'); rules.type = 'speculationrules';
          rules.textContent = JSON.stringify({{prefetch: [{{source: 'list', urls: ['http://127.0.0.1:{tcp}/rule']}}]}});
          document.head.append(rules);
          try {{ new WebTransport('https://127.0.0.1:{udp}/').closed.catch(failed('transport')) }} catch {{}}
          window.open('http://127.0.0.1:{tcp}/window');
          document.body.insertAdjacentHTML('beforeend',
            '<form id=f action="http://127.0.0.1:{tcp}/form" target=_blank method=post></form>');
          document.getElementById('f').submit();
        """
        pages: dict[str, Answer] = {
            "/": with_script(tries), "/to-metadata": Page(location=f"http://{METADATA}/latest/meta-data/"),
            "/worker.js": script("self.addEventListener('fetch', () => {})"),
        }  # fmt: skip
        with SiteServer(pages) as server:
            result = render(home, server.url, render_wait="html.never")
            asked = server.paths()
        saved = files_of(home)["index.html"].decode()
        assert result.counts["pages"] == 1
        for name in ("port", "meta", "redirect", "local", "file", "six", "decimal", "put"):
            assert f"{name}:failed" in saved, saved[:900]
        assert saved.count("ws:failed") == 2 and "secret of this machine" not in saved
        assert "/worker.js" not in asked and "/write" not in asked and "/to-metadata" in asked
        assert not dialled and not packets
    connected, looked_up = read_net_log(net_log)
    assert len(connected) == 1 and connected.pop().startswith("127.0.0.1:")  # the wall
    assert not looked_up


def test_nothing_of_a_page_stays_for_the_next(home: Home) -> None:
    keeps = "document.title = [localStorage.x, document.cookie].join('|'); localStorage.x = 1; document.cookie = 'c=1'"
    with SiteServer({"/": with_script(keeps) + "<a href=/a>a</a>", "/a": with_script(keeps)}) as server:
        render(home, server.url)
    assert all("<title>|</title>" in saved.decode() for saved in files_of(home).values())
    assert len(files_of(home)) == 2


def test_dialogs_downloads_and_permissions(home: Home, tmp_path: Path) -> None:
    code = """
      alert('stop'); const said = confirm('sure?') + '|' + prompt('name?');
      const a = document.createElement('a'); a.href = 'data:application/zip,xx'; a.download = 'x.zip'; a.click();
      window.onbeforeunload = () => 'stay';
      navigator.permissions.query({name: 'geolocation'}).then((p) => {
        document.getElementById('m').textContent = said + '|' + p.state + '|' + Notification.permission });
    """
    with SiteServer({"/": with_script(code)}) as server:
        render(home, server.url)
    assert "false|null|" in files_of(home)["index.html"].decode()
    assert "granted" not in files_of(home)["index.html"].decode()


def test_a_page_cannot_lie_to_what_takes_it(home: Home) -> None:
    code = """
      for (const one of [Document, Element, Node, Set, JSON, Array])
        for (const name of Object.getOwnPropertyNames(one.prototype || one))
          try { Object.defineProperty(one.prototype || one, name, {get: () => { throw 'no' }}) } catch {}
      JSON.stringify = () => 'nonsense';
    """
    body = "<main><p onclick='evil()'>Text.</p><a href='javascript:evil()'>x</a></main><iframe srcdoc='<p>in'></iframe>"
    with SiteServer({"/": with_script(code, body)}) as server:
        render(home, server.url)
    saved = files_of(home)["index.html"].decode()
    assert "<p>Text.</p>" in saved and "evil" not in saved and "srcdoc" not in saved


def test_pages_that_never_end_cost_their_time_only(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_rendering, "PAGE_SECONDS", 2.0)
    monkeypatch.setattr(page_rendering, "SNAPSHOT_SECONDS", 2.0)
    monkeypatch.setattr(page_browser, "END_SECONDS", 3.0)
    asks = "let n = 0; const ask = () => fetch('/count?' + n++).then(ask, ask); ask()"

    def count(request: Request) -> Answer:
        return "x"

    pages: dict[str, Answer] = {
        "/": page("Start", "/loop", "/asks", "/reloads", "/good"), "/good": page("Good"),
        "/loop": with_script("while (true) {}"), "/asks": with_script(asks), "/count": count,
        "/reloads": with_script("location.reload()"),
    }  # fmt: skip
    with SiteServer(pages) as server:
        result = render(home, server.url)
        assert result.counts["causes"] == {"takes too long to render": 1}
        assert set(files_of(home)) == {"index.html", "good.html", "asks.html", "reloads.html"}
        assert sum(path.startswith("/count") for path in server.paths()) <= page_gate.MAX_REQUESTS + 1
        assert server.paths().count("/reloads") == 1
    assert not chromiums()


def test_a_page_that_fills_the_memory_is_ended(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_browser, "MAX_MEMORY", 600 * 2**20)
    monkeypatch.setattr(page_browser, "LOOK", 0.05)
    monkeypatch.setattr(page_rendering, "TRIES", 2)
    monkeypatch.setattr(crawl, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(crawl, "MAX_TRIES", 2)
    hog = "const kept = []; setInterval(() => kept.push(new Uint8Array(2**26).fill(1)), 10)"
    with SiteServer(
        {"/": page("Start", "/hog", "/good"), "/hog": with_script(hog, "<main></main>"), "/good": page("Good")}
    ) as server:
        result = render(home, server.url, render_wait="p")
    assert result.counts["causes"] == {"cannot be rendered": 1}
    assert set(files_of(home)) == {"index.html", "good.html"}
    assert not chromiums()


def test_huge_and_deep_pages_are_cut(home: Home) -> None:
    nest = "let at = document.body; for (let n = 0; n < %d; n++) at = at.appendChild(document.createElement('div'))"
    wide = "document.body.append(...Array.from({length: 400000}, () => document.createElement('p')))"
    pages: dict[str, Answer] = {
        "/": page("Start", "/deep", "/abyss", "/wide"), "/deep": with_script(nest % 2_000),
        "/abyss": with_script(nest % 20_000), "/wide": with_script(wide),
    }  # fmt: skip
    with SiteServer(pages) as server:
        result = render(home, server.url)
    # Chromium itself may not bear the abyss.
    assert set(files_of(home)) - {"abyss.html"} == {"index.html", "deep.html", "wide.html"}
    assert set(result.counts["causes"]) <= {"cannot be rendered"}
    assert all(len(saved) < 10_000_000 for saved in files_of(home).values())
