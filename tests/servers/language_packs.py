"""Real language packs, tiny and made without a network: a model that writes each letter as another one.

The model is a transformer of one layer whose weights are set by hand, so that it is exact and always the same: the
place of a token is one-hot in its vector, the decoder's place asks for the encoder's token at the same place, and the
output writes the letter that stands for it. Its tokens are single characters, cut by a real SentencePiece model.
"""

from __future__ import annotations

import functools
import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

PLACES = 384
"""Tokens of the longest sentence that is read, or written while beams that lead nowhere are followed."""
CHARACTERS = (
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,;:!?'\"()-&éñüöçàÉÑÜÖÇÀ¿¡"
    "水是热的。火山你好！？、，नमस्तेपानी।مرحباالماء؟"
)
SPACE = "▁"


def shout(text: str) -> str:
    """What the model to any language but English does: capital letters."""
    return "".join(upper if len(upper := letter.upper()) == 1 and upper in CHARACTERS else letter for letter in text)


def whisper(text: str) -> str:
    """What the model to English does: small letters."""
    return "".join(lower if (lower := letter.lower()) in CHARACTERS else letter for letter in text)


@functools.cache
def train_tokenizer() -> bytes:
    """A model of SentencePiece whose pieces are single characters."""
    import sentencepiece

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=_sentences(),
        model_writer=written,
        model_type="char",
        character_coverage=1.0,
        vocab_size=len(set(CHARACTERS)) + 3,
        normalization_rule_name="identity",
        num_threads=1,
        minloglevel=2,
    )
    return written.getvalue()


def _sentences() -> Iterator[str]:
    for _ in range(3):
        yield CHARACTERS
        yield from CHARACTERS.split(" ")


def make_model(folder: Path, change: Callable[[str], str], prefix: str = "") -> None:
    """Write a CTranslate2 model that writes ``change(letter)`` for each letter.

    With a ``prefix`` it expects that token at the place before the first: without it, it writes the text one place off.
    """
    import sentencepiece
    from ctranslate2.specs import TransformerSpec

    tokenizer = sentencepiece.SentencePieceProcessor(model_proto=train_tokenizer())
    pieces = [tokenizer.id_to_piece(number) for number in range(tokenizer.get_piece_size())]
    # CTranslate2 wants these three, by these names.
    tokens = ["<unk>", "<s>", "</s>", *[piece for piece in pieces if piece not in ("<unk>", "<s>", "</s>")]]
    tokens += [prefix] if prefix else []
    number_of = {token: number for number, token in enumerate(tokens)}
    width = -(-(PLACES + len(tokens)) // 8) * 8
    token_rows = np.zeros((len(tokens), width), np.float32)
    token_rows[np.arange(len(tokens)), PLACES + np.arange(len(tokens))] = 1
    place_rows = np.zeros((PLACES, width), np.float32)
    place_rows[np.arange(PLACES), np.arange(PLACES)] = 1
    shift = np.roll(place_rows, -1, axis=1) if prefix else place_rows
    if prefix:  # the decoder's place 1 asks for the encoder's place 0
        shift = np.zeros_like(place_rows)
        shift[np.arange(1, PLACES), np.arange(PLACES - 1)] = 1

    spec = TransformerSpec.from_config((1, 1), 1)
    zeros, ones = np.zeros(width, np.float32), np.ones(width, np.float32)
    square = np.zeros((width, width), np.float32)

    def norm(layer: object) -> None:
        layer.gamma, layer.beta = ones, zeros  # type: ignore[attr-defined]

    def silent(attention: object) -> None:
        norm(attention.layer_norm)  # type: ignore[attr-defined]
        linear = attention.linear  # type: ignore[attr-defined]
        linear[0].weight, linear[0].bias = np.zeros((3 * width, width), np.float32), np.zeros(3 * width, np.float32)
        linear[1].weight, linear[1].bias = square, zeros

    def idle(network: object) -> None:
        norm(network.layer_norm)  # type: ignore[attr-defined]
        for linear in (network.linear_0, network.linear_1):  # type: ignore[attr-defined]
            linear.weight, linear.bias = square, zeros

    encoder, decoder = spec.encoder, spec.decoder
    encoder.scale_embeddings = decoder.scale_embeddings = False
    encoder.embeddings[0].weight = token_rows
    encoder.position_encodings.encodings = place_rows
    norm(encoder.layer_norm)
    silent(encoder.layer[0].self_attention)
    idle(encoder.layer[0].ffn)

    decoder.embeddings.weight = np.zeros_like(token_rows)
    decoder.position_encodings.encodings = place_rows
    norm(decoder.layer_norm)
    silent(decoder.layer[0].self_attention)
    idle(decoder.layer[0].ffn)
    cross = decoder.layer[0].attention
    norm(cross.layer_norm)
    query, key = square.copy(), square.copy()
    query[:PLACES, :PLACES] = 20 * shift[:, :PLACES].T
    key[:PLACES, :PLACES] = 20 * np.eye(PLACES)
    cross.linear[0].weight, cross.linear[0].bias = query, zeros
    value = square.copy()
    value[PLACES:, PLACES:] = np.eye(width - PLACES)
    cross.linear[1].weight = np.concatenate([key, value])
    cross.linear[1].bias = np.zeros(2 * width, np.float32)
    cross.linear[2].weight, cross.linear[2].bias = square + np.eye(width, dtype=np.float32), zeros

    projection = np.zeros((len(tokens), width), np.float32)
    for number, token in enumerate(tokens):
        wanted = change(token) if len(token) == 1 and token != SPACE else token
        projection[number_of.get(wanted, number), PLACES + number] = 10
    decoder.projection.weight = projection
    decoder.projection.bias = np.zeros(len(tokens), np.float32)
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    spec.config.add_source_eos = True
    spec.validate()
    spec.optimize("int8")
    spec.save(str(folder))


@functools.cache
def model_files(to_english: bool, prefix: str = "") -> dict[str, bytes]:
    """The files of such a model, by name."""
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder), whisper if to_english else shout, prefix)
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def pack_members(source: str, target: str, version: str = "1.0", **metadata: object) -> dict[str, bytes]:
    """The files of a pack, by their names in the zip file."""
    top = f"translate-{source}_{target}-{version.replace('.', '_')}"
    said = {
        "package_version": version,
        "argos_version": "1.9.0",
        "from_code": source,
        "to_code": target,
        "from_name": source,
        "to_name": target,
        **metadata,
    }
    prefix = str(metadata.get("target_prefix", ""))
    files = model_files(target == "en", prefix)
    return {
        f"{top}/metadata.json": json.dumps(said).encode(),
        f"{top}/README.md": b"# A pack\n\nLicense: CC0\n",
        f"{top}/sentencepiece.model": train_tokenizer(),
        **{f"{top}/model/{name}": content for name, content in files.items()},
        f"{top}/stanza/resources.json": b"{}",
    }


def zip_up(members: dict[str, bytes]) -> bytes:
    """A zip file of these files; the same bytes each time."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return written.getvalue()
