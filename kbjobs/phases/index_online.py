"""Index (Online): make a source searchable with a model of the OpenAI API.

The pipeline is that of Index (Offline), but each vector costs money: an answer is in the ledger before it
counts, and nothing that is there is bought again. A kill loses the answers that are on their way, no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field

from kbjobs.config.home import Home
from kbjobs.config.prices import BATCH_SHARE, Price, format_dollars, usage_price
from kbjobs.config.settings import Settings
from kbjobs.context import Context, PhaseResult
from kbjobs.embedding.online_models import OPENAI_KEY, TEXT_EMBEDDING_3_SMALL
from kbjobs.formatting import counted
from kbjobs.phases.base import Earlier, JobType, Params, PhaseForecast, Plan
from kbjobs.phases.source_checks import (
    advise_index,
    check_disk,
    check_folders,
    check_store,
    find_older,
    format_recut,
    purges,
)
from kbjobs.store.sources import SourceFolder

if TYPE_CHECKING:
    from kbjobs.indexing.cutting import IndexOptions
    from kbjobs.store.profiles import OlderCut

MODEL = TEXT_EMBEDDING_3_SMALL


class IndexOnlineParams(Params):
    """Parameters of index_online."""

    force: bool = Field(False, description="Buy every vector again, whatever the ledger holds.")
    recut: bool = Field(
        False,
        description="Cut every document anew, also those whose passages are of an older version; buys what is new.",
    )
    batch_api: bool = Field(
        False,
        description="Buy by OpenAI's Batch API: half the price, within a day; the job waits without a worker.",
    )
    dry_run: bool = Field(False, description="Only show what a run would buy: passages, tokens, list price.")
    limit: int | None = Field(None, ge=1, description="Index at most N documents; removes none.")
    allow_delete: bool = Field(False, description="Go on even if more than 20 % of the source's documents are gone.")


def fill(home: Home, settings: Settings, params: IndexOnlineParams) -> Plan:
    """A dry run asks no API: it needs no key."""
    return Plan(params, dimension=MODEL.dimension, secrets=() if params.dry_run else None)


def plan(home: Home, settings: Settings, source: SourceFolder, params: IndexOnlineParams) -> Plan:
    """Check source and disk."""
    check_folders(source)
    planned = fill(home, settings, params)
    if params.dry_run:
        return planned
    check_disk(home, source)
    check_store(home, settings)
    older = find_older(source, MODEL.name)
    price = _price(settings, params)
    if older is None or not params.recut:
        return planned
    check_disk(home, source, MODEL.name)
    cost = f"about {counted(older.tokens, 'token')} are bought, {price.describe(older.tokens)}"
    return replace(planned, notes=(format_recut(source, older, f"{cost}; --dry-run counts them exactly"),))


def advise(
    home: Home, settings: Settings, source: SourceFolder, params: IndexOnlineParams, earlier: Sequence[str]
) -> list[str]:
    """Say where there is nothing to buy, or where vectors would be bought twice."""
    if params.dry_run:
        return []
    return advise_index(source, MODEL.name, params.force, earlier, "online", "bought again")


def forecast(
    home: Home, settings: Settings, source: SourceFolder, params: IndexOnlineParams, earlier: Earlier
) -> PhaseForecast:
    """What would be bought, judged by a sample; --dry-run of the type itself counts it exactly."""
    from kbjobs.embedding.openai_embedder import PASSAGE_TOKENS
    from kbjobs.embedding.openai_tokens import Cl100kTokens
    from kbjobs.indexing.index_forecast import forecast_index

    options = replace(_options(params), force=params.force or purges(earlier, MODEL.dimension))
    found = forecast_index(home, settings, source, MODEL.key, Cl100kTokens(), PASSAGE_TOKENS, options)
    price = _price(settings, params)
    return PhaseForecast(
        found.documents,
        found.passages,
        found.missing,
        found.tokens,
        round(price.of(found.tokens), 8),
        found.missing,
        "chunks",
        0.0 if not found.missing else None,
        found.is_exact,
        price.describe(found.tokens) + found.tell_sample(),
    )


def run(context: Context, params: IndexOnlineParams) -> PhaseResult:
    """Index the source, or tell what that would buy."""
    if params.dry_run:
        return _estimate(context, params)
    from kbjobs.embedding.openai_batches import BatchClient
    from kbjobs.embedding.openai_embedder import OpenAIEmbedder
    from kbjobs.indexing.batch_jobs import Batching, look_again, was_waiting
    from kbjobs.indexing.cutting import find_kept_cut

    batching = Batching(lambda: BatchClient(MODEL, context.secret(OPENAI_KEY)), params.batch_api)
    embedder = OpenAIEmbedder(MODEL, context.secret(OPENAI_KEY), at_once=context.settings.integer("online_requests"))
    try:
        context.log.info("model %s", embedder.model_key)
        if was_waiting(context):
            look_again(context, embedder, batching)
        from kbjobs.indexing.pipeline import run_index

        result = run_index(context, embedder, _options(params), batching=batching)
    finally:
        context.log.info("%d tokens bought in this attempt", embedder.tokens_bought)
        embedder.close()
    price = Price.read(context.settings, MODEL.price)
    tokens, paid = result.counts["tokens"], usage_price(price, result.counts)
    counts = result.counts | {"price_usd": round(paid, 8)}
    kept = None if params.recut else find_kept_cut(context.source.ledger, MODEL.name)
    note = "" if kept is None else _tell_kept(kept, _price(context.settings, params))
    bought = f"; {counted(tokens, 'token')} bought, {format_dollars(paid)} USD at list price"
    if counts["batch_tokens"]:
        bought += f", {counts['batch_tokens']:,} of them by the Batch API for {BATCH_SHARE:.0%} of it"
    return replace(result, counts=counts, summary=result.summary + bought + note)


def _price(settings: Settings, params: IndexOnlineParams) -> Price:
    """What is paid for what the job sends."""
    price = Price.read(settings, MODEL.price)
    return price.in_batches() if params.batch_api else price


def _options(params: IndexOnlineParams) -> IndexOptions:
    from kbjobs.indexing.cutting import IndexOptions

    return IndexOptions(params.force, params.recut, params.limit, params.allow_delete, keeps_cut=True)


def _tell_kept(older: OlderCut, price: Price) -> str:
    return (
        f"; {counted(older.documents, 'document')} had passages cut by an older version and keep them while they are"
        f" unchanged: --recut cuts them anew, fuller, for about {format_dollars(price.of(older.tokens))} USD"
    )


def _estimate(context: Context, params: IndexOnlineParams) -> PhaseResult:
    from kbjobs.embedding.openai_embedder import PASSAGE_TOKENS
    from kbjobs.embedding.openai_tokens import Cl100kTokens
    from kbjobs.indexing.estimate import estimate_index

    price = _price(context.settings, params)
    found = estimate_index(context, MODEL.key, Cl100kTokens(), PASSAGE_TOKENS, _options(params))
    counts = {
        "dry_run": True,
        "documents": found.documents,
        "chunks": found.chunks,
        "would_embed": found.missing,
        "in_batches": found.out,
        "reused": found.chunks - found.missing - found.out,
        "deleted": 0,
        "failed": len(found.scan.failed),
        "skipped": len(found.scan.skipped),
        "new": found.scan.new,
        "changed": found.scan.changed,
        "unchanged": found.scan.unchanged,
        "vanished": len(found.scan.vanished),
        "model": MODEL.name,
        "dimension": MODEL.dimension,
        "engine": "openai",
        "tokens": found.tokens,
        "price_usd": round(price.of(found.tokens), 8),
        "price_of": price.since,
    }
    summary = (
        f"dry run, nothing was bought or changed: of {counted(found.chunks, 'passage')} {found.missing:,} would be"
        " embedded,"
        f" {counted(found.tokens, 'token')}, {price.describe(found.tokens)}"
    )
    if found.out:
        summary += f"; {found.out:,} more are out in batches and not bought again"
    if found.scan.failed:
        summary += f"; {len(found.scan.failed):,} could not be processed (see the log){found.scan.format_other_files()}"
    summary += found.scan.format_skipped()
    return PhaseResult(counts, summary, len(found.scan.failed))


JOB_TYPE = JobType(
    name="index_online",
    label="Index (Online)",
    description="Make a source searchable with OpenAI's text-embedding-3-small; only what is new is bought.",
    category="indexing",
    operation="index",
    params=IndexOnlineParams,
    fill=fill,
    plan=plan,
    run=run,
    advise=advise,
    forecast=forecast,
    weight=30.0,
    after=("scrape", "metadata"),
    secrets=(OPENAI_KEY,),
)
