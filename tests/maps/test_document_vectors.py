"""One vector for each document: the direction of the mean of its passages', however they are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kbjobs.config.home import Home
from kbjobs.errors import KbjobsError
from kbjobs.maps import document_vectors
from kbjobs.maps.document_vectors import MappedSource, VectorFile, choose_model, gather
from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_rows import IndexedModel
from kbjobs.store.sources import SourceFolder
from tests.packs.sources import DIMENSION, make_source, page, texts_of, vector_of
from tests.phases.test_index_offline import context


def mapped(folder: SourceFolder) -> MappedSource:
    with Ledger(folder.ledger) as ledger:
        return MappedSource(folder.id, folder.id, folder.ledger, ledger.models()[0], "")


def expected(number: int) -> np.ndarray:
    rows = np.stack([np.frombuffer(vector_of(cut.text_hash), "<f4") for cut in texts_of(page("wiki", number))])
    mean = rows.astype(np.float64).mean(axis=0)
    return mean / np.linalg.norm(mean)


@pytest.mark.parametrize("read", [1, 3, 4, 4096])
def test_the_means_are_the_same_however_many_are_read_at_a_time(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: int
) -> None:
    monkeypatch.setattr(document_vectors, "READ", read)
    monkeypatch.setattr(document_vectors, "BLOCK", 3)
    folder = make_source(home, tmp_path, count=7)
    with VectorFile(tmp_path, DIMENSION) as vectors:
        documents = gather(context(home, "wiki"), [mapped(folder)], vectors, 1.0)
        rows = np.concatenate(list(vectors.blocks()))
        assert np.array_equal(rows, np.concatenate(list(vectors.blocks())))
    assert documents.ids == sorted(page("wiki", number).doc_id for number in range(7))
    numbers = [int(title.removeprefix("Page ")) for title in documents.titles]
    assert np.allclose(rows, [expected(number) for number in numbers], atol=1e-6)
    assert documents.left_out == 0 and set(documents.snippets) == {"It begins so"}
    assert not [path for path in tmp_path.iterdir() if path.name not in ("home", "pages", "shared-engines")]


def test_documents_without_a_usable_vector_are_counted(home: Home, tmp_path: Path) -> None:
    folder = make_source(home, tmp_path, count=6)
    with Ledger(folder.ledger) as ledger:
        execute = ledger.connection.execute
        execute("DELETE FROM chunks WHERE doc_id = ?", (page("wiki", 0).doc_id,))
        execute("UPDATE documents SET filtered = 1 WHERE doc_id = ?", (page("wiki", 1).doc_id,))
        for cut in texts_of(page("wiki", 2)):
            vector = np.full(DIMENSION, np.nan if cut.ordinal else 1, "<f4").tobytes()
            if cut.ordinal == 0:
                execute("UPDATE vectors SET vector = ? WHERE text_hash = ?", (vector, cut.text_hash))
        execute(
            "UPDATE vectors SET vector = ? WHERE text_hash = ?",
            (np.full(DIMENSION, np.nan, "<f4").tobytes(), texts_of(page("wiki", 3))[0].text_hash),
        )
    with VectorFile(tmp_path, DIMENSION) as vectors:
        documents = gather(context(home, "wiki"), [mapped(folder)], vectors, 1.0)
    assert sorted(documents.titles) == ["Page 2", "Page 4", "Page 5"]
    assert documents.left_out == 2  # the filtered one does not count


def test_a_vector_of_another_length_is_refused(home: Home, tmp_path: Path) -> None:
    folder = make_source(home, tmp_path)
    with Ledger(folder.ledger) as ledger:
        ledger.connection.execute("UPDATE vectors SET vector = x'00000000'")
    with VectorFile(tmp_path, DIMENSION) as vectors, pytest.raises(KbjobsError, match="not of 8 dimensions") as caught:
        gather(context(home, "wiki"), [mapped(folder)], vectors, 1.0)
    assert "clear-vectors wiki" in caught.value.hint


def model(number: int, name: str, dimension: int = 384) -> IndexedModel:
    return IndexedModel(number, f"{name}-{number}", name, dimension, 1, False)


def test_the_model_that_most_sources_have_is_chosen() -> None:
    small, large, other = model(1, "small"), model(2, "large", 768), model(3, "other")
    assert choose_model([], "small") is None
    assert choose_model([("a", [])], "small") is None
    assert choose_model([("a", [small, large])], "small") == "small-1"
    assert choose_model([("a", [small, large])], "large") == "large-2"
    assert choose_model([("a", [small, large])], "none of them") == "large-2"
    assert choose_model([("a", [small]), ("b", [other, large]), ("c", [large])], "small") == "large-2"
