"""A folder with a file of each format: registered, indexed, searched, shown, changed and indexed again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.services.sources import verify
from tests.conftest import Kbjobs
from tests.content.office_files import make_docx, make_epub, make_odt, word_paragraph, zip_files

MESSAGE = "From: Ada <ada@example.org>\nSubject: {}\nDate: Fri, 17 May 2024 10:00:00 +0200\n\n{}\n"


def write_files(folder: Path, oven: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "lighthouse.epub").write_bytes(
        make_epub({"a.xhtml": "<h1>Lamp</h1><p>The keeper polishes the lens.</p>"})
    )
    (folder / "bread.docx").write_bytes(make_docx(word_paragraph(oven), core="<dc:title>Bread</dc:title>"))
    (folder / "wool.odt").write_bytes(
        make_odt("<text:p>Sheep are shorn in June.</text:p>", "<dc:title>Wool</dc:title>")
    )
    (folder / "boat.rtf").write_text(r"{\rtf1{\info{\title Boats}}The hull is sealed with tar.\par}")
    (folder / "stars.csv").write_text("star,magnitude\nSirius,-1.46\nVega,0.03\n")
    (folder / "well.eml").write_text(MESSAGE.format("The well", "The rope of the bucket is worn."))
    (folder / "bees.mbox").write_text(
        "".join(
            f"From ada@example.org Fri May 17 10:00:00 2024\n{MESSAGE.format(subject, text)}\n"
            for subject, text in [("Hives", "The hives stand in clover."), ("Swarm", "A swarm hangs in the plum tree.")]
        )
    )


EXPECTED = {
    "polish the lens of the lighthouse": "The Lighthouse",
    "bake in a stone oven": "Bread",
    "shear the sheep": "Wool",
    "seal a hull with tar": "Boats",
    "magnitude of Sirius": "stars",
    "worn rope of the bucket": "The well",
    "swarm in the plum tree": "bees",
}


@pytest.mark.usefixtures("minilm")
def test_a_folder_of_all_formats(home: Home, tmp_path: Path, kbjobs: Kbjobs) -> None:
    folder = tmp_path / "papers"
    write_files(folder, "Loaves are baked in an oven of stone.")
    (folder / "bad.docx").write_bytes(zip_files({"../evil": "x"}))
    (folder / "bad.epub").write_bytes(make_epub({"a.xhtml": "<p>x</p>"})[:500])
    added = kbjobs("sources", "add", "papers", str(folder)).stderr
    assert "9 files" in added
    result = run(kbjobs)
    assert (result["documents"], result["failed"]) == (7, 2)
    failed = kbjobs("documents", "list", "papers", "--failed").stdout
    assert "outside of itself" in failed and "damaged or incomplete" in failed
    for query, title in EXPECTED.items():
        hits = json.loads(kbjobs("search", "papers", query, "--json", "-k", "1").stdout)
        assert hits[0]["title"] == title, (query, hits[0])
    shown = kbjobs("documents", "show", "papers", "papers/bees.mbox").stdout
    assert "# Hives" in shown and "A swarm hangs in the plum tree." in shown
    assert "star: Sirius | magnitude: -1.46" in kbjobs("documents", "show", "papers", "papers/stars.csv").stdout
    again = run(kbjobs)
    assert again["embedded"] == 0
    write_files(folder, "Loaves are baked on hot ashes.")
    changed = run(kbjobs)
    assert changed["embedded"] == 1
    hits = json.loads(kbjobs("search", "papers", "bake on ashes", "--json", "-k", "1").stdout)
    assert hits[0]["title"] == "Bread"
    assert verify(home, "papers").ok


def run(kbjobs: Kbjobs) -> dict[str, int]:
    """Index the source, in which two files cannot be read; returns the figures of the job."""
    ended = kbjobs("run", "index-offline", "papers", "--json", check=3)
    result: dict[str, int] = json.loads(ended.stdout.splitlines()[-1])["job"]["result"]
    return result
