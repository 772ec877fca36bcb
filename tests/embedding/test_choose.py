"""Which engine is loaded, what is kept of the choice, and what happens when the cache is damaged."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kbjobs.embedding import choose, engines, prepared_model, trial
from kbjobs.embedding.choose import load_embedder
from kbjobs.embedding.identity import weights_hash
from kbjobs.embedding.memory import ShortOfMemoryError
from kbjobs.embedding.model_catalogue import find_model
from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.parity import PARITY_TEXTS
from kbjobs.errors import ExitCode, KbjobsError, MissingRequirementError, UsageError
from tests.conftest import is_alive, rest_full, wait_until

from .conftest import MINILM, REPOSITORY, RunPython
from .small_model import make_small_model

KEY = "all-MiniLM-L6-v2-53aa51172d14"
LOAD = """
import json, sys
from pathlib import Path
from kbjobs.embedding.choose import load_embedder
embedder = load_embedder(sys.argv[1], Path(sys.argv[2]) / "no-models", Path(sys.argv[2]))
vector = embedder.embed(["a passage", "another"])[0]
heavy = [name for name in ("torch", "transformers", "sentence_transformers", "onnxruntime",
         "openvino_telemetry.main") if name in sys.modules]
print(json.dumps([embedder.engine, embedder.model_key, float(vector @ vector), heavy]))
"""
NO_NETWORK = """
import socket
def refuse(*arguments):
    print("OPENED A SOCKET", arguments)
    raise OSError("no network here")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
"""


def load(cache: Path, engine: str = "auto", name: str = MINILM) -> str:
    """Load a model and return which engine runs it, having embedded with it."""
    embedder = load_embedder(name, cache / "no-models", cache, engine=engine)
    assert embedder.embed(["text"]).shape[0] == 1
    embedder.close()
    return embedder.engine


def state(cache: Path) -> dict[str, int]:
    """Describe the prepared files: a conversion would change their times."""
    return {file.name: file.stat().st_mtime_ns for file in (cache / KEY / "prepared").iterdir()}


@pytest.fixture
def no_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise AssertionError("converted again")

    monkeypatch.setattr(prepared_model, "_run_conversion", refuse)


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (choose, engines, prepared_model):
        monkeypatch.setattr(module, "has_torch", lambda: False)


def test_a_fresh_process_imports_no_torch(warm_cache: Path, run_python: RunPython) -> None:
    done = run_python(LOAD, MINILM, warm_cache)
    assert done.returncode == 0, done.stderr
    engine, key, length, heavy = json.loads(done.stdout)
    assert (engine.split("-")[0], key, heavy) == ("openvino", KEY, [])
    assert length == pytest.approx(1.0, abs=1e-5)


def test_no_socket_is_opened_by_a_warm_load(warm_cache: Path, run_python: RunPython) -> None:
    done = run_python(NO_NETWORK + LOAD, MINILM, warm_cache)
    assert done.returncode == 0, done.stderr
    assert "SOCKET" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["gelu", pytest.param("gelu_new", marks=[pytest.mark.full, pytest.mark.torch])])
def test_no_socket_is_opened_by_a_preparation(activation: str, tmp_path: Path, run_python: RunPython) -> None:
    """The child that builds the graph, or converts, is watched too: sitecustomize goes with the search path."""
    make_small_model(tmp_path / "small", act=activation)
    (tmp_path / "watch").mkdir()
    log = tmp_path / "sockets"
    watch = NO_NETWORK.replace("print(", f"print(file=open({str(log)!r}, 'a'), *(").replace(
        "arguments)\n    raise", "arguments))\n    raise"
    )
    (tmp_path / "watch" / "sitecustomize.py").write_text(watch + f"\nopen({str(log)!r}, 'a').write('watched ')\n")
    passes_on = 'from kbjobs.system import child_process as c; c._VARIABLES += ("PYTHONPATH",)'
    program = passes_on + LOAD
    done = run_python(program, tmp_path / "small", tmp_path / "cache", PYTHONPATH=f"{tmp_path / 'watch'}:{REPOSITORY}")
    assert done.returncode == 0, done.stderr
    assert log.read_text() == "watched watched "


def test_the_socket_watch_can_see_one(run_python: RunPython) -> None:
    done = run_python(
        NO_NETWORK + "import urllib.request as u\ntry: u.urlopen('http://127.0.0.1:9')\nexcept OSError: pass"
    )
    assert "OPENED A SOCKET" in done.stdout


@pytest.mark.usefixtures("no_conversion")
def test_a_second_load_uses_the_cache(warm_cache: Path) -> None:
    before = state(warm_cache)
    load(warm_cache)
    assert state(warm_cache) == before


def test_what_is_recorded(warm_cache: Path) -> None:
    content = json.loads((warm_cache / KEY / "engine.json").read_text())
    assert content["chosen"] in {one["engine"] for one in content["measurements"]}
    assert content["reference_engine"] == "sentence-transformers"
    for one in content["measurements"]:
        assert one["cosine_mean"] >= one["cosine_min"] >= 0.999
        assert one["chunks_per_second"] > 0
    fastest = max(one["chunks_per_second"] for one in content["measurements"])
    (chosen,) = (one for one in content["measurements"] if one["engine"] == content["chosen"])
    assert chosen["chunks_per_second"] * 1.25 >= fastest


@pytest.mark.usefixtures("no_conversion")
@pytest.mark.parametrize("change", rest_full(["library", "processor"], "processor"))
def test_another_library_or_processor_measures_again(
    change: str, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine_file = own_cache / KEY / "engine.json"
    before = json.loads(engine_file.read_text())
    if change == "library":
        monkeypatch.setattr(trial, "_version", lambda package: f"{package} 99")
    else:
        monkeypatch.setattr(trial, "describe_processor", lambda: "Another Processor")
    monkeypatch.setattr(trial, "_SECONDS", 0.01)
    load(own_cache)
    after = json.loads(engine_file.read_text())
    assert after["valid_for"] != before["valid_for"]
    assert len(after["measurements"]) == len(before["measurements"])


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def overwrite(file: Path) -> None:
    """Damage a file in the middle, keeping its size."""
    with file.open("r+b") as stream:
        stream.seek(file.stat().st_size // 2)
        stream.write(b"\x7f\x00garbage" * 500)


@pytest.mark.parametrize(
    ("name", "damage"),
    rest_full(
        [
            ("prepared/model.bin", cut),
            ("prepared/model.bin", overwrite),
            ("prepared/model.xml", overwrite),
            ("prepared/reference.npy", cut),
            ("prepared/manifest.json", cut),
            ("prepared/model.bin", Path.unlink),
        ],
        ("prepared/model.bin", cut),
        ("prepared/manifest.json", cut),
    ),
)
def test_a_damaged_cache_is_made_again(
    name: str, damage: object, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversions = []
    real = prepared_model._run_conversion

    def count(folder: ModelFolder, building: Path, way: str | None, has_reference: bool) -> None:
        conversions.append(way)
        real(folder, building, way, has_reference)

    monkeypatch.setattr(prepared_model, "_run_conversion", count)
    monkeypatch.setattr(trial, "_SECONDS", 0.01)
    damage(own_cache / KEY / name)  # type: ignore[operator]
    assert load(own_cache).startswith("openvino")
    assert len(conversions) == 1
    load(own_cache)
    assert len(conversions) == 1


@pytest.mark.usefixtures("no_conversion")
@pytest.mark.parametrize("damage", rest_full([cut, overwrite], cut))
def test_damaged_compiled_files_do_no_harm(damage: object, own_cache: Path) -> None:
    compiled = list((own_cache / KEY / "compiled").rglob("*.blob"))
    assert compiled
    for file in compiled:
        file.chmod(0o600)
        damage(file)  # type: ignore[operator]
    load(own_cache)


@pytest.mark.usefixtures("no_conversion")
def test_compiled_files_are_closed_to_the_group(own_cache: Path) -> None:
    """OpenVINO itself makes them readable for it."""
    shutil.rmtree(own_cache / KEY / "compiled")
    load(own_cache)
    compiled = list((own_cache / KEY / "compiled").rglob("*.blob"))
    assert compiled
    assert not [file for file in compiled if file.stat().st_mode & 0o077]


@pytest.mark.usefixtures("no_conversion")
@pytest.mark.parametrize("content", rest_full(["", "{", "[]", '{"valid_for": 1}'], "{"))
def test_a_torn_choice_is_made_again(content: str, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_SECONDS", 0.01)
    (own_cache / KEY / "engine.json").write_text(content)
    load(own_cache)
    assert json.loads((own_cache / KEY / "engine.json").read_text())["chosen"]


@pytest.mark.usefixtures("no_torch")
def test_a_model_that_changed_its_mind_is_noticed(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that loads but gives other vectors, with a manifest that calls it whole."""
    xml = own_cache / KEY / "prepared" / "model.bin"
    overwrite(xml)
    with xml.open("r+b") as stream:
        stream.write(b"\x3f" * 40_000_000)
    manifest = own_cache / KEY / "prepared" / "manifest.json"
    content = json.loads(manifest.read_text())
    content["files"]["model.bin"] = prepared_model._describe(xml)
    manifest.write_text(json.dumps(content))
    shutil.rmtree(own_cache / KEY / "compiled")
    prepared_again = []

    def stop(*_arguments: object) -> None:
        prepared_again.append(True)
        raise prepared_model.NotConvertibleError("enough seen")

    monkeypatch.setattr(choose, "prepare", stop)
    monkeypatch.setattr(trial, "_SECONDS", 0.01)
    with pytest.raises(KbjobsError, match="enough seen"):
        load(own_cache)
    assert prepared_again


@pytest.mark.model
@pytest.mark.slow
def test_two_processes_at_first_use_convert_once(tmp_path: Path) -> None:
    make_small_model(tmp_path / "small")
    command = [sys.executable, "-c", LOAD, str(tmp_path / "small"), str(tmp_path / "cache")]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    results = [json.loads(process.communicate(timeout=120)[0]) for process in both]
    assert results[0][:2] == results[1][:2]
    assert results[0][0].startswith("openvino")
    assert len(list((tmp_path / "cache").glob("small-*/prepared/model.xml"))) == 1
    assert not list((tmp_path / "cache").glob("small-*/.building-*"))


@pytest.mark.model
@pytest.mark.slow
def test_a_kill_during_the_conversion_leaves_nothing_that_hurts(tmp_path: Path) -> None:
    make_small_model(tmp_path / "small")
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", LOAD, str(tmp_path / "small"), str(cache)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.PIPE)
    wait_until(lambda: list(cache.glob("small-*/.building-*")), 60)
    threads = Path(f"/proc/{process.pid}/task")
    child = int(
        wait_until(lambda: [pid for one in threads.glob("*/children") for pid in one.read_text().split()], 60, 0.01)[0]
    )
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert list(cache.glob("small-*/.building-*")), "it was killed too late to prove anything"
    wait_until(lambda: not is_alive(child), 60)
    assert not list(cache.glob("small-*/.building-*/*")), "the conversion went on to its end without its parent"
    assert load(cache, name=str(tmp_path / "small")).startswith("openvino")
    assert not list(cache.glob("small-*/.building-*"))


@pytest.mark.usefixtures("no_conversion")
def test_forced_engines(warm_cache: Path) -> None:
    assert load(warm_cache, "openvino").startswith("openvino-")
    with pytest.raises(UsageError, match=r"no onnx/model\.onnx"):
        load(warm_cache, "onnxruntime")
    with pytest.raises(UsageError, match="no engine 'magic'"):
        load(warm_cache, "magic")


@pytest.mark.full
@pytest.mark.torch
@pytest.mark.usefixtures("no_conversion")
def test_sentence_transformers_can_be_forced(warm_cache: Path) -> None:
    assert load(warm_cache, "sentence-transformers") == "sentence-transformers"


@pytest.mark.full
@pytest.mark.torch
def test_a_model_only_sentence_transformers_can_run(tmp_path: Path) -> None:
    make_small_model(tmp_path / "small", pooling="max")
    assert load(tmp_path / "cache", name=str(tmp_path / "small")) == "sentence-transformers"


@pytest.mark.parametrize("has_torch", [True, False])
def test_a_model_that_openvino_cannot_run_is_refused(
    has_torch: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (choose, engines):
        monkeypatch.setattr(module, "has_torch", lambda: has_torch)
    make_small_model(tmp_path / "small", pooling="max")
    with pytest.raises(UsageError, match="max pooling"):
        load(tmp_path / "cache", "openvino", str(tmp_path / "small"))


@pytest.fixture
def nothing_passes(own_cache: Path) -> Path:
    """Pooling read wrongly stands for every fault that gives other vectors."""
    content = json.loads((own_cache / KEY / "engine.json").read_text())
    for one in content["measurements"]:
        one["cosine_min"] = 0.9
    (own_cache / KEY / "engine.json").write_text(json.dumps(content))
    return own_cache


@pytest.mark.full
@pytest.mark.torch
def test_no_engine_passes_falls_back_with_a_warning(nothing_passes: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert load(nothing_passes) == "sentence-transformers"
    assert "cosine of 0.9000" in caplog.text


@pytest.mark.usefixtures("no_torch")
def test_no_engine_passes_and_there_is_nothing_to_fall_back_on(nothing_passes: Path) -> None:
    with pytest.raises(KbjobsError, match=f"no engine can run {MINILM}: .*cosine of 0.9000") as caught:
        load(nothing_passes)
    assert 'pip install "kbjobs[torch]"' in caught.value.hint
    with pytest.raises(UsageError, match="cosine"):
        load(nothing_passes, "openvino")


def test_a_wrong_engine_is_measured_as_wrong(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = find_model(MINILM, own_cache)
    prepared = prepared_model.read_prepared(folder, weights_hash(folder, own_cache), own_cache / KEY)
    assert prepared is not None
    monkeypatch.setattr(trial, "_SECONDS", 0.01)
    monkeypatch.setattr("kbjobs.embedding.token_embedder.pool", lambda hidden, _mask, _pooling: hidden[:, 0].copy())
    result = trial.run_trial(folder, KEY, prepared, own_cache / KEY)
    assert result.choose("auto") is None
    assert result.measurements
    assert all(one.cosine_min < 0.99 for one in result.measurements)


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize("message", ["Can not create file mapping, err=Cannot allocate memory", "std::bad_alloc"])
def test_too_little_memory_is_told_and_says_nothing_of_the_engines(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    def fail(*_arguments: object) -> None:
        raise RuntimeError(message)

    shutil.rmtree(own_cache / KEY)
    with monkeypatch.context() as patch:
        patch.setattr(trial, "open_light_engine", fail)
        patch.setattr(choose, "open_light_engine", fail)
        for _ in range(2):
            with pytest.raises(ShortOfMemoryError, match="too little memory to load all-MiniLM-L6-v2") as caught:
                load(own_cache)
            assert "ulimit -v" in caught.value.hint
            assert "pip install" not in caught.value.hint
    assert load(own_cache).startswith("openvino")  # with enough of it, the engines are measured


def test_too_little_memory_for_an_engine_that_was_chosen(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise MemoryError

    before = state(own_cache)
    with monkeypatch.context() as patch:
        patch.setattr(choose, "open_light_engine", fail)
        with pytest.raises(ShortOfMemoryError):
            load(own_cache)
    load(own_cache)
    assert state(own_cache) == before  # nothing was prepared anew


@pytest.mark.usefixtures("no_torch")
def test_without_torch_and_onnx_the_way_out_is_named(tmp_path: Path) -> None:
    make_small_model(tmp_path / "small", act="gelu_new")
    with pytest.raises(MissingRequirementError, match="its activation is 'gelu_new'") as caught:
        load(tmp_path / "cache", name=str(tmp_path / "small"))
    assert caught.value.exit_code == ExitCode.MISSING_REQUIREMENT
    assert caught.value.hint == 'pip install "kbjobs[torch]"'


@pytest.mark.usefixtures("no_torch")
def test_without_torch_a_failed_preparation_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(KbjobsError, match=f"no engine can run {MINILM}: .* \\(exit code 1\\)") as caught:
        load(tmp_path / "cache")
    assert 'pip install "kbjobs[torch]"' in caught.value.hint
    assert not (tmp_path / "cache" / KEY / "engine.json").exists()


@pytest.mark.usefixtures("no_torch")
def test_without_torch_a_converted_model_still_loads(warm_cache: Path) -> None:
    assert load(warm_cache).startswith("openvino")


@pytest.fixture
def no_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (choose, engines, prepared_model, trial):
        monkeypatch.setattr(module, "has_openvino", lambda: False)


@pytest.mark.full
@pytest.mark.torch
@pytest.mark.usefixtures("no_conversion", "no_openvino")
def test_without_openvino_sentence_transformers_runs_it(tmp_path: Path, warm_cache: Path) -> None:
    assert load(tmp_path / "cache") == "sentence-transformers"


@pytest.mark.usefixtures("no_conversion", "no_openvino", "no_torch")
def test_without_openvino_and_torch(tmp_path: Path) -> None:
    for engine in ("auto", "openvino"):
        with pytest.raises(MissingRequirementError, match="openvino is not installed"):
            load(tmp_path / "cache", engine)


@pytest.mark.model
@pytest.mark.usefixtures("no_conversion", "no_openvino", "no_torch")
def test_without_openvino_onnxruntime_runs_what_ships_its_file(tmp_path: Path) -> None:
    make_small_model(tmp_path / "small", with_onnx=True)
    assert load(tmp_path / "cache", name=str(tmp_path / "small")) == "onnxruntime-f32"


@pytest.mark.full
@pytest.mark.torch
def test_a_failed_conversion_falls_back_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As when memory or disk ran out: this load goes on, the next one tries anew."""
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with caplog.at_level(logging.WARNING):
        assert load(tmp_path / "cache") == "sentence-transformers"
    assert "exit code 1" in caplog.text
    assert not (tmp_path / "cache" / KEY / "engine.json").exists()
    assert not (tmp_path / "cache" / KEY / "prepared").exists()


def test_the_weights_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_small_model(tmp_path / "small")
    folder = find_model(str(tmp_path / "small"), tmp_path)
    first = weights_hash(folder, tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr("kbjobs.embedding.identity.file_hash", lambda _file: pytest.fail("hashed again"))
        assert weights_hash(folder, tmp_path / "cache") == first
    overwrite(folder.weights)
    assert weights_hash(folder, tmp_path / "cache") != first


def test_the_published_weights_are_recognised(tmp_path: Path, warm_cache: Path) -> None:
    folder = find_model(MINILM, tmp_path)
    assert weights_hash(folder, warm_cache).startswith(KEY[-12:])


def test_parity_texts_cover_the_window() -> None:
    assert PARITY_TEXTS[0]
    assert len(PARITY_TEXTS) == 24
    assert max(map(len, PARITY_TEXTS)) > 4000
