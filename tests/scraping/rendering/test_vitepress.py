"""A site that VitePress has built: every page of its sitemap comes in with its text."""

from __future__ import annotations

import json
import mimetypes
import os
import re
import subprocess
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from tests.conftest import ROOT, real_input
from tests.scraping.test_scrape import files_of, scrape_site
from tests.servers.site_server import Page, SiteServer

pytestmark = [pytest.mark.usefixtures("chromium"), pytest.mark.full, pytest.mark.real, pytest.mark.slow]
COUNT = 40


def build(folder: Path, modules: Path, url: str) -> Path:
    """Build a site of pages that scripts add to; returns its folder."""
    docs = folder / "docs"
    (docs / ".vitepress").mkdir(parents=True)
    (folder / "node_modules").symlink_to(modules / "node_modules")
    settings = {"title": "Knots", "description": "About knots", "sitemap": {"hostname": url}}
    (docs / ".vitepress" / "config.mjs").write_text(f"export default {json.dumps(settings)}\n")
    (docs / "index.md").write_text("# Start\n\nThe start.\n\n[The first knot](./knots/1.md)\n")
    (docs / "knots").mkdir()
    for number in range(COUNT):
        (docs / "knots" / f"{number}.md").write_text(
            "<script setup>\nimport { ref, onMounted } from 'vue'\nconst late = ref('')\n"
            f"onMounted(() => {{ late.value = 'Its strength is ' + ({number} + 1000) + ' newtons.' }})\n</script>\n\n"
            f"# Knot {number}\n\nKnot {number} holds well on a wet evening.\n\n{{{{ late }}}}\n"
        )
    command = [str(modules / "node_modules" / ".bin" / "vitepress"), "build", "docs"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=240, env={**os.environ, "CI": "1"})
    return docs / ".vitepress" / "dist"


def test_every_page_of_the_sitemap_comes_in_with_its_text(home: Home, tmp_path: Path) -> None:
    modules = real_input(ROOT / ".cache" / "vitepress", "VitePress (tests/real/fetch_inputs.sh)")
    with SiteServer({"/robots.txt": Page("", 404)}) as server:
        site = build(tmp_path, modules, server.url)
        for file in site.rglob("*"):
            if file.is_file():
                kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
                server.pages[f"/{file.relative_to(site)}"] = Page(file.read_bytes(), type=kind)
        server.pages["/"] = server.pages["/index.html"]
        listed = set(re.findall(r"<loc>([^<]+)</loc>", (site / "sitemap.xml").read_text()))
        assert len(listed) == COUNT + 1
        sitemap = f"{server.url}/sitemap.xml"
        result = scrape_site(home, server.url, sitemap=sitemap, render="always", page_limit=1000, max_depth=0)
        paths = server.paths()
    files = {name: text.decode() for name, text in files_of(home).items()}
    for number in range(COUNT):
        saved = files[f"knots/{number}.html"]
        assert f"Knot {number} holds well" in saved and f"Its strength is {number + 1000} newtons." in saved
        assert "<script" not in saved
    assert result.counts["failed"] == 0 and result.counts["rendered"] >= COUNT + 1
    scripts = [path for path in paths if path.endswith(".js")]
    assert len(scripts) == len(set(scripts))  # each once for the whole site
    assert not [path for path in paths if path.endswith((".woff2", ".png", ".svg"))]
