"""Suggesting tags for a source with a local model, or with the OpenAI API and locally if the API gives none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    """How to suggest tags.

    ``local_model``: None if this machine has none. ``online_model``: None to use no API. ``may_fall_back``: whether to
    suggest locally if the API cannot be asked at all. ``max_cost``: the most US dollars that the job may spend.
    """

    local_model: str | None
    online_model: str | None = None
    may_fall_back: bool = False
    force: bool = False
    dry_run: bool = False
    max_cost: float | None = None


@dataclass(frozen=True, slots=True)
class _Task:
    """The request, the documents of the source, and the vocabulary for their tags."""

    context: Context
    ledger: Ledger
    request: TagRequest
    documents: Sequence[TaggedDocument]
    vocabulary: Vocabulary

    def state(self, model: str) -> str:
        """Name the state that the suggestions of a model depend on."""
        return current_state(self.ledger, self.vocabulary, model)

    def is_current(self, model: str) -> bool:
        """Whether the model has suggested tags for this state already."""
        return is_current(self.context.source, self.state(model), model)


@dataclass(frozen=True, slots=True)
class _Made:
    """Suggestions ready to be written, with counts and a note for the summary."""

    model: str
    provider: str
    tags: list[dict[str, Any]]
    counts: dict[str, Any]
    note: str = ""


def tag_source(context: Context, request: TagRequest) -> PhaseResult:
    """Suggest tags for the context's source and write them to its manifest; a dry run only counts."""
    source = context.source
    vocabulary = load_vocabulary(context.home, context.settings)
    with Ledger(source.ledger) as ledger:
        documents = store.kept_documents(ledger)
        if not documents:
            raise MissingRequirementError(
                f"source {source.id!r} has no documents in its ledger", f"kbjobs run metadata {source.id}"
            )
        task = _Task(context, ledger, request, documents, vocabulary)
        if request.dry_run:
            return _forecast(task)
        made = _compare(task) if request.online_model is None else _ask(task, request.online_model)
        if made is None:
            return _unchanged(context, documents)
        state = task.state(made.model)
    crash_point("tags.before_write")
    tags = _write(context, made, state)
    crash_point("tags.written")
    return _result(made, tags, len(documents), vocabulary)


def _write(context: Context, made: _Made, state: str) -> list[dict[str, Any]]:
    """Write the suggestions, except the user's own and rejected tags; returns those written."""
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
    names = ", ".join(named["category"]) or none
    names += f"; not in the vocabulary: {', '.join(named['novel'])}" if named["novel"] else ""
    return PhaseResult(
        counts,
        f"{counted(len(tags), 'tag')} suggested from {counted(made.counts['judged'], 'document')}: {names}{made.note}",
    )


def _unchanged(context: Context, documents: Sequence[TaggedDocument]) -> PhaseResult:
    suggested = (context.source.read().suggested_tags or {}).get("tags", [])
    return PhaseResult(
        {"documents": len(documents), "judged": 0, "embedded": 0, "tags": len(suggested), "unchanged": True},
        "nothing has changed since the last suggestions, so they stay (--force suggests again)",
    )


def _compare(task: _Task) -> _Made | None:
    """Make suggestions with the local model; None if it has made them for this state already."""
    model = task.request.local_model
    if model is None:
        raise MissingRequirementError(
            "no local model on this machine can suggest tags",
            "Download one with kbjobs models download NAME (kbjobs models list shows them), or use --provider openai.",
        )
    if not task.request.force and task.is_current(model):
        return None
    from kbjobs.tagging.local import tag_locally

    judged = tag_locally(task.context, task.ledger, model, task.documents, task.vocabulary)
    return _Made(model, "local", judged.tags, {"judged": judged.documents, "embedded": judged.embedded})


def _ask(task: _Task, model: str) -> _Made | None:
    """Make suggestions with the API's model, or locally with the reason; None if there is nothing to do."""
    if not task.request.force and task.is_current(model):
        return None
    from kbjobs.embedding.spending import SpendingWatch
    from kbjobs.tagging import online

    context = task.context
    price = Price.read(context.settings, online.PRICE)
    prompt = online.prepare(context, task.ledger, model, task.documents, task.vocabulary)
    context.log.info("asking %s: %s", model, online.describe(prompt, price))
    with SpendingWatch(context.home, context.settings, context.job_id, price, task.request.max_cost) as spending:
        asked = online.ask_for_tags(context, prompt, task.vocabulary, task.request.may_fall_back, spending)
    paid = price.of(asked.sent, asked.answered)
    counts = {
        "tokens": asked.sent,
        "tokens_answered": asked.answered,
        "price_usd": round(paid, 8),
        "price_of": price.since,
        "answers": len(asked.answers),
    }
    usage = (
        f"; {counted(asked.sent, 'token')} sent and {asked.answered:,} answered by {model},"
        f" {format_dollars(paid)} USD at list price"
    )
    if asked.problem:
        reason = asked.problem
        if asked.answers:
            reason = f"{counted(len(asked.answers), 'answer')} of {model} could not be used (the last: {reason})"
        made = _fall_back(task, reason)
        note = f"; suggested locally, because {reason}" + (usage if asked.answers else "")
        return replace(made, counts={**made.counts, "fell_back": reason, **counts}, note=note)
    by_id = {document.doc_id: document for document in prompt.shown}
    tags = [
        make_tag(tag.name, tag.kind, None, len(tag.evidence), [(by_id[one], None) for one in tag.evidence[:EVIDENCE]])
        for tag in asked.tags
    ]
    return _Made(model, "openai", tags, {"judged": len(prompt.shown), "embedded": 0, **counts}, usage)


def _fall_back(task: _Task, reason: str) -> _Made:
    """Make suggestions with the local model, because the API gave none; existing ones of that model are kept."""
    task.context.log.warning("tags are suggested locally: %s", reason)
    try:
        made = _compare(task)
    except KbjobsError as error:
        error.message = f"{reason}; and {error.message}"
        error.args = (error.message,)
        raise
    if made is not None:
        return made
    kept = task.context.source.read().suggested_tags or {}
    counts = {"judged": int(kept.get("documents", 0)), "embedded": 0}
    return _Made(str(task.request.local_model), "local", list(kept.get("tags", [])), counts)


def _forecast(task: _Task) -> PhaseResult:
    """Count what a run would read, send and cost."""
    request, model = task.request, task.request.online_model
    counts: dict[str, Any] = {"dry_run": True, "documents": len(task.documents), "embedded": 0}
    nothing = "dry run, nothing was bought or changed"
    if model is None:
        documents = counted(len(task.documents), "document")
        return PhaseResult(
            {**counts, "provider": "local", "model": request.local_model},
            f"{nothing}: the {documents} would be compared by {request.local_model}, here and for nothing",
        )
    from kbjobs.tagging import online
    from kbjobs.tagging.limits import ANSWER_TOKENS

    price = Price.read(task.context.settings, online.PRICE)
    prompt = online.prepare(task.context, task.ledger, model, task.documents, task.vocabulary)
    counts |= {
        "provider": "openai",
        "model": model,
        "sample": len(prompt.shown),
        "tokens": prompt.tokens,
        "tokens_answered": ANSWER_TOKENS,
        "price_usd": round(price.of(prompt.tokens, ANSWER_TOKENS), 8),
        "price_of": price.since,
        "unchanged": task.is_current(model),
    }
    plan = f"{model} would be shown {online.describe(prompt, price)}"
    if counts["unchanged"] and not request.force:
        plan += "; but nothing has changed since it suggested tags: only with --force"
    return PhaseResult(counts, f"{nothing}: {plan}")
