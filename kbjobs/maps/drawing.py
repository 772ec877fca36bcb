"""Draw the map of sources: read their ledgers, place their documents in space, and write two files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kbjobs.context import Context, PhaseResult
from kbjobs.embedding.dimensions import LOCAL_DIMENSIONS
from kbjobs.errors import KbjobsError, MissingRequirementError
from kbjobs.formatting import counted
from kbjobs.maps.clustering import find_clusters
from kbjobs.maps.document_vectors import Documents, MappedSource, VectorFile, choose_model, gather
from kbjobs.maps.foreign_texts import clean
from kbjobs.maps.map_files import MapFiles, write_page, write_points
from kbjobs.maps.map_links import StrongestLinks
from kbjobs.maps.map_page import page_version, render
from kbjobs.maps.point_encoding import Points, pack_numbers, pack_texts
from kbjobs.maps.projection import (
    FEWEST_FOR_UMAP,
    Components,
    fit_into_cube,
    one_thread,
    principal_components,
    reduce_by_umap,
)
from kbjobs.maps.topics import Topic, describe_topics, name_topics
from kbjobs.store import map_rows as store
from kbjobs.store.ledger import Ledger
from kbjobs.store.ledger_rows import IndexedModel
from kbjobs.store.phase_state import hash_json
from kbjobs.store.sources import SourceFolder

FORMAT = 1  # of the file of points
MAX_NAMED = 5  # sources in a title
READING, REDUCING, PARTING, LINKING = 0.6, 0.8, 0.9, 0.95  # how much of the phase is done after each step


@dataclass(frozen=True, slots=True)
class MapRequest:
    """A map to draw: the ids of its sources, the method, and the models' dimension (None: any).

    ``is_of_one``: the map shows one source and takes its name.
    """

    sources: tuple[str, ...]
    is_of_one: bool
    method: str = "pca"
    dimension: int | None = None


def draw_map(context: Context, request: MapRequest) -> PhaseResult:
    """Draw the map and write it, unless an identical one exists."""
    sources, left = _find_sources(context, request)
    for reason in left:
        context.log.warning("left out: %s", reason)
    context.home.visualisation.mkdir(mode=0o700, exist_ok=True)
    files = MapFiles(context.home.map_page(sources[0].id if request.is_of_one else None))
    model = sources[0].model
    state = hash_json(
        [FORMAT, page_version(), request.method, model.key, [[one.id, one.name, one.state] for one in sources], left]
    )
    if files.are_of(state):
        return _result(context, files, {"unchanged": True, "sources": [one.id for one in sources]}, left, "unchanged")
    drawn = _draw(context, request, sources)
    context.progress(0, 1, "steps", "writing", (LINKING, 1.0))
    facts = {
        "state": state,
        "format": FORMAT,
        "title": _title(sources),
        "method": drawn.method,
        "model": model.name,
        "dimension": model.dimension,
        "explained_variance": drawn.shares,
        "sources": [{"id": one.id, "name": one.name} for one in sources],
        "clusters": drawn.labels,
        "topics": describe_topics(drawn.topics),
        "languages": sorted(set(drawn.documents.languages)),
        "documents": len(drawn.points.ids),
        "without_vectors": drawn.documents.left_out,
        "left_out": left,
    }
    _write(files, facts, drawn)
    counts = {
        "unchanged": False,
        "sources": [one.id for one in sources],
        "documents": len(drawn.points.ids),
        "without_vectors": drawn.documents.left_out,
        "clusters": len(drawn.labels),
        "links": len(drawn.links),
        "model": model.name,
        "dimension": model.dimension,
        "method": drawn.method,
        "explained_variance": drawn.shares,
    }
    return _result(context, files, counts, left, _summarise(counts, request))


class _Drawn(NamedTuple):
    """The drawn content. ``shares``: the variance that each axis explains, if the axes are principal components."""

    documents: Documents
    method: str
    shares: list[float] | None
    points: Points
    labels: list[str]
    topics: list[Topic]
    links: np.ndarray


def _draw(context: Context, request: MapRequest, sources: Sequence[MappedSource]) -> _Drawn:
    model = sources[0].model
    with VectorFile(context.home.visualisation, model.dimension) as vectors, one_thread():
        documents = gather(context, sources, vectors, READING)
        if not documents.ids:
            raise MissingRequirementError(
                _lacking(request, f"usable vectors of {model.name}"), _advice(request, model.dimension)
            )
        context.progress(0, 1, "steps", "finding the axes", (READING, REDUCING))
        components = principal_components(vectors.blocks, vectors.count, model.dimension)
        method = request.method if vectors.count >= FEWEST_FOR_UMAP else "pca"
        placed = reduce_by_umap(components.rows) if method == "umap" else components.rows
        context.progress(0, 1, "steps", "finding clusters", (REDUCING, PARTING))
        points, rows = _arrange(documents, placed, components)
        labels, topics = name_topics(points, rows)
        context.progress(0, 1, "steps", "following links", (PARTING, LINKING))
        links = _find_links(context, sources, points, rows)
    shares = list(components.shares[:3]) if method == "pca" else None
    return _Drawn(documents, method, shares, points, labels, topics, links)


def _write(files: MapFiles, facts: dict[str, Any], drawn: _Drawn) -> None:
    points, links = drawn.points, drawn.links
    shown = {**facts, "links": len(links)}
    page = render(facts["title"], facts["state"], shown, pack_numbers(points, links), pack_texts(points))
    write_points(files, facts, _point_records(facts, points, links))
    write_page(files, page)


def _summarise(counts: dict[str, Any], request: MapRequest) -> str:
    text = f"{counted(counts['documents'], 'document')} of {counted(len(counts['sources']), 'source')}"
    text += f", {counted(counts['clusters'], 'cluster')}, {counted(counts['links'], 'link')}, by {counts['model']}"
    if counts["method"] != request.method:
        text += f"; by principal components, as UMAP needs {FEWEST_FOR_UMAP} documents"
    without = counts["without_vectors"]
    return text + (f"; {counted(without, 'document')} without a vector left out" if without else "")


def _result(
    context: Context, files: MapFiles, counts: dict[str, Any], left: Sequence[str], summary: str
) -> PhaseResult:
    where = {
        "html": files.page.relative_to(context.home.path).as_posix(),
        "json": files.points.relative_to(context.home.path).as_posix(),
    }
    summary = "; ".join([summary, *(f"left out: {reason}" for reason in left), where["html"]])
    return PhaseResult({**where, **counts, "left_out": list(left)}, summary)


def _find_sources(context: Context, request: MapRequest) -> tuple[list[MappedSource], list[str]]:
    """Find the sources that can be drawn together, and why others cannot. Raises MissingRequirementError if none
    can."""
    indexes: list[tuple[str, list[IndexedModel]]] = []
    left: list[str] = []
    for source_id in request.sources:
        folder = SourceFolder(context.home.sources, source_id)
        try:
            folder.read()
        except KbjobsError as error:
            if request.is_of_one:
                raise
            left.append(error.message)
            continue
        indexes.append((source_id, _usable_models(folder, request.dimension)))
    key = choose_model(indexes, context.settings.text("model"))
    if key is None:
        of = f" of dimension {request.dimension}" if request.dimension else ""
        raise MissingRequirementError(_lacking(request, f"vectors{of}"), _advice(request, request.dimension))
    found = []
    for source_id, models in indexes:
        model = next((model for model in models if model.key == key), None)
        folder = SourceFolder(context.home.sources, source_id)
        if model is None:
            of = ", ".join(sorted({f"{one.name} ({one.dimension})" for one in models})) or "none"
            left.append(f"{source_id} has no vectors of the model that most sources have (it has {of})")
            continue
        with Ledger(folder.ledger) as ledger:
            state = store.mapping_state(ledger, model.id, model.profile)
        name = clean(folder.read().name, 60) or source_id
        found.append(MappedSource(source_id, name, folder.ledger, model, state))
        context.check()
    return found, left


def _usable_models(folder: SourceFolder, dimension: int | None) -> list[IndexedModel]:
    if not folder.ledger.exists():
        return []
    with Ledger(folder.ledger) as ledger:
        return [model for model in ledger.models(dimension) if store.has_mapped(ledger, model.id, model.profile)]


def _lacking(request: MapRequest, what: str) -> str:
    if request.is_of_one:
        return f"source {request.sources[0]!r} has no {what}"
    return f"none of the sources {', '.join(request.sources)} has {what}"


def _advice(request: MapRequest, dimension: int | None) -> str:
    if dimension is None:
        return f"Index it first: kbjobs run index-offline {request.sources[0]}"
    if dimension in LOCAL_DIMENSIONS:
        return f"Index it first: kbjobs run index-offline {request.sources[0]} --dimension {dimension}"
    return f"Index it first: kbjobs run index-online {request.sources[0]}"


def _title(sources: Sequence[MappedSource]) -> str:
    """Join the names of the sources; beyond MAX_NAMED, the first ones and the number of others."""
    names = [one.name for one in sources]
    if len(names) <= MAX_NAMED:
        return ", ".join(names)
    return f"{', '.join(names[: MAX_NAMED - 1])} and {len(names) - MAX_NAMED + 1} other sources"


def _arrange(documents: Documents, placed: np.ndarray, components: Components) -> tuple[Points, np.ndarray]:
    """Order the points as on the page, and the components of each point.

    Addresses that begin alike come after each other, which takes less space.
    """
    clusters = find_clusters(components.rows)
    order = sorted(
        range(len(documents.ids)),
        key=lambda row: (documents.sources[row], documents.urls[row], documents.titles[row], documents.ids[row]),
    )
    numbers = {name: number for number, name in enumerate(sorted(set(documents.languages)))}

    def ordered(column: Sequence[str]) -> list[str]:
        return [column[row] for row in order]

    points = Points(
        places=fit_into_cube(placed)[order],
        clusters=clusters[order],
        sources=np.array(documents.sources, np.int64)[order],
        languages=np.array([numbers[name] for name in documents.languages], np.int64)[order],
        ids=ordered(documents.ids),
        titles=ordered(documents.titles),
        urls=ordered(documents.urls),
        snippets=ordered(documents.snippets),
    )
    return points, components.rows[order]


def _find_links(context: Context, sources: Sequence[MappedSource], points: Points, rows: np.ndarray) -> np.ndarray:
    links = StrongestLinks(rows)
    for number, source in enumerate(sources):
        first, last = np.searchsorted(points.sources, [number, number + 1])
        # Two sources may have the same page under the same id.
        numbers = {points.ids[row]: row for row in range(first, last)}
        with Ledger(source.ledger) as ledger:
            for page in store.internal_links(ledger):
                links.take(page, numbers)
                context.check()
    return links.found()


def _point_records(facts: dict[str, Any], points: Points, links: np.ndarray) -> Iterator[dict[str, Any]]:
    linked = Counter(links.ravel().tolist())
    for row, (x, y, z) in enumerate(np.round(points.places, 5).tolist()):
        yield {
            "x": x,
            "y": y,
            "z": z,
            "id": points.ids[row],
            "title": points.titles[row],
            "url": points.urls[row],
            "source": facts["sources"][int(points.sources[row])]["id"],
            "cluster": int(points.clusters[row]),
            "language": facts["languages"][int(points.languages[row])],
            "links": linked[row],
        }
