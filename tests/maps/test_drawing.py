"""A map shows each document once, by those about the same, and is drawn anew only when something has changed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kbjobs.config.home import Home
from kbjobs.errors import MissingRequirementError, NotFoundError
from kbjobs.maps import drawing
from kbjobs.store.ledger import Ledger
from kbjobs.store.sources import SourceFolder
from tests.maps.maps import (
    HOSTILE,
    HOSTILE_URLS,
    TOPICS,
    draw_several,
    draw_source,
    fill_map,
    mixed_documents,
    titled,
)


def points_of(home: Home, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home.visualisation / f"{name}.json").read_text())
    return found


def test_documents_about_the_same_are_one_cluster_with_its_words(home: Home) -> None:
    fill_map(home, "wiki", mixed_documents("wiki", 120))
    result = draw_source(home, "wiki")
    found = points_of(home, "wiki")
    assert result.counts["documents"] == len(found["points"]) == 120
    assert len(found["clusters"]) == len(TOPICS) and result.counts["links"] == 119
    for point in found["points"]:
        topic = point["title"].rpartition(" ")[0].lower()
        assert set(topic.split()) <= set(found["clusters"][point["cluster"]].split(", "))
        assert all(-1 <= point[axis] <= 1 for axis in "xyz")
        assert point["url"].startswith("https://example.org/wiki/page") and point["source"] == "wiki"
    assert max(abs(point[axis]) for point in found["points"] for axis in "xyz") == 1
    assert found["explained_variance"] == result.counts["explained_variance"]
    assert 0.5 < sum(found["explained_variance"]) < 1
    assert sorted({point["language"] for point in found["points"]}) == found["languages"] == ["en", "fr"]


def test_unchanged_ledgers_are_not_drawn_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fill_map(home, "wiki", mixed_documents("wiki", 20))
    draw_source(home, "wiki")
    paths = [home.visualisation / name for name in ("wiki.html", "wiki.json")]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths]
    again = draw_source(home, "wiki")
    assert again.counts["unchanged"] and again.summary.startswith("unchanged")
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths] == before
    for path in paths:  # the same is drawn again where it is gone
        path.unlink()
        assert not draw_source(home, "wiki").counts["unchanged"]
        assert [path.read_bytes() for path in paths] == [content for content, _ in before]
    changes = (
        "UPDATE documents SET title = 'Another' WHERE path = 'page3.html'",
        "UPDATE documents SET url = 'https://example.org/new' WHERE path = 'page3.html'",
        "UPDATE documents SET filtered = 1 WHERE path = 'page4.html'",
        "UPDATE metadata SET language = 'be'",
        "UPDATE links SET target = NULL WHERE doc_id = (SELECT min(doc_id) FROM links WHERE target IS NOT NULL)",
        "DELETE FROM chunks WHERE doc_id = (SELECT doc_id FROM documents WHERE path = 'page5.html')",
        "UPDATE vectors SET id = id + 1000",
    )
    for change in changes:
        with Ledger(folder.ledger) as ledger:
            ledger.connection.execute(change)
        assert not draw_source(home, "wiki").counts["unchanged"], change
        assert draw_source(home, "wiki").counts["unchanged"], change
    monkeypatch.setattr(drawing, "page_version", lambda: "of a newer kbjobs")
    assert not draw_source(home, "wiki").counts["unchanged"]


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_a_few_documents_have_a_map(home: Home, count: int) -> None:
    fill_map(home, "wiki", mixed_documents("wiki", count))
    assert draw_source(home, "wiki").counts["documents"] == count
    found = points_of(home, "wiki")
    assert len({(point["x"], point["y"], point["z"]) for point in found["points"]}) == count
    assert len(found["explained_variance"]) == 3 and not np.isnan(found["explained_variance"]).any()


def test_identical_vectors_have_a_map(home: Home) -> None:
    folder = fill_map(home, "wiki", mixed_documents("wiki", 12))
    with Ledger(folder.ledger) as ledger:
        ledger.connection.execute("UPDATE vectors SET vector = (SELECT vector FROM vectors LIMIT 1)")
    draw_source(home, "wiki")
    found = points_of(home, "wiki")
    assert {(point["x"], point["y"], point["z"]) for point in found["points"]} == {(0, 0, 0)}
    assert found["explained_variance"] == [0, 0, 0] and len(found["clusters"]) == 1


def test_a_source_without_vectors_is_refused_with_what_to_do(home: Home) -> None:
    fill_map(home, "wiki", [])
    with pytest.raises(MissingRequirementError, match="source 'wiki' has no vectors") as caught:
        draw_source(home, "wiki")
    assert caught.value.hint.endswith("kbjobs run index-offline wiki")
    SourceFolder(home.sources, "wiki").ledger.unlink()
    with pytest.raises(MissingRequirementError, match="has no vectors"):
        draw_source(home, "wiki")
    with pytest.raises(
        MissingRequirementError, match="none of the sources wiki has vectors of dimension 1536"
    ) as caught:
        draw_several(home, "wiki", dimension=1536)
    assert "index-online wiki" in caught.value.hint
    with pytest.raises(NotFoundError):
        draw_source(home, "nowhere")
    assert not list(home.visualisation.glob("*"))


def test_a_source_without_the_model_of_most_is_left_out_and_named(home: Home) -> None:
    fill_map(home, "a", mixed_documents("a", 20))
    fill_map(home, "b", mixed_documents("b", 10))
    fill_map(home, "b", mixed_documents("b", 10), model="large", dimension=32)
    fill_map(home, "c", mixed_documents("c", 5), model="large", dimension=32)
    fill_map(home, "d", mixed_documents("d", 5), model="tiny")
    result = draw_several(home, "a", "b", "c", "d", "gone")
    assert result.counts["sources"] == ["a", "b", "d"] and result.counts["documents"] == 35
    assert "c has no vectors of the model that most sources have (it has large (32))" in result.summary
    assert "there is no source 'gone'" in result.summary
    found = points_of(home, "map")
    assert found["left_out"] == result.counts["left_out"] and len(found["left_out"]) == 2
    assert [one["id"] for one in found["sources"]] == ["a", "b", "d"]
    by_dimension = draw_several(home, "a", "b", "c", "d", dimension=32)
    assert by_dimension.counts["sources"] == ["b", "c"] and by_dimension.counts["model"] == "large"


def test_a_source_called_map_does_not_lose_its_map_to_that_of_all(home: Home) -> None:
    fill_map(home, "map", mixed_documents("map", 4))
    fill_map(home, "wiki", mixed_documents("wiki", 4))
    assert draw_source(home, "map").counts["html"] == "visualisation/_map.html"
    assert draw_several(home, "map", "wiki").counts["html"] == "visualisation/map.html"
    assert draw_source(home, "map").counts["unchanged"]


def test_what_others_wrote_is_text_and_bounded(home: Home) -> None:
    documents = [titled("wiki", number, title) for number, title in enumerate(HOSTILE)]
    documents += [titled("wiki", 10 + number, url=url) for number, url in enumerate(HOSTILE_URLS)]
    fill_map(home, "wiki", documents)
    draw_source(home, "wiki")
    page = (home.visualisation / "wiki.html").read_text()
    assert len(page) < 80_000
    assert len(re.findall("<script", page)) == len(re.findall("</script>", page)) == 4
    assert "owned" not in page and "<img" not in page and "\0" not in page and "\u202e" not in page
    found = points_of(home, "wiki")
    assert max(len(point["title"]) for point in found["points"]) <= 100
    assert [point["url"] for point in found["points"]].count("") == len(HOSTILE_URLS)


def test_a_hostile_name_and_labels_stay_text(home: Home, tmp_path: Path) -> None:
    folder = fill_map(home, "wiki", [titled("wiki", number, "</script><b>water") for number in range(9)])
    manifest = json.loads(folder.manifest.read_text())
    folder.manifest.write_text(json.dumps({**manifest, "name": "</title><script>alert(1)</script>{{state}}"}))
    draw_source(home, "wiki")
    page = (home.visualisation / "wiki.html").read_text()
    assert "alert(1)</script>" not in page and "<title>Map of &lt;/title&gt;" in page and "{{state}}" in page


@pytest.mark.full
@pytest.mark.slow
def test_umap_draws_the_same_on_every_run(home: Home) -> None:
    fill_map(home, "wiki", mixed_documents("wiki", 60))
    result = draw_source(home, "wiki", "umap")
    assert result.counts["method"] == "umap" and result.counts["explained_variance"] is None
    before = points_of(home, "wiki")
    (home.visualisation / "wiki.json").unlink()
    draw_source(home, "wiki", "umap")
    assert points_of(home, "wiki") == before
    draw_source(home, "wiki", "pca")
    assert points_of(home, "wiki")["points"] != before["points"]
    fill_map(home, "few", mixed_documents("few", 5))
    few = draw_source(home, "few", "umap")
    assert few.counts["method"] == "pca" and "UMAP needs 10 documents" in few.summary


def test_many_sources_have_one_map(home: Home) -> None:
    names = [f"s{number}" for number in range(40)]
    for name in names:
        fill_map(home, name, mixed_documents(name, 2))
    assert draw_several(home, *names).counts["sources"] == names
    found = points_of(home, "map")
    assert found["title"] == "s0, s1, s2, s3 and 36 other sources"
    page = (home.visualisation / "map.html").read_text()
    assert f"<title>Map of {found['title']}</title>" in page


def test_topics_have_names_where_they_lie(home: Home) -> None:
    fill_map(home, "wiki", mixed_documents("wiki", 400))
    draw_source(home, "wiki")
    found = points_of(home, "wiki")
    clusters = [one for one in found["topics"] if not one["part"]]
    assert [one["name"] for one in clusters] == found["clusters"]
    for one in clusters:
        members = [point for point in found["points"] if point["cluster"] == one["cluster"]]
        assert one["documents"] == len(members)
        # The name stands among the points of its cluster: the nearest of them is nearer than those of any other.
        nearest = min(found["points"], key=lambda point: sum((point[axis] - one[axis]) ** 2 for axis in "xyz"))
        assert nearest["cluster"] == one["cluster"]
