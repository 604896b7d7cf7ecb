"""CSV files of recordings, for the tests of data sets."""

import numpy as np


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def rows(delimiter=",", decimal=".", header="time,ax,ay", count=6):
    lines = [header.replace(",", delimiter)] if header else []
    for n in range(count):
        cells = [f"{0.02 * n:.2f}", f"{n + 0.5}", f"{-n}e-1"]
        lines.append(delimiter.join(cells).replace(".", decimal))
    return "\n".join(lines) + "\n"


def folder(tmp_path, count=8, classes=("run", "walk"), seconds=2.0):
    rng = np.random.default_rng(0)
    for label in classes:
        for n in range(count):
            x = rng.normal(size=(int(50 * seconds), 2))
            lines = ["time,ax,ay", *(f"{k / 50:.2f},{a:.4f},{b:.4f}" for k, (a, b) in enumerate(x))]
            write(tmp_path / "in" / label / f"p{n % 4}_{n}.csv", "\n".join(lines))
    return tmp_path / "in"
