"""The 8-bit variant of a model: its names and key, who can run it, when it is refused, and what is kept of it."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kbjobs.config.home import Home
from kbjobs.embedding import engines, int8_gate
from kbjobs.embedding.choose import load_embedder
from kbjobs.embedding.engines import check_engine
from kbjobs.embedding.identity import model_key, weights_hash
from kbjobs.embedding.int8_gate import Closeness
from kbjobs.embedding.int8_speed import measure_gain, read_closeness, read_gain
from kbjobs.embedding.model_catalogue import find_hub_id, find_known, find_model
from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.openvino_engine import has_bf16
from kbjobs.embedding.parity import PARITY_TEXTS, compare
from kbjobs.embedding.prepared_model import InexactVariantError
from kbjobs.embedding.variants import split_variant
from kbjobs.errors import ExitCode, KbjobsError, MissingRequirementError, NotFoundError, UsageError
from kbjobs.services.models import remove_model, show_model

from .conftest import MINILM, RunPython
from .small_model import make_small_model

VARIANT = f"{MINILM}:int8"
KEY = "all-MiniLM-L6-v2-53aa51172d14-int8.1"
BUILD = """
import sys
from pathlib import Path
from kbjobs.embedding.int8_gate import read_calibration
from kbjobs.embedding.model_folder import read_model_folder
from kbjobs.embedding.openvino_engine import import_openvino
from kbjobs.embedding.quantization import build_quantized
folder = read_model_folder("small", Path(sys.argv[1]), "")
import_openvino().save_model(build_quantized(folder, read_calibration()[:24]), sys.argv[2], compress_to_fp16=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return find_model(VARIANT, tmp_path)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("all-MiniLM-L6-v2:int8", ("all-MiniLM-L6-v2", True)),
        (" org/name:INT8 ", ("org/name", True)),
        ("/models/mine:int8", ("/models/mine", True)),
        ("all-MiniLM-L6-v2", ("all-MiniLM-L6-v2", False)),
        ("int8", ("int8", False)),
    ],
)
def test_names(name: str, parts: tuple[str, bool]) -> None:
    assert split_variant(name) == parts


def test_it_is_the_model_with_another_name_and_key(folder: ModelFolder, tmp_path: Path) -> None:
    exact = find_model(MINILM, tmp_path)
    assert (folder.name, folder.exact_name, folder.slug) == (VARIANT, MINILM, MINILM)
    assert replace(folder, name=MINILM, is_int8=False) == exact
    weights = weights_hash(exact, tmp_path)
    assert model_key(folder, weights) == KEY
    assert model_key(exact, weights) == KEY.removesuffix("-int8.1")
    assert find_known(VARIANT) == find_known(MINILM)
    assert find_hub_id(VARIANT) == find_hub_id(MINILM)


def test_the_name_of_no_model_is_refused_with_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        find_model("text-embedding-3-small:int8", tmp_path)
    with pytest.raises(KbjobsError, match="no-such-model"):
        find_model("no-such-model:int8", tmp_path)


def test_auto_and_openvino_run_it(folder: ModelFolder) -> None:
    check_engine("auto", folder)
    check_engine("openvino", folder)


@pytest.mark.parametrize("engine", ["sentence-transformers", "onnxruntime", "ray"])
def test_no_other_engine_does(folder: ModelFolder, engine: str) -> None:
    with pytest.raises(UsageError, match=f"the engine {engine} cannot run {VARIANT}"):
        check_engine(engine, folder)


def test_without_openvino_it_is_refused(folder: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(MissingRequirementError, match="needs OpenVINO") as caught:
        check_engine("auto", folder)
    assert caught.value.exit_code is ExitCode.MISSING_REQUIREMENT
    assert caught.value.hint == 'pip install "kbjobs[fast]"'


def test_a_model_that_kbjobs_cannot_build_has_none(folder: ModelFolder) -> None:
    with pytest.raises(MissingRequirementError, match=f"there is no 8-bit variant of {MINILM}") as caught:
        check_engine("auto", replace(folder, other_modules=("Dense",)))
    assert MINILM in caught.value.hint


def test_it_is_not_removed_alone(home: Home) -> None:
    with pytest.raises(UsageError, match="goes with it"):
        remove_model(home, VARIANT, True, lambda *_: None)


@pytest.mark.model
@pytest.mark.slow
def test_a_variant_that_is_too_far_off_is_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    """The neighbours of a random model's vectors, which are all alike, do not survive the rounding."""
    make_small_model(tmp_path / "small")
    with pytest.raises(InexactVariantError, match="cosine to the exact vectors") as caught:
        load_embedder(f"{tmp_path}/small:int8", tmp_path, tmp_path / "cache")
    assert caught.value.exit_code is ExitCode.MISSING_REQUIREMENT
    assert f"Use {tmp_path}/small itself" in caught.value.hint
    assert not [file for file in (tmp_path / "cache").glob("*/*") if file.is_dir()]


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_what_is_kept(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a gate that lets a small random model pass: it is made once, beside the exact model."""
    monkeypatch.setattr(int8_gate, "LEAST_NEIGHBOURS", 5.0)
    monkeypatch.setattr(int8_gate, "LEAST_MEAN", 0.9)
    monkeypatch.setattr(int8_gate, "LEAST_COSINE", 0.9)
    make_small_model(tmp_path / "small", family=family)
    cache = tmp_path / "cache"
    vectors = {}
    for end in ("", ":int8", ":int8"):
        embedder = load_embedder(f"{tmp_path}/small{end}", tmp_path, cache, "auto")
        assert (embedder.engine == "openvino-int8") == bool(end)
        vectors[embedder.model_key] = embedder.embed(PARITY_TEXTS)
        embedder.close()
    (exact_key, exact), (int8_key, int8) = vectors.items()
    assert int8_key == f"{exact_key}-int8.1"
    assert 0.9 < compare(int8, exact).minimum < 0.99999
    manifest = cache / int8_key / "prepared" / "manifest.json"
    content = json.loads(manifest.read_text())
    assert content["ir_made_by"] == "int8"
    assert Closeness.from_json(content["closeness"]).passes

    # Damaged, it is made again, with the same numbers.
    weights = manifest.with_name("model.bin")
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    embedder = load_embedder(f"{tmp_path}/small:int8", tmp_path, cache)
    assert np.array_equal(embedder.embed(PARITY_TEXTS), int8)
    embedder.close()
    assert weights.read_bytes() == whole


@pytest.mark.model
@pytest.mark.slow
def test_its_numbers_are_the_same_on_every_processor(tmp_path: Path, run_python: RunPython) -> None:
    """As far as one processor can act as another: without AVX-512 it sums float32 in another order."""
    make_small_model(tmp_path / "small")
    found = set()
    for isa in ("ALL", "AVX512_CORE", "AVX2"):
        target = tmp_path / isa
        target.mkdir()
        done = run_python(BUILD, tmp_path / "small", target / "model.xml", ONEDNN_MAX_CPU_ISA=isa)
        assert done.returncode == 0, done.stderr
        found.add(hashlib.sha256((target / "model.bin").read_bytes()).hexdigest())
    assert len(found) == 1


@pytest.mark.full
@pytest.mark.model
@pytest.mark.slow
def test_the_packaged_model(home: Home) -> None:
    """It passes the gate, is measured beside the exact model, and `models show` tells both."""
    home.engines.unlink()  # that of all tests
    home.engines.mkdir()
    gain = measure_gain(MINILM, home.models, home.engines)
    assert min(gain.exact, gain.int8) > 0
    variant = find_model(VARIANT, home.models)
    closeness = read_closeness(variant, home.engines)
    assert closeness is not None
    assert closeness.passes
    assert closeness.neighbours >= 9.3
    assert read_gain(KEY, home.engines) == gain
    shown = show_model(home, MINILM, lambda *_: None)
    assert (shown.int8_times, shown.int8_closeness) == (round(gain.times, 2), closeness.describe())
    file = home.engines / KEY / "int8-speed.json"
    file.write_text(file.read_text().replace(json.loads(file.read_text())["processor"], "another processor"))
    assert read_gain(KEY, home.engines) is None
    shutil.rmtree(home.engines / KEY / "prepared")
    assert show_model(home, VARIANT, lambda *_: None).int8_closeness == ""


def test_a_limit_on_the_processor_is_a_limit_on_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO would say that the processor has bf16, and then fail to compile for it."""
    for limit in ("AVX2", "avx2_vnni", "AVX512_CORE_VNNI"):
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
        assert not has_bf16()
