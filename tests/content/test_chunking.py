"""Chunks fit the window, lose nothing, and are well filled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from kbjobs.content.chunking import Chunk, Chunker
from kbjobs.content.document import Block, Document
from tests.conftest import FACTOR, known


def document(blocks: Sequence[str | Block], title: str = "A title") -> Document:
    made = [block if isinstance(block, Block) else Block("text", 0, block) for block in blocks]
    return Document("id", "p", "u", title, None, tuple(made), "h", 0, ())


def passages(chunks: Sequence[Chunk]) -> list[str]:
    return [chunk.text.split("\n", 1)[1] for chunk in chunks]


def letters(texts: Iterable[str]) -> str:
    return "".join("".join(texts).split())


def check_covers(chunks: Sequence[Chunk], made: Document) -> None:
    """Every letter of the document is in a passage, in order; neighbours may share some."""
    whole, covered = letters(block.text for block in made.blocks), 0
    for passage in passages(chunks):
        text = letters([passage])
        start = whole.rfind(text, 0, covered + len(text))
        assert 0 <= start <= covered <= start + len(text)
        covered = start + len(text)
    assert covered == len(whole)


def check(tokenizer: Tokenizer, made: Document, chunks: Sequence[Chunk], window: int) -> None:
    plain = type(tokenizer).from_str(tokenizer.to_str())
    plain.no_truncation()
    plain.no_padding()
    check_covers(chunks, made)
    for number, chunk in enumerate(chunks):
        tokens = len(plain.encode(chunk.text))
        assert tokens <= window
        assert chunk.tokens == tokens
        assert chunk.ordinal == number
        assert len(chunk.text_hash) == 32


HOSTILE = st.one_of(
    st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=400),
    st.sampled_from(["🏕️👩‍👩‍👧‍👦" * 60, "水を沸騰させる。" * 60, "x" * 3000, "e" + "\u0301" * 500, "a.b-c/" * 300,
                     "Sentence one. And two! " * 60, "[CLS] [SEP] [MASK] [UNK] " * 40, "कृपया पानी उबालें। " * 40,
                     "https://e.org/" + "q=1&" * 200]),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.long
@settings(max_examples=60 * FACTOR, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.booleans(), HOSTILE), max_size=8),
    st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=300),
    st.sampled_from([32, 64, 256]),
)
def test_hostile_text_fits_and_stays_whole(
    minilm_tokenizer: Tokenizer, blocks: list[tuple[bool, str]], title: str, window: int
) -> None:
    made = document(
        [Block("heading" if is_heading else "text", int(is_heading), text) for is_heading, text in blocks], title or "t"
    )
    check(minilm_tokenizer, made, Chunker(minilm_tokenizer, window).chunk(made), window)


def test_a_word_of_100_000_letters(minilm_tokenizer: Tokenizer) -> None:
    made = document(["before", "w" * 100_000, "after"])
    chunks = Chunker(minilm_tokenizer, 256).chunk(made)
    check(minilm_tokenizer, made, chunks, 256)
    # cut where the model can still read it, not one unknown token
    assert max(len(chunk.text) for chunk in chunks) < 5_000
    many = document(["x" * 1000] * 300)
    assert max(len(chunk.text) for chunk in Chunker(minilm_tokenizer, 256).chunk(many)) < 5_000


@pytest.mark.parametrize("kind", ["byte-level", "metaspace"])
def test_a_tokenizer_that_joins_across_lines(kind: str) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = (
        pre_tokenizers.ByteLevel(add_prefix_space=False) if kind == "byte-level" else pre_tokenizers.Metaspace()
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["[UNK]"], show_progress=False)
    tokenizer.train_from_iterator(["some words to learn from\nand a line"] * 10, trainer)
    made = document(["Some words. " * 50, "short", "x" * 500, "🏕️" * 100, *["tiny"] * 50])
    check(tokenizer, made, Chunker(tokenizer, 64).chunk(made), 64)


def test_cuts_at_sentences(minilm_tokenizer: Tokenizer) -> None:
    text = " ".join(f"This is the sentence with the number {n} in it." for n in range(100))
    chunks = Chunker(minilm_tokenizer, 128).chunk(document([text]))
    assert len(chunks) > 5
    assert all(passage.endswith(".") for passage in passages(chunks))


def test_a_heading_goes_with_the_text_after_it(minilm_tokenizer: Tokenizer) -> None:
    blocks = []
    for n in range(30):
        blocks += [Block("heading", 2, f"Heading number {n}"), Block("text", 0, f"Words on the matter of {n}. " * 9)]
    chunks = Chunker(minilm_tokenizer, 128).chunk(document(blocks))
    assert len(chunks) > 5
    for passage in passages(chunks):
        assert not passage.splitlines()[-1].startswith("Heading number")
        assert passage.startswith("Heading number") or "Heading" not in passage.splitlines()[0]


def test_small_sections_are_packed_together(minilm_tokenizer: Tokenizer) -> None:
    blocks = []
    for n in range(20):
        blocks += [Block("heading", 2, f"Part {n}"), Block("text", 0, "A few words.")]
    assert len(Chunker(minilm_tokenizer, 256).chunk(document(blocks))) == 1


def test_the_title_takes_a_quarter_at_most(minilm_tokenizer: Tokenizer) -> None:
    made = document(["word " * 300], title="a very long title " * 40)
    chunks = Chunker(minilm_tokenizer, 64).chunk(made)
    check(minilm_tokenizer, made, chunks, 64)
    title = chunks[0].text.split("\n", 1)[0]
    assert title == "a very long title a very long title a very long title a very long title"  # 16 tokens


def test_the_callers_tokenizer_is_left_alone(minilm_tokenizer: Tokenizer) -> None:
    minilm_tokenizer.enable_truncation(17)
    try:
        made = document(["word " * 1000])
        chunks = Chunker(minilm_tokenizer, 256).chunk(made)
        assert known(minilm_tokenizer.truncation)["max_length"] == 17
        check_covers(chunks, made)
    finally:
        minilm_tokenizer.no_truncation()


def test_many_documents_give_the_same_chunks_as_each_alone(minilm_tokenizer: Tokenizer) -> None:
    made = [document([f"text {n} " * n], title=f"t{n}") for n in range(1, 60)]
    chunker = Chunker(minilm_tokenizer, 64)
    assert list(chunker.chunk_many(made)) == [Chunker(minilm_tokenizer, 64).chunk(one) for one in made]
    assert chunker.chunk(document([])) == []


def test_too_small_a_window_is_refused(minilm_tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="too small"):
        Chunker(minilm_tokenizer, 8)


def test_python_documentation_is_whole_and_well_filled(minilm_tokenizer: Tokenizer, python_docs: Path) -> None:
    from kbjobs.content.document_reading import read_document
    from kbjobs.content.source_files import FoundFile, find_files

    pages = [file for file in find_files([python_docs / "library"]) if isinstance(file, FoundFile)][::8]
    documents = [read_document(page, "s") for page in pages]
    chunked = list(Chunker(minilm_tokenizer, 256).chunk_many(documents))
    for made, chunks in zip(documents, chunked, strict=True):
        check(minilm_tokenizer, made, chunks, 256)
    tokens = [chunk.tokens for chunks in chunked for chunk in chunks]
    assert len(tokens) > 300
    assert sum(tokens) / len(tokens) / 256 > 0.7
