"""Suggest Tags: suggest what a source is about, from a vocabulary of tags and from the source's own terms.

Everything is computed before the manifest is written once, so that a kill leaves the old suggestions or the new ones.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kbjobs.config.home import Home
from kbjobs.config.prices import Price, format_dollars
from kbjobs.config.settings import Settings
from kbjobs.context import Context, PhaseResult
from kbjobs.embedding.online_models import OPENAI_KEY
from kbjobs.errors import MissingRequirementError
from kbjobs.phases.job_type import Advice, JobType, Params, PhaseForecast, PhaseRequest, Plan

INDEXES = ("index_online", "index_offline")
Provider = Literal["local", "openai"]


class SuggestTagsParams(Params):
    """Parameters of suggest_tags."""

    provider: Provider | None = Field(
        None,
        description="Who suggests: a model of this machine, or one of the OpenAI API, which is sent a sample of the"
        " documents; default: the setting 'tags_provider'.",
    )
    fallback: bool = Field(False, description="Use the local model, and say so, if the OpenAI API is unavailable.")
    model: str | None = Field(None, description="Local model that compares documents (default: the setting model).")
    max_cost: float | None = Field(
        None,
        gt=0,
        description="Stop before the job has spent more US dollars, at list price; what was bought is kept.",
    )
    force: bool = Field(False, description="Suggest again, even if nothing has changed.")
    dry_run: bool = Field(
        False, description="Show what would be read and sent (documents, tokens, price); send nothing."
    )


def plan(request: PhaseRequest[SuggestTagsParams]) -> Plan[SuggestTagsParams]:
    """Check source, provider, vocabulary, price, local model and engine, and fill in the model.

    With an online provider, the local model may be missing, unless it is the fallback.
    """
    from kbjobs.tagging.limits import max_tokens
    from kbjobs.tagging.vocabulary import load_vocabulary

    request.check_source()
    home, settings, params = request.home, request.settings, request.params
    wanted = settings.text("tags_provider")
    provider = params.provider or wanted
    vocabulary = load_vocabulary(home, settings)
    is_online = provider == "openai"
    model = _find_model(home, settings, params, may_be_missing=is_online and not params.fallback)
    # "local" becomes the default if that means the same, so that the job equals one queued by an older version.
    chosen = None if provider == wanted == "local" else provider
    planned = params.model_copy(update={"model": model, "provider": chosen})
    if not is_online:
        return Plan(planned)
    price = Price.read(settings, "tags_price")
    if params.dry_run:
        return Plan(planned)
    note = (
        f"suggest-tags sends texts of a sample of the documents to {settings.text('tags_model')} of the OpenAI API, for"
        f" at most {format_dollars(price.of(*max_tokens(len(vocabulary.categories))))} USD at the list price of"
        f" {price.since}; --dry-run counts it."
        + (" Where that cannot be asked, the local model suggests." if params.fallback else "")
    )
    return Plan(planned, notes=(note,), secrets=() if params.fallback else (OPENAI_KEY,))


def _find_model(home: Home, settings: Settings, params: SuggestTagsParams, may_be_missing: bool) -> str | None:
    from kbjobs.embedding.engines import check_engine
    from kbjobs.embedding.model_catalogue import check_model

    try:
        model = check_model(params.model if params.model is not None else settings.text("model"), home.models)
    except MissingRequirementError:
        if may_be_missing and params.model is None:
            return None
        raise
    check_engine(settings.text("engine"), model)
    return model.name


def forecast(request: PhaseRequest[SuggestTagsParams]) -> PhaseForecast:
    """Forecast the most tokens for an online provider, and their price."""
    from kbjobs.tagging.limits import max_tokens
    from kbjobs.tagging.vocabulary import load_vocabulary

    settings = request.settings
    if request.params.provider != "openai":
        return PhaseForecast()
    sent, answered = max_tokens(len(load_vocabulary(request.home, settings).categories))
    price = Price.read(settings, "tags_price")
    return PhaseForecast(
        tokens=sent + answered,
        price_usd=round(price.of(sent, answered), 8),
        is_exact=False,
        note=f"at most, {price.describe(sent, answered)}",
    )


def run(context: Context, params: SuggestTagsParams) -> PhaseResult:
    """Suggest tags."""
    from kbjobs.tagging.suggest import TagRequest, tag_source

    online = context.settings.text("tags_model") if params.provider == "openai" else None
    request = TagRequest(params.model, online, params.fallback, params.force, params.dry_run, params.max_cost)
    return tag_source(context, request)


def advise(request: PhaseRequest[SuggestTagsParams]) -> list[str]:
    """Warn if there is nothing to judge by, or nothing new."""
    from kbjobs.phases.source_checks import has_metadata
    from kbjobs.store.ledger import Ledger
    from kbjobs.tagging.suggestion_state import current_state, is_current
    from kbjobs.tagging.vocabulary import load_vocabulary

    home, settings, source, params = request.home, request.settings, request.source, request.params
    earlier = request.earlier_types
    is_fed = any(name in earlier for name in ("metadata", *INDEXES))
    if not source.ledger.exists():
        message = f"source {source.id!r} has no documents yet: add metadata or an index first"
        return [] if is_fed else [Advice(message, "metadata")]
    advice: list[str] = []
    if not has_metadata(source, earlier):
        message = f"source {source.id!r} has no metadata: documents without vectors are judged by their titles"
        advice.append(Advice(message, "metadata"))
    model = settings.text("tags_model") if params.provider == "openai" else params.model
    if is_fed or params.force or params.dry_run or model is None:
        return advice
    with Ledger(source.ledger) as ledger:
        state = current_state(ledger, load_vocabulary(home, settings), model)
        if is_current(source, state, model):
            advice.append(f"source {source.id!r} has suggestions for this state: nothing to do without --force")
    return advice


JOB_TYPE = JobType(
    name="suggest_tags",
    label="Suggest Tags",
    description="Suggest tags for a source, each with documents as evidence. Your own tags stay.",
    category="maintenance",
    operation="tag",
    params=SuggestTagsParams,
    plan=plan,
    run=run,
    advise=advise,
    forecast=forecast,
    weight=10.0,
    after=("metadata", *INDEXES),
    examples=("kbjobs run suggest-tags wiki --provider openai --dry-run",),
)
