"""The program's version: a file of its own, so that whoever needs it loads nothing else."""

VERSION = "0.1.0"
