"""``python -m kbjobs`` is ``kbjobs``."""

from kbjobs.cli import main

main()
