"""The data sets and the tables of `scripts/results.py`."""

import results

from kgated.study.tasks.definitions import FRAMES, NEXT_TOKEN, REGRESSION, choose_task


def test_the_copy_task_asks_for_the_symbols_after_the_pause():
    data, test = results.copying()
    assert test is None
    assert choose_task(data, None, "") is FRAMES
    inputs, copied = data.x.argmax(axis=-1), results.COPIED
    assert (data.y[:, -copied:] == inputs[:, :copied]).all()
    assert (data.y[:, :-copied] == results.SYMBOLS).all()
    assert (inputs[:, -copied - 1] == results.SYMBOLS + 1).all()  # the signal


def test_the_other_made_data_have_their_tasks():
    assert choose_task(results.adding()[0], None, "") is REGRESSION
    text, _ = results.text()
    assert choose_task(text, None, "") is NEXT_TOKEN
    assert text.x.shape == (1, results.CHARACTERS)


def test_each_study_has_its_own_data_and_test_file(tmp_path):
    arguments = results.command_of("motions", tmp_path)
    assert arguments[:3] == [
        str(tmp_path / "motions.npz"),
        "--test",
        str(tmp_path / "motions-test.npz"),
    ]
    assert (tmp_path / "motions-test.npz").is_file()


def test_the_table_has_a_row_per_model_and_the_simple_models_below():
    device = {"value": 0.91, "file_bytes": 2048, "step_us_p50": 3.25}
    failed = {"value": None, "file_bytes": None, "step_us_p50": None}
    run = {"seed": 1, "best_epoch": 7, "seconds_to_best": 2.6, "out_of_time": True}
    refit = {**run, "best_epoch": 6, "out_of_time": False, "val_loss": None}
    row = {"name": "gru-4", "parameters": 1234, "runs": [refit], "exported_seed": 1, "value": 0.925}
    row |= {"search_run": run, "spread": 0.0125, "gradient_steps": 4, "gradient_norms": [0.1] * 9}
    report = {"metric": {"factor": 100.0, "title": "accuracy"}, "recommendation": ["Take it."]}
    report["candidates"] = [{**row, "devices": [device, failed]}]
    report["baselines"] = [{"name": "linear baseline", "value": 0.5}]
    lines = results.table(report).splitlines()
    assert lines[2] == ("| gru-4 | 1,234 | 7*, 3 | 92.5 ± 1.2 | 4 of 8 | 91 | 2.0 | 3.2 |")
    assert lines[-2:] == ["Beside them: linear baseline 50.", "Take it."]
