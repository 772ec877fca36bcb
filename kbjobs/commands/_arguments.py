"""Arguments that many commands take, each with its help and with what a shell completes it to."""

from __future__ import annotations

from typing import Annotated

import typer

from kbjobs.commands._completion import complete_jobs, complete_sources

SOURCE = Annotated[
    str,
    typer.Argument(metavar="SOURCE", help="Id of the source.", show_default=False, autocompletion=complete_sources),
]
JOB = Annotated[
    int, typer.Argument(metavar="JOB", help="Id of the job.", show_default=False, autocompletion=complete_jobs)
]
JOBS = Annotated[
    list[int], typer.Argument(metavar="JOB…", help="Ids of the jobs.", show_default=False, autocompletion=complete_jobs)
]
TAG = Annotated[
    str | None,
    typer.Option("--tag", metavar="TAG", help="Only documents of this category.", show_default=False),
]
KIND = Annotated[
    str | None,
    typer.Option(
        "--type",
        metavar="KIND",
        help="Only such documents: html, text, pdf, book, office, table, mail, or what a page says it is: article.",
        show_default=False,
    ),
]
SINCE = Annotated[
    str | None, typer.Option("--since", metavar="DATE", help="Published then or later.", show_default=False)
]
UNTIL = Annotated[
    str | None,
    typer.Option("--until", metavar="DATE", help="Published on this day or earlier.", show_default=False),
]
SOME_JOBS = Annotated[
    list[int] | None,
    typer.Argument(metavar="[JOB…]", help="Ids of the jobs.", show_default=False, autocompletion=complete_jobs),
]
