"""Deciding the languages of a source's documents after all are read: which names of folders and files mean one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from kbjobs.content.language import Detection, are_alike
from kbjobs.content.language_rules import BY_NAME, Claim, Evidence, Verdict, decide_language
from kbjobs.store import metadata as store
from kbjobs.store.ledger import Ledger

CONFIRMING_SHARE = 0.02
"""If the texts of this share of the documents under a name, and at least two, are in its language, the name means the
language, and the other documents are not translated yet. In 26 translations of one handbook, the smallest share was
0.024; the detector is wrong in fewer than one text in a thousand."""

CONFIRMING_DOCUMENTS = 2


def finalize_languages(ledger: Ledger, check: Callable[[], None]) -> None:
    """Decide the language of each document again, using what the whole source shows about its names.

    ``check`` may raise to stop.
    """
    verdict = judge(_read(evidence) for _, _, evidence in store.read_evidence(ledger))
    check()
    changed: list[tuple[str | None, str]] = []
    for doc_id, language, evidence in store.read_evidence(ledger):
        decided = decide_language(_read(evidence), verdict)
        if decided != language:
            changed.append((decided, doc_id))
    store.set_languages(ledger, changed)


def judge(documents: Iterable[Evidence]) -> Verdict:
    """Find the claims that a source's documents refute, and those that they confirm.

    A name's claim is confirmed if some of its documents are in that language, or if most names of its form (with or
    without a region) are confirmed. A claim is dropped if the detector finds another language in most of its documents.
    """
    agreeing, all_of, against = Counter[Claim](), Counter[Claim](), Counter[Claim]()
    for evidence, detected in ((one, one.detected) for one in documents if one.detected is not None):
        for claim in evidence.claims:
            all_of[claim] += 1
            if are_alike(detected.tag, claim.tag):
                agreeing[claim] += detected.is_sure
            elif claim in evidence.contradicted or claim.rule in BY_NAME:
                against[claim] += 1
    by_name = [claim for claim in all_of if claim.rule in BY_NAME]
    confirmed = {
        claim for claim in by_name if agreeing[claim] >= max(CONFIRMING_DOCUMENTS, CONFIRMING_SHARE * all_of[claim])
    }
    forms: dict[tuple[str, bool], list[Claim]] = defaultdict(list)
    for claim in by_name:
        forms[claim.rule, "-" in claim.tag].append(claim)
    for claims in forms.values():
        known = [claim for claim in claims if claim in confirmed]
        if len(known) >= CONFIRMING_DOCUMENTS and 2 * len(known) > len(claims):
            confirmed.update(claims)
        elif not known and 2 * sum(against[claim] for claim in claims) > sum(all_of[claim] for claim in claims):
            against.update({claim: all_of[claim] for claim in claims})
    dropped = {claim for claim, count in against.items() if claim not in confirmed and 2 * count > all_of[claim]}
    return Verdict(frozenset(dropped), frozenset(confirmed))


def _read(evidence: Any) -> Evidence:
    claims, detected, contradicted = evidence
    return Evidence(
        tuple(Claim(*claim) for claim in claims),
        Detection(*detected) if detected else None,
        tuple(Claim(*claim) for claim in contradicted),
    )
