"""The second process: a crash over there is an error here, and the next job is done."""

import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

import kgated
from kgated.deploy import Recipe
from kgated.deploy import worker as client
from kgated.deploy.quantization import worker_job
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.errors import ConversionError
from kgated_worker import CrashError, JobError, Worker

JOBS = """
import gc, os, pathlib, sys

def crash(place):
    sys.stderr.write("first words\\nlast words\\n")
    sys.stderr.flush()
    os.abort()

def leave(place):
    os._exit(7)

def refuse(place):
    print("no answer")
    raise ValueError("not this one")

def lack_memory(place):
    from kgated_worker import begin
    begin("the middle of the job")
    raise MemoryError

def lack_room(place):
    raise OSError(28, "No space left on device")

def open_too_many(place):
    raise OSError(24, "Too many open files")

def fail(place):
    raise KeyError("a name")

def count(place):
    pathlib.Path(place, "frozen").write_text(str(gc.get_freeze_count()))

def say(place):
    print("no answer either")
    pathlib.Path(place, "pid").write_text(str(os.getpid()))
"""


@pytest.fixture
def worker(tmp_path, monkeypatch):
    (tmp_path / "jobs_of_a_test.py").write_text(JOBS)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    client = Worker("json")
    yield client
    client.stop()


def pid(worker, folder):
    worker.run("jobs_of_a_test:say", folder)
    return int((folder / "pid").read_text())


def is_gone(number):
    for _ in range(100):
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_one_process_does_job_after_job(worker, tmp_path):
    first = pid(worker, tmp_path)
    assert first != os.getpid()
    with pytest.raises(JobError, match="not this one") as caught:
        worker.run("jobs_of_a_test:refuse", tmp_path)
    assert caught.value.kind == "ValueError"
    assert pid(worker, tmp_path) == first
    worker.stop()
    assert is_gone(first)


def test_no_garbage_collection_walks_through_what_was_imported(worker, tmp_path):
    """TFLite's converter collects once a call, which took longer than the conversion."""
    worker.run("jobs_of_a_test:count", tmp_path)
    assert int((tmp_path / "frozen").read_text()) > 1000


def test_a_crash_is_reported_and_another_process_continues(worker, tmp_path):
    first = pid(worker, tmp_path)
    with pytest.raises(CrashError, match=r"^\(SIGABRT\): last words$"):
        worker.run("jobs_of_a_test:crash", tmp_path)
    second = pid(worker, tmp_path)
    with pytest.raises(CrashError, match=r"^\(exit status 7\)"):
        worker.run("jobs_of_a_test:leave", tmp_path)
    third = pid(worker, tmp_path)
    os.kill(third, signal.SIGKILL)  # between two jobs, as a system short of memory does
    worker._process.wait()
    assert len({first, second, third, pid(worker, tmp_path)}) == 4


def test_an_interrupt_leaves_no_late_answer(worker, tmp_path, monkeypatch):
    first = pid(worker, tmp_path)

    def interrupted(process, question):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(worker, "_ask", interrupted)
        with pytest.raises(KeyboardInterrupt):
            worker.run("jobs_of_a_test:say", tmp_path)
    assert is_gone(first)
    assert pid(worker, tmp_path) != first


@pytest.mark.parametrize("end", ["", "os._exit(0)"])
def test_the_worker_ends_with_the_process_that_started_it(end, worker, tmp_path):
    code = f"""
import os, kgated_worker
kgated_worker.Worker("json").run("jobs_of_a_test:say", {str(tmp_path)!r})
{end}
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_a_crash_of_the_converter_is_an_error(worker, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "CONVERT", "jobs_of_a_test:crash")
    monkeypatch.setattr(client, "WORKER", worker)
    good = tmp_path / "m.tflite"
    good.write_bytes(b"an older file")
    model = keras.Sequential([keras.Input((None, 5)), kgated.GRU(3)])
    message = r"recipe stream-none: it crashed \(SIGABRT\): last words; nothing was written. Try"
    with pytest.raises(ConversionError, match=message):
        kgated.to_tflite(model, good)
    assert good.read_bytes() == b"an older file"


def test_a_crash_of_quantizer_or_file_is_an_error(worker, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "WORKER", worker)
    for module, work in ((worker_job, "QUANTIZE"), (client, "RUN")):
        monkeypatch.setattr(module, work, "jobs_of_a_test:crash")
    recipe, sample = Recipe(quantize="int8"), {"x": np.zeros((1, 5), np.float32)}
    job = worker_job.QuantizationJob(b"", LayerTable({}), recipe, [sample])
    with pytest.raises(ConversionError, match=r"quantizer, recipe stream-int8, crashed .SIGABRT"):
        worker_job.quantize_in_worker(job)
    with pytest.raises(ConversionError, match=r"the file of recipe stream-int8 crashed .SIGABRT"):
        client.run_in_worker(tmp_path, recipe)


def test_a_file_that_does_not_run_is_an_error(tmp_path):
    (tmp_path / "m.tflite").write_bytes(b"nothing")
    with pytest.raises(ConversionError, match=r"recipe stream-none does not run: .*m\.tflite"):
        client.run_in_worker(tmp_path / "m.tflite", Recipe())


FAILURES = {
    "refuse": "the job failed: ValueError: not this one; nothing was written. Try again",
    "lack_memory": "the job failed at the middle of the job: MemoryError; nothing was written. "
    "Give it more memory, or a smaller model, batch or calibration",
    "lack_room": "the job failed: OSError: [Errno 28] No space left on device; nothing was "
    "written. Make room in the folder of temporary files, or name another one by TMPDIR",
    "open_too_many": "the job failed: OSError: [Errno 24] Too many open files; nothing was "
    "written. Try again",
    "fail": "the job failed: KeyError: 'a name'; nothing was written. Try again",
}


def test_any_exception_of_a_job_is_an_error_with_a_way_out(worker, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "WORKER", worker)
    for name, message in FAILURES.items():
        with pytest.raises(ConversionError) as caught:
            client.run_job(f"jobs_of_a_test:{name}", tmp_path, "the job", "Try again")
        assert str(caught.value) == message
    with pytest.raises(ConversionError, match=r"^not this one$"):
        client.run_job("jobs_of_a_test:refuse", tmp_path, "", "", plain_kinds=("ValueError",))
    monkeypatch.setattr(worker_job, "QUANTIZE", "jobs_of_a_test:fail")
    sample = {"x": np.zeros((1, 5), np.float32)}
    job = worker_job.QuantizationJob(b"", LayerTable({}), Recipe(quantize="int8"), [sample])
    with pytest.raises(ConversionError, match="recipe stream-int8, failed: KeyError: 'a name'"):
        worker_job.quantize_in_worker(job)


def test_a_file_that_does_not_run_names_the_operator_and_the_layer(tmp_path):
    model = keras.Sequential(
        [keras.Input((None, 5)), kgated.GRU(3, name="gru"), keras.layers.Dense(2)]
    )
    path = tmp_path / "m.tflite"
    kgated.to_tflite(model, path)
    content = flatbuffer.parse(path.read_bytes())
    graph = flatbuffer.main_graph(content)
    product = next(x for x in graph.operators if len(x.inputs) == 3)
    kernel = graph.tensors[product.inputs[1]]
    kernel.shape = kernel.shape[::-1].copy()
    path.write_bytes(flatbuffer.pack(content))
    message = r"does not run, operator FULLY_CONNECTED of layer `gru`: .*\. Try another `quantize`"
    with pytest.raises(ConversionError, match=message):
        client.run_in_worker(path, Recipe())
