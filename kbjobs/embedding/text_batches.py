"""Group texts into batches for the model.

Small batches of similar length win on a CPU: padding is wasted work, and beyond about 2,000 tokens a batch only takes
more memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

LENGTH_STEP = 16
"""Padded lengths are multiples of this, since an engine has to prepare for each new shape."""

_WORTHWHILE_TOKENS = 512
_MAX_SHARE = 0.8


def plan_batches(lengths: Sequence[int], window: int, batch_tokens: int) -> Iterator[tuple[list[int], int]]:
    """Divide texts into batches, the longest first.

    Args:
        lengths: tokens of each text.
        window: the longest padded length allowed.
        batch_tokens: padded tokens of one batch; a longer text gets a batch of its own.

    Yields:
        The positions of the texts of one batch, and their padded length. Every position appears once.
    """
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    batch: list[int] = []
    padded = 0
    for position in order:
        length = lengths[position]
        if batch:
            is_full = (len(batch) + 1) * padded > batch_tokens
            wastes = length < _MAX_SHARE * padded - LENGTH_STEP
            if is_full or (wastes and len(batch) * padded >= _WORTHWHILE_TOKENS):
                yield batch, padded
                batch = []
        if not batch:
            padded = min(window, -(-max(1, length) // LENGTH_STEP) * LENGTH_STEP)
        batch.append(position)
    if batch:
        yield batch, padded
