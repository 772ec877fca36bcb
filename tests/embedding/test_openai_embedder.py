"""The embedder itself: what it sends, and how each kind of failure is told."""

from __future__ import annotations

import base64
import json
import struct
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kbjobs.embedding.embedder import EmbeddingError
from kbjobs.embedding.online_models import TEXT_EMBEDDING_3_SMALL, check_key, find_online
from kbjobs.embedding.openai_client import BadAnswerError
from kbjobs.embedding.openai_embedder import OpenAIEmbedder, read_vectors
from kbjobs.errors import MissingRequirementError, TransientError
from tests.conftest import ROOT, wait_until
from tests.servers.openai_server import KEY, OpenAIServer, Reply, error_body, make_vector, rate_limit, server_error


@pytest.fixture
def embedder(openai_api: OpenAIServer) -> Any:
    opened = OpenAIEmbedder(TEXT_EMBEDDING_3_SMALL, openai_api.key, retries=1, timeout=5)
    yield opened
    opened.close()


def test_one_request_for_one_call(embedder: OpenAIEmbedder, openai_api: OpenAIServer) -> None:
    texts = [f"water number {number}" for number in range(20)]
    vectors = embedder.embed(texts)
    assert vectors.shape == (20, 1536) and vectors.dtype == np.float32
    assert np.allclose(vectors, [make_vector(text) for text in texts], atol=1e-6)
    assert len(openai_api.requests) == 1
    assert embedder.tokens_bought == openai_api.sold_tokens
    assert np.allclose(embedder.embed_query(texts[3]), vectors[3], atol=1e-6)


def test_an_empty_text_is_never_sent(embedder: OpenAIEmbedder, openai_api: OpenAIServer) -> None:
    with pytest.raises(EmbeddingError, match="text 1"):
        embedder.embed(["water", " \n"])
    assert openai_api.requests == []


@pytest.mark.parametrize(
    ("texts", "status"), [(["x"] * 2049, 400), (["salt " * 8193], 400), (["salt " * 8000] * 38, 400)]
)
def test_the_servers_limits_are_refusals_of_texts(
    embedder: OpenAIEmbedder, openai_api: OpenAIServer, texts: list[str], status: int
) -> None:
    with pytest.raises(EmbeddingError, match=str(status)):
        embedder.embed(texts)
    assert openai_api.sold_texts == []


def test_numbers_instead_of_base64_are_read() -> None:
    data = [SimpleNamespace(index=1, embedding=[0.0, 3.0]), SimpleNamespace(index=0, embedding=[4.0, 0.0])]
    vectors, unusable = read_vectors(SimpleNamespace(data=data), 2, 2)
    assert vectors.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert unusable == []
    packed = base64.b64encode(struct.pack("<2f", 0.0, 2.0)).decode()
    vectors, _ = read_vectors(SimpleNamespace(data=[SimpleNamespace(index=0, embedding=packed)]), 1, 2)
    assert vectors.tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("answer", ["<html>", None, SimpleNamespace(data=None), SimpleNamespace(data=[1])])
def test_what_is_no_answer_is_refused(answer: Any) -> None:
    with pytest.raises(BadAnswerError):
        read_vectors(answer, 1, 2)


@pytest.mark.parametrize(
    ("reply", "error", "text"),
    [
        (rate_limit(None), TransientError, "rate limit"),
        (server_error(500), TransientError, "500"),
        (
            Reply(404, error_body("unknown", "invalid_request_error", "model_not_found")),
            MissingRequirementError,
            "know",
        ),
        (Reply(403, error_body("no", "request_forbidden", "unsupported_country")), MissingRequirementError, "403"),
        (Reply(418, error_body("tea", "odd")), BadAnswerError, "418"),
    ],
)
def test_each_failure_has_its_error(
    embedder: OpenAIEmbedder, openai_api: OpenAIServer, reply: Reply, error: type[Exception], text: str
) -> None:
    openai_api.always = reply
    with pytest.raises(error, match=text):
        embedder.embed(["water"])
    assert openai_api.sold_texts == []


def test_no_server_and_a_slow_one_are_passing_errors(openai_api: OpenAIServer) -> None:
    slow = OpenAIEmbedder(TEXT_EMBEDDING_3_SMALL, openai_api.key, retries=0, timeout=0.2)
    openai_api.script = [Reply(delay=1)]
    with pytest.raises(TransientError, match=r"0\.2 s"):
        slow.embed(["water"])
    openai_api.close()
    with pytest.raises(TransientError, match="cannot be reached"):
        slow.embed(["water"])
    slow.close()


def test_an_interrupted_call_is_not_tried_again(openai_api: OpenAIServer) -> None:
    lasting = OpenAIEmbedder(TEXT_EMBEDDING_3_SMALL, openai_api.key, retries=5)
    openai_api.gate.clear()
    openai_api.always = rate_limit(1)
    errors: list[BaseException] = []

    def call() -> None:
        try:
            lasting.embed(["water"])
        except TransientError as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    wait_until(lambda: openai_api.waiting == 1)
    lasting.interrupt()
    start = time.monotonic()
    openai_api.gate.set()
    thread.join(10)
    assert len(errors) == 1
    assert time.monotonic() - start < 1
    assert len(openai_api.requests) == 1
    lasting.close()


def test_a_key_is_checked_and_never_shown() -> None:
    assert check_key(" sk-x\n") == "sk-x"
    for key in (None, "", "  ", "sk x", "sk-\x00", "sk-ö"):
        with pytest.raises(MissingRequirementError) as caught:
            check_key(key)
        assert "sk" not in caught.value.message


def test_the_model_is_found_by_its_name() -> None:
    model = find_online("Text-Embedding-3-Small")
    assert model is not None
    assert model.key == "text-embedding-3-small-1536"
    assert find_online("all-MiniLM-L6-v2") is None


def test_the_server_runs_as_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-m", "tests.servers.openai_server"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            monkeypatch.setenv("OPENAI_BASE_URL", process.stdout.readline().strip())
            embedder = OpenAIEmbedder(TEXT_EMBEDDING_3_SMALL, KEY)
            embedder.embed(["water", "salt"])
            embedder.close()
            output = json.loads(process.stdout.readline())
            assert (output["inputs"], output["tokens"], output["status"]) == (2, 2, 200)
        finally:
            process.terminate()
