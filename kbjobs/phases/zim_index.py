"""Index ZIM: turn a ZIM file into a source with metadata and vectors, in one pass over the file.

Entries are read in the order of the file and committed batch by batch; the embedding follows. A newer file of the same
name is read again, and only new texts are embedded.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from kbjobs.config.prices import Price, usage_price
from kbjobs.context import Context, PhaseResult
from kbjobs.embedding.online_models import OPENAI_KEY, TEXT_EMBEDDING_3_SMALL
from kbjobs.errors import ConflictError, KbjobsError, UsageError
from kbjobs.phases import index_offline, index_online
from kbjobs.phases.index_parameters import IndexParams, LocalModelParams
from kbjobs.phases.job_type import JobType, PhaseForecast, PhaseRequest, Plan, Target, filled
from kbjobs.phases.source_checks import check_disk, check_folders, check_store, choose_filter
from kbjobs.phases.zim_files import CHECK_DOWNLOAD, check_zim, name_source, zims_of
from kbjobs.store.clocks import now_text
from kbjobs.store.sources import Source, SourceFolder

if TYPE_CHECKING:
    from kbjobs.content.zim import ZimHeader
    from kbjobs.embedding.embedder import Embedder
    from kbjobs.embedding.spending import SpendingWatch


class ZimIndexParams(IndexParams, LocalModelParams):
    """Parameters of zim_index."""

    path: str | None = Field(None, description="The ZIM file, or a part of it; default: that of the source.")
    min_text_length: int = Field(100, ge=0, description="Leave out pages with fewer characters of text.")
    language_filter: str | None = Field(
        None, description="Index only documents in these languages (en, or en,be) or in an unknown one."
    )
    online: bool = Field(False, description="Embed with OpenAI's text-embedding-3-small, which costs money.")
    max_cost: float | None = Field(
        None,
        gt=0,
        description="With --online: stop before the job has spent more US dollars; what was bought is kept.",
    )


def plan(request: PhaseRequest[ZimIndexParams]) -> Plan[ZimIndexParams]:
    """Check file, source, model and disk, and fill in path and model."""
    params = request.params
    if not request.is_general:
        params = params.model_copy(update={"path": str(_find_file(request.source, params.path))})
        if request.source.manifest.exists():
            check_folders(request.source)
            check_disk(request.home, request.source)
            check_store(request.home, request.settings)
    params = params.model_copy(update={"language_filter": choose_filter(request, params.language_filter)})
    if params.online:
        if params.model is not None:
            raise UsageError("--online and --model exclude each other", "Give one of them.")
        if params.download:
            raise UsageError("--online needs no model on this machine", "Leave out --download.")
        return Plan(params, dimension=TEXT_EMBEDDING_3_SMALL.dimension, secrets=(OPENAI_KEY,))
    local = index_offline.plan_model(_local_request(request))
    found = local.params.model_dump(include={"model", "download", "ray_address"})
    return Plan(params.model_copy(update=found), dimension=local.dimension, secrets=())


def _find_file(source: SourceFolder, given: str | None) -> Path:
    """The ZIM file of a source, or the file for a new source."""
    there = source.manifest.exists()
    if given is None:
        if not there or not (files := zims_of(source)):
            raise UsageError(
                f"source {source.id!r} has no ZIM file", "Name one: kbjobs run zim-index FILE.zim --source ID"
            )
        return check_zim(str(files[0]))
    path = check_zim(given)
    if there and str(path) not in {str(check_zim(str(file))) for file in zims_of(source)}:
        raise ConflictError(
            f"source {source.id!r} exists, and is not of {path}",
            f"Choose another id with --source. For a newer edition: kbjobs sources edit {source.id} --drop OLD"
            f" --add {path}, then kbjobs run zim-index {source.id}.",
        )
    return path


def _local_request(request: PhaseRequest[ZimIndexParams]) -> PhaseRequest[index_offline.IndexOfflineParams]:
    """The same request for index_offline, which checks and forecasts local models."""
    shared = request.params.model_dump(include=set(index_offline.IndexOfflineParams.model_fields))
    return request.with_params(index_offline.IndexOfflineParams.model_validate(shared))


def _online_request(request: PhaseRequest[ZimIndexParams]) -> PhaseRequest[index_online.IndexOnlineParams]:
    shared = request.params.model_dump(include={"limit", "allow_delete"})
    return request.with_params(index_online.IndexOnlineParams.model_validate(shared))


def advise(request: PhaseRequest[ZimIndexParams]) -> list[str]:
    """Warn if there is nothing to embed; the same pass reads the metadata."""
    if not request.source.ledger.exists():
        return []
    after_metadata = replace(request, earlier=(*request.earlier, ("metadata", request.params)))
    if request.params.online:
        return index_online.advise(_online_request(after_metadata))
    return index_offline.advise(_local_request(after_metadata))


def forecast(request: PhaseRequest[ZimIndexParams]) -> PhaseForecast:
    """Forecast the passages to embed of a source that was indexed before; for a new file, only its number of pages."""
    from kbjobs.content.zim import ZimError, ZimFile

    if request.source.ledger.exists():
        if request.params.online:
            return index_online.forecast(_online_request(request))
        return index_offline.forecast(_local_request(request))
    try:
        with ZimFile(filled(request.params.path)) as zim:
            articles = zim.header.article_count or zim.header.entry_count
    except ZimError as error:
        raise KbjobsError(str(error), CHECK_DOWNLOAD) from error
    return PhaseForecast(documents=articles, is_exact=False, note="the file was never read: its header says so many")


def run(context: Context, params: ZimIndexParams) -> PhaseResult:
    """Register the file if it is not a source yet, and index it."""
    from kbjobs.content.zim import ZimError, ZimFile
    from kbjobs.embedding.openai_batches import BatchClient
    from kbjobs.indexing.batch_jobs import Batching
    from kbjobs.indexing.cutting import IndexOptions
    from kbjobs.indexing.pipeline import run_index
    from kbjobs.scanning.changes import MIN_TEXT_FACT
    from kbjobs.scanning.describing import Describing
    from kbjobs.store.ledger import Ledger

    path = filled(params.path)
    context.progress(0, 0, "documents", f"opening {path}", (0.0, 0.0), eta_matters=False)
    try:
        with ZimFile(path) as zim:
            header = zim.header
    except ZimError as error:
        raise KbjobsError(str(error), CHECK_DOWNLOAD) from error
    _register(context.source, path, header)
    with Ledger(context.source.ledger) as ledger:
        ledger.set_fact(MIN_TEXT_FACT, str(params.min_text_length))
    with ExitStack() as opened:
        spending = opened.enter_context(_spending(context, params)) if params.online else None
        embedder = opened.enter_context(closing(_load(context, params, spending)))
        options = IndexOptions(limit=params.limit, allow_delete=params.allow_delete, keeps_cut=params.online)
        batching = None
        if params.online:
            # Results of batches that index-online --batch-api has sent for this source are used, not paid for again.
            key = context.secret(OPENAI_KEY)
            batching = Batching(lambda: BatchClient(TEXT_EMBEDDING_3_SMALL, key), False, spending)
        result = run_index(context, embedder, options, Describing(params.language_filter), batching)
    if params.online:
        price = usage_price(Price.read(context.settings, TEXT_EMBEDDING_3_SMALL.price), result.counts)
        result = replace(result, counts=result.counts | {"price_usd": round(price, 8)})
    return result


def _spending(context: Context, params: ZimIndexParams) -> SpendingWatch:
    from kbjobs.embedding.spending import SpendingWatch

    price = Price.read(context.settings, TEXT_EMBEDDING_3_SMALL.price)
    return SpendingWatch(context.home, context.settings, context.job_id, price, params.max_cost)


def _load(context: Context, params: ZimIndexParams, spending: SpendingWatch | None) -> Embedder:
    if params.online:
        from kbjobs.embedding.openai_embedder import OpenAIEmbedder

        return OpenAIEmbedder(
            TEXT_EMBEDDING_3_SMALL,
            context.secret(OPENAI_KEY),
            at_once=context.settings.integer("online_requests"),
            spending=spending,
        )
    model = filled(params.model)
    if params.download:
        index_offline.fetch_model(context, model)
    return index_offline.load_engine(context, model, params.engine, params.ray_address)


def _register(source: SourceFolder, path: str, header: ZimHeader) -> None:
    """Write the manifest of a new source; in an existing manifest, set only missing values."""
    if not source.manifest.exists():
        source.write(Source(source.id, (path,), header.title, header.license, "", now_text()))
    found = {
        "name": header.title,
        "license": header.license,
        "description": header.description,
        "creator": header.creator,
        "publisher": header.publisher,
        "language": header.language,
        "date": header.date,
    }
    source.fill(found)


JOB_TYPE = JobType(
    name="zim_index",
    label="Index ZIM",
    description="Turn a ZIM file into a searchable source: documents, metadata and vectors in one pass.",
    category="indexing",
    operation="index",
    params=ZimIndexParams,
    plan=plan,
    run=run,
    advise=advise,
    forecast=forecast,
    target=Target(makes_source=True, takes_file=True, name_source=name_source),
)
