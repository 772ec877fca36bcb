"""Which texts go through the model together.

Small batches of similar length win on a CPU: padding is work thrown away, and beyond about 2,000
tokens a batch gets slower again because it leaves the processor's caches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

BATCH_TOKENS = 2048
"""Padded tokens of one batch: 8 texts of 256."""

LENGTH_STEP = 16
"""Padded lengths are multiples of this: an engine prepares itself anew for each new shape."""

_WORTHWHILE_TOKENS = 512
_LONGEST_SHARE = 0.8


def plan_batches(lengths: Sequence[int], window: int) -> Iterator[tuple[list[int], int]]:
    """Divide texts into batches, the longest first.

    Args:
        lengths: tokens of each text.
        window: the longest padded length allowed.

    Yields:
        The positions of the texts of one batch, and the length they are padded to. Every position
        appears once.
    """
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    batch: list[int] = []
    padded = 0
    for position in order:
        length = lengths[position]
        if batch:
            is_full = (len(batch) + 1) * padded > BATCH_TOKENS
            wastes = length < _LONGEST_SHARE * padded - LENGTH_STEP
            if is_full or (wastes and len(batch) * padded >= _WORTHWHILE_TOKENS):
                yield batch, padded
                batch = []
        if not batch:
            padded = min(window, -(-max(1, length) // LENGTH_STEP) * LENGTH_STEP)
        batch.append(position)
    if batch:
        yield batch, padded
