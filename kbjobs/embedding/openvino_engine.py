"""Run a model with OpenVINO: by far the fastest engine on a CPU, in bf16 if the processor has it."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kbjobs.embedding.cores import count_usable_cores
from kbjobs.embedding.embedder import LOCAL_COMMIT_TOKENS
from kbjobs.embedding.model_folder import ModelFolder
from kbjobs.embedding.token_embedder import Batch, TokenEmbedder

if TYPE_CHECKING:
    import openvino


MAX_STREAMS = 2
"""Batches computed at once. If all cores share one batch, each waits for the slowest: two batches took 10 % less time
on two cores, and lost half as much to another busy process. Each takes the memory of a batch."""


def import_openvino() -> Any:
    """Import openvino without its telemetry, which would report the import over the network.

    If ``openvino_telemetry`` cannot be imported, OpenVINO uses a stub of its own
    (openvino/tools/ovc/telemetry_utils.py); that also makes the import faster.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


_WITHOUT_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")


def has_bf16() -> bool:
    """Whether this processor computes in bf16 (AVX-512 BF16 or AMX), according to OpenVINO.

    OpenVINO asks the processor alone; ``ONEDNN_MAX_CPU_ISA`` may keep oneDNN, which computes, from using it
    (https://uxlfoundation.github.io/oneDNN/dev_guide_cpu_dispatcher_control.html).
    """
    if os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in _WITHOUT_BF16:
        return False
    capabilities = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "BF16" in capabilities


class OpenVinoEmbedder(TokenEmbedder):
    """A model run by OpenVINO on the CPU."""

    def __init__(
        self, folder: ModelFolder, model_key: str, model_file: Path, precision: str, compiled_dir: Path | None
    ) -> None:
        """Load and compile a model.

        Args:
            folder: the model.
            model_key: its identity.
            model_file: OpenVINO IR, the .xml next to its .bin.
            precision: ``bf16`` or ``f32``; ``int8`` for a graph in eight bits, whose other parts are computed in the
                best of the two.
            compiled_dir: where OpenVINO keeps the compiled model; it detects a torn file itself and compiles again.
                None: the compiled model is not kept.
        """
        super().__init__(folder, model_key, f"openvino-{precision}")
        cores = count_usable_cores()
        self.at_once = self.in_flight = min(cores, MAX_STREAMS)
        # The same amount of work is under way, and lost with a kill, as with one call at a time.
        self.commit_tokens = LOCAL_COMMIT_TOKENS // self.in_flight
        options = {
            "NUM_STREAMS": self.at_once,
            "INFERENCE_NUM_THREADS": cores,
            # Pinned threads of two workers would share the same cores.
            "ENABLE_CPU_PINNING": False,
            "CACHE_DIR": str(compiled_dir or ""),
            "CACHE_MODE": "OPTIMIZE_SIZE",
        }
        compiled = _compile(model_file, precision, options)
        if compiled_dir is not None:
            _close_to_others(compiled_dir)
        self._inputs = [port.any_name for port in compiled.inputs]
        self._output = _find_hidden_state(compiled)
        self._compiled: openvino.CompiledModel | None = compiled
        self._idle: SimpleQueue[openvino.InferRequest] = SimpleQueue()

    def forward(self, batches: Iterable[Batch]) -> Iterator[NDArray[np.float32]]:
        """Run the transformer; see :meth:`TokenEmbedder.forward`."""
        running: deque[openvino.InferRequest] = deque()
        try:
            for ids, mask in batches:
                # One more than is computed, so that it is ready while another result is read.
                if len(running) > self.at_once:
                    yield self._wait(running[0])
                    self._idle.put(running.popleft())
                running.append(self._start(ids, mask))
            while running:
                yield self._wait(running[0])
                self._idle.put(running.popleft())
        finally:
            for request in running:  # if the caller stops early: the next user of a request must find it idle
                request.wait()
                self._idle.put(request)

    def _start(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> openvino.InferRequest:
        if self._compiled is None:
            raise RuntimeError("the embedder is closed")
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = self._compiled.create_infer_request()
        given = {"input_ids": ids, "attention_mask": mask}
        request.start_async([given.get(name, np.zeros_like(ids)) for name in self._inputs])
        return request

    def _wait(self, request: openvino.InferRequest) -> NDArray[np.float32]:
        request.wait()
        hidden: NDArray[np.float32] = request.get_output_tensor(self._output).data
        return hidden

    def close(self) -> None:
        """Free the model."""
        self._compiled, self._idle = None, SimpleQueue()


def _compile(model_file: Path, precision: str, options: Mapping[str, Any]) -> openvino.CompiledModel:
    """Compile a model; what is not in eight bits of such a graph is computed in bf16 where the processor can."""
    core = import_openvino().Core()
    hint = precision
    if precision == "int8":
        hint = "bf16" if has_bf16() else "f32"
    return core.compile_model(str(model_file), "CPU", {**options, "INFERENCE_PRECISION_HINT": hint})


def _close_to_others(folder: Path) -> None:
    """Make compiled files private: OpenVINO lets the group read them, whatever the umask."""
    for file in folder.glob("*"):
        with contextlib.suppress(OSError):  # another process may be replacing it
            if stat.S_IMODE(file.stat().st_mode) & 0o077:
                file.chmod(0o600)


def _find_hidden_state(compiled: openvino.CompiledModel) -> int:
    """Return the index of the output that has a vector for each token."""
    for index, port in enumerate(compiled.outputs):
        if port.partial_shape.rank.is_static and port.partial_shape.rank.get_length() == 3:
            return index
    raise ValueError("the model has no output of shape (texts, tokens, dimension)")
