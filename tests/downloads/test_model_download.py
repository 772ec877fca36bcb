"""A model from the hub: which files come, what they are checked for, what its key is, what refusals say."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kbjobs.config.home import Home
from kbjobs.config.secrets import set_secret
from kbjobs.config.settings import Settings
from kbjobs.context import Context
from kbjobs.downloads import model_files
from kbjobs.downloads.hub import Hub
from kbjobs.downloads.model_download import download_model
from kbjobs.embedding import engines, model_catalogue
from kbjobs.embedding.identity import file_hash, model_key, weights_hash
from kbjobs.embedding.model_catalogue import KnownModel, find_model
from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.model_note import NOTE_FILE
from kbjobs.errors import DownloadError, KbjobsError, MissingRequirementError, NotFoundError, TransientError
from tests.servers.hub_server import Fault, HubServer

SMALL = "acme/small"
ONNX = "onnx/model.onnx"


class Silent:
    def report(self, *facts: object) -> None:
        pass

    def saved(self, steps: int) -> None:
        pass


Download = Callable[..., ModelFolder]


@pytest.fixture
def download(home: Home) -> Download:
    """Fetches a model into the home, in this process."""

    def run(name: str = SMALL, revision: str | None = None, force: bool = False) -> ModelFolder:
        context = Context(home, Settings(home), None, 1, Silent(), lambda: False, logging.getLogger("test"))
        return download_model(context, name, revision, force)[0]

    return run


def key_of(home: Home, folder: ModelFolder) -> str:
    return model_key(folder, weights_hash(folder, home.engines))


def copy_model(source: Path, target: Path, **changes: Callable[[Any], Any]) -> Path:
    """A copy whose JSON files, named with __ for / and without their ending, are changed."""
    shutil.copytree(source, target)
    for name, change in changes.items():
        file = target / f"{name.replace('__', '/')}.json"
        file.write_text(json.dumps(change(json.loads(file.read_text()))))
    return target


def test_what_comes_is_what_is_needed(home: Home, hub: HubServer, small_model: Path, download: Download) -> None:
    files = {path.relative_to(small_model).as_posix(): path for path in small_model.rglob("*") if path.is_file()}
    more = {
        "pytorch_model.bin": b"pickled" * 20_000,
        "onnx/model_O2.onnx": b"x",
        "README.md": b"x",
        "tf_model.h5": b"x",
    }
    commit = hub.add(SMALL, {**files, **more})
    found = download()
    there = {path.relative_to(found.path).as_posix() for path in found.path.rglob("*") if path.is_file()}
    assert there == {
        "1_Pooling/config.json",
        "config.json",
        "config_sentence_transformers.json",
        NOTE_FILE,
        "modules.json",
        ONNX,
        "sentence_bert_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert (found.path, found.dimension) == (home.models / SMALL, 32)
    assert found.note is not None
    assert (found.note.revision, found.note.commit, found.note.licence) == ("main", commit, "apache-2.0")
    assert not any(path.is_dir() for path in (home.downloads / "models").iterdir())


def test_what_is_here_is_not_asked_for(hub: HubServer, download: Download) -> None:
    download()
    hub.asked.clear()
    download()
    assert hub.asked == []
    download(revision="main")
    assert [asked.path for asked in hub.asked] == [f"/api/models/{SMALL}/revision/main"]


def test_force_fetches_the_newest(hub: HubServer, small_model: Path, tmp_path: Path, download: Download) -> None:
    first = download()
    second = hub.add(SMALL, copy_model(small_model, tmp_path / "new", sentence_bert_config=lambda old: {**old, "x": 1}))
    assert download().note == first.note
    found = download(force=True)
    assert found.note is not None and found.note.commit == second


def test_a_listing_of_many_pages(hub: HubServer, download: Download) -> None:
    hub.page = 3
    assert download().dimension == 32


# -- the key ------------------------------------------------------------------------------------------


def lower_window(config: dict[str, Any]) -> dict[str, Any]:
    return {**config, "max_seq_length": 32}


def other_pooling(config: dict[str, Any]) -> dict[str, Any]:
    return {**config, "pooling_mode": "cls"}


def other_tokenizer(tokenizer: dict[str, Any]) -> dict[str, Any]:
    return {**tokenizer, "normalizer": None}


@pytest.mark.parametrize(
    ("changes", "is_other"),
    [
        ({"1_Pooling__config": other_pooling}, True),
        ({"tokenizer": other_tokenizer}, True),
        ({"sentence_bert_config": lower_window}, False),
    ],
)
def test_a_revision_that_reads_texts_otherwise_has_another_key(
    home: Home,
    hub: HubServer,
    small_model: Path,
    tmp_path: Path,
    download: Download,
    changes: dict[str, Any],
    is_other: bool,
) -> None:
    first = key_of(home, download())
    assert first.startswith("acme--small-") and first.count("-") == 3
    hub.add(SMALL, copy_model(small_model, tmp_path / "other", **changes), revision="v2")
    second = key_of(home, download(revision="v2"))
    assert (second != first) is is_other
    assert second.startswith(first)
    shutil.rmtree(home.models / SMALL)
    assert key_of(home, download(revision="v2")) == second
    assert key_of(home, download(revision="main", force=True)) == first


def test_a_folder_that_was_put_here_by_hand_keeps_its_key(
    home: Home, hub: HubServer, small_model: Path, tmp_path: Path, download: Download
) -> None:
    """Ledgers hold vectors under it: another tokenizer from the hub must not be mixed with them."""
    shutil.copytree(small_model / "onnx", home.models / SMALL / "onnx")
    for file in small_model.rglob("*.json"):
        target = home.models / SMALL / file.relative_to(small_model)
        target.parent.mkdir(exist_ok=True)
        shutil.copy(file, target)
    by_hand = key_of(home, find_model(SMALL, home.models))
    assert key_of(home, download(revision="main")) == by_hand
    hub.add(SMALL, copy_model(small_model, tmp_path / "other", tokenizer=other_tokenizer))
    assert key_of(home, download(force=True)).startswith(f"{by_hand}-")


def test_onnx_stands_for_the_published_weights_of_its_commit(
    home: Home, hub: HubServer, small_model: Path, download: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors that were made with the safetensors of a known model stay in use when it comes as ONNX."""
    published = file_hash(small_model / "model.safetensors")
    known = KnownModel("small", SMALL, 32, 48, "Apache-2.0", weights_sha256=published)
    monkeypatch.setattr(model_catalogue, "KNOWN_MODELS", (known,))
    found = download("small")
    assert found.onnx == found.weights
    assert key_of(home, found) == f"small-{published[:12]}"
    with found.weights.open("r+b") as file:  # somebody has changed it: it stands for nothing any more
        file.write(b"changed")
    assert key_of(home, found) != f"small-{published[:12]}"


def test_tensors_in_a_file_beside_are_a_part_of_the_key(
    home: Home, hub: HubServer, small_model: Path, download: Download
) -> None:
    files = without(small_model)
    hub.add(SMALL, {**files, f"{ONNX}_data": b"1" * 200_000})
    first = key_of(home, download())
    hub.add(SMALL, {**files, f"{ONNX}_data": b"2" * 200_000})
    assert key_of(home, download(force=True)) != first


# -- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault(alter=True, lasting=True), "is not the expected file: its sha256 is"),
        (Fault(body=b"short", lasting=True), "has 5 bytes, it should have"),
    ],
)
def test_altered_weights_are_refused(home: Home, hub: HubServer, download: Download, fault: Fault, says: str) -> None:
    hub.faults[ONNX] = [fault]
    with pytest.raises(DownloadError, match=says):
        download()
    assert not (home.models / SMALL).exists()
    del hub.faults[ONNX]
    assert download().dimension == 32


def test_an_altered_small_file_is_refused(hub: HubServer, download: Download) -> None:
    hub.faults["config.json"] = [Fault(alter=True, lasting=True)]
    with pytest.raises(DownloadError, match="its hash in git is"):
        download()


def without(files: Path, *names: str) -> dict[str, bytes | Path]:
    there = {path.relative_to(files).as_posix(): path for path in files.rglob("*") if path.is_file()}
    return {name: path for name, path in there.items() if name not in names}


def test_pickled_weights_are_never_taken(hub: HubServer, small_model: Path, download: Download) -> None:
    files = without(small_model, ONNX, "model.safetensors")
    hub.add(SMALL, {**files, "pytorch_model.bin": b"pickled" * 20_000})
    with pytest.raises(DownloadError, match="run code when they are loaded"):
        download()
    assert "pytorch_model.bin" not in hub.sent


def test_safetensors_need_no_torch_where_the_graph_is_built(
    home: Home, hub: HubServer, small_model: Path, download: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(SMALL, without(small_model, ONNX))
    monkeypatch.setattr(model_files, "has_torch", lambda: False)
    monkeypatch.setattr(engines, "has_torch", lambda: False)
    assert download().weights == home.models / SMALL / "model.safetensors"
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("activation", "has_openvino", "reason", "extra"),
    [
        ("gelu_new", True, "its activation is 'gelu_new'", "torch"),
        ("gelu_new", False, "its activation is 'gelu_new'", "torch"),
        ("gelu", False, "openvino is not installed", "fast"),
    ],
)
def test_other_safetensors_need_an_engine(
    activation: str,
    has_openvino: bool,
    reason: str,
    extra: str,
    hub: HubServer,
    small_model: Path,
    download: Download,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = json.loads((small_model / "config.json").read_text())
    files = {**without(small_model, ONNX), "config.json": json.dumps({**config, "hidden_act": activation}).encode()}
    hub.add(SMALL, files)
    monkeypatch.setattr(model_files, "has_torch", lambda: False)
    monkeypatch.setattr(engines, "has_openvino", lambda: has_openvino)
    with pytest.raises(MissingRequirementError, match=f"which ships no ONNX file: {reason}") as caught:
        download()
    assert caught.value.hint == f'pip install "kbjobs[{extra}]"'
    assert "model.safetensors" not in hub.sent
    monkeypatch.undo()


def test_safetensors_where_there_is_no_onnx(home: Home, hub: HubServer, small_model: Path, download: Download) -> None:
    hub.add(SMALL, without(small_model, ONNX))
    assert download().weights == home.models / SMALL / "model.safetensors"


def test_torn_safetensors_are_refused(hub: HubServer, small_model: Path, download: Download) -> None:
    """As the hub lists them: size and hash fit, the file itself is cut."""
    torn = (small_model / "model.safetensors").read_bytes()[:-1000]
    hub.add(SMALL, {**without(small_model, ONNX), "model.safetensors": torn})
    with pytest.raises(DownloadError, match=r"model\.safetensors .* is damaged"):
        download()


def test_a_model_of_another_kind(hub: HubServer, download: Download) -> None:
    hub.add("acme/chat", {"config.json": b"{}", "model.safetensors": b"x"})
    with pytest.raises(DownloadError, match=r"has no modules\.json"):
        download("acme/chat")


HOSTILE = ("../../evil", "/etc/evil", "a/../../evil", "..", "a\\b", "a\0b", "~/evil", "onnx//evil", "a/./b")


def test_hostile_names_are_left_alone(home: Home, hub: HubServer, tmp_path: Path, download: Download) -> None:
    for name in HOSTILE:
        hub.extra.append({"type": "file", "path": name, "size": 4, "oid": "0" * 40})
    hub.extra += [{"type": "file", "path": 5}, "x", None, {"type": "file", "path": "config.json", "size": "x"}]
    there = Hub(hub.url, None, lambda: None)
    listed = there.list_files(there.find(SMALL, "main"))
    assert ONNX in listed and not set(listed) & set(HOSTILE)
    before = set(tmp_path.rglob("*evil*"))
    assert download().dimension == 32
    assert set(tmp_path.rglob("*evil*")) == before


def test_modules_that_lead_outside(hub: HubServer, small_model: Path, tmp_path: Path, download: Download) -> None:
    def climb(modules: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [modules[0], {**modules[1], "path": "../../outside"}]

    hub.add(SMALL, copy_model(small_model, tmp_path / "climbing", modules=climb))
    with pytest.raises(DownloadError, match="outside"):
        download()


@pytest.mark.parametrize("content", [b"[", b"{}", b'[{"type": 1}]', b"[" * 100_000])
def test_modules_that_cannot_be_read(hub: HubServer, small_model: Path, download: Download, content: bytes) -> None:
    hub.add(SMALL, {**without(small_model, "modules.json"), "modules.json": content})
    with pytest.raises(DownloadError):
        download()


# -- what the hub refuses -----------------------------------------------------------------------------


def error_of(download: Download, *arguments: Any, **options: Any) -> tuple[KbjobsError, str]:
    with pytest.raises(KbjobsError) as caught:
        download(*arguments, **options)
    return caught.value, f"{caught.value.message} {caught.value.hint}"


def test_a_model_that_the_hub_does_not_know(hub: HubServer, download: Download) -> None:
    error, text = error_of(download, "BAAI/bge-small-en-v1.6")
    assert isinstance(error, NotFoundError)
    assert "has no model 'BAAI/bge-small-en-v1.6'; did you mean bge-small-en-v1.5?" in text
    assert "kbjobs models list" in text and "HF_TOKEN" in text


def test_a_revision_that_the_hub_does_not_know(hub: HubServer, download: Download) -> None:
    error, text = error_of(download, revision="v9")
    assert isinstance(error, NotFoundError)
    assert f"{SMALL} has no revision 'v9'" in text


def test_a_gated_model(home: Home, hub: HubServer, download: Download) -> None:
    hub.gated.add(SMALL)
    error, text = error_of(download)
    assert isinstance(error, MissingRequirementError)
    assert f"Accept its licence at {hub.url}/{SMALL}" in text and "kbjobs config set-secret HF_TOKEN" in text


def test_a_private_model(home: Home, hub: HubServer, download: Download) -> None:
    hub.token = "hf_right"
    error, text = error_of(download)
    assert isinstance(error, NotFoundError) and "kbjobs config set-secret HF_TOKEN" in text
    set_secret(home, "HF_TOKEN", "hf_wrong")
    error, text = error_of(download)
    assert isinstance(error, MissingRequirementError)
    assert "refuses the token HF_TOKEN" in text and "hf_wrong" not in text
    set_secret(home, "HF_TOKEN", "hf_right")
    assert download().dimension == 32


def test_a_store_that_the_hub_leads_to_refuses(hub: HubServer, download: Download) -> None:
    """An address that has run out, say: that is no matter of the licence, and its signature is nobody's business."""
    with HubServer() as store:
        store.faults[ONNX] = [Fault(status=403, lasting=True)]
        hub.faults[ONNX] = [Fault(location=store.url + "{path}?signature=secret")]
        store.models = hub.models
        error, text = error_of(download)
    assert isinstance(error, DownloadError)
    assert f"the hub leads to {store.url}/" in text and "status 403" in text and "secret" not in text


def test_a_token_is_held_back_where_others_could_read_it() -> None:
    hub = Hub("http://hub.example.org", "hf_secret", lambda: None)
    assert hub.token is None and hub.holds_back_token


def test_a_hub_that_is_busy_is_asked_again(hub: HubServer, download: Download) -> None:
    hub.faults["api"] = [Fault(status=429, headers={"Retry-After": "1"}), Fault(status=503)]
    assert download().dimension == 32


def test_a_hub_that_wants_to_be_left_alone(hub: HubServer, download: Download) -> None:
    hub.faults["api"] = [Fault(status=429, headers={"Retry-After": "3000"})]
    error, text = error_of(download)
    assert isinstance(error, TransientError) and "left alone for 3000 s" in text


def test_what_is_no_hub(monkeypatch: pytest.MonkeyPatch, hub: HubServer, download: Download) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "not an address")
    error, text = error_of(download)
    assert isinstance(error, DownloadError) and "is not a web address" in text
