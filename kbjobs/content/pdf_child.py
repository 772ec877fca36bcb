"""The process in which a PDF is read: what a hostile file costs of memory and time, it costs here.

PDFium expands forms that draw each other before anything can be asked of it: 3 kB of file took 3 GB of memory
(measured).
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys

from kbjobs.content.document import About, Block, Extract

MEMORY_LIMIT = 3 * 2**30
"""Most memory of the process, in bytes of its address space: a PDF of 256 MiB is held twice."""

SECONDS = 300
"""Most processor time for one file."""


def read_pdf(data: bytes) -> Extract:
    """What a PDF says. Raises ValueError with the reason in plain words."""
    # With -P: the code of this version, and no module from the folder the caller is in.
    program = f"import sys; sys.path[:] = sys.argv[1:]; from {__name__} import main; main()"
    command = [sys.executable, "-P", "-c", program, *sys.path]
    try:
        ended = subprocess.run(command, input=data, capture_output=True, timeout=2 * SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ValueError("it is damaged: reading it did not end") from None
    if ended.returncode:
        raise ValueError("it is damaged: reading it takes too much time or memory")
    answer = json.loads(ended.stdout)
    if "error" in answer:
        raise ValueError(answer["error"])
    blocks = [Block(kind, level, text, page) for kind, level, text, page in answer["blocks"]]
    description, published, authors, categories, kind, _ = answer["about"]
    about = About(description, published, tuple(authors), tuple(categories), kind)
    return Extract(answer["title"], answer["language"], "", blocks, [], about)


def main() -> None:
    """Read the PDF that comes by stdin, print what it says as JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    from kbjobs.content.pdf import extract_pdf

    try:
        found = extract_pdf(sys.stdin.buffer.read())
        answer = {
            "title": found.title, "language": found.language, "blocks": found.blocks, "about": found.about,
        }  # fmt: skip
    except ValueError as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": "it is damaged: reading it takes too much memory"}
    json.dump(answer, sys.stdout)
