"""The vectors themselves: like the reference's, in order, never unusable."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from kbjobs.embedding.choose import load_embedder
from kbjobs.embedding.embedder import Embedder, EmbeddingError
from kbjobs.embedding.identity import weights_hash
from kbjobs.embedding.model_catalogue import find_model
from kbjobs.embedding.openvino_engine import OpenVinoEmbedder
from kbjobs.embedding.parity import PARITY_TEXTS
from kbjobs.embedding.pooling import pool
from kbjobs.embedding.references import find_reference
from kbjobs.embedding.sentence_transformers_engine import SentenceTransformersEmbedder
from kbjobs.embedding.token_embedder import Batch, TokenEmbedder

from .conftest import MINILM
from .plain_transformer import encode
from .small_model import make_small_model

WORDS = ["river", "stone", "letter", "engine", "harvest", "copper", "lamp", "window", "garden", "thunder"]


def mixed_texts(count: int) -> list[str]:
    """Make texts of 1 to 300 words, none like another."""
    choice = random.Random(5)
    return [f"{index} " + " ".join(choice.choices(WORDS, k=choice.randint(1, 300))) for index in range(count)]


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", left, right)


@pytest.fixture(scope="module")
def embedder(warm_cache: Path) -> Embedder:
    embedder = load_embedder(MINILM, warm_cache / "no-models", warm_cache)
    assert embedder.engine.startswith("openvino"), "it fell back: these tests would test something else"
    return embedder


@pytest.fixture(scope="module")
def sentence_transformer() -> object:
    from sentence_transformers import SentenceTransformer

    folder = find_model(MINILM, Path("/nonexistent")).path
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


@pytest.mark.full
@pytest.mark.torch
def test_parity_with_sentence_transformers(embedder: Embedder, sentence_transformer: object) -> None:
    texts = [*PARITY_TEXTS, *mixed_texts(40)]
    expected = sentence_transformer.encode(texts, normalize_embeddings=True, batch_size=8)  # type: ignore[attr-defined]
    likeness = cosines(embedder.embed(texts), expected)
    assert likeness.min() >= 0.999, (texts[likeness.argmin()][:80], likeness.min())


@pytest.mark.full
@pytest.mark.torch
def test_the_reference_engine_is_the_real_thing(sentence_transformer: object, tmp_path: Path) -> None:
    reference = SentenceTransformersEmbedder(find_model(MINILM, tmp_path), "key", device="cpu")
    texts = [*PARITY_TEXTS[:6], PARITY_TEXTS[-1]]
    expected = sentence_transformer.encode(texts)  # type: ignore[attr-defined]
    assert cosines(reference.embed(texts), expected).min() > 0.99999
    assert reference.embed([]).shape == (0, 384)
    with pytest.raises(EmbeddingError, match="text 1 "):
        reference.embed(["fine", "broken \ud800"])


def test_parity_with_the_reference_vectors(embedder: Embedder, tmp_path: Path) -> None:
    folder = find_model(MINILM, tmp_path)
    reference = find_reference(folder, weights_hash(folder, tmp_path))
    assert reference is not None
    assert cosines(embedder.embed(PARITY_TEXTS), reference).min() >= 0.999


def test_order_is_kept(embedder: Embedder) -> None:
    texts = mixed_texts(60)
    together = embedder.embed(texts)
    alone = np.concatenate([embedder.embed([text]) for text in texts])
    likeness = together @ alone.T
    assert (likeness.argmax(axis=1) == np.arange(60)).all()
    assert np.diag(likeness).min() > 0.999


def test_order_is_kept_across_the_sorting_limit(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = mixed_texts(25)
    expected = embedder.embed(texts)
    monkeypatch.setattr("kbjobs.embedding.token_embedder._SORTED_TOGETHER", 7)
    assert cosines(embedder.embed(texts), expected).min() > 0.999


def test_shape_type_and_length(embedder: Embedder) -> None:
    vectors = embedder.embed(["one", "", "three " * 2000])
    assert vectors.shape == (3, 384) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    assert embedder.embed([]).shape == (0, 384)
    query = embedder.embed_query("one")
    assert query.shape == (384,)
    assert query @ vectors[0] > 0.999


def test_what_lies_beyond_the_window_is_not_read(embedder: Embedder) -> None:
    start = "salt " * 254
    long, cut, other = embedder.embed([start + "thunder " * 500, start, start[:-5] + "thunder"])
    assert long @ cut > 0.99999
    assert other @ cut < 0.9999


def test_the_tokenizer_counts_without_cutting(embedder: Embedder) -> None:
    tokenizer = embedder.tokenizer
    assert isinstance(tokenizer, Tokenizer)
    assert len(tokenizer.encode("salt " * 1000).ids) == 1002
    embedder.embed(["salt " * 1000])
    assert len(tokenizer.encode("salt").ids) == 3


def test_text_without_utf8_is_named(embedder: Embedder) -> None:
    with pytest.raises(EmbeddingError) as caught:
        embedder.embed(["fine", "fine too", "a lone \ud800 surrogate"])
    assert caught.value.index == 2
    assert "text 2 " in caught.value.message


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_an_unusable_vector_is_never_returned(
    bad: float, embedder: TokenEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch comes out wrong for its shortest text: the caller's index of that text is named."""
    forward = embedder.forward

    def spoil(batches: Iterable[Batch]) -> Iterator[np.ndarray]:
        given = list(batches)
        for (_, mask), result in zip(given, forward(given), strict=True):
            hidden = np.array(result)
            hidden[mask.sum(axis=1) == 3] = bad
            yield hidden

    monkeypatch.setattr(embedder, "forward", spoil)
    with pytest.raises(EmbeddingError) as caught:
        embedder.embed(["a longer text than the other", "salt", "and one more to come after it"])
    assert caught.value.index == 1


def test_calls_at_the_same_time_and_one_that_fails_disturb_no_other(embedder: TokenEmbedder) -> None:
    texts = mixed_texts(60)
    wanted = embedder.embed(texts)
    parts = [texts[start : start + 12] for start in range(0, 60, 12)]
    with ThreadPoolExecutor(len(parts) + 1) as pool:
        found = [pool.submit(embedder.embed, part) for part in parts]
        with pytest.raises(EmbeddingError):
            embedder.embed(["a lone \ud800 surrogate"])
        together = np.concatenate([one.result() for one in found])
    # The same but for how texts are padded together, in bf16.
    assert (together * wanted).sum(axis=1).min() > 0.999
    assert np.allclose(embedder.embed(texts), wanted, atol=1e-3)


def test_who_takes_a_request_of_a_call_that_was_given_up_finds_it_idle(warm_cache: Path) -> None:
    embedder = load_embedder(MINILM, warm_cache / "no-models", warm_cache)
    if not isinstance(embedder, OpenVinoEmbedder):
        pytest.skip("this processor runs another engine")
    results = embedder.forward((np.full((8, 256), 5), np.ones((8, 256), np.int64)) for _ in range(6))
    next(results)
    results.close()  # type: ignore[attr-defined]  # as by an error in what is done with a result
    idle = [embedder._idle.get_nowait() for _ in range(embedder._idle.qsize())]
    assert len(idle) == embedder.at_once + 1
    assert all(request.wait_for(0) for request in idle)
    embedder.close()


def test_a_closed_embedder_does_not_embed(warm_cache: Path) -> None:
    embedder = load_embedder(MINILM, warm_cache / "no-models", warm_cache)
    embedder.close()
    with pytest.raises(RuntimeError, match="closed"):
        embedder.embed(["text"])


def test_pooling_ignores_padding() -> None:
    hidden = np.array([[[1, 0], [3, 2], [100, 100]], [[1, 1], [2, 2], [3, 3]]], dtype=np.float32)
    mask = np.array([[1, 1, 0], [1, 1, 1]])
    assert pool(hidden, mask, "mean").tolist() == [[2, 1], [2, 2]]
    assert pool(hidden, mask, "cls").tolist() == [[1, 0], [1, 1]]


@pytest.mark.model
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_both_poolings_with_prompts(pooling: str, tmp_path: Path) -> None:
    folder = make_small_model(tmp_path / "small", pooling=pooling, query="find: ", document="text: ")
    embedder = load_embedder(str(folder), tmp_path, tmp_path / "cache", engine="openvino")
    assert (embedder.dimension, embedder.max_tokens, embedder.name) == (32, 48, str(folder))
    assert cosines(embedder.embed(PARITY_TEXTS), encode(folder, PARITY_TEXTS, "text: ")).min() > 0.999
    query = encode(folder, ["salt"], "find: ")[0]
    assert embedder.embed_query("salt") @ query > 0.999
    assert embedder.embed(["salt"])[0] @ query < 0.999


@pytest.mark.model
def test_the_models_own_onnx_file(tmp_path: Path) -> None:
    """Both engines run it, with an input that only it asks for."""
    folder = make_small_model(tmp_path / "small", pooling="cls", with_onnx=True)
    expected = encode(folder, PARITY_TEXTS)
    (folder / "model.safetensors").unlink()
    for engine in ("onnxruntime", "openvino"):
        embedder = load_embedder(str(folder), tmp_path, tmp_path / "cache", engine=engine)
        assert embedder.engine.startswith(engine)
        assert cosines(embedder.embed(PARITY_TEXTS), expected).min() > 0.999
