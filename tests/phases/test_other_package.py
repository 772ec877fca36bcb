"""docs/howto/job-type.md, "A job type of another package", followed to the letter: built, installed, run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kbjobs.config.home import Home
from kbjobs.errors import ExitCode
from kbjobs.services.sources import register
from tests.conftest import ROOT, Kbjobs, read_json, write_pages

TEXT = (ROOT / "docs" / "howto" / "job-type.md").read_text()
SECTION = TEXT.partition("## A job type of another package")[2]


def install(folder: Path, site: Path) -> None:
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--target", str(site))
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(folder)], check=True)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package of the document, installed beside kbjobs."""
    folder, site = tmp_path / "package", tmp_path / "site"
    folder.mkdir()
    for name, language in (("pyproject.toml", "toml"), ("kbjobs_longest.py", "python")):
        found = re.search(rf"`{re.escape(name)}`:\n\n```{language}\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
        assert found is not None, name
        (folder / name).write_text(found[1])
    install(folder, site)
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    return site


@pytest.mark.processes
def test_one_of_the_last_version_still_works_and_says_what_to_import(
    home: Home, kbjobs: Kbjobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, site = tmp_path / "package", tmp_path / "site"
    shutil.copytree(ROOT / "tests" / "frozen" / "plugin_0_2", folder)
    install(folder, site)
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    register(home, "wiki", [write_pages(tmp_path / "pages", 4)])
    kbjobs("run", "longest", "nowhere", check=ExitCode.NOT_FOUND)
    kbjobs("run", "metadata", "wiki", "--quiet")
    ended = kbjobs("run", "longest", "wiki", "--count", "2")
    assert re.search(r"4 documents, the longest is pages/", ended.stdout)
    code = "import warnings; warnings.simplefilter('always'); import kbjobs_longest"
    warned = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    for name in ("kbjobs.phases.base", "kbjobs.sources.documents", "kbjobs.wording"):
        assert re.search(rf"kbjobs_longest.py:\d+: DeprecationWarning: {re.escape(name)} is replaced", warned), warned


@pytest.mark.processes
def test_the_smallest_one_runs(home: Home, kbjobs: Kbjobs, tmp_path: Path, package: Path) -> None:
    code = re.search(r"as small as this:\n\n```python\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
    assert code is not None
    (package / "kbjobs_longest.py").write_text(code[1])
    pages = write_pages(tmp_path / "pages", 4)
    (pages / "long.html").write_text(f"<html><body><p>{'Water boils. ' * 200}</p></body></html>")
    register(home, "wiki", [pages])
    kbjobs("run", "metadata", "wiki", "--quiet")
    assert "the longest is pages/long.html" in kbjobs("run", "longest", "wiki").stdout


@pytest.mark.processes
def test_it_is_a_type_like_any_other(home: Home, kbjobs: Kbjobs, tmp_path: Path, package: Path) -> None:
    pages = write_pages(tmp_path / "pages", 4)
    (pages / "long.html").write_text(f"<html><body><p>{'Water boils. ' * 200}</p></body></html>")
    register(home, "wiki", [pages])
    assert "longest" in {one["name"] for one in read_json(kbjobs("types", "--json"))}
    assert "--count" in kbjobs("run", "longest", "--help").stdout
    kbjobs("run", "longest", "nowhere", check=ExitCode.NOT_FOUND)
    kbjobs("run", "longest", "wiki", "--count", "0", check=ExitCode.USAGE)
    chain = tmp_path / "nightly.toml"
    chain.write_text('[[phase]]\njob = "metadata"\n[[phase]]\njob = "longest"\nparams = { count = 2 }\n')
    ended = kbjobs("chain", chain, "--source", "wiki")
    assert re.search(r"5 documents, the longest is pages/long\.html", ended.stderr)
    lines = kbjobs("run", "longest", "wiki", "--count", "3", "--json").stdout.splitlines()
    job = json.loads(lines[-1])["job"]
    assert (job["exit_code"], job["result"]["documents"]) == (0, 5)
    assert len(re.findall(r"^.* \d+ pages/", kbjobs("logs", str(job["id"])).stdout, re.MULTILINE)) == 3
