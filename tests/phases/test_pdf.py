"""PDFs in a source: documents like others, whose passages name their page."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.content.source_files import FoundFile, find_files
from kbjobs.content.titles import NO_SITE
from kbjobs.scanning.file_reading import Reader, Unread
from kbjobs.scanning.reading_pool import read_all
from kbjobs.services.sources import register, verify
from tests.conftest import Kbjobs
from tests.content.pdfs import make_pdf, set_lines

PAGES = (
    "Water from a roof is collected in a barrel of oak.\nIt is kept in the shade and boiled before use.",
    "Bread is baked on hot stones beside the fire.\nThe dough rises for a night under a cloth.",
    "Wool is washed in warm water with soap.\nIt is spun in the evenings of the winter.",
)


def write_pdf(path: Path) -> Path:
    # Passages of a page each: the window is small against so much text.
    pages = [set_lines("\n".join([text] * 12), size=8.0) for text in PAGES]
    path.write_bytes(make_pdf(pages, title="The house in winter"))
    return path


@pytest.mark.usefixtures("minilm")
def test_a_pdf_is_a_document_and_its_passages_name_the_page(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    write_pdf(folder / "winter.pdf")
    (folder / "torn.pdf").write_bytes(b"%PDF-1.7 and no more")
    (folder / "page.html").write_text("<title>Oil</title><p>A lamp burns oil for nine hours.</p>")
    misnamed = write_pdf(tmp_path / "misnamed.txt")
    register(home, "papers", [folder, misnamed])
    run = kbjobs("run", "index-offline", "papers", "--json", check=3)
    counts = json.loads(run.stdout.splitlines()[-1])["job"]["result"]
    assert (counts["documents"], counts["failed"]) == (3, 1)
    assert "torn.pdf: it is damaged" in kbjobs("logs", "1").stdout
    for words, page in (("collect water from a roof", 1), ("dough for bread", 2), ("spin wool", 3)):
        hits = json.loads(kbjobs("search", "papers", words, "--json", "-k", "3", "--passages").stdout)
        assert hits[0]["title"] == "The house in winter"
        assert hits[0]["url"].startswith("file://")
        assert hits[0]["url"].endswith(f"#page={page}"), hits[0]
    assert verify(home, "papers").ok
    again = kbjobs("run", "index-offline", "papers", "--json", check=3)
    assert json.loads(again.stdout.splitlines()[-1])["job"]["result"]["embedded"] == 0


@pytest.mark.full  # twenty seconds of a processor
@pytest.mark.processes
def test_a_pdf_that_grows_in_memory_is_refused_and_harms_nobody(tmp_path: Path) -> None:
    """Forms that draw each other ten times, eight levels deep: a hundred million drawings in 4 kB."""
    levels = 8
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R /Resources << /XObject << /F 5 0 R >> >> >>",
        b"<< /Length 5 >>\nstream\n/F Do\nendstream",
    ]
    for level in range(levels):
        inner = b"/F Do " * 10 if level < levels - 1 else b"0 0 m 1 1 l S "
        resources = b"/Resources << /XObject << /F %d 0 R >> >>" % (6 + level) if level < levels - 1 else b""
        objects.append(
            b"<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] %s /Length %d >>\nstream\n%s\nendstream"
            % (resources, len(inner), inner)
        )
    body = b"%PDF-1.7\n"
    for number, content in enumerate(objects, start=1):
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    path = tmp_path / "bomb.pdf"
    path.write_bytes(body + b"trailer << /Root 1 0 R /Size %d >>\n%%%%EOF\n" % (len(objects) + 1))
    (found,) = find_files([path])
    assert isinstance(found, FoundFile)
    began = time.monotonic()
    ((_, (outcome,)),) = read_all(Reader("papers", None, NO_SITE, False, False), [[found]], False, lambda: None)
    assert isinstance(outcome, Unread)
    assert "its reader crashed" in outcome.reason or "takes" in outcome.reason
    assert time.monotonic() - began < 100
