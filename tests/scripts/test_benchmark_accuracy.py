"""The benchmark of accuracy: its arithmetic on given numbers, its rows on a tiny task."""

import json

import keras
import numpy as np
import pytest
from benchmarks import accuracies, recordings, tasks, variants

from kgated.data import DataSet, SequenceData


def rows_of(recipe, scores, gzip_bytes, unit="%"):
    facts = {"task": "T", "cell": "GRU", "recipe": recipe, "unit": unit, "file_bytes": 2048}
    return [
        {**facts, "seed": seed, "score": score, "gzip_bytes": gzip_bytes}
        for seed, score in enumerate(scores)
    ]


def summary(*rows):
    actual = accuracies.summarized([row for some in rows for row in some], {})
    return {row["recipe"]: row for row in actual}


def test_seeds_are_summarized_and_judged():
    actual = summary(
        rows_of("float", [90.0, 92.0, 94.0], 1000),
        rows_of("pruned 75%", [89.0, 91.0, 93.0], 451),
        rows_of("dynamic", [90.0, 91.0, 94.0], 300),
        rows_of("pruned 75%, dynamic", [90.0, 92.0, 94.0], 150),
        rows_of("int8 PTQ", [90.0, 92.0, 94.0], 300),
        rows_of("int8 QAT", [90.0, 91.9, 94.0], 300),
    )
    assert (actual["float"]["score"], actual["float"]["spread"]) == (92.0, 2.0)
    assert actual["pruned 75%"]["loss_points"] == pytest.approx(1.0)
    assert actual["pruned 75%"]["missed"] == ["gzip 0.451 of dense, limit 0.45"]
    assert actual["dynamic"]["missed"] == ["loses 0.33 points, limit 0.2"]
    assert actual["pruned 75%, dynamic"]["of_dense_gzip"] == 0.5
    assert actual["int8 QAT"]["missed"] == ["0.03 points behind int8 PTQ"]
    assert actual["int8 PTQ"]["missed"] == []
    (line,) = accuracies.overview(list(actual.values()))
    assert (line["float"], line["dynamic"], line["int8 PTQ"]) == (
        "92.00 ± 2.00 %",
        "**+0.33**",
        "+0.00",
    )
    assert line["float16"] is None
    shown = {line["recipe"]: line["limits"] for line in accuracies.lines(list(actual.values()))}
    assert (shown["pruned 75%, dynamic"], shown["int8 PTQ"]) == ("met", "-")


def test_the_table_counts_refused_conversions():
    held = [{**row, "refused": "why"} for row in rows_of("int8 PTQ", [50.0], 300)]
    (line,) = accuracies.lines([summary(rows_of("float", [90.0], 1000), held)["int8 PTQ"]])
    assert line["limits"] == "the converter refuses 1 of 1"
    assert line["loss, points"] == "+40.00"


def test_of_bits_fewer_are_better():
    actual = summary(
        rows_of("float", [2.0], 1000, "bits"), rows_of("int16x8", [2.008], 500, "bits")
    )
    assert actual["int16x8"]["loss_points"] == pytest.approx(0.4)
    assert actual["int16x8"]["missed"] == ["loses 0.40 points, limit 0.3"]
    assert actual["int16x8"]["spread"] is None


def test_recordings_are_as_described():
    plaid, motions = recordings.plaid(), recordings.basic_motions()
    assert (len(plaid.train), len(plaid.test), plaid.train.x.shape[2]) == (537, 537, 12)
    assert (len(motions.train), motions.test.x.shape) == (40, (40, 100, 6))
    assert set(motions.test.y) == {0, 1, 2, 3}
    assert set(plaid.test.y) == set(range(11))


def told_apart_by_sign(rng):
    y = np.arange(24) % 2
    x = rng.normal(size=(24, 6, 2)).astype(np.float32) + (4.0 * y - 2.0)[:, None, None]
    data = SequenceData(x.astype(np.float32), np.full(24, 6), y)
    lengths = tasks.Lengths(tasks.Length(12, 0.03), *[tasks.Length(4, 0.01, settled=2)] * 3)
    data = DataSet("Signs", data, data, ("-", "+"), 0.1)
    return tasks.Classification(data, 16, lengths, tasks.Disturbance(0, 0.1, 0), 8)


def test_a_row_is_made_once_and_kept(rng, tmp_path):
    task = told_apart_by_sign(rng)
    rows = {
        name: variants.measure(task, "GRU", 0, name, tmp_path)
        for name in ("float", "pruned 75%", "pruned 75%, clustered 16, dynamic")
    }
    assert [row["score"] for row in rows.values()] == [100.0] * 3
    sizes = [row["gzip_bytes"] for row in rows.values()]
    assert sizes == sorted(sizes, reverse=True)
    pruned = keras.saving.load_model(tmp_path / "pruned_75.keras", compile=False)
    kernel = np.asarray(pruned.get_layer("recurrent_1").cell.recurrent_kernel)
    assert np.mean(kernel == 0) == 0.75
    both = keras.saving.load_model(tmp_path / "pruned_75-clustered_16.keras", compile=False)
    shared = np.asarray(both.get_layer("recurrent_1").cell.recurrent_kernel)
    assert np.array_equal(shared == 0, kernel == 0)
    assert len(np.unique(shared)) == 16
    (tmp_path / "float.json").write_text(json.dumps({**rows["float"], "score": 1.0}))
    assert variants.measure(task, "GRU", 0, "float", tmp_path)["score"] == 1.0


def test_text_is_judged_as_one_stream(rng, tmp_path):
    once = tasks.Lengths(*[tasks.Length(1, 0.01)] * 4)
    task = tasks.Characters(4, once, judged=200)
    model = task.build("GRU", 0)
    path = tmp_path / "text.tflite"
    variants.kgated.to_tflite(model, path)
    tokens = task._tokens(task.text.test[:200])
    logits = keras.ops.log_softmax(model(tokens[None, :-1]))[0]
    p = np.take_along_axis(np.asarray(logits), tokens[1:, None], axis=-1)
    assert task.score(path) == pytest.approx(-p.mean() / np.log(2), rel=1e-5)
