"""The name of :mod:`kbjobs.formatting` until 0.2; removed in 0.4."""

from __future__ import annotations

import warnings

from kbjobs.formatting import agreeing, counted, duration

__all__ = ["agreeing", "counted", "duration"]

warnings.warn("kbjobs.wording is replaced by kbjobs.plugins, and removed in 0.4", DeprecationWarning, stacklevel=2)
