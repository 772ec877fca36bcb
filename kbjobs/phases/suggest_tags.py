"""Suggest Tags: what a source is about, by the categories of preparedness and by its own key terms.

Everything is computed before the one write of the manifest, so that a kill leaves the old suggestions or the new ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from kbjobs.context import Context, PhaseResult
from kbjobs.phases.base import JobType, Params, Plan
from kbjobs.settings import Home, Settings
from kbjobs.store.sources import SourceFolder

INDEXES = ("index_online", "index_offline")


class SuggestTagsParams(Params):
    """Parameters of suggest_tags."""

    model: str | None = Field(None, description="Local model that compares documents; default: the setting 'model'.")
    force: bool = Field(False, description="Suggest anew, even if nothing has changed since the last time.")


def fill(home: Home, settings: Settings, params: SuggestTagsParams) -> Plan:
    """Check that the model is here and the engine can run it, and fill it in."""
    from kbjobs.embedding.catalogue import check_model
    from kbjobs.embedding.engines import check_engine

    model = check_model(params.model if params.model is not None else settings.text("model"), home.models)
    check_engine(settings.text("engine"), model)
    return Plan(params.model_copy(update={"model": model.name}))


def plan(home: Home, settings: Settings, source: SourceFolder, params: SuggestTagsParams) -> Plan:
    """Check source and model, and fill it in."""
    source.read()
    return fill(home, settings, params)


def run(context: Context, params: SuggestTagsParams) -> PhaseResult:
    """Suggest tags."""
    from kbjobs.tagging.suggest import tag_source

    assert params.model is not None  # noqa: S101 — filled in by plan()
    return tag_source(context, params.model, params.force)


def advise(
    home: Home, settings: Settings, source: SourceFolder, params: SuggestTagsParams, earlier: Sequence[str]
) -> list[str]:
    """Say where there is nothing to judge by, or nothing new."""
    from kbjobs.phases.source_checks import has_metadata
    from kbjobs.store.ledger import Ledger
    from kbjobs.tagging.state import current_state, is_current

    is_fed = any(name in earlier for name in ("metadata", *INDEXES))
    if not source.ledger.exists():
        return [] if is_fed else [f"source {source.id!r} has no documents yet: add metadata or an index first"]
    advice = []
    if not has_metadata(source, earlier):
        advice.append(f"source {source.id!r} has no metadata: documents without vectors are judged by their titles")
    if is_fed or params.force or params.model is None:
        return advice
    ledger = Ledger(source.ledger)
    try:
        if is_current(source, current_state(ledger, params.model), params.model):
            advice.append(f"source {source.id!r} has suggestions for this state: nothing to do without --force")
    finally:
        ledger.close()
    return advice


JOB_TYPE = JobType(
    name="suggest_tags",
    label="Suggest Tags",
    description="Suggest tags for a source, each with the documents that speak for it; your own tags stay.",
    category="maintenance",
    operation="tag",
    params=SuggestTagsParams,
    fill=fill,
    plan=plan,
    run=run,
    advise=advise,
    weight=10.0,
    after=("metadata", *INDEXES),
)
