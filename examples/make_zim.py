"""Writes ``examples/sources/field-notes.zim``, the small archive of the tutorial: ``python examples/make_zim.py``.

Another file name may follow. Any HTML can be packed like this; libzim comes with kbjobs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from libzim.writer import Creator, Hint, Item, StringProvider

FACTS = {
    "Title": "Field notes",
    "Description": "Eight short notes on weather and knots",
    "Language": "eng",
    "Creator": "The kbjobs developers",
    "Publisher": "The kbjobs developers",
    "License": "GPL-3.0-or-later",
    "Name": "field-notes",
    "Date": "2026-11-30",
}
NOTES = {
    "Reading clouds": (
        "High, thin streaks of cirrus that thicken during the day often arrive a day ahead of rain. Small white heaps"
        " of cumulus with flat bottoms mean fair weather. If they grow tall before noon, expect a thunderstorm in the"
        " afternoon. A grey sheet without any structure brings long, steady rain. Note the kind of cloud, the hour and"
        " the direction of the wind each time, and after a month you can tell what usually follows."
    ),
    "Wind direction without a vane": (
        "Wet one finger and hold it up: the side that feels cold first faces the wind. Smoke, tall grass and flags"
        " show the same from a distance. Write down where the wind comes from, not where it goes: a west wind blows"
        " from the west. In the northern hemisphere, with your back to the wind, the low pressure lies to your left."
    ),
    "A falling barometer": (
        "The height of the air pressure says little; its change says much. Read the barometer at the same hours every"
        " day. A fall of more than one hectopascal an hour announces a storm, a slow fall over a day announces rain."
        " A steady rise after rain means that the weather clears. Tap the glass gently before you read it."
    ),
    "Frost at night": (
        "A clear sky, dry air and no wind in the evening make frost likely, even after a warm day. Cold air flows"
        " downhill and collects in hollows, so plants on a slope are safer than plants at its foot. Cover"
        " seedlings with cloth or straw before sunset and uncover them once the sun has warmed the air."
    ),
    "Thunder and distance": (
        "Count the seconds between the flash and the thunder and divide by three: the result is the distance in"
        " kilometres. If you count fewer than thirty seconds, the storm is close enough to strike. Leave open water,"
        " ridges and single trees, and wait thirty minutes after the last thunder before you go out again."
    ),
    "The bowline": (
        "The bowline makes a loop that does not slip and can be untied even after a heavy load. Form a small eye in the"
        " rope, bring the end up through the eye, around behind the standing part, and back down through the eye. Pull"
        " the standing part to close it. It secures a boat to a ring or a person to a rope. Leave a tail as long as a"
        " hand."
    ),
    "The clove hitch": (
        "The clove hitch fastens a rope to a post in two turns. Lead the end around the post, cross it over itself,"
        " lead it around once more and tuck it under the last turn. It holds while the pull is steady and at a right"
        " angle. It slips if the load swings, so finish it with a half hitch on the standing part."
    ),
    "Joining two ropes": (
        "Ropes of the same thickness are joined with a reef knot only where nothing depends on it. For a load, use a"
        " double fisherman's bend: lay the ropes side by side, wind the end of each twice around the other and tuck it"
        " through its own turns. If one rope is thicker, use a sheet bend: make a bight in the thick rope and lead the"
        " thin one through it, around both parts and under itself."
    ),
}


class Note(Item):  # type: ignore[misc] # libzim has no types
    """An article of the archive."""

    def __init__(self, title: str, text: str) -> None:
        """Make it of its title and its text."""
        super().__init__()
        self.title, self.text = title, text

    def get_path(self) -> str:
        """Its address within the archive."""
        return self.title.lower().replace(" ", "-")

    def get_title(self) -> str:
        """Its title."""
        return self.title

    def get_mimetype(self) -> str:
        """Its type."""
        return "text/html"

    def get_contentprovider(self) -> Any:
        """Its page."""
        head = f'<html lang="en"><head><title>{self.title}</title></head>'
        return StringProvider(f"{head}<body><h1>{self.title}</h1><p>{self.text}</p></body></html>")

    def get_hints(self) -> dict[Any, bool]:
        """That it is an article, and no part of one."""
        return {Hint.FRONT_ARTICLE: True}


def main(path: Path) -> None:
    """Write the archive."""
    path.unlink(missing_ok=True)
    notes = [Note(title, text) for title, text in NOTES.items()]
    with Creator(path).config_indexing(False, "eng") as archive:
        archive.set_mainpath(notes[0].get_path())
        for note in notes:
            archive.add_item(note)
        for name, value in FACTS.items():
            archive.add_metadata(name, value)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).with_name("sources") / "field-notes.zim")
