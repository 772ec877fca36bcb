"""Visualize: draw a map of sources, on which documents on similar subjects are close to each other.

The files are written under temporary names and renamed, so that a kill leaves the old map or the new one.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from pydantic import Field

from kbjobs.config.home import Home
from kbjobs.context import Context, PhaseResult
from kbjobs.embedding.dimensions import DIMENSIONS, Dimension, list_dimensions
from kbjobs.errors import MissingRequirementError, UsageError
from kbjobs.phases.job_type import Advice, JobType, Params, PhaseRequest, Plan, Target
from kbjobs.store.sources import SourceFolder, check_source_id, list_source_ids

INDEXES = ("index_online", "index_offline")


class VisualisationParams(Params):
    """Parameters of visualisation."""

    sources: list[str] | None = Field(
        None,
        description="Sources that are drawn on one map, where the job itself has none; default: all that are indexed.",
    )
    all_sources: bool = Field(
        False, description="Draw all indexed sources on one map (map.html), even in a chain of one source."
    )
    method: Literal["pca", "umap"] = Field(
        "pca", description="How places are found: principal components, or UMAP (extra umap; minutes)."
    )
    dimension: Dimension | None = Field(
        None,
        description=f"Draw by the vectors of this dimension: {list_dimensions(DIMENSIONS)}; default: those of the"
        " setting 'model', else what is there.",
    )


def plan(request: PhaseRequest[VisualisationParams]) -> Plan[VisualisationParams]:
    """Check the sources and the method; if no source is named, fill in all that have a ledger."""
    params = request.params
    if params.method == "umap" and find_spec("umap") is None:
        raise MissingRequirementError(
            "--method umap needs the package umap-learn, which is not installed", "pip install 'kbjobs[umap]'"
        )
    names = None if request.is_general else _find_sources(request)
    planned = params if names is None else params.model_copy(update={"sources": names})
    return Plan(planned, dimension=params.dimension)


def _find_sources(request: PhaseRequest[VisualisationParams]) -> list[str] | None:
    """The sources of the map in addition to the job's own; None if there are none."""
    home, source, params = request.home, request.folder, request.params
    if source is not None:
        source.read()
        if params.all_sources:
            return [name for name in _list_indexed(home) if name != source.id]
        if params.sources is not None:
            raise UsageError(
                f"the job is on source {source.id!r}, and the parameter 'sources' names others",
                "Leave out one of them.",
            )
        return None
    names = _list_indexed(home) if params.sources is None else list(dict.fromkeys(params.sources))
    for name in params.sources or ():
        SourceFolder(home.sources, check_source_id(name)).read()
    if not names:
        raise MissingRequirementError(
            "no source is indexed: there is nothing to draw",
            "kbjobs sources add ID PATH, then kbjobs run index-offline ID",
        )
    return names


def _list_indexed(home: Home) -> list[str]:
    """The sources that have a ledger."""
    return [name for name in list_source_ids(home.sources) if SourceFolder(home.sources, name).ledger.exists()]


def list_worked_on(params: VisualisationParams) -> tuple[str, ...]:
    """The sources that a job works on in addition to its own."""
    return tuple(params.sources or ())


def run(context: Context, params: VisualisationParams) -> PhaseResult:
    """Draw the map."""
    from kbjobs.maps.drawing import MapRequest, draw_map

    own = () if context.folder is None else (context.folder.id,)
    sources = (*own, *list_worked_on(params))
    if params.all_sources:
        sources = tuple(sorted(sources))  # gives the same map, whichever source the job is on
    is_of_one = bool(own) and not params.all_sources
    return draw_map(context, MapRequest(sources, is_of_one, params.method, params.dimension))


def advise(request: PhaseRequest[VisualisationParams]) -> list[str]:
    """Warn if there are no vectors to draw from."""
    from kbjobs.store.ledger import Ledger

    source, params = request.source, request.params
    if any(name in request.earlier_types for name in INDEXES):
        return []
    if source.ledger.exists():
        with Ledger(source.ledger) as ledger:
            if any(ledger.count_vectors(model.id) for model in ledger.models(params.dimension)):
                return []
    of = f" of dimension {params.dimension}" if params.dimension else ""
    return [Advice(f"source {source.id!r} has no vectors{of}: add an index before the map", "index_offline")]


JOB_TYPE = JobType(
    name="visualisation",
    label="Visualize",
    description="Draw a 3D map of sources: one HTML file that works offline. Documents on similar subjects lie close"
    " together.",
    category="cloud",
    operation="visualise",
    params=VisualisationParams,
    plan=plan,
    run=run,
    advise=advise,
    weight=10.0,
    after=("metadata", *INDEXES),
    target=Target(needs_source=False, takes_sources=True),
    works_on=list_worked_on,
    examples=("kbjobs run visualisation wiki manuals --open",),
)
