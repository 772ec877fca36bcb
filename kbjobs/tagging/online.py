"""Tags from a model of the OpenAI API, which gets a sample of the documents; its answer is checked.

Each answer is saved before it is used, so that a job that is killed then does not pay for it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

from kbjobs.config.prices import Price
from kbjobs.context import Context
from kbjobs.embedding.online_models import OPENAI_KEY
from kbjobs.embedding.openai_client import BadAnswerError, OpenAIClient, RefusedRequestError
from kbjobs.embedding.spending import SpendingLimitError, SpendingWatch
from kbjobs.errors import JobCancelled, MissingRequirementError, TransientError
from kbjobs.formatting import counted
from kbjobs.store.ledger import Ledger
from kbjobs.store.tag_rows import TaggedDocument
from kbjobs.system.crashpoints import crash_point
from kbjobs.tagging.answers import FoundTag, UnusableAnswerError, check_answer
from kbjobs.tagging.limits import ANSWER_TOKENS, SAMPLE, TRIES
from kbjobs.tagging.prompt import Prompt, make_prompt
from kbjobs.tagging.sampling import find_topics, take_sample
from kbjobs.tagging.vocabulary import Vocabulary

PRICE = "tags_price"
MAX_CLUSTERED = 5_000  # most documents that are clustered by topic; ids are hashes, so the first are a random sample
READ, ASK = (0.0, 0.2), (0.2, 0.9)
LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class TagAnswer:
    """A paid answer: tokens sent and answered, and the tags, or the reason why there are none."""

    sent: int
    answered: int
    tags: tuple[FoundTag, ...] = ()
    problem: str = ""


@dataclass(slots=True)
class TagQuestion:
    """A request and its result: the tags, or the reason why there are none; and all paid answers of the job."""

    prompt: Prompt
    tags: tuple[FoundTag, ...] = ()
    problem: str = ""
    answers: list[TagAnswer] = field(default_factory=list)

    @property
    def sent(self) -> int:
        """The number of tokens sent."""
        return sum(answer.sent for answer in self.answers)

    @property
    def answered(self) -> int:
        """The number of tokens answered."""
        return sum(answer.answered for answer in self.answers)


def prepare(
    context: Context, ledger: Ledger, model: str, documents: Sequence[TaggedDocument], vocabulary: Vocabulary
) -> Prompt:
    """Choose a sample of documents, and write the request for its tags.

    Args:
        context: the job's context.
        ledger: the source's ledger.
        model: the name of the API's model.
        documents: the documents to choose from.
        vocabulary: the tags to choose from.
    """
    topics = _topics(context, ledger) if len(documents) > SAMPLE else {}
    return make_prompt(ledger, take_sample(documents, SAMPLE, topics), model, vocabulary)


def _topics(context: Context, ledger: Ledger) -> dict[str, int]:
    """Find topics by the vectors of the model that has the most; none if there are no vectors."""
    counts = {row: ledger.count_vectors(row.id) for row in ledger.models()}
    best = max(counts, key=lambda row: (counts[row], row.key), default=None)
    if best is None or not counts[best]:
        return {}
    from itertools import islice

    from kbjobs.tagging.vectors import document_vectors

    vectors = document_vectors(context, ledger, best, "looking for topics", READ)
    return find_topics(islice(vectors, MAX_CLUSTERED))


def describe(prompt: Prompt, price: Price) -> str:
    """Describe for people what is sent, and its price."""
    return (
        f"{counted(len(prompt.shown), 'document')}, about {counted(prompt.tokens, 'token')} sent and up to"
        f" {ANSWER_TOKENS:,} answered, up to {price.describe(prompt.tokens, ANSWER_TOKENS)}"
    )


def ask_for_tags(
    context: Context, prompt: Prompt, vocabulary: Vocabulary, may_go_without: bool, spending: SpendingWatch
) -> TagQuestion:
    """Ask the API for the tags of a prompt, and once more if the first answer is refused, cut or invalid.

    Args:
        context: the job's context, whose checkpoint records each answer.
        prompt: the request.
        vocabulary: the tags that an answer is checked against.
        may_go_without: whether to return the reason instead of raising if the API cannot be asked.
        spending: records each answer before it is asked for, and keeps the limits on spending.

    Raises:
        MissingRequirementError: there is no key, it is refused, or the account is out of money.
        TransientError: there is no answer after all retries.
        SpendingLimitError: the answer would exceed a limit on spending.
        JobCancelled: the job was asked to stop; an answer in flight is recorded.
    """
    asked = TagQuestion(prompt, answers=_find_recorded(context, prompt))
    if asked.answers:
        context.log.info("%s noted in an earlier attempt", counted(len(asked.answers), "answer"))
    try:
        while not asked.answers or (asked.answers[-1].problem and len(asked.answers) < TRIES):
            _buy(context, asked, vocabulary, spending)
    except RefusedRequestError as error:  # it would be refused again
        asked.problem = error.message
    except (MissingRequirementError, SpendingLimitError, TransientError) as error:
        if not may_go_without:
            raise
        asked.problem = error.message
    else:
        asked.tags, asked.problem = asked.answers[-1].tags, asked.answers[-1].problem
    return asked


def _buy(context: Context, asked: TagQuestion, vocabulary: Vocabulary, spending: SpendingWatch) -> None:
    """Request one more answer, and record it."""

    def record(asking: Future[Any]) -> None:
        try:
            answer = _read(asking.result(), asked.prompt, vocabulary)
        except BadAnswerError as error:  # probably paid for nevertheless
            answer = TagAnswer(asked.prompt.tokens, 0, problem=error.message)
        asked.answers.append(answer)
        purchase.finalize(answer.sent, answer.answered)
        context.save_checkpoint({"asked": asked.prompt.key, "answers": [asdict(one) for one in asked.answers]})
        crash_point("tags.answered")
        context.saved(1)

    def send(sdk: Any, headers: dict[str, str]) -> Any:
        return sdk.chat.completions.create(**asked.prompt.request(), extra_headers=headers)

    model = asked.prompt.model
    with (
        spending.buying(asked.prompt.tokens, ANSWER_TOKENS) as purchase,
        closing(OpenAIClient(model, context.secret(OPENAI_KEY), at_once=1)) as client,
        ThreadPoolExecutor(1, "asking") as pool,
    ):
        asking = pool.submit(client.ask, asked.prompt.tokens + ANSWER_TOKENS, send)
        try:
            while not wait([asking], LOOK_SECONDS).done:
                context.progress(0, 1, "answers", f"asking {model}", ASK, eta_matters=False)
        except JobCancelled:
            client.interrupt()
            if asking.exception() is None:
                record(asking)
            raise
        record(asking)
    if asked.answers[-1].problem:
        context.log.warning("answer %d of %s: %s", len(asked.answers), model, asked.answers[-1].problem)


def _read(completion: Any, prompt: Prompt, vocabulary: Vocabulary) -> TagAnswer:
    """Read an answer; anything else that a server sends becomes an answer with a problem."""
    usage = getattr(completion, "usage", None)
    sent = _count(getattr(usage, "prompt_tokens", None), prompt.tokens)
    answered = _count(getattr(usage, "completion_tokens", None), 0)
    try:
        tags = check_answer(_content(completion), prompt.shown, vocabulary)
    except UnusableAnswerError as error:
        return TagAnswer(sent, answered, problem=str(error))
    return TagAnswer(sent, answered, tuple(tags))


def _content(completion: Any) -> object:
    choices = getattr(completion, "choices", None)
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = getattr(choice, "message", None)
    if getattr(message, "refusal", None):
        raise UnusableAnswerError("it is a refusal")
    reason = getattr(choice, "finish_reason", None)
    if reason == "length":
        raise UnusableAnswerError("it is cut")
    if reason == "content_filter":
        raise UnusableAnswerError("it is withheld by a filter")
    return getattr(message, "content", None)


def _count(count: object, otherwise: int) -> int:
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 10**9 else otherwise


def _find_recorded(context: Context, prompt: Prompt) -> list[TagAnswer]:
    """The answers to this prompt that an earlier attempt of the job recorded."""
    kept = context.checkpoint
    if not isinstance(kept, dict) or kept.get("asked") != prompt.key:
        return []
    return [
        TagAnswer(
            one["sent"],
            one["answered"],
            tuple(FoundTag(tag["name"], tag["kind"], tuple(tag["evidence"])) for tag in one["tags"]),
            one["problem"],
        )
        for one in kept["answers"]
    ]
