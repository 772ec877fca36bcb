"""A limit on what a job, and all jobs of a home in a day, spend with an API. It is kept before each request."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Self

from kbjobs.config.home import Home
from kbjobs.config.prices import Price, format_dollars
from kbjobs.config.settings import Settings
from kbjobs.embedding.embedder import GivenUpError
from kbjobs.embedding.openai_client import RefusedRequestError
from kbjobs.errors import ExitCode, KbjobsError, MissingRequirementError
from kbjobs.store.spending_book import SpendingBook, Spent

DAILY = "online_max_cost_per_day"
"""The setting for all jobs of a day together; 0 for no limit."""


class SpendingLimitError(KbjobsError):
    """The next request would exceed a limit on spending; what was bought is kept, and the job can be resumed."""

    exit_code = ExitCode.TIME_LIMIT

    def __init__(self, message: str, hint: str, price: Price) -> None:
        super().__init__(message, hint)
        self.price = price

    def with_rest(self, tokens: int, texts: int) -> SpendingLimitError:
        """The same error, telling what it would cost to go on."""
        rest = f"; {texts:,} passages are left, about {format_dollars(self.price.of(tokens))} USD"
        return SpendingLimitError(self.message + rest, self.hint, self.price)


class Purchase:
    """A purchase that is being made."""

    def __init__(self) -> None:
        self.tokens: tuple[int, int] | None = None

    def finalize(self, sent: int, answered: int = 0) -> None:
        """Note the tokens that the answer names."""
        self.tokens = (sent, answered)


class SpendingWatch:
    """What a job spends, for any number of threads. Use it as a context.

    Args:
        home: the home, in which the purchases of all jobs are recorded.
        settings: the settings in force.
        job_id: the job.
        price: the price of what it buys.
        max_cost: the most US dollars that the job may spend, over all its attempts; None for no limit.
    """

    def __init__(self, home: Home, settings: Settings, job_id: int, price: Price, max_cost: float | None) -> None:
        daily = settings.number(DAILY)
        self._limits = Spent(math.inf if max_cost is None else max_cost, daily or math.inf)
        self._job_id, self._price = job_id, price
        self._book = SpendingBook(home.spending_file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the record."""
        self._book.close()

    @contextlib.contextmanager
    def buying(self, sent: int, answered: int = 0) -> Iterator[Purchase]:
        """Record a purchase before a request is sent, and what it has cost behind it.

        A request that is refused costs nothing. One without an answer counts in full: it may have been paid for.

        Args:
            sent: the tokens that are sent.
            answered: the most tokens of the answer.

        Raises:
            SpendingLimitError: it would exceed a limit.
        """
        number = self._reserve(self._price, self._price.of(sent, answered))
        purchase = Purchase()
        try:
            yield purchase
        except (RefusedRequestError, MissingRequirementError, GivenUpError):
            self._book.finalize(number, 0.0)
            raise
        finally:
            if purchase.tokens is not None:
                self._book.finalize(number, self._price.of(*purchase.tokens))

    def batch_room(self) -> float:
        """The tokens of the largest batch that no limit forbids."""
        spent = self._book.spent(self._job_id)
        left = min(self._limits.job - spent.job, self._limits.day - spent.day)
        dollars = self._price.in_batches().of(1)
        return left / dollars if dollars else math.inf

    def buy_batch(self, key: str, tokens: int) -> None:
        """Record a batch before it is sent, once. Raises SpendingLimitError if it would exceed a limit."""
        price = self._price.in_batches()
        self._reserve(price, price.of(tokens), f"batch {key}")

    def give_back_batch(self, key: str) -> None:
        """Record that a batch was not made after all."""
        found = self._book.reserve(self._job_id, 0.0, Spent(math.inf, math.inf), f"batch {key}")
        assert isinstance(found, int)  # noqa: S101 — nothing exceeds infinity
        self._book.finalize(found, 0.0)

    def _reserve(self, price: Price, dollars: float, label: str | None = None) -> int:
        found = self._book.reserve(self._job_id, dollars, self._limits, label)
        if isinstance(found, int):
            return found
        if found.job + dollars > self._limits.job:
            message = (
                f"the limit of {format_dollars(self._limits.job)} USD for this job is reached:"
                f" {format_dollars(found.job)} USD are spent"
            )
            hint = "Submit the same with a larger --max-cost: what was bought is kept, and not bought twice."
        else:
            message = (
                f"the limit of {format_dollars(self._limits.day)} USD for a day ({DAILY}) is reached:"
                f" {format_dollars(found.day)} USD are spent by all jobs today"
            )
            hint = f"kbjobs resume {self._job_id} goes on tomorrow, or after kbjobs config set {DAILY} USD."
        raise SpendingLimitError(message, hint, price)
