"""A second process for work that may end a process: TFLite's converter, quantizers, new files.

They are native code, and meet some graphs with an abort. Here an abort is an error, and the
process of the user goes on.

There is one such process. It is started at the first conversion, before the model is looked at, so
that it imports TensorFlow meanwhile; it takes one job after the other, and a new one is started
after a crash. A process for each job would import TensorFlow for each, which takes several times as
long as a conversion; only "risky" conversions over there would need a list of what is risky, which
nobody has: any layer may stand in a whole sequence. A fork of this process could not convert:
TensorFlow's threads do not survive it, nor do JAX's. `scripts/benchmark_deploy.py --only worker`
shows what each way takes.

A module beside the package, not in it: importing `kgated` imports Keras, which a conversion over
there has no use for.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

CONVERT, RUN = "kgated_worker:convert", "kgated_worker:run"
# TensorFlow is there already; Keras's backend for NumPy would want JAX, which few have. Nothing
# over there needs a GPU, and the first who looks at one takes all of its memory.
ENVIRONMENT = {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
PROGRESS = "KGATED_WORKER_PROGRESS"
# Log lines of native libraries below the level of an error: absl's, TensorFlow's, TFLite's.
LOG_LINE = re.compile(
    r"(INFO|WARNING|VERBOSE)\b|[IW]\d{4} \d\d:\d\d|[IW]\d{4} \d+|\d{4}-\d\d-\d\d .*: [IW] "
)


Listener = Callable[[str], None]
_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)
POLL_S = 0.2  # between two looks at the stage of the worker


def begin(stage: str) -> None:
    """Note down what this process does next, for the report of a crash; tell who listens.

    Args:
        stage: such as "the run of the quantized file". Nothing is written outside of the worker.
    """
    if path := os.environ.get(PROGRESS):
        Path(path).write_text(stage)
    if (listener := _LISTENER.get()) is not None:
        listener(stage)


@contextlib.contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Call `listener` meanwhile with each stage that this thread or the worker begins.

    Args:
        listener: of a stage's name; called from another thread, too. None: nobody listens.
    """
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


class CrashError(Exception):
    """The process ended in the middle of a job.

    Attributes:
        stage: the last one that it began, or "".
    """

    def __init__(self, message: str, stage: str = "") -> None:
        super().__init__(message)
        self.stage = stage


class JobError(Exception):
    """A job raised an exception.

    Attributes:
        kind: the name of its type.
        stage: the last one that the job began, or "".
    """

    def __init__(self, kind: str, message: str, stage: str = "") -> None:
        super().__init__(message)
        self.kind, self.stage = kind, stage


class Worker:
    """A process that does jobs, from the first to a crash or to the end of this process.

    Args:
        imports: a module that it imports at once.
    """

    def __init__(self, imports: str = "tensorflow") -> None:
        self._imports, self._lock = imports, threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._log: Any = None
        self._progress: Any = None
        self._owner = 0

    def start(self) -> None:
        """Start the process where none runs, and do not wait for it."""
        with self._lock:
            self._start()

    def run(self, work: str, folder: str | Path) -> None:
        """Have a job done, and wait for it.

        Args:
            work: "module:function" of the folder.
            folder: where its input lies and its output goes.

        Raises:
            JobError: the function raised an exception.
            CrashError: the process ended: by which signal, at which stage, and the last line that
                it wrote, without log lines.
        """
        with self._lock:
            process = self._start()
            try:
                with self._followed():
                    reply = self._ask(process, json.dumps({"work": work, "folder": str(folder)}))
            except BaseException:  # Ctrl-C: what comes back later is no answer to the next job
                self._stop()
                raise
            if not reply:
                raise self._post_mortem(process)
        answer = json.loads(reply)
        if answer:
            raise JobError(**answer)

    def stop(self) -> None:
        """End the process, where one runs."""
        with self._lock:
            self._stop()

    def _start(self) -> subprocess.Popen[str]:
        if self._owner != os.getpid():  # a fork has this object, and no process of its own
            self._process, self._owner = None, os.getpid()
        if self._process is None or self._process.poll() is not None:
            self._stop()
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
            self._progress = tempfile.NamedTemporaryFile()  # noqa: SIM115
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kgated_worker", self._imports],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                env={**os.environ, **ENVIRONMENT, PROGRESS: self._progress.name},
            )
            atexit.register(self.stop)
        return self._process

    @contextlib.contextmanager
    def _followed(self) -> Iterator[None]:
        """Tell the listener the stages of the process, where there is one."""
        listener, done = _LISTENER.get(), threading.Event()
        if listener is None:
            yield
            return

        def follow() -> None:
            path, last = Path(self._progress.name), ""
            while not done.wait(POLL_S):
                stage = path.read_text()
                if stage not in ("", last):
                    last = stage
                    listener(stage)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _ask(self, process: "subprocess.Popen[str]", question: str) -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(question + "\n")
            process.stdin.flush()
        return process.stdout.readline()

    def _post_mortem(self, process: "subprocess.Popen[str]") -> CrashError:
        status = process.wait()
        self._log.seek(0)
        written = self._log.read().decode(errors="replace").splitlines()
        lines = [line.strip() for line in written if line.strip() and not LOG_LINE.match(line)]
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        stage = Path(self._progress.name).read_text()
        self._stop()
        where = f" at {stage}" if stage else ""
        return CrashError(f"({how}){where}" + (f": {lines[-1]}" if lines else ""), stage)

    def _stop(self) -> None:
        process, self._process = self._process, None
        atexit.unregister(self.stop)
        if process is None or self._owner != os.getpid():
            return
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()
        process.kill()  # it writes into folders of ours only, which are gone by now
        process.wait()
        self._log.close()
        self._progress.close()


WORKER = Worker()


def convert(folder: str) -> None:
    """A job: the TFLite file of a saved model, by the options in `job.json`."""
    import tensorflow as tf

    place = Path(folder)
    job = json.loads((place / "job.json").read_text())
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(place / "saved"), signature_keys=job["signatures"]
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    converter.allow_custom_ops = job["allow_custom_ops"]
    converter.experimental_enable_resource_variables = True
    begin("TFLite's converter")
    (place / "made.tflite").write_bytes(converter.convert())


def run(path: str) -> None:
    """A job: a file run on its own golden frames."""
    from kgated_edge import open_model

    begin("the first run of the file")
    open_model(path).golden_outputs()


def import_and_freeze(name: str) -> ModuleType:
    """Import a module, and leave what it makes out of every later garbage collection.

    TFLite's converter collects once a call. Without this it would walk through all of TensorFlow,
    which takes longer than to convert a small model.
    """
    if name not in sys.modules:
        importlib.import_module(name)
        gc.collect()  # what an earlier job left is no part of the module
        gc.freeze()
    return sys.modules[name]


def main(imports: str) -> None:
    """Do jobs until nobody is left who gives any; answers go to what was stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who waits
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    # TensorFlow imports these where they are, for others; without them it takes half the time.
    absent: dict[str, Any] = dict.fromkeys(("jax", "keras"))
    sys.modules.update(absent)
    import_and_freeze(imports)
    for name in absent:
        del sys.modules[name]
    for line in sys.stdin:
        job, answer = json.loads(line), {}
        module, function = job["work"].split(":")
        begin("")
        try:
            getattr(import_and_freeze(module), function)(job["folder"])
        except Exception as error:
            stage = Path(os.environ[PROGRESS]).read_text()
            answer = {"kind": type(error).__name__, "message": str(error), "stage": stage}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
