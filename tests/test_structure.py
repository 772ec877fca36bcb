"""The habits that keep the house in order."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from kbjobs.cli import COMMANDS
from kbjobs.config.home import Home
from kbjobs.services.sources import register
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from tests.conftest import ROOT, write_pages

PACKAGE = ROOT / "kbjobs"
# From the top floor down, as docs/explanation/architecture.md draws them. Modules of one floor do not import each
# other, except where NEIGHBOURS says so.
FLOORS = [
    {"__main__"},
    {"cli"},
    {"commands"},
    {"assistant", "web"},
    {"kbjobs", "plugins"},
    {"services"},
    {"chains.file", "daemon"},
    {"chains"},
    {"phases"},
    {
        "downloads",
        "indexing",
        "maps",
        "packs",
        "retrieval",
        "scanning",
        "scraping",
        "sources",
        "tagging",
        "translation",
    },
    {"context"},
    {"object_storage", "vectors"},
    {"embedding", "languages"},
    {"store"},
    {"content"},
    {"config"},
    {"net"},
    {"wording"},
    {"errors", "formatting", "system", "version"},
]
NEIGHBOURS = {("indexing", "scanning")}
HEAVY = {
    "chromadb", "torch", "sentence_transformers", "openai", "sklearn", "pinecone", "libzim", "onnxruntime", "openvino",
    "transformers", "tokenizers", "numpy", "pydantic", "sqlite_utils", "selectolax",
    "tree_sitter", "tree_sitter_toml", "py3langid", "pypdfium2", "httpx", "httpcore", "protego", "zstandard",
    "obstore", "ijson", "umap", "threadpoolctl", "starlette", "uvicorn", "jinja2", "sse_starlette", "tomlkit",
    "ctranslate2", "sentencepiece", "ray", "mcp", "mcp_types", "anyio", "playwright",
}  # fmt: skip
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    """A module's name below the package, a folder's for its __init__; "kbjobs" for that of the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "kbjobs"


NAMES = {name_of(path) for path in MODULES}


def part_of(name: str) -> str:
    """The folder, or the file beside the folders, that a module belongs to; a folder on a floor of its own counts."""
    parts = name.split(".")
    part = ".".join(parts[:2])
    return part if any(part in floor for floor in FLOORS) else parts[0]


def imports_of(path: Path) -> set[str]:
    """The modules of the package that a module imports, wherever in it and for whatever."""
    return imports_in(ast.parse(path.read_text()))


def imports_in(tree: ast.AST) -> set[str]:
    """The modules of the package that a tree imports."""
    found = set()
    for node in ast.walk(tree):
        wanted: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = [f"{node.module}.{alias.name}".removeprefix("kbjobs.") for alias in node.names]
            modules = [name for name in inside if name in NAMES]
            # "from kbjobs.store import history" is about the module, not about the folder's __init__.
            wanted = modules if len(modules) == len(inside) else [*modules, node.module]
            wanted = [f"kbjobs.{name}" if name in modules else name for name in wanted]
        elif isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        found |= {name.removeprefix("kbjobs.") for name in wanted if name.split(".")[0] == "kbjobs"}
    return found


IMPORTS = {name_of(path): imports_of(path) for path in MODULES}


def find_circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one name (Tarjan's algorithm)."""
    numbers: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    circles: list[list[str]] = []

    def visit(name: str) -> None:
        numbers[name] = lowest[name] = len(numbers)
        stack.append(name)
        for other in sorted(arrows.get(name, ())):
            if other not in numbers:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], numbers[other])
        if lowest[name] == numbers[name]:
            circle = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(circle) > 1:
                circles.append(sorted(circle))

    for name in sorted(arrows):
        if name not in numbers:
            visit(name)
    return circles


def between_folders() -> dict[str, set[str]]:
    arrows: dict[str, set[str]] = {}
    for name, wanted in IMPORTS.items():
        arrows.setdefault(part_of(name), set()).update({part_of(other) for other in wanted} - {part_of(name)})
    return arrows


def test_every_part_has_a_floor() -> None:
    listed = [part for floor in FLOORS for part in floor]
    assert len(listed) == len(set(listed))
    assert {part_of(name) for name in NAMES} == set(listed)


def test_every_import_is_of_a_module_there_is() -> None:
    assert {name for wanted in IMPORTS.values() for name in wanted} <= NAMES


def test_a_folder_imports_only_from_folders_below_it() -> None:
    floors = {part: number for number, floor in enumerate(FLOORS) for part in floor}
    wrong = [
        f"{here} imports {there}"
        for here, parts in between_folders().items()
        for there in parts
        if floors[there] <= floors[here] and (here, there) not in NEIGHBOURS
    ]
    assert not wrong


# What commands and pages may take from below services/: values, and the names that there are. Nothing that acts.
RECORDS = {
    "chains.diagnostics", "chains.library", "embedding.dimensions", "phases.job_type", "phases.names",
    "phases.registry", "retrieval.hits", "store.document_filter", "store.edits", "store.jobs", "store.passages",
    "store.pauses", "store.phase_state", "store.queue", "store.sources", "store.transitions",
}  # fmt: skip


def acting_imports(path: Path) -> set[str]:
    """What a command or page imports, but for its types alone."""
    tree = ast.parse(path.read_text())
    for node in list(ast.walk(tree)):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return imports_in(tree)


def test_commands_and_pages_act_through_services_alone() -> None:
    free = {"assistant", "commands", "web", "services", "config", "errors", "formatting", "version", "kbjobs"}
    wrong = {
        f"{path.relative_to(PACKAGE)} imports {name}"
        for room in ("assistant", "commands", "web")
        for path in (PACKAGE / room).rglob("*.py")
        for name in acting_imports(path)
        if part_of(name) not in free and name not in RECORDS
    }
    assert not wrong


def test_a_file_name_says_which_file_is_meant() -> None:
    """In the rooms; services, commands, pages and job types may be named for the same subject."""
    named_for_subjects = {"services", "commands", "web", "phases"}
    names = [
        path.stem for path in MODULES if path.stem != "__init__" and part_of(name_of(path)) not in named_for_subjects
    ]
    assert not [name for name, count in Counter(names).items() if count > 1]


def test_a_public_class_has_a_name_of_its_own() -> None:
    names = [
        node.name
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    assert not [name for name, count in Counter(names).items() if count > 1]


def test_only_the_store_touches_a_connection() -> None:
    outside = [path for path in MODULES if part_of(name_of(path)) != "store"]
    assert not [
        path for path in outside if re.search(r"\b(queue|ledger|state|frontier)\.connection\b", path.read_text())
    ]


def test_no_circle_of_folders_or_files() -> None:
    assert not find_circles(between_folders())
    assert not find_circles(IMPORTS)


def test_circles_are_found() -> None:
    assert find_circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == [["a", "b", "c"]]
    assert not find_circles({"a": {"b", "c"}, "b": {"c"}})


def test_the_tests_mirror_the_tree() -> None:
    """A folder of tests has a folder of the same name in the package; a test of a module that is gone is gone too."""
    own = {"faults", "servers", "real", "frozen", "job_types", "tools"}
    folders = {path.parent.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    assert not {folder for folder in folders - {"."} if folder not in own and not (PACKAGE / folder).is_dir()}


def test_every_folder_has_tests() -> None:
    folders = {path.parent.relative_to(PACKAGE).as_posix() for path in MODULES if path.name != "__init__.py"}
    tested = {path.parent.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    assert not folders - tested


def test_every_command_has_its_test_file() -> None:
    names = {path.stem for path in (PACKAGE / "commands").glob("[a-z]*.py")}
    assert set(COMMANDS) == names
    assert not {name for name in names if not (ROOT / "tests" / "commands" / f"test_{name}.py").is_file()}


def test_sql_is_only_in_the_store() -> None:
    statement = re.compile(r"\b(SELECT [^\n]+ FROM|INSERT INTO|UPDATE [a-z_]+ SET|DELETE FROM|CREATE TABLE)\b")
    # A passage of the parity set looks like SQL on purpose: it is text to embed.
    outside = [path for path in MODULES if part_of(name_of(path)) != "store" and path.name != "parity.py"]
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
    loaded = loaded_modules("import kbjobs.cli, kbjobs.commands.run, kbjobs.services.jobs")
    assert not loaded & (HEAVY - {"pydantic"})


@pytest.mark.parametrize(
    ("module", "params"),
    [
        ("index_offline", "IndexOfflineParams(engine='openvino')"),
        ("metadata", "MetadataParams(language_filter='en,be')"),
        ("clear_vectors", "ClearVectorsParams()"),
        ("suggest_tags", "SuggestTagsParams()"),
        ("delete_source", "DeleteSourceParams(confirm='docs')"),
        ("visualisation", "VisualisationParams()"),
        ("model_download", "ModelDownloadParams(model='bge-m3')"),
        ("language_download", "LanguageDownloadParams(code='Spanish')"),
    ],
)
@pytest.mark.usefixtures("minilm")
def test_a_plan_and_its_advice_are_light(tmp_path: Path, home: Home, module: str, params: str) -> None:
    register(home, "docs", [write_pages(tmp_path / "pages", 1)])
    Ledger(SourceFolder(home.sources, "docs").ledger).close()
    loaded = loaded_modules(
        f"from kbjobs.phases import {module} as kind\n"
        f"from kbjobs.phases.{module} import *\n"
        f"from kbjobs.phases.job_type import PhaseRequest\n"
        f"from kbjobs.store.sources import SourceFolder\n"
        f"from kbjobs.config.home import current_home\n"
        f"from kbjobs.config.settings import Settings\n"
        f"home = current_home(); settings = Settings(home); source = SourceFolder(home.sources, 'docs')\n"
        f"request = PhaseRequest(home, settings, kind.{params}, source)\n"
        f"kind.JOB_TYPE.advise(request.with_params(kind.JOB_TYPE.plan(request).params))"
    )
    assert not loaded & (HEAVY - {"pydantic"})


def test_modules_have_one_subject() -> None:
    assert not [path.relative_to(ROOT) for path in MODULES if len(path.read_text().splitlines()) > 400]


def test_the_fast_tests_are_where_the_makefile_names_them() -> None:
    listed = subprocess.run(["make", "--dry-run", "test-fast"], cwd=ROOT, capture_output=True, text=True, check=True)
    [command] = [line for line in listed.stdout.splitlines() if " pytest " in line]
    named = re.findall(r"(?<= )tests/\S+", command)
    assert len(named) > 5 and [path for path in named if not (ROOT / path).exists()] == []
