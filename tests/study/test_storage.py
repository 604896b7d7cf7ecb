"""Trials on a journal file and on PostgreSQL: real kills, several processes, a full disk."""

import errno
import os
import signal
import time
from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy
from postgresql import server, stop
from warm_processes import Program, run

from kgated.compare import candidate_study
from kgated.compare.training import Run
from kgated.data import pad, save_npz
from kgated.study.fitting import LockCheck, load_saved
from kgated.study.storage import backends
from kgated.study.storage.errors import storage_errors
from kgated.study.storage.queue import WORKER, TrialQueue
from kgated_cli import main

TRIALS, LIMIT_S = 3, 600
SEARCH = "rnn-3/search"
# Takes a trial in another process, and dies while it runs.
TAKE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from kgated.study.storage.queue import TrialQueue
queue = TrialQueue(Path(sys.argv[1]), sys.argv[2] or None)
trial = queue.take(queue.study("search"), 3)
print(trial.number, trial.suggest_float("rate", 0.0, 1.0), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def states(queue, name=SEARCH):
    return [trial.state.name for trial in queue.study(name).get_trials(deepcopy=False)]


def test_a_killed_process_leaves_its_trial_to_the_others(storage, tmp_path):
    killed, first, second = (tmp_path / name for name in ("killed", "first", "second"))
    if storage is None:  # one folder
        killed = first = second = tmp_path
    for folder in (killed, first, second):
        folder.mkdir(exist_ok=True)
    ended = run("-c", TAKE_AND_DIE, killed, storage or "")
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    number, rate = ended.stdout.split()
    a, b = TrialQueue(first, storage), TrialQueue(second, storage)
    try:
        studies = [queue.study("search") for queue in (a, b)]
        again, second_trial = a.take(studies[0], 3), b.take(studies[1], 3)
        assert again.suggest_float("rate", 0.0, 1.0) == float(rate)
        assert len({int(number), again.number, second_trial.number}) == 3
        assert a.take(studies[0], 3) is not None
        assert b.take(studies[1], 3) is None  # of three, all under way
        assert sorted(states(a, "search")) == ["FAIL", "RUNNING", "RUNNING", "RUNNING"]
        assert a.choose_once(studies[0], "best", 1) == b.choose_once(studies[1], "best", 2) == 1
        a.backend.save_file(first / "model.keras", b"weights")
        assert b.backend.fetch_file(second / "model.keras").read_bytes() == b"weights"
    finally:
        a.close()
        b.close()


@pytest.mark.slow
def test_a_killed_command_continues_in_two_processes_and_trains_nothing_twice(database, tmp_path):
    """On PostgreSQL; with a journal file it is a search, in `tests/search`."""
    save_sequences(tmp_path / "data.npz")
    folder = tmp_path / "out"
    folder.mkdir()
    command = ["-m", "kgated_cli", "compare", tmp_path / "data.npz"]
    command += ["--cells", "rnn", "--units", "3", "--trials", str(TRIALS), "--seeds", "2"]
    command += ["--epochs", "2", "--quantize", "none", "--budget-minutes", "30"]
    command += ["--out", folder, "--storage", database]
    process = Program(*command)
    wait_until_second_trial(process, folder, database)
    process.kill()
    process.wait()
    before = TrialQueue(folder, database)
    complete = {t.number: t.user_attrs["run"] for t in ended_trials(before)}
    before.close()
    assert 1 <= len(complete) < TRIALS
    for process in [Program(*command) for _ in range(2)]:
        done = process.wait(LIMIT_S)
        assert done.returncode == 0, done
    after = TrialQueue(folder, database)
    try:
        assert states(after).count("FAIL") <= 1  # the one that was killed
        assert states(after).count("COMPLETE") + states(after).count("PRUNED") == TRIALS
        assert states(after, "rnn-3/seeds") == ["COMPLETE"] * 2
        runs_by_number = {t.number: t.user_attrs["run"] for t in ended_trials(after)}
        assert {number: runs_by_number[number] for number in complete} == complete
        params = [tuple(sorted(t.params.items())) for t in ended_trials(after)]
        assert len(set(params)) == len(params)
    finally:
        after.close()
    assert (folder / "compare.html").is_file()


def save_sequences(path):
    rng, y = np.random.default_rng(0), np.arange(24) % 2
    rows = [rng.normal(3 * label, 1.0, (3, 2)).astype(np.float32) for label in y]
    save_npz(path, pad(rows, y))


def ended_trials(queue):
    trials = queue.study(SEARCH).get_trials(deepcopy=False)
    return [trial for trial in trials if "run" in trial.user_attrs]


def wait_until_second_trial(process, folder, storage):
    """Until a trial has ended and another one runs."""
    end = time.monotonic() + LIMIT_S
    queue = TrialQueue(folder, storage)
    try:
        while not {"COMPLETE", "RUNNING"} <= set(states(queue)):
            assert process.returncode is None, process.wait()
            assert time.monotonic() < end, "no second trial began"
            time.sleep(0.05)
    finally:
        queue.close()


def test_a_trial_keeps_its_parameters_where_its_process_ends_before_it_takes_them(tmp_path):
    queue = TrialQueue(tmp_path)
    study = queue.study("search")
    queue.enqueue(study, [{"rate": 0.5}])
    for trial in [queue.take(study, 2), queue.take(study, 2)]:
        trial.set_user_attr(WORKER, None)  # as if its process had ended
    rates = [queue.take(study, 2).suggest_float("rate", 0.0, 1.0) for _ in range(2)]
    assert rates[0] == 0.5
    assert rates[1] != 0.5
    assert sorted(states(queue, "search")) == ["FAIL", "FAIL", "RUNNING", "RUNNING"]
    queue.close()


def test_a_full_disk_leaves_the_journal_intact_and_the_error_has_a_remedy(tmp_path, monkeypatch):
    queue = TrialQueue(tmp_path)
    study = queue.study("search")
    trial = queue.take(study, 3)
    path = tmp_path / backends.JOURNAL
    before, write = path.read_bytes(), os.write

    def half(file, content):
        if len(content) < 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, content[: len(content) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(backends.os, "write", half)
        with pytest.raises(OSError, match="No space left on device; make room, then start") as full:
            study.tell(trial, 1.0)
    assert "\n" not in str(full.value)
    assert path.read_bytes() == before
    queue.close()
    again = TrialQueue(tmp_path)  # as after a new start
    assert again.take(again.study("search"), 3) is not None
    assert states(again, "search") == ["FAIL", "RUNNING"]
    again.close()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"name,value\n1,2\n", "line 1 is damaged"),
        (b"\xff\x00\n", "line 1 is damaged"),
        (b'{"op_code": 0, "worker_id": "a"', None),  # without its end: a kill cut it off
        (bytes(500), None),
        (bytes(500) + b"\n", "line 1 is damaged"),
        (b'{"op_code": 99, "worker_id": "a"}\n', "records of another program or version"),
        (b'{"op_code": 0}\n', "records of another program or version"),
        (b"[1]\n", "line 1 is damaged"),
    ],
)
def test_a_file_that_is_no_journal_is_refused(tmp_path, content, reason):
    path = tmp_path / backends.JOURNAL
    path.write_bytes(content)
    if reason is None:
        TrialQueue(tmp_path).close()
        return
    with pytest.raises(
        ValueError, match=rf"is no journal of trials \(.*{reason}\): name"
    ) as caught:
        TrialQueue(tmp_path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_options_are_forgotten_only_where_no_trial_depends_on_them(tmp_path):
    queue = TrialQueue(tmp_path)
    options, study = queue.study("options"), queue.study("search")
    assert queue.choose_once(options, "options", {"limit": 1}) == {"limit": 1}
    queue.forget(options, "options")
    assert queue.choose_once(options, "options", {"limit": 2}) == {"limit": 2}
    queue.take(study, 1)
    queue.forget(options, "options")
    assert queue.choose_once(options, "options", {"limit": 3}) == {"limit": 2}
    queue.close()


def test_a_saved_model_that_is_missing_or_damaged_is_named(tmp_path):
    path = tmp_path / "gru.keras"
    with pytest.raises(ValueError, match=r"gru\.keras: the trained model of a trial is missing"):
        load_saved(path)
    path.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"gru\.keras: the trained model of a trial is damaged"):
        load_saved(path)


def test_trials_of_another_version_are_named():
    trial = SimpleNamespace(user_attrs={"run": {"seed": 0, "field_of_another_version": 1}})
    with pytest.raises(ValueError, match=r"trials are those of another version of kgated .*field_"):
        Run.of(trial)


@pytest.mark.parametrize("address", ["sqlite:///a.db", "trials", "mysql://u@h/d"])
def test_other_databases_are_refused(address, tmp_path):
    with pytest.raises(ValueError, match="must be the address of a PostgreSQL database"):
        TrialQueue(tmp_path, address)


def test_a_database_that_can_t_be_reached_is_named_without_its_password(tmp_path):
    with pytest.raises(OSError, match="can't use the database") as caught:
        TrialQueue(tmp_path, "postgresql://me:secret@127.0.0.1:9/trials")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_stops_in_a_training_ends_the_command_with_a_line(
    tmp_path, monkeypatch, capfd
):
    save_sequences(tmp_path / "data.npz")
    with server() as address:

        def train(self, *_):
            stop(address)
            LockCheck(self.queue.locks).on_epoch_end(0)

        monkeypatch.setattr(candidate_study.CandidateStudy, "_train", train)
        command = ["compare", str(tmp_path / "data.npz"), "--cells", "rnn", "--units", "3"]
        command += ["--out", str(tmp_path / "out"), "--storage", address]
        with pytest.raises(SystemExit) as ended:
            main(command)
    assert ended.value.code == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("kgated: error: the database of --storage failed: ")
    assert "start the same command again: it continues where it stopped" in line


def test_a_process_whose_lock_is_lost_ends_before_and_after_another_takes_its_trial(
    database, tmp_path
):
    first, second = (TrialQueue(tmp_path, database) for _ in range(2))
    studies = [queue.study("lost lock") for queue in (first, second)]
    trial = first.take(studies[0], 1)
    LockCheck(first.locks).on_epoch_end(0)
    lost = first.locks.connection.execute(sqlalchemy.text("SELECT pg_backend_pid()")).scalar()
    end = sqlalchemy.text("SELECT pg_terminate_backend(:process, 5000)")
    assert second.locks.connection.execute(end, {"process": lost}).scalar()
    lost_connection = r"--storage failed: .*; start the same command again"
    with pytest.raises(OSError, match=lost_connection), storage_errors():
        LockCheck(first.locks).on_epoch_end(1)
    with pytest.raises(OSError, match=lost_connection), storage_errors():
        first.take(studies[0], 1)
    assert second.take(studies[1], 1) is not None
    with pytest.raises(OSError, match="another process took over a trial"), storage_errors():
        trial.set_user_attr("seconds", 1.0)
    first.close()
    second.close()


def test_errors_of_no_database_pass():
    with pytest.raises(RuntimeError, match="a defect"), storage_errors():
        raise RuntimeError("a defect")
