"""List prices of an API: settings, each with the date of its look-up. Cheap to import, since every submit does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from kbjobs.config.settings import Settings
from kbjobs.errors import UsageError

BATCH_SHARE = 0.5
"""The Batch API's price as a share of the list price: half for every model. OpenAI's help centre, "Batch API FAQ"
(article 9197833), as of November 2026."""


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens sent and answered, as listed at a certain time.

    An account may pay another price. ``unit`` names what is counted if it is not tokens.
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
            UsageError: the setting is not a price with its date.
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
        """The same price through the Batch API."""
        since = f"{self.since}, {BATCH_SHARE:.0%} of it by the Batch API"
        return replace(self, sent=self.sent * BATCH_SHARE, answered=self.answered * BATCH_SHARE, since=since)

    def of(self, sent: int, answered: int = 0) -> float:
        """Return the price in US dollars of ``sent`` and ``answered`` units."""
        return (sent * self.sent + answered * self.answered) / 1e6

    def describe(self, sent: int, answered: int = 0) -> str:
        """Describe the price for a person, with its basis."""
        listed = f"{self.sent:g}" + (f" and {self.answered:g}" if self.answered else "")
        return (
            f"{format_dollars(self.of(sent, answered))} USD at the list price of {self.since}"
            f" ({listed} USD per million {self.unit})"
        )


def usage_price(price: Price, counts: dict[str, Any]) -> float:
    """Return US dollars, at list price, for the tokens of an index job's counts, in batches and otherwise."""
    by_batches = counts["batch_tokens"]
    return price.of(counts["tokens"] - by_batches) + price.in_batches().of(by_batches)


def format_dollars(amount: float) -> str:
    """Format an amount to the cent, or below one dollar with two significant digits: 12.30, 0.014, 0.0000042."""
    if amount >= 1 or amount == 0:
        return f"{amount:.2f}"
    from decimal import Decimal  # a list of jobs that cost nothing does without

    return format(Decimal(f"{amount:.2g}"), "f")


def _number(word: str) -> float | None:
    from decimal import Decimal, InvalidOperation

    # 1,000 or more must be a year: no price is that high.
    try:
        number = Decimal(word)
    except InvalidOperation:
        return None
    return float(number) if number.is_finite() and 0 <= number < 1_000 else None
