"""Lets ``python -m kbjobs`` run ``kbjobs``."""

from kbjobs.cli import main

main()
