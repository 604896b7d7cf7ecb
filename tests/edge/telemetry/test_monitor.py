"""What a monitor reports: against NumPy over all steps, in bounded memory, in files."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from kgated_edge import EdgeError, EdgeModel, FieldMonitor, ManifestError, read_manifest
from kgated_edge.format.feature_statistics import BINS, FeatureStatistics, shares_of
from kgated_edge.format.reader import parse_manifest
from kgated_edge.telemetry.monitor import stability_index
from kgated_edge.telemetry.writer import MonitorFiles


@pytest.fixture
def training(rng):
    return rng.normal(size=(4000, 3)).astype(np.float32)


@pytest.fixture
def manifest(speech, training):
    statistics = {"frame": FeatureStatistics.of(training)}
    return replace(read_manifest(speech), feature_statistics=statistics)


def watched(manifest, frames, model):
    monitor = FieldMonitor(manifest, lambda: model.state)
    results, norms = [], []
    for n, frame in enumerate(frames):
        results.append(model.step(frame))
        monitor.watch(frame, results[-1])
        if n % 256 == 255 or n == len(frames) - 1:
            norms.append(np.sqrt(sum((a**2).sum() for a in model.state.values())))
    return monitor.report(), np.array(results), np.mean(norms)


def test_the_report_is_that_of_all_steps(manifest, speech, training, rng):
    frames = (1.5 * rng.normal(size=(1000, 3)) + [0, 1, 0]).astype(np.float32)
    report, results, norm = watched(manifest, frames, EdgeModel(speech))
    assert report.steps == 1000
    outside = (frames < training.min(0)) | (frames > training.max(0))
    assert outside.any()
    assert report.outside_share == pytest.approx(outside.mean(0), abs=1e-9)
    assert report.confidence_mean == pytest.approx(results.max(1).mean(), rel=1e-6)
    assert report.confidence_min == pytest.approx(results.max(1).min(), rel=1e-6)
    assert report.state_norm == pytest.approx(norm, rel=1e-6)
    assert report.state_saturated_share is None
    edges = np.quantile(training.astype(np.float64), np.linspace(0, 1, BINS + 1)[1:-1], axis=0)
    for k, drift in enumerate(report.drift_psi):
        counts = [
            np.bincount(np.searchsorted(edges[:, k], x[:, k]), minlength=BINS) / len(x)
            for x in (frames, training)
        ]
        a, e = np.maximum(counts, 1e-4)
        assert drift == pytest.approx(((a - e) * np.log(a / e)).sum(), abs=0.02)
    assert report.drift_psi[1] > 0.25 > 0.1 > report.drift_psi[0] / 3


def test_data_as_in_training_do_not_drift(manifest, speech, rng):
    frames = rng.normal(size=(3000, 3)).astype(np.float32)
    report, _, _ = watched(manifest, frames, EdgeModel(speech))
    assert max(report.drift_psi) < 0.03
    assert max(report.outside_share) < 0.005


def test_an_index_of_equal_shares_is_zero_and_empty_bins_are_finite():
    shares = np.array([[0.5, 0.5, 0.0]])
    assert stability_index(shares, shares) == 0
    assert 0 < stability_index(shares, np.array([[0.0, 0.5, 0.5]]))[0] < 10


def test_integer_files_report_saturation(fixture_file, rng):
    path = fixture_file("int8")
    manifest, model = read_manifest(path), EdgeModel(path)
    monitor = FieldMonitor(
        manifest, lambda: {n: np.full_like(a, -128) for n, a in model.state.items()}
    )
    frame = rng.normal(size=3).astype(np.float32)
    monitor.watch(100 * frame, model.step(frame))
    report = monitor.report()
    assert report.state_saturated_share == 1.0
    # Without statistics, the range is that of the calibration.
    assert report.outside_share == (1.0, 1.0, 1.0)
    assert report.drift_psi is None
    assert FieldMonitor(manifest).report().steps == 0


def test_a_float_file_without_statistics_reports_the_rest(speech, rng):
    monitor = FieldMonitor(read_manifest(speech))
    monitor.watch(rng.normal(size=3).astype(np.float32), np.array([0.25, 0.75], np.float32))
    report = monitor.report()
    assert (report.outside_share, report.drift_psi, report.state_norm) == (None, None, None)
    assert (report.confidence_mean, report.confidence_min) == (0.75, 0.75)


def test_memory_does_not_grow(manifest, rng):
    monitor = FieldMonitor(manifest)
    frame, result = rng.normal(size=3).astype(np.float32), np.ones(2, np.float32)
    for _ in range(1000):
        monitor.watch(frame, result)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20_000):
            monitor.watch(frame, result)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 4000
    assert monitor.report().steps == 21_000


def test_statistics_survive_the_manifest(manifest):
    read = parse_manifest(manifest.to_json()).feature_statistics
    assert read == manifest.feature_statistics
    assert np.array(read["frame"].shares) == pytest.approx(np.full((3, BINS), 0.1), abs=0.01)


def test_statistics_of_forty_features_take_less_than_a_kibibyte(rng):
    frames = rng.normal(2.0, 3.0, size=(4000, 40)).astype(np.float32)
    frames[:, :8] = np.exp(frames[:, :8])  # a long tail
    frames[:, 8:12] = rng.integers(0, 4, (4000, 4))
    plain = FeatureStatistics.of(frames).to_plain()
    assert len(json.dumps({"frame": plain})) < 1024


@pytest.mark.parametrize("kind", ["normal", "long tail", "levels", "constant", "offset"])
def test_short_statistics_see_the_drift_that_exact_quantiles_see(kind, rng):
    frames = rng.normal(size=(4000, 2)).astype(np.float32)
    kinds = {"normal": frames, "long tail": np.exp(2 * frames), "offset": 1013 + frames}
    kinds |= {"levels": np.round(2 * frames), "constant": np.full_like(frames, 3.3)}
    frames = kinds[kind]
    statistics = FeatureStatistics.of(frames)
    levels = np.linspace(0, 1, BINS + 1)[1:-1]
    exact = np.quantile(frames, levels, axis=0).T.astype(np.float32)
    moved = frames + 0.4 * max(frames.std(), 0.1)

    def psi(edges, values, shares=None):
        above = np.count_nonzero(values[:, :, None] > np.asarray(edges, np.float32), axis=0)
        frequencies = shares_of(above, len(values))
        return frequencies if shares is None else stability_index(frequencies, np.asarray(shares))

    short = psi(statistics.edges, moved, statistics.shares)
    np.testing.assert_allclose(short, psi(exact, moved, psi(exact, frames)), rtol=0.1, atol=0.01)
    assert psi(statistics.edges, frames, statistics.shares).max() < 0.005
    assert np.all(statistics.low <= frames.min(axis=0))
    assert np.all(statistics.high >= frames.max(axis=0))


def in_lists(statistics):
    """As earlier versions wrote them."""
    return {name: getattr(statistics, name) for name in ("low", "high", "edges", "shares")}


def test_statistics_in_lists_are_still_read(manifest):
    document = json.loads(manifest.to_json())
    document["feature_statistics"]["frame"] = in_lists(manifest.feature_statistics["frame"])
    assert parse_manifest(json.dumps(document)).feature_statistics == manifest.feature_statistics


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"low": [1.0]}, "`feature_statistics.frame.low` must be 3 numbers"),
        ({"edges": [[0.0] * 9] * 2}, "`feature_statistics.frame.edges` must be 3 arrays of 9"),
        ({"edges": [[float(-n) for n in range(9)]] * 3}, "must be of numbers that do not fall"),
        ({"shares": [[2.0] * 10] * 3}, "must be of numbers in 0..1"),
        ({"shares": 1}, "`feature_statistics.frame.shares` must be an array"),
        ({"packed": "\u00e4"}, "`feature_statistics.frame.packed` must be the statistics of 3"),
        ({"packed": "abcde"}, "`feature_statistics.frame.packed` must be the statistics of 3"),
        ({"packed": 1}, "`feature_statistics.frame.packed` must be a non-empty string"),
    ],
)
def test_damaged_statistics_are_refused(manifest, change, message):
    document = json.loads(manifest.to_json())
    lists = in_lists(manifest.feature_statistics["frame"])
    document["feature_statistics"]["frame"] = lists | change
    with pytest.raises(ManifestError) as error:
        parse_manifest(json.dumps(document))
    assert message in str(error.value)
    document["feature_statistics"] = {"other": {}}
    with pytest.raises(ManifestError, match="must be for inputs among"):
        parse_manifest(json.dumps(document))


def test_live_writes_lines_and_a_prometheus_file(command, speech, tmp_path):
    frames = np.random.default_rng(0).normal(size=(250, 3)).astype(np.float32)
    frames[7, 1] = np.nan
    np.save(tmp_path / "f.npy", frames)
    out = tmp_path / "field.jsonl"
    arguments = ("live", speech, tmp_path / "f.npy", "--monitor", out, "--monitor-s", 1)
    arguments += ("--on-bad-frame", "hold", "--deadline-ms", 1e-6, "--every", 1000)
    assert command(*arguments)[0] == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(line["step"], line["steps"]) for line in lines] == [(100, 100), (200, 100), (250, 50)]
    assert (lines[-1]["late_steps"], lines[-1]["held_frames"]) == (250, 1)
    text = (tmp_path / "field.prom").read_text()
    assert "# TYPE kgated_steps_total counter\nkgated_steps_total 250\n" in text
    assert "kgated_held_frames_total 1\n" in text
    assert "kgated_state_norm " in text
    assert command(*arguments)[0] == 0
    assert len(out.read_text().splitlines()) == 6  # a run that starts again continues the file
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.npy", "field.jsonl", "field.prom"]


def test_monitor_files_that_cannot_be(error, speech, tmp_path):
    np.save(tmp_path / "f.npy", np.zeros((1, 3), np.float32))
    for out, message in (("x.prom", "name it .jsonl"), ("no/folder.jsonl", "cannot be written")):
        live = ("live", speech, tmp_path / "f.npy", "--monitor", tmp_path / out)
        assert message in error(*live)


def test_the_files_of_a_run_are_not_written(error, speech, tmp_path):
    frames = tmp_path / "in.csv"
    frames.write_text("1,2,3\n" * 9)
    for name in (frames, frames.with_suffix(".jsonl")):
        name.touch()
        text = error("live", speech, frames, "--monitor", name, "--json", tmp_path / "in.jsonl")
        assert f"{name}: this is a file of the run: name another file for --monitor" in text
    assert frames.read_text() == "1,2,3\n" * 9


def test_a_line_that_was_cut_short_does_not_spoil_the_next(manifest, tmp_path):
    path = tmp_path / "field.jsonl"
    path.write_bytes(b'{"time":"2026-')
    report = FieldMonitor(manifest).report()
    for _ in range(2):
        MonitorFiles(path).write(1, report, {"late_steps": 0})
    lines = path.read_text().splitlines()
    assert len(lines) == 3
    assert [json.loads(line)["step"] for line in lines[1:]] == [1, 1]
    path.unlink()  # by logrotate, between two reports
    MonitorFiles(path).write(2, report, {"late_steps": 0})
    assert json.loads(path.read_text())["step"] == 2


def test_a_full_disk_leaves_whole_lines(manifest, tmp_path):
    resource = pytest.importorskip("resource")
    path, report = tmp_path / "field.jsonl", FieldMonitor(manifest).report()
    files = MonitorFiles(path)
    files.write(1, report, {})
    content = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) + 20, limits[1]))
    try:
        with pytest.raises(EdgeError, match=r"field\.jsonl: cannot be written"):
            files.write(2, report, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == content
