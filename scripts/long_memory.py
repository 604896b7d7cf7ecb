"""Memory of the cells over hundreds of steps: the adding problem, and its vanishing gradient.

A sequence has a random number at each step. Two numbers are marked, one in each half, and the
target is their sum (Hochreiter & Schmidhuber 1997). Predicting the mean has a mean squared error of
1/6. All cells are trained on the same batches in the same order. The norm of the loss's gradient
with respect to the hidden state of each step is measured before and after training.

By default, the forget gate of an LSTM starts at σ(1) = 0.73, which forgets within ten steps. "tuned
to T" starts with time constants of 1 to T steps, by the biases of Tallec & Ollivier (2018):
`b_f = log(u)`, `b_i = -b_f`, u uniform in (1, T - 1). The seed determines everything else.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
import typer
from benchmarks.themes import save_in_themes, text_colour, theme_paths
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

import kgated
from kgated.atomic_write import check_writable, replace_file
from kgated.inspection import gate_activations, gradient_flow, plot_gradient_flow
from kgated.optional_imports import from_demo

BASELINE = 1.0 / 6.0
SOLVED, ENOUGH = 0.01, 0.003
BATCH, UNITS, TEST, PROBED = 50, 64, 500, 100
STEPS_PER_ROUND = 50
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
STYLES: dict[str, dict[str, Any]] = {
    "SimpleRNN": {"color": PURPLE, "linestyle": (0, (1, 1))},
    # If both coincide, the thin line is visible inside the thick one.
    "LSTM": {"color": BLUE, "linestyle": (0, (4, 2)), "linewidth": 3.0},
    "PeepholeLSTM": {"color": ORANGE, "linestyle": (0, (4, 2)), "linewidth": 1.2},
    "LSTM tuned to T": {"color": BLUE, "linestyle": "-", "linewidth": 3.0},
    "PeepholeLSTM tuned to T": {"color": ORANGE, "linestyle": "-", "linewidth": 1.2},
    "GRU": {"color": GREEN, "linestyle": "-", "linewidth": 1.8},
}
MEASURABLE = 1e-33  # smaller norms are float32's underflow
console = Console()

Sequences = tuple[np.ndarray, np.ndarray]


@dataclass
class Result:
    """The results of one cell.

    `test_mse` is per round of training. `input_gate` is the mean over the units of i (LSTM) or z
    (GRU) at each step of the first test sequence, in which `marked_steps` are marked.
    """

    cell: str
    time_steps: int
    training_steps: int = 0
    steps_to_solve: int | None = None
    test_mse: list[float] = field(default_factory=list)
    gradient_norm_before: list[float] = field(default_factory=list)
    gradient_norm_after: list[float] = field(default_factory=list)
    input_gate: list[float] = field(default_factory=list)
    marked_steps: list[int] = field(default_factory=list)
    seconds: float = 0.0


def adding_problem(rng: np.random.Generator, count: int, steps: int) -> Sequences:
    """Sequences (N, T, 2) of a number and a mark, targets (N, 1)."""
    x = np.zeros((count, steps, 2), np.float32)
    x[:, :, 0] = rng.random((count, steps))
    rows = np.arange(count)
    first, second = (rng.integers(*half, count) for half in ((0, steps // 2), (steps // 2, steps)))
    x[rows, first, 1] = x[rows, second, 1] = 1.0
    return x, x[rows, first, :1] + x[rows, second, :1]


@dataclass(frozen=True)
class MemoryBias(keras.initializers.Initializer):
    """Biases i|f|c|o of an LSTM that starts with time constants of 1 to `horizon` steps."""

    horizon: int
    seed: int

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        """The biases (4U,)."""
        units = shape[0] // 4
        log = np.log(np.random.default_rng(self.seed).uniform(1.0, self.horizon - 1.0, units))
        zeros = np.zeros(units)
        return keras.ops.convert_to_tensor(np.concatenate([-log, log, zeros, zeros]), dtype)


def cells(steps: int, seed: int) -> dict[str, Callable[[], keras.Layer]]:
    """The cells compared, by label."""
    tuned: dict[str, Any] = {"unit_forget_bias": False, "bias_initializer": MemoryBias(steps, seed)}
    return {
        "SimpleRNN": lambda: keras.layers.SimpleRNN(UNITS, name="rnn"),
        "LSTM": lambda: kgated.LSTM(UNITS, name="rnn"),
        "PeepholeLSTM": lambda: kgated.PeepholeLSTM(UNITS, name="rnn"),
        "LSTM tuned to T": lambda: kgated.LSTM(UNITS, name="rnn", **tuned),
        "PeepholeLSTM tuned to T": lambda: kgated.PeepholeLSTM(UNITS, name="rnn", **tuned),
        "GRU": lambda: kgated.GRU(UNITS, name="rnn"),
    }


def flow(model: keras.Model, test: Sequences) -> list[float]:
    """The norm of the loss's gradient at each step's hidden state."""
    x, y = (part[:PROBED] for part in test)
    return [float(norm) for norm in gradient_flow(model, x, y)["rnn"]["h"]]


def input_gate(model: keras.Model, test: Sequences) -> list[float]:
    """The mean input gate of the trained cell at each step of the first test sequence."""
    trace = gate_activations(model, test[0][:1])["rnn"]
    gate = trace.get("i", trace.get("z"))
    return [] if gate is None else [float(mean) for mean in gate[0].mean(axis=-1)]


def learn(
    label: str,
    layer: Callable[[], keras.Layer],
    test: Sequences,
    rounds: int,
    seed: int,
    tell: Callable[[Result], None],
) -> Result:
    """Train one cell until the error is low enough or the maximum number of rounds is reached."""
    steps = test[0].shape[1]
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    model = keras.Sequential([keras.Input((steps, 2)), layer(), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01, clipnorm=1.0), "mse", jit_compile=True)
    result = Result(label, steps, gradient_norm_before=flow(model, test))
    start = time.perf_counter()
    while result.training_steps < rounds * STEPS_PER_ROUND:
        x, y = adding_problem(rng, BATCH * STEPS_PER_ROUND, steps)
        model.fit(x, y, batch_size=BATCH, verbose=0)
        result.training_steps += STEPS_PER_ROUND
        result.test_mse.append(float(model.evaluate(*test, batch_size=TEST, verbose=0)))
        if result.steps_to_solve is None and result.test_mse[-1] < SOLVED:
            result.steps_to_solve = result.training_steps
        tell(result)
        if result.test_mse[-1] < ENOUGH:
            break
    result.seconds = time.perf_counter() - start
    result.gradient_norm_after = flow(model, test)
    result.input_gate = input_gate(model, test)
    result.marked_steps = [int(step) for step in np.flatnonzero(test[0][0, :, 1])]
    return result


def span(norms: list[float]) -> str:
    """The gradient's norm at the first step relative to that at the last step."""
    if norms[0] < MEASURABLE:
        return f"< {MEASURABLE / norms[-1]:.0e}"
    return f"{norms[0] / norms[-1]:.0e}"


def table(results: list[Result]) -> Table:
    """The results as a table."""
    steps = results[0].time_steps
    columns = Table(
        title=f"adding problem, T = {steps} steps; predicting the mean has MSE {BASELINE:.3f}",
        caption=f"solved: training steps until the test MSE is below {SOLVED}; stopped: until it "
        f"is below {ENOUGH} or no more are allowed; before, after training: what arrives of the "
        f"loss's gradient at the hidden state of step 1, as a part of that at step {steps}",
    )
    columns.add_column("cell", no_wrap=True)
    for heading in ("test MSE", "solved", "stopped", "s", "before", "after"):
        columns.add_column(heading, justify="right")
    for result in results:
        columns.add_row(
            result.cell,
            f"{result.test_mse[-1]:.4f}",
            "no" if result.steps_to_solve is None else str(result.steps_to_solve),
            str(result.training_steps),
            f"{result.seconds:.0f}",
            span(result.gradient_norm_before),
            span(result.gradient_norm_after),
        )
    return columns


@contextmanager
def progress(rounds: int) -> Iterator[Callable[[Result], None]]:
    """A progress bar per cell; yields a function to call with each round's result."""
    columns = TextColumn("{task.description:24}"), BarColumn(), TextColumn("{task.fields[mse]}")
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}

        def tell(result: Result) -> None:
            if result.cell not in tasks:
                tasks[result.cell] = bars.add_task(result.cell, total=rounds, mse="")
            solved = "" if result.steps_to_solve is None else " solved"
            done = result.training_steps // STEPS_PER_ROUND
            mse = f"test MSE {result.test_mse[-1]:.4f}{solved}"
            bars.update(tasks[result.cell], completed=done, mse=mse)

        yield tell


def draw(results: list[Result]) -> Any:
    """Plot the gradient before and after training, the learning curves, and the input gates."""
    figure = from_demo("matplotlib.figure").Figure(
        figsize=(10.0, 6.4), layout="constrained", dpi=160
    )
    panels = figure.subplots(2, 2)
    styles = {result.cell: STYLES[result.cell] for result in results}
    before, after = panels[0]
    after.sharey(before)
    for panel, when in ((before, "before"), (after, "after")):
        norms = {result.cell: getattr(result, f"gradient_norm_{when}") for result in results}
        flows = {cell: {"h": np.array(norm)} for cell, norm in norms.items()}
        plot_gradient_flow(flows, [panel], styles)
        panel.set_title(f"Loss gradient at each step, {when} training", loc="left", fontsize=10.5)
    before.set_ylim(bottom=MEASURABLE)
    draw_learning(panels[1, 0], results, styles)
    draw_gates(panels[1, 1], results, styles)
    for panel in panels[1]:
        panel.spines[["top", "right"]].set_visible(False)
    legend: dict[str, Any] = {"loc": "outside lower center", "frameon": False, "handlelength": 3.2}
    handles = before.get_legend_handles_labels()
    figure.legend(*handles, ncols=len(results), columnspacing=1.4, **legend)
    title = f"Adding two numbers marked in a sequence of {results[0].time_steps} steps"
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    return figure


def draw_learning(panel: Any, results: list[Result], styles: dict[str, Any]) -> None:
    """Plot the test error over the training."""
    for result in results:
        steps = STEPS_PER_ROUND * np.arange(1, len(result.test_mse) + 1)
        panel.plot(steps, result.test_mse, label=result.cell, **styles[result.cell])
    for level, text in ((BASELINE, "always predicting the mean"), (SOLVED, "solved")):
        panel.axhline(level, color=text_colour(), linewidth=0.8, linestyle=":")
        beside = panel.get_yaxis_transform()
        panel.text(0.99, 0.93 * level, text, transform=beside, ha="right", va="top")
    panel.set_yscale("log")
    panel.set_title("Test error", loc="left", fontsize=10.5)
    panel.set_xlabel(f"training steps (batches of {BATCH} sequences)")
    panel.set_ylabel("mean squared error")


def draw_gates(panel: Any, results: list[Result], styles: dict[str, Any]) -> None:
    """Plot the input gates of the cells that solved the task, for one sequence."""
    for result in results:
        if result.input_gate and result.steps_to_solve is not None:
            panel.plot(result.input_gate, label=result.cell, **styles[result.cell])
    for step in results[0].marked_steps:
        panel.axvline(step, color=text_colour(), linewidth=0.8, linestyle=":", zorder=0)
        panel.text(step + 2, 0.98, "marked", transform=panel.get_xaxis_transform(), va="top")
    panel.set_ylim(bottom=0.0)
    title = "Trained cells in one sequence: gate that admits the input"
    panel.set_title(title, loc="left", fontsize=10.5)
    panel.set_xlabel("time step t")
    panel.set_ylabel("i of LSTM, z of GRU\n(mean over units)")


def main(
    length: Annotated[int, typer.Option(help="T, time steps of a sequence.", min=4)] = 200,
    steps: Annotated[int, typer.Option(help="Maximum training steps per cell.", min=50)] = 1200,
    seed: Annotated[int, typer.Option(help="Seed of the data and the weights.")] = 0,
    only: Annotated[str | None, typer.Option(help="Cells, separated by commas.")] = None,
    report: Annotated[Path | None, typer.Option("--json", help="JSON file of the results.")] = None,
    png: Annotated[Path | None, typer.Option(help="Image for the plot, in two themes.")] = None,
) -> None:
    """Train each cell on the adding problem and report which ones learn it."""
    pictures = [] if png is None else theme_paths(png).values()
    for path in (report, *pictures):
        if path is not None:
            check_writable(path)
    if png is not None:
        from_demo("matplotlib.figure")
    contenders = cells(length, seed)
    chosen = list(contenders) if only is None else [name.strip() for name in only.split(",")]
    if unknown := [name for name in chosen if name not in contenders]:
        raise typer.BadParameter(
            f"{unknown[0]!r} is not one of {list(contenders)}", param_hint="--only"
        )
    test = adding_problem(np.random.default_rng(seed + 1), TEST, length)
    rounds = -(-steps // STEPS_PER_ROUND)
    with progress(rounds) as tell:
        results = [learn(name, contenders[name], test, rounds, seed, tell) for name in chosen]
    console.print(table(results))
    if report is not None:
        replace_file(report, json.dumps([asdict(result) for result in results], indent=1).encode())
    if png is not None:
        for picture in save_in_themes(lambda: draw(results), png):
            console.print(f"picture: {picture}")


if __name__ == "__main__":
    typer.run(main)
