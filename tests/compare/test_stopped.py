"""Ctrl-C in `kgated compare` and `kgated search`."""

import numpy as np
import pytest

from kgated_cli import main


@pytest.mark.parametrize(
    ("command", "package", "function", "options"),
    [
        ("compare", "kgated.compare", "compare_candidates", []),
        ("search", "kgated.search", "search_models", ["--max-kib", "64"]),
    ],
)
def test_ctrl_c_says_how_to_continue(
    command, package, function, options, tmp_path, monkeypatch, capfd
):
    def stop(*_, **__):
        raise KeyboardInterrupt

    data = tmp_path / "data.npz"
    np.savez(data, x=np.zeros((2, 3, 1), np.float32), y=np.arange(2))
    monkeypatch.setattr(f"{package}.{function}", stop)
    with pytest.raises(SystemExit) as stopped:
        main([command, str(data), "--out", str(tmp_path / "o"), *options])
    assert stopped.value.code == 130
    assert "kgated: stopped; start the same command again: it cont" in capfd.readouterr().err
