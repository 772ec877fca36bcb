"""Index (Offline): make a source searchable with a local model.

A run lists the documents, compares them with the ledger, embeds only new passages, commits vectors to the ledger batch
by batch, copies them into the vector store, and removes vanished documents only at the end. A kill repeats at most one
batch. There is no resume mode: every run continues from the state of the ledger.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field

from kbjobs.config.home import Home
from kbjobs.config.settings import Settings
from kbjobs.context import Context, PhaseResult
from kbjobs.embedding.dimensions import LOCAL_DIMENSIONS, LocalDimension, list_dimensions
from kbjobs.errors import KbjobsError, UsageError
from kbjobs.formatting import counted, duration
from kbjobs.phases.index_parameters import IndexParams, LocalModelParams
from kbjobs.phases.job_type import JobType, PhaseForecast, PhaseRequest, Plan, filled
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
    from kbjobs.embedding.embedder import Embedder
    from kbjobs.store.profiles import OlderCut


class IndexOfflineParams(IndexParams, LocalModelParams):
    """Parameters of index_offline."""

    dimension: LocalDimension | None = Field(
        None, description=f"Use the model that is configured for this dimension: {list_dimensions(LOCAL_DIMENSIONS)}."
    )
    recut: bool = Field(
        False, description="Read and cut every document again, and embed only the passages that are new."
    )
    force: bool = Field(False, description="Read and embed everything again, even if the ledger holds it.")


def plan(request: PhaseRequest[IndexOfflineParams]) -> Plan[IndexOfflineParams]:
    """Check source, model and disk, and fill in the model."""
    if request.is_general:
        return plan_model(request)
    home, source = request.home, request.source
    check_folders(source)
    planned = plan_model(request)
    check_disk(home, source)
    check_store(home, request.settings)
    name = planned.params.model
    if name is None or (older := find_older(source, name)) is None:
        return planned
    check_disk(home, source, name)
    return replace(planned, notes=(format_recut(source, older, _cost(home, older)),))


def plan_model(request: PhaseRequest[IndexOfflineParams]) -> Plan[IndexOfflineParams]:
    """Check model and engine, and fill in the model.

    The engine is not filled in: it is not part of the vectors' key, so another setting does not make another job.
    """
    from kbjobs.embedding.engines import check_engine
    from kbjobs.embedding.model_catalogue import check_model

    home, settings, params = request.home, request.settings, request.params
    name = params.model
    if name is None:
        name = settings.text("model" if params.dimension is None else f"model_{params.dimension}")
    if params.download and (fetched := _plan_absent(home, settings, name, params)) is not None:
        return fetched
    model = check_model(name, home.models)
    _check_dimension(model.name, model.dimension, params.dimension)
    check_engine(_engine(settings, params.engine), model)
    # The model is here, so --download makes no difference.
    planned = params.model_copy(
        update={
            "model": model.name,
            "dimension": _as_parameter(model.dimension),
            "download": False,
            "ray_address": fill_address(settings, params.engine, params.ray_address),
        }
    )
    return Plan(planned, dimension=model.dimension)


def _check_dimension(model: str, dimension: int | None, wanted: int | None) -> None:
    if wanted is not None and dimension not in (None, wanted):
        raise UsageError(
            f"{model} gives {dimension} dimensions, not {wanted}",
            "Leave out --dimension, or name a model of that dimension.",
        )


def fill_address(settings: Settings, engine: str | None, given: str | None) -> str | None:
    """Find the Ray cluster of a job at the submit, because its worker may have another environment.

    Args:
        settings: the settings in force.
        engine: the job's engine, None for the setting's.
        given: the job's address of a cluster, None if it has none.

    Returns:
        None if the job needs no cluster.

    Raises:
        UsageError: an address was given, but the engine is not ray, or the address cannot be used.
    """
    from kbjobs.embedding.cluster.address import find_address
    from kbjobs.embedding.engines import RAY

    if _engine(settings, engine) == RAY:
        return find_address(given, settings)
    if given is not None:
        raise UsageError(
            "--ray-address can only be used with the engine ray", "Add --engine ray, or leave out --ray-address."
        )
    return None


def _plan_absent(
    home: Home, settings: Settings, name: str, params: IndexOfflineParams
) -> Plan[IndexOfflineParams] | None:
    """The plan of a job that downloads its model; None if the model is here."""
    from kbjobs.embedding.downloadable import check_downloadable
    from kbjobs.embedding.model_catalogue import check_model

    try:
        check_model(name, home.models)
    except KbjobsError:
        found, dimension = check_downloadable(name)
    else:
        return None
    _check_dimension(found, dimension, params.dimension)
    dimension = dimension or params.dimension
    address = fill_address(settings, params.engine, params.ray_address)
    planned = params.model_copy(update={"model": found, "dimension": _as_parameter(dimension), "ray_address": address})
    return Plan(planned, dimension=dimension)


def _as_parameter(dimension: int | None) -> int | None:
    """The dimension as a value of the parameter; None if the parameter cannot take it."""
    return dimension if dimension in LOCAL_DIMENSIONS else None


def _cost(home: Home, older: OlderCut) -> str:
    from kbjobs.embedding.measured import measured_speed

    speed = measured_speed(home.engines, older.model.key)
    about = f", about {duration(older.tokens / speed)} at the speed measured here" if speed else ""
    return f"about {counted(older.passages, 'passage')} ({counted(older.tokens, 'token')}) are embedded{about}"


def advise(request: PhaseRequest[IndexOfflineParams]) -> list[str]:
    """Warn if there is nothing to embed, or if vectors would be computed twice."""
    params = request.params
    if params.model is None:
        return []
    return advise_index(request, params.model, params.force, Wording("local", "computed again"))


def forecast(request: PhaseRequest[IndexOfflineParams]) -> PhaseForecast:
    """Forecast the passages to embed from a sample, and the time at the speed measured on this machine."""
    from kbjobs.content.tokens import HuggingFaceTokens
    from kbjobs.embedding.engines import RAY
    from kbjobs.embedding.identity import model_key, weights_hash
    from kbjobs.embedding.measured import measured_speed
    from kbjobs.embedding.model_catalogue import check_model
    from kbjobs.embedding.token_embedder import load_tokenizer
    from kbjobs.indexing.cutting import IndexOptions
    from kbjobs.indexing.source_diff import TextModel, forecast_source

    home, settings, params = request.home, request.settings, request.params
    try:
        model = check_model(filled(params.model), home.models)
    except KbjobsError:
        if not params.download:
            raise
        return PhaseForecast(is_exact=False, note=f"{params.model} is fetched first; its tokenizer is not here yet")
    key = model_key(model, weights_hash(model, home.engines))
    options = IndexOptions(
        params.force or purges(request.earlier, model.dimension), params.recut, params.limit, params.allow_delete
    )
    tokens = HuggingFaceTokens(load_tokenizer(model))
    found = forecast_source(home, settings, request.source, TextModel(key, tokens, model.max_tokens), options)
    # The speed of a cluster is not known beforehand.
    speed = None if _engine(settings, params.engine) == RAY else measured_speed(home.engines, key)
    seconds = found.tokens / speed if speed else 0.0 if not found.missing else None
    return PhaseForecast(
        found.documents,
        found.passages,
        found.missing,
        found.tokens,
        steps=found.missing,
        unit="chunks",
        seconds=seconds,
        is_exact=found.is_exact,
        note=found.format_sample().lstrip("; "),
    )


def run(context: Context, params: IndexOfflineParams) -> PhaseResult:
    """Index the source."""
    from kbjobs.embedding.choose import review_choice
    from kbjobs.embedding.deferred_embedder import DeferredEmbedder
    from kbjobs.indexing.cutting import IndexOptions
    from kbjobs.indexing.pipeline import run_index

    model = filled(params.model)
    if params.download:
        fetch_model(context, model)
    embedder = load_engine(context, model, params.engine, params.ray_address)
    try:
        context.log.info("model %s, engine %s", embedder.model_key, embedder.engine)
        options = IndexOptions(params.force, params.recut, params.limit, params.allow_delete)
        return run_index(context, embedder, options)
    finally:
        review_choice(embedder.loaded if isinstance(embedder, DeferredEmbedder) else embedder, context.home.engines)
        embedder.close()


def fetch_model(context: Context, name: str) -> None:
    """Download the model if it is missing; this does not count in the job's progress."""
    from kbjobs.downloads.model_download import ProgressSpan, ensure_model

    ensure_model(context, name, ProgressSpan(0.0, 0.0))


def load_engine(context: Context, model: str, engine: str | None, ray_address: str | None) -> Embedder:
    """Open a model on this machine, to be loaded with its first text, or on a Ray cluster.

    Args:
        context: the job's context.
        model: the model's name.
        engine: the job's engine, None for the setting's.
        ray_address: the address of a cluster, None for the setting's.
    """
    from kbjobs.embedding.cluster.address import find_address
    from kbjobs.embedding.cluster.cluster_embedder import open_cluster
    from kbjobs.embedding.deferred_embedder import open_embedder
    from kbjobs.embedding.engines import RAY

    def report(doing: str) -> None:
        context.progress(0, 0, "documents", doing, (0.0, 0.0), eta_matters=False)

    report(f"loading {model}")
    home, settings = context.home, context.settings
    engine = _engine(settings, engine)
    if engine != RAY:
        return open_embedder(model, home.models, home.engines, engine)
    # A job that was queued before the setting engine became ray has no address yet.
    return open_cluster(home, settings, model, ray_address or find_address(None, settings), report)


def _engine(settings: Settings, engine: str | None) -> str:
    return engine or settings.text("engine")


JOB_TYPE = JobType(
    name="index_offline",
    label="Index (Offline)",
    description="Make a source searchable with a local model. Embeds only what is new.",
    category="indexing",
    operation="index",
    params=IndexOfflineParams,
    plan=plan,
    run=run,
    shares_worker=True,
    advise=advise,
    forecast=forecast,
    after=("scrape", "metadata"),
)
