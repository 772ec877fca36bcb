"""Suggesting tags for a source: by a local model, or by one of the OpenAI API and locally where that gives none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kbjobs.config.prices import Price, format_dollars
from kbjobs.context import Context, PhaseResult
from kbjobs.errors import KbjobsError, MissingRequirementError
from kbjobs.formatting import counted
from kbjobs.store import tag_rows as store
from kbjobs.store.ledger import Ledger
from kbjobs.store.tag_rows import TaggedDocument
from kbjobs.system.crashpoints import crash_point
from kbjobs.tagging.suggestion import EVIDENCE, make_tag
from kbjobs.tagging.suggestion_state import current_state, is_current
from kbjobs.tagging.tag_names import fold_tag
from kbjobs.tagging.vocabulary import BUILT_IN, Vocabulary, load_vocabulary


@dataclass(frozen=True, slots=True)
class TagRequest:
    """How tags are to be suggested.

    ``local_model``: None where none is on this machine. ``online_model``: None to ask nobody. ``may_fall_back``: where
    the API cannot be asked at all, suggest locally too.
    """

    local_model: str | None
    online_model: str | None = None
    may_fall_back: bool = False
    force: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class _Made:
    """Suggestions, ready to be written: counts for the summary, and what is to be said of them."""

    model: str
    provider: str
    tags: list[dict[str, Any]]
    counts: dict[str, Any]
    told: str


def tag_source(context: Context, request: TagRequest) -> PhaseResult:
    """Suggest tags for the context's source and write them to its manifest, or tell what that would take."""
    source = context.source
    vocabulary = load_vocabulary(context.home, context.settings)
    ledger = Ledger(source.ledger)
    try:
        documents = store.kept_documents(ledger)
        if not documents:
            raise MissingRequirementError(
                f"source {source.id!r} has no documents in its ledger", f"kbjobs run metadata {source.id}"
            )
        if request.dry_run:
            return _forecast(context, ledger, request, documents, vocabulary)

        def is_new(model: str) -> bool:
            return request.force or not is_current(source, current_state(ledger, vocabulary, model), model)

        if request.online_model is not None:
            made = _ask(context, ledger, request, request.online_model, documents, vocabulary, is_new)
        else:
            made = _compare(context, ledger, request, documents, vocabulary, is_new)
        if made is None:
            return _unchanged(context, documents)
        state = current_state(ledger, vocabulary, made.model)
    finally:
        ledger.close()
    crash_point("tags.before_write")
    tags = _write(context, made, state)
    crash_point("tags.written")
    return _result(made, tags, len(documents), vocabulary)


def _write(context: Context, made: _Made, state: str) -> list[dict[str, Any]]:
    """Write the suggestions but for the user's own tags and those that he has rejected; returns what was written."""
    present = context.source.read()
    decided = {fold_tag(tag) for tag in (*present.tags, *present.rejected_tags)}
    tags = [tag for tag in made.tags if fold_tag(tag["tag"]) not in decided]
    context.source.write_suggested_tags(
        {
            "state": state,
            "model": made.model,
            "provider": made.provider,
            "documents": made.counts["judged"],
            "tags": tags,
        }
    )
    return tags


def _result(made: _Made, tags: Sequence[dict[str, Any]], documents: int, vocabulary: Vocabulary) -> PhaseResult:
    named = {kind: [tag["tag"] for tag in tags if tag["kind"] == kind] for kind in ("category", "novel")}
    counts = {
        "documents": documents,
        "tags": len(tags),
        "categories": len(named["category"]),
        "unchanged": False,
        "provider": made.provider,
        "model": made.model,
        **made.counts,
    }
    none = "no category of preparedness fits" if vocabulary is BUILT_IN else "no tag of the vocabulary fits"
    told = ", ".join(named["category"]) or none
    told += f"; not in the vocabulary: {', '.join(named['novel'])}" if named["novel"] else ""
    judged = counted(made.counts["judged"], "document")
    return PhaseResult(counts, f"{counted(len(tags), 'tag')} suggested from {judged}: {told}{made.told}")


def _unchanged(context: Context, documents: Sequence[TaggedDocument]) -> PhaseResult:
    suggested = (context.source.read().suggested_tags or {}).get("tags", [])
    return PhaseResult(
        {"documents": len(documents), "judged": 0, "embedded": 0, "tags": len(suggested), "unchanged": True},
        "nothing has changed since tags were suggested: they are left as they are (--force suggests anew)",
    )


def _compare(
    context: Context,
    ledger: Ledger,
    request: TagRequest,
    documents: Sequence[TaggedDocument],
    vocabulary: Vocabulary,
    is_new: Callable[[str], bool],
) -> _Made | None:
    """Suggestions by the local model; None where those that are there would be made again."""
    model = request.local_model
    if model is None:
        raise MissingRequirementError(
            "no local model is on this machine that could suggest tags",
            "Fetch one with kbjobs run model-download NAME (kbjobs models list shows them), or use --provider openai.",
        )
    if not is_new(model):
        return None
    from kbjobs.tagging.local import tag_locally

    judged = tag_locally(context, ledger, model, documents, vocabulary)
    return _Made(model, "local", judged.tags, {"judged": judged.documents, "embedded": judged.embedded}, "")


def _ask(
    context: Context,
    ledger: Ledger,
    request: TagRequest,
    model: str,
    documents: Sequence[TaggedDocument],
    vocabulary: Vocabulary,
    is_new: Callable[[str], bool],
) -> _Made | None:
    """Suggestions by the model of the API, or locally with the reason; None where there is nothing to do."""
    if not is_new(model):
        return None
    from kbjobs.tagging import online

    price = Price.read(context.settings, online.PRICE)
    prompt = online.prepare(context, ledger, model, documents, vocabulary)
    context.log.info("asking %s: %s", model, online.describe(prompt, price))
    asked = online.ask_for_tags(context, prompt, vocabulary, request.may_fall_back)
    paid = {
        "tokens": asked.sent,
        "tokens_answered": asked.answered,
        "price_usd": round(price.of(asked.sent, asked.answered), 8),
        "price_of": price.since,
        "answers": len(asked.answers),
    }
    bought = (
        f"; {counted(asked.sent, 'token')} sent and {asked.answered:,} answered by {model},"
        f" {format_dollars(price.of(asked.sent, asked.answered))} USD at list price"
    )
    if not asked.problem:
        by_id = {document.doc_id: document for document in prompt.shown}
        tags = [
            make_tag(
                tag.name, tag.kind, None, len(tag.evidence), [(by_id[one], None) for one in tag.evidence[:EVIDENCE]]
            )
            for tag in asked.tags
        ]
        return _Made(model, "openai", tags, {"judged": len(prompt.shown), "embedded": 0, **paid}, bought)
    reason = _tell_problem(asked.problem, len(asked.answers), model)
    context.log.warning("tags are suggested locally: %s", reason)
    try:
        made = _compare(context, ledger, request, documents, vocabulary, is_new)
    except KbjobsError as error:
        error.message = f"{reason}; and {error.message}"
        error.args = (error.message,)
        raise
    told = f"; suggested locally, because {reason}" + (bought if asked.answers else "")
    if made is None:
        made = _kept(context, request)
    return _Made(made.model, "local", made.tags, {**made.counts, "fell_back": reason, **paid}, told)


def _kept(context: Context, request: TagRequest) -> _Made:
    """The local suggestions that are there already."""
    kept = context.source.read().suggested_tags or {}
    counts = {"judged": int(kept.get("documents", 0)), "embedded": 0}
    return _Made(str(request.local_model), "local", list(kept.get("tags", [])), counts, "")


def _tell_problem(problem: str, answers: int, model: str) -> str:
    if not answers:
        return problem
    return f"{counted(answers, 'answer')} of {model} could not be used (the last: {problem})"


def _forecast(
    context: Context, ledger: Ledger, request: TagRequest, documents: Sequence[TaggedDocument], vocabulary: Vocabulary
) -> PhaseResult:
    """What a run would look at and pay."""
    counts: dict[str, Any] = {"dry_run": True, "documents": len(documents), "embedded": 0}
    nothing = "dry run, nothing was bought or changed"
    if request.online_model is None:
        size = counted(len(documents), "document")
        told = f"the {size} would be compared by {request.local_model}, here and for nothing"
        return PhaseResult({**counts, "provider": "local", "model": request.local_model}, f"{nothing}: {told}")
    from kbjobs.tagging import online
    from kbjobs.tagging.limits import ANSWER_TOKENS

    price = Price.read(context.settings, online.PRICE)
    prompt = online.prepare(context, ledger, request.online_model, documents, vocabulary)
    counts |= {
        "provider": "openai",
        "model": request.online_model,
        "sample": len(prompt.shown),
        "tokens": prompt.tokens,
        "tokens_answered": ANSWER_TOKENS,
        "price_usd": round(price.of(prompt.tokens, ANSWER_TOKENS), 8),
        "price_of": price.since,
        "unchanged": is_current(
            context.source, current_state(ledger, vocabulary, request.online_model), request.online_model
        ),
    }
    told = f"{request.online_model} would be shown {online.describe(prompt, price)}"
    if counts["unchanged"] and not request.force:
        told += "; but nothing has changed since it suggested tags: only with --force"
    return PhaseResult(counts, f"{nothing}: {told}")
