"""What a sync remembers of the requests that were answered: spans of the ordered ids."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from kbjobs.indexing.pinecone_progress import SyncProgress
from kbjobs.vectors.pinecone_diff import WantedRecords


@given(data=st.data())
def test_what_was_sent_and_what_was_there_is_remembered(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 60))
    wanted = WantedRecords([f"o#{number:03}#x" for number in range(count)], "state")
    lacking = sorted(data.draw(st.sets(st.sampled_from(wanted.names), min_size=1)))
    size = data.draw(st.integers(1, 7))
    batches = [lacking[start : start + size] for start in range(0, len(lacking), size)]
    answered = data.draw(st.permutations(range(len(batches))))[: data.draw(st.integers(0, len(batches)))]
    progress = SyncProgress("kb/wiki", wanted.state, {})
    for number in answered:
        following = batches[number + 1][0] if number + 1 < len(batches) else None
        progress.note_sent(wanted, batches[number][0], following)
    read = SyncProgress.read(json.loads(json.dumps(progress.as_dict())), "kb/wiki", wanted)
    assert read is not None
    sent = {name for number in answered for name in batches[number]}
    # All that was answered, and of what was not there before nothing else.
    assert sent <= read.sent(wanted) and not (read.sent(wanted) & (set(lacking) - sent))
    assert len(read.spans) <= len(answered)
    if len(answered) == len(batches):
        assert len(read.spans) == 1


def test_what_is_about_something_else_is_not_used() -> None:
    wanted = WantedRecords(["o#1#x"], "state")
    checkpoint = SyncProgress("kb/wiki", "state", {"to_push": 1}).as_dict()
    assert SyncProgress.read(checkpoint, "kb/wiki", wanted) is not None
    for other in (None, "text", {}, {**checkpoint, "more": 1}, {**checkpoint, "state": "another"}):
        assert SyncProgress.read(other, "kb/wiki", wanted) is None
    assert SyncProgress.read(checkpoint, "kb/another", wanted) is None
