"""The habits that keep the house in order."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kbjobs.settings import Home
from kbjobs.sources import register
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from tests.conftest import ROOT, write_pages

PACKAGE = ROOT / "kbjobs"
# From the top floor down; those on one line share a floor and may use each other.
FLOORS = [
    {"cli", "__main__"},
    {"commands"},
    {"api", "combined", "sources", "doctor", "__init__"},
    {"daemon"},
    {"chains"},
    {"phases"},
    {"content", "embedding", "vectors"},
    {"store"},
    {"credentials"},
    {"settings"},
    {"errors", "crashpoints"},
]
# The version is a fact of the package itself.
ALLOWED = {
    ("daemon", "__init__"),
    ("doctor", "__init__"),
    ("cli", "__init__"),
    ("__init__", "api"),
    ("__init__", "combined"),
}
HEAVY = {
    "chromadb", "torch", "sentence_transformers", "openai", "sklearn", "pinecone", "libzim", "onnxruntime", "openvino",
    "transformers", "tokenizers", "numpy", "pydantic", "sqlite_utils", "selectolax",
    "tree_sitter", "tree_sitter_toml", "py3langid",
}  # fmt: skip
MODULES = sorted(PACKAGE.rglob("*.py"))


def floor_of(name: str) -> int:
    return next(number for number, names in enumerate(FLOORS) if name in names)


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names if node.module == "kbjobs"]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "kbjobs":
                found.add(parts[1] if len(parts) > 1 else "__init__")
    folders = {part for path in MODULES for part in [part_of(path)]}
    return {part if part in folders else "__init__" for part in found}


def test_every_part_has_a_floor() -> None:
    for path in MODULES:
        floor_of(part_of(path))


def test_a_folder_imports_only_from_folders_below_it() -> None:
    wrong = []
    for path in MODULES:
        here = part_of(path)
        wrong.extend(
            f"{path.relative_to(ROOT)} imports {part}"
            for part in imported_parts(path)
            if part != here and (here, part) not in ALLOWED and part != "__init__" and floor_of(part) < floor_of(here)
        )
    assert not wrong


def test_sql_is_only_in_the_store() -> None:
    statement = re.compile(r"\b(SELECT [^\n]+ FROM|INSERT INTO|UPDATE [a-z_]+ SET|DELETE FROM|CREATE TABLE)\b")
    # A passage of the parity set looks like SQL on purpose: it is text to embed.
    outside = [path for path in MODULES if part_of(path) != "store" and path.name != "parity.py"]
    assert not [path.relative_to(ROOT) for path in outside if statement.search(path.read_text())]
    assert not [path.relative_to(ROOT) for path in outside if "PRAGMA" in path.read_text()]


def loaded_modules(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return {name.partition(".")[0] for name in ended.stdout.splitlines()[-1].split()}


@pytest.mark.parametrize(
    "command", ["status", "watch", "wait", "logs", "cancel", "history", "daemon", "config", "resume"]
)
def test_a_light_command_loads_nothing_heavy(command: str) -> None:
    loaded = loaded_modules(f"import kbjobs.cli, kbjobs.commands.{command}")
    assert "typer" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("arguments", [["--help"], ["status"], ["history", "--json"], ["daemon", "status"]])
def test_a_light_command_stays_light_when_it_runs(arguments: list[str]) -> None:
    code = f"sys.argv[1:] = {arguments!r}\nfrom kbjobs.cli import main\ntry: main()\nexcept SystemExit: pass"
    assert not loaded_modules(code) & HEAVY


def test_the_daemon_loads_nothing_heavy() -> None:
    assert not loaded_modules("import kbjobs.daemon.supervisor, kbjobs.daemon.launching") & HEAVY


def test_a_submit_loads_no_library_of_the_worker() -> None:
    loaded = loaded_modules("import kbjobs.cli, kbjobs.commands.run, kbjobs.api")
    assert not loaded & (HEAVY - {"pydantic"})


@pytest.mark.parametrize(
    ("module", "params"),
    [
        ("index_offline", "IndexOfflineParams(engine='openvino')"),
        ("metadata", "MetadataParams(language_filter='en,be')"),
        ("clear_vectors", "ClearVectorsParams()"),
        ("suggest_tags", "SuggestTagsParams()"),
    ],
)
@pytest.mark.usefixtures("minilm")
def test_a_plan_and_its_advice_are_light(tmp_path: Path, home: Home, module: str, params: str) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 1)])
    Ledger(SourceFolder(home.sources, "docs").ledger).close()
    loaded = loaded_modules(
        f"from kbjobs.phases.{module} import *\n"
        f"from kbjobs.phases import {module} as kind\n"
        f"from kbjobs.settings import Home, Settings, current_home\n"
        f"home = current_home(); settings = Settings(home); source = SourceFolder(home.sources, 'docs')\n"
        f"planned = kind.plan(home, settings, source, kind.{params})\n"
        f"kind.JOB_TYPE.advise(home, settings, source, planned.params, ())"
    )
    assert not loaded & (HEAVY - {"pydantic"})


def test_modules_have_one_subject() -> None:
    assert not [path.relative_to(ROOT) for path in MODULES if len(path.read_text().splitlines()) > 420]
