"""What an API lists as its prices: settings, each with the time it was looked up. Light: a submit looks here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from kbjobs.config.settings import Settings
from kbjobs.errors import UsageError

BATCH_SHARE = 0.5
"""What the Batch API asks for, of the list price: half of it for every model. OpenAI's help centre, "Batch API FAQ"
(article 9197833), as of November 2026."""


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens, of what is sent and of what is answered, as listed at a time.

    What an account really pays may differ. ``unit`` is what is counted, where it is not tokens.
    """

    sent: float
    answered: float
    since: str
    unit: str = "tokens"

    @classmethod
    def read(cls, settings: Settings, name: str, unit: str = "tokens") -> Price:
        """Read a price from a setting, such as "0.02 July 2026", or with a second number for answered tokens.

        Args:
            settings: the settings in force.
            name: the setting.
            unit: what is counted.

        Raises:
            UsageError: it is not a price with its date.
        """
        value = settings.values[name]
        words = value.setting.parse(value.value, value.origin)
        numbers: list[float] = []
        rest = str(words).split()
        while rest and len(numbers) < 2 and (number := _number(rest[0])) is not None:
            numbers.append(number)
            rest.pop(0)
        if not numbers or not rest:
            raise UsageError(
                f"{value.origin}: {name} = {words!r} is not a price with its date",
                f"Give it as in {value.setting.default!r}: USD for a million {unit}, then since when.",
            )
        return cls(numbers[0], numbers[-1] if len(numbers) == 2 else 0.0, " ".join(rest), unit)

    def in_batches(self) -> Price:
        """The price of the same by the Batch API."""
        since = f"{self.since}, {BATCH_SHARE:.0%} of it by the Batch API"
        return replace(self, sent=self.sent * BATCH_SHARE, answered=self.answered * BATCH_SHARE, since=since)

    def of(self, sent: int, answered: int = 0) -> float:
        """US dollars for so many."""
        return (sent * self.sent + answered * self.answered) / 1e6

    def describe(self, sent: int, answered: int = 0) -> str:
        """For a person: the price and what it rests on."""
        listed = f"{self.sent:g}" + (f" and {self.answered:g}" if self.answered else "")
        return (
            f"{format_dollars(self.of(sent, answered))} USD at the list price of {self.since}"
            f" ({listed} USD per million {self.unit})"
        )


def usage_price(price: Price, counts: dict[str, Any]) -> float:
    """US dollars, at list price, for the tokens of an index job's counts, bought by batches and otherwise."""
    by_batches = counts["batch_tokens"]
    return price.of(counts["tokens"] - by_batches) + price.in_batches().of(by_batches)


def format_dollars(amount: float) -> str:
    """An amount, to the cent, or below a dollar with two digits that say something: 12.30, 0.014, 0.0000042."""
    if amount >= 1 or amount == 0:
        return f"{amount:.2f}"
    from decimal import Decimal  # a list of jobs that cost nothing does without

    return format(Decimal(f"{amount:.2g}"), "f")


def _number(word: str) -> float | None:
    from decimal import Decimal, InvalidOperation

    # A year is no price: nothing costs that much.
    try:
        number = Decimal(word)
    except InvalidOperation:
        return None
    return float(number) if number.is_finite() and 0 <= number < 1_000 else None
