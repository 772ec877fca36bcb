"""Loaded by every Python that a measured test starts: notes the process, and the model engine it loads."""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec

ENGINES = {"openvino", "onnxruntime", "torch"}


def note(kind: str, detail: str) -> None:
    """Append a line to the file that KBJOBS_TEST_COSTS names, for the test that pytest's own variable names."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]
    line = f"{test}\t{kind}\t1\t{detail}\n".encode()
    file = os.open(os.environ["KBJOBS_TEST_COSTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, line)
    finally:
        os.close(file)


class EngineWatch:
    """A finder that finds nothing: it notes the first import of a model engine."""

    def __init__(self) -> None:
        self.has_noted = False

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Note the engine; the finders after this one load it."""
        if name in ENGINES and not self.has_noted:
            self.has_noted = True
            note("models", name)
        return None


KINDS = {"kbjobs.daemon.launching": "daemons", "kbjobs.daemon.worker": "workers", "kbjobs": "commands"}


def kind_of(arguments: list[str]) -> str:
    """What kind of process a Python is, by the module it runs."""
    module = arguments[arguments.index("-m") + 1] if "-m" in arguments[:-1] else ""
    return KINDS.get(module, "other Pythons")


if "KBJOBS_TEST_COSTS" in os.environ:
    note(kind_of(sys.orig_argv), " ".join(sys.orig_argv[1:])[:200].replace("\n", " ").replace("\t", " "))
    sys.meta_path.insert(0, EngineWatch())
