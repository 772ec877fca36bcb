"""Index (Online): make a source searchable with a model of the OpenAI API.

The pipeline is the same as in Index (Offline), but each vector costs money: a reply is committed to the ledger before
it counts, and vectors in the ledger are not paid for again. A kill loses only the replies in flight.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field

from kbjobs.config.prices import BATCH_SHARE, Price, format_dollars, usage_price
from kbjobs.config.settings import Settings
from kbjobs.context import Context, PhaseResult
from kbjobs.embedding.online_models import OPENAI_KEY, TEXT_EMBEDDING_3_SMALL
from kbjobs.formatting import counted
from kbjobs.phases.index_parameters import IndexParams
from kbjobs.phases.job_type import JobType, PhaseForecast, PhaseRequest, Plan
from kbjobs.phases.source_checks import (
    Wording,
    advise_index,
    check_disk,
    check_folders,
    check_store,
    find_older,
    format_recut,
    purges,
)

if TYPE_CHECKING:
    from kbjobs.indexing.cutting import IndexOptions
    from kbjobs.store.profiles import OlderCut

MODEL = TEXT_EMBEDDING_3_SMALL


class IndexOnlineParams(IndexParams):
    """Parameters of index_online."""

    force: bool = Field(False, description="Buy every vector again, even if the ledger holds it.")
    recut: bool = Field(
        False,
        description="Cut every document into passages again, and buy only the passages that are new.",
    )
    batch_api: bool = Field(
        False,
        description="Use OpenAI's Batch API: half the price, within a day. The job waits without a worker.",
    )
    max_cost: float | None = Field(
        None,
        gt=0,
        description="Stop before the job has spent more US dollars, at list price; what was bought is kept.",
    )
    dry_run: bool = Field(False, description="Show what the job would buy (passages, tokens, list price); buy nothing.")


def plan(request: PhaseRequest[IndexOnlineParams]) -> Plan[IndexOnlineParams]:
    """Check source and disk. A dry run calls no API, so it needs no key."""
    params = request.params
    planned = Plan(params, dimension=MODEL.dimension, secrets=() if params.dry_run else None)
    if request.is_general:
        return planned
    home, source = request.home, request.source
    check_folders(source)
    if params.dry_run:
        return planned
    check_disk(home, source)
    check_store(home, request.settings)
    older = find_older(source, MODEL.name)
    price = _price(request.settings, params)
    if params.max_cost is not None and (cost := forecast(request).price_usd or 0.0) > params.max_cost:
        planned = replace(planned, notes=(describe_excess(cost, params.max_cost),))
    if older is None or not params.recut:
        return planned
    check_disk(home, source, MODEL.name)
    bought = f"about {counted(older.tokens, 'token')} are bought, {price.describe(older.tokens)}"
    note = format_recut(source, older, f"{bought}; --dry-run counts them exactly")
    return replace(planned, notes=(*planned.notes, note))


def advise(request: PhaseRequest[IndexOnlineParams]) -> list[str]:
    """Warn if there is nothing to embed, or if vectors would be paid for twice."""
    if request.params.dry_run:
        return []
    return advise_index(request, MODEL.name, request.params.force, Wording("online", "bought again"))


def forecast(request: PhaseRequest[IndexOnlineParams]) -> PhaseForecast:
    """Forecast the passages to embed and their price from a sample; a job with --dry-run counts exactly."""
    from kbjobs.embedding.openai_embedder import PASSAGE_TOKENS
    from kbjobs.embedding.openai_tokens import Cl100kTokens
    from kbjobs.indexing.source_diff import TextModel, forecast_source

    params, settings = request.params, request.settings
    options = replace(_options(params), force=params.force or purges(request.earlier, MODEL.dimension))
    model = TextModel(MODEL.key, Cl100kTokens(), PASSAGE_TOKENS)
    found = forecast_source(request.home, settings, request.source, model, options)
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
        price.describe(found.tokens) + found.format_sample(),
    )


def run(context: Context, params: IndexOnlineParams) -> PhaseResult:
    """Index the source, or count what that would cost."""
    if params.dry_run:
        return _count_new(context, params)
    from kbjobs.embedding.openai_batches import BatchClient
    from kbjobs.embedding.openai_embedder import OpenAIEmbedder
    from kbjobs.embedding.spending import SpendingWatch
    from kbjobs.indexing.batch_jobs import Batching, look_again, was_waiting
    from kbjobs.indexing.cutting import find_kept_cut

    key, price = context.secret(OPENAI_KEY), Price.read(context.settings, MODEL.price)
    spending = SpendingWatch(context.home, context.settings, context.job_id, price, params.max_cost)
    batching = Batching(lambda: BatchClient(MODEL, key), params.batch_api, spending)
    at_once = context.settings.integer("online_requests")
    embedder = OpenAIEmbedder(MODEL, key, at_once=at_once, spending=spending)
    try:
        context.log.info("model %s", embedder.model_key)
        if was_waiting(context):
            look_again(context, embedder, batching)
        from kbjobs.indexing.pipeline import run_index

        result = run_index(context, embedder, _options(params), batching=batching)
    finally:
        context.log.info("%d tokens bought in this attempt", embedder.tokens_bought)
        embedder.close()
        spending.close()
    tokens, paid = result.counts["tokens"], usage_price(price, result.counts)
    counts = result.counts | {"price_usd": round(paid, 8)}
    kept = None if params.recut else find_kept_cut(context.source.ledger, MODEL.name)
    note = "" if kept is None else _describe_kept(kept, _price(context.settings, params))
    usage = f"; {counted(tokens, 'token')} bought, {format_dollars(paid)} USD at list price"
    if counts["batch_tokens"]:
        usage += f", {counts['batch_tokens']:,} of them by the Batch API for {BATCH_SHARE:.0%} of it"
    return replace(result, counts=counts, summary=result.summary + usage + note)


def describe_excess(cost: float, limit: float) -> str:
    """Say that a job is forecast to cost more than it may."""
    return (
        f"about {format_dollars(cost)} USD are forecast: the job stops at --max-cost, {format_dollars(limit)} USD, with"
        " what it has bought by then."
    )


def _price(settings: Settings, params: IndexOnlineParams) -> Price:
    """The price of the job's tokens."""
    price = Price.read(settings, MODEL.price)
    return price.in_batches() if params.batch_api else price


def _options(params: IndexOnlineParams) -> IndexOptions:
    from kbjobs.indexing.cutting import IndexOptions

    return IndexOptions(params.force, params.recut, params.limit, params.allow_delete, keeps_cut=True)


def _describe_kept(older: OlderCut, price: Price) -> str:
    return (
        f"; {counted(older.documents, 'document')} had passages cut by an older version and keep them while they are"
        f" unchanged: --recut cuts them anew, fuller, for about {format_dollars(price.of(older.tokens))} USD"
    )


def _count_new(context: Context, params: IndexOnlineParams) -> PhaseResult:
    from kbjobs.embedding.openai_embedder import PASSAGE_TOKENS
    from kbjobs.embedding.openai_tokens import Cl100kTokens
    from kbjobs.indexing.source_diff import TextModel, diff_source

    price = _price(context.settings, params)
    found = diff_source(context, TextModel(MODEL.key, Cl100kTokens(), PASSAGE_TOKENS), _options(params))
    counts = {
        "dry_run": True,
        "documents": found.documents,
        "chunks": found.passages,
        "would_embed": found.missing,
        "in_batches": found.out,
        "reused": found.passages - found.missing - found.out,
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
        f"dry run, nothing was bought or changed: of {counted(found.passages, 'passage')} {found.missing:,} would be"
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
    description="Make a source searchable with OpenAI's text-embedding-3-small. Buys only what is new.",
    category="indexing",
    operation="index",
    params=IndexOnlineParams,
    plan=plan,
    run=run,
    shares_worker=True,
    advise=advise,
    forecast=forecast,
    weight=30.0,
    after=("scrape", "metadata"),
    secrets=(OPENAI_KEY,),
)
