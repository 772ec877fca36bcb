"""Clear Vectors: remove a source's vector collections; the ledger keeps the vectors.

Each collection is renamed, then removed. A kill leaves it either in place or gone, and the next run of this type or of
an index removes leftovers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.context import Context, PhaseResult
from kbjobs.embedding.dimensions import DIMENSIONS, Dimension, list_dimensions
from kbjobs.embedding.online_models import find_online
from kbjobs.errors import KbjobsError, UsageError
from kbjobs.formatting import counted
from kbjobs.phases.job_type import JobType, Params, PhaseRequest, Plan
from kbjobs.store.sources import SourceFolder

if TYPE_CHECKING:
    from kbjobs.store.ledger import Ledger
    from kbjobs.store.ledger_rows import IndexedModel

INDEXES = ("index_online", "index_offline")


class ClearVectorsParams(Params):
    """Parameters of clear_vectors."""

    dimension: Dimension | None = Field(
        None,
        description=f"Clear the collections of this dimension: {list_dimensions(DIMENSIONS)};"
        " default: the local model's.",
    )
    all: bool = Field(
        False, description="Delete the collections of every dimension, and any other file in their folder."
    )
    purge: bool = Field(False, description="Delete the vectors from the ledger too. Indexing again embeds everything.")


def plan(request: PhaseRequest[ClearVectorsParams]) -> Plan[ClearVectorsParams]:
    """Check the source, and fill in the dimension."""
    request.check_source()
    params = request.params
    if params.all:
        if params.dimension is not None:
            raise UsageError("--all and --dimension exclude each other", "Give one of them.")
        return Plan(params)
    if params.dimension is not None:
        return Plan(params, dimension=params.dimension)
    dimension = _local_dimension(request.home, request.settings)
    planned = ClearVectorsParams.model_validate({**params.model_dump(), "dimension": dimension})
    return Plan(planned, dimension=dimension)


def _local_dimension(home: Home, settings: Settings) -> int:
    """The dimension of the local model in the settings; a known model need not be on this machine."""
    from kbjobs.embedding.model_catalogue import find_known, find_model

    name = settings.text("model")
    known = find_known(name)
    if known is not None:
        return known.dimension
    try:
        dimension = find_model(name, home.models).dimension
    except KbjobsError as error:
        raise type(error)(error.message, "Give --dimension N, or --all.") from error
    if dimension not in DIMENSIONS:
        raise UsageError(f"{name} gives {dimension} dimensions, which --dimension cannot name", "Give --all.")
    return dimension


def run(context: Context, params: ClearVectorsParams) -> PhaseResult:
    """Clear the collections."""
    from kbjobs.indexing.clear import clear_source

    return clear_source(context, params.dimension, params.purge)


def advise(request: PhaseRequest[ClearVectorsParams]) -> list[str]:
    """Warn if there is nothing to clear, or if paid vectors would be deleted."""
    source, params = request.source, request.params
    if any(name in INDEXES for name in request.earlier_types):
        return []
    if not source.ledger.exists():
        return [_nothing(source, params)]
    from kbjobs.store.ledger import Ledger

    with Ledger(source.ledger) as ledger:
        rows = ledger.models(params.dimension)
        advice = [] if _has_any(source, ledger, rows, params.purge) else [_nothing(source, params)]
        if params.purge:
            paid = sum(ledger.count_vectors(row.id) for row in rows if find_online(row.name) is not None)
            if paid:
                advice.append(f"{counted(paid, 'vector')} that cost money would be deleted")
        return advice


def _has_any(source: SourceFolder, ledger: Ledger, rows: Sequence[IndexedModel], purge: bool) -> bool:
    there = {path.name for path in source.vectors.iterdir()} if source.vectors.is_dir() else set()
    return any(row.key in there or (purge and ledger.count_vectors(row.id)) for row in rows)


def _nothing(source: SourceFolder, params: ClearVectorsParams) -> str:
    of = f" of dimension {params.dimension}" if params.dimension is not None else ""
    return f"source {source.id!r} has no vectors{of}: nothing to clear"


JOB_TYPE = JobType(
    name="clear_vectors",
    label="Clear Vectors",
    description="Delete a source's vector collections. Indexing it again embeds nothing; the ledger keeps the vectors.",
    category="indexing",
    operation="clear",
    params=ClearVectorsParams,
    plan=plan,
    run=run,
    shares_worker=True,
    advise=advise,
    weight=10.0,
    before=("index_online", "index_offline"),
)
