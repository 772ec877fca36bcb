"""Fetch language packs, compare them with what was first seen of their version, unpack and publish them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from kbjobs.config.home import Home
from kbjobs.context import Context, PhaseResult
from kbjobs.downloads.file_download import DownloadedFile, WantedFile, fetch_file
from kbjobs.downloads.language_archive import unpack
from kbjobs.downloads.language_index import Offer, choose, fetch_index
from kbjobs.errors import ConflictError, DownloadError, KbjobsError, TransientError
from kbjobs.languages.installation import begin_folder, first_seen, locked, publish, remove_older
from kbjobs.languages.language_names import ENGLISH
from kbjobs.languages.language_packs import DamagedLanguagePackError, LanguagePack, PackRecord, Pair, find_pack, size_of
from kbjobs.net.requesting import RefusedError
from kbjobs.system.crashpoints import crash_point

STEP = 1024 * 1024
"""Bytes that count as a step once they are safe on disk."""
GIVE_UP_SECONDS, GIVE_UP_SECONDS_WITH_OTHERS = 120.0, 20.0
"""Seconds without a byte after which a server is given up; fewer if the index names another server."""


@dataclass(frozen=True, slots=True)
class Step:
    """One pack and whether it was fetched now or was in the home already."""

    pack: LanguagePack
    is_new: bool


def download_languages(context: Context, code: str, source: str | None, force: bool) -> PhaseResult:
    """Fetch the newest packs for a language; a pack that the home already has in that version is kept.

    Args:
        context: the job's context.
        code: the language's code.
        source: the language to translate from; None for both directions between it and English.
        force: fetch present packs again, and accept a pack that was changed under its version.
    Raises:
        KbjobsError: there is no such pack, or it cannot be fetched or used.
    """
    context.progress(0, 0, "bytes", "reading the index of language packs", eta_matters=False)
    offers = choose(fetch_index(context.home, context.settings, context.check), code, source)
    steps = []
    for number, offer in enumerate(offers):
        span = (number / len(offers), (number + 1) / len(offers))
        steps.append(_bring(context, offer, force, span))
        context.saved(1)
    return _result(steps, _list_missing(offers, code) if source is None else [])


def _list_missing(offers: Sequence[Offer], code: str) -> list[Pair]:
    """List the directions between English and a language that the index lacks."""
    there = {offer.pair for offer in offers}
    return [pair for pair in (Pair(ENGLISH, code), Pair(code, ENGLISH)) if pair not in there]


def _bring(context: Context, offer: Offer, force: bool, span: tuple[float, float]) -> Step:
    """Bring a pack into the home unless it is there."""
    pair = offer.pair

    def wait() -> None:
        context.progress(0, 0, "bytes", f"waiting for another job that fetches {pair}", span, eta_matters=False)

    with locked(context.home, pair, wait):
        remove_older(context.home, pair)
        here = _find_whole(context.home, pair)
        if here is not None and here.record.version == offer.version and not force:
            _forget_others(None, context.home, pair)
            return Step(here, is_new=False)
        file = context.home.downloads / f"{pair.name}.{offer.version}.argosmodel"
        _forget_others(file, context.home, pair)
        fetched, url = _fetch(context, offer, file, span, force)
        crash_point("language.fetched")
        _compare(context, offer, fetched, force, file)
        built = begin_folder(context.home, pair)
        context.progress(0, 0, "bytes", f"unpacking {pair}", (span[1], span[1]), eta_matters=False)
        try:
            said = unpack(file, built, pair, context.settings.integer("languages_max_mb") << 20, context.check)
        except DamagedLanguagePackError:
            file.unlink()  # if kept, the next try would use the damaged file
            remove_older(context.home, pair)
            raise
        if said.version != offer.version:
            context.log.warning(
                "the index names version %s of %s, but the pack itself says %r", offer.version, pair, said.version
            )
        record = PackRecord(
            version=offer.version,
            sha256=fetched.sha256,
            size=fetched.size,
            unpacked=size_of(built),
            url=url,
            fetched_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            licence=said.licence,
            target_prefix=said.target_prefix,
        )
        place = publish(context.home, pair, built, record)
        file.unlink()
        return Step(LanguagePack(pair, place, record), is_new=True)


def _find_whole(home: Home, pair: Pair) -> LanguagePack | None:
    """Find the pack in the home; None also for a damaged one, which is then fetched again."""
    try:
        return find_pack(home, pair)
    except DamagedLanguagePackError:
        return None


def _forget_others(file: Path | None, home: Home, pair: Pair) -> None:
    """Remove earlier downloads for a direction, except this file and its part."""
    for other in home.downloads.glob(f"{pair.name}.*.argosmodel*"):
        if file is None or not other.name.startswith(file.name):
            other.unlink(missing_ok=True)


def _fetch(
    context: Context, offer: Offer, file: Path, span: tuple[float, float], force: bool
) -> tuple[DownloadedFile, str]:
    """Fetch a pack from the first place that has it. Also returns that place."""
    if file.exists() and not force:  # whole: a kill came between fetching and unpacking
        with file.open("rb") as stream:
            return DownloadedFile(file.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest()), offer.links[
                0
            ]

    told = 0

    def tell(done: int, total: int | None) -> None:
        nonlocal told
        if done - told >= STEP:  # a worker that dies after this has made progress
            told = done
            context.saved(1)
        context.progress(done, total or 0, "bytes", f"fetching {offer.pair}", span)

    most = context.settings.integer("languages_max_mb") << 20
    failed: list[KbjobsError] = []
    for link in offer.links:
        is_last = link == offer.links[-1]
        try:
            return fetch_file(
                WantedFile(link, most=most),
                file,
                on_progress=tell,
                check=context.check,
                give_up_seconds=GIVE_UP_SECONDS if is_last else GIVE_UP_SECONDS_WITH_OTHERS,
            ), link
        except RefusedError as error:
            failed.append(error.explain())
        except (DownloadError, TransientError) as error:
            failed.append(error)
        context.log.warning("%s", failed[-1].message)
    # Report a transient error if there is one: then the job can be tried again.
    chosen = next((one for one in failed if isinstance(one, TransientError)), failed[0])
    chosen.message = f"the language pack {offer.pair} cannot be fetched: {chosen.message}"
    chosen.args = (chosen.message,)
    raise chosen


def _compare(context: Context, offer: Offer, fetched: DownloadedFile, force: bool, file: Path) -> None:
    """Raise ConflictError if a version differs from what was first seen of it."""
    seen = first_seen(context.home, offer.pair, offer.version)
    if seen is None or seen == fetched.sha256:
        return
    told = f"sha256 {fetched.sha256}, when it was first fetched here it had {seen}"
    if force:
        context.log.warning("version %s of %s now has %s; taken by --force", offer.version, offer.pair, told)
        return
    file.unlink()
    raise ConflictError(
        f"version {offer.version} of the language pack {offer.pair} was changed: it has {told}",
        "A version should never change. Ask the publisher of the index. If the change is intended:"
        f" {offer.pair.command} --force",
    )


def _result(steps: Sequence[Step], missing: Sequence[Pair]) -> PhaseResult:
    new = [step.pack for step in steps if step.is_new]
    kept = [step.pack for step in steps if not step.is_new]
    counts = {
        # A home can be moved, so the state holds no path in it.
        "packs": [{**step.pack.pair.as_dict(), **asdict(step.pack.record), "fetched": step.is_new} for step in steps],
        "bytes": sum(pack.record.size for pack in new),
        "missing": [pair.as_dict() for pair in missing],
    }
    told = [f"{pack.pair} {pack.record.version} ({pack.record.size / 1e6:,.1f} MB)" for pack in new]
    told += [f"{pack.pair} {pack.record.version} is here already" for pack in kept]
    told += [f"the index has none from {pair}" for pair in missing]
    return PhaseResult(counts, "; ".join(told))
