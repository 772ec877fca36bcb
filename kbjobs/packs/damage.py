"""The error for a damaged pack, which names the pack and the file in it."""

from __future__ import annotations

from kbjobs.errors import UnavailableError


class DamagedPackError(UnavailableError):
    """A pack is unusable: it is cut, changed, wrongly made, or hostile."""

    def __init__(self, place: str, name: str, what: str) -> None:
        super().__init__(
            f"{place} is not a pack that can be used: {name} {what}",
            "Nothing was changed. Get it again from where it came; if that does not help, it has to be made anew.",
        )
