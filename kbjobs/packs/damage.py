"""What is wrong with a pack: one kind of error, which names the pack and the file in it."""

from __future__ import annotations

from kbjobs.errors import UnavailableError


class DamagedPackError(UnavailableError):
    """A pack that cannot be used: cut, changed, made by mistake or to do harm."""

    def __init__(self, place: str, name: str, what: str) -> None:
        super().__init__(
            f"{place} is not a pack that can be used: {name} {what}",
            "Nothing was changed. Get it again from where it came; if that does not help, it has to be made anew.",
        )
