"""Arguments and options of the commands, with their help."""

from pathlib import Path
from typing import Annotated

import typer

from kgated_cli.light import import_light

CELLS = import_light("kgated.cells.names").CELL_NAMES
COMPARED = ", ".join(CELLS).lower().replace("peepholelstm", "peephole")

ModelFile = Annotated[Path, typer.Argument(help="A saved Keras model (.keras, .h5).")]
LayersFile = Annotated[
    Path | None,
    typer.Option(
        "--import", help="A Python file with layers of your own, imported before the model."
    ),
]

TFLiteFile = Annotated[Path, typer.Argument(help="The .tflite file to write.")]
Mode = Annotated[
    str | None,
    typer.Option(
        help="stream: one frame per call, state in and out. sequence: a whole one per call. "
        "Else stream."
    ),
]
Quantize = Annotated[
    str,
    typer.Option(
        help="none: float32. float16: weights in half the size. dynamic: int8 weights, float "
        "state. dynamic4: 4-bit weights. int8: integers throughout, in, out and state too. "
        "int16x8: the same with int16 activations."
    ),
]
Skip = Annotated[
    list[str] | None, typer.Option(help="A layer to keep in float; may be given again.")
]
State = Annotated[
    str, typer.Option(help="external: inputs and outputs. internal: inside the file.")
]
Target = Annotated[
    str,
    typer.Option(
        help="cpu: any device that runs LiteRT. mcu: TensorFlow Lite Micro, in C++. c: C99 sources "
        "without a runtime, beside the file."
    ),
]
Lowering = Annotated[
    str,
    typer.Option(
        help="Of a sequence's steps. unrolled: each in the graph. while: a loop. auto: the "
        "faster one. fused: one builtin operator for each LSTM."
    ),
]
Length = Annotated[
    int | None, typer.Option(help="Frames of a sequence; else as the model's Input says.")
]
MaxLength = Annotated[
    int | None, typer.Option(help="In place of --length: sequences of up to so many frames.")
]
Batch = Annotated[int, typer.Option(help="Sequences, or streams, that a call takes side by side.")]
Sessions = Annotated[
    int,
    typer.Option(
        help="Of a stream: signatures for up to so many sessions at once, with the same weights, "
        "for a SessionPool."
    ),
]
Block = Annotated[
    int, typer.Option(help="Of a stream: frames a step takes; each costs less, and waits for all.")
]
Results = Annotated[
    str,
    typer.Option(help="Of a block. each: a result for every frame. last: the last one. Else auto."),
]
Calibration = Annotated[
    Path | None,
    typer.Option(
        help="Sequences (.npz) to check the file on, else noise. int8 and int16x8 take their "
        "ranges from them and do not go without."
    ),
]
CalibrationMethod = Annotated[
    str,
    typer.Option(
        help="Of the ranges. minmax: the extremes. percentile: without the sequences that "
        "reach farthest. mse: the smallest rounding error. The last two bear outliers."
    ),
]
Percentile = Annotated[float, typer.Option(help="For --calibration-method percentile.")]
EvaluationSequences = Annotated[
    Path | None,
    typer.Option(
        help="Sequences (.npz) to report on, other ones than for --calibration; with `y` the "
        "accuracy, or error, of the model and of the file."
    ),
]
Tolerance = Annotated[
    float | None,
    typer.Option(
        help="The largest RMSE allowed, relative to the spread of the output, such as 0.1; "
        "a file above it is not written."
    ),
]
VocabularyFile = Annotated[
    Path | None,
    typer.Option(
        help="The tokens of the input's ids: a text file of one a line, or .json. Not needed "
        "for a model that begins with TextVectorization or a lookup layer."
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(help="Of a single output: from here on it is the second label; else 0.5."),
]
Labels = Annotated[
    str | None, typer.Option(help="Class names, separated by commas, or a file of one a line.")
]
SamplePeriod = Annotated[
    float | None, typer.Option(help="Milliseconds from one frame to the next.")
]
Metrics = Annotated[
    list[str] | None,
    typer.Option(help="accuracy=0.98: how good the float model is; may be given again."),
]
RecipeFile = Annotated[
    Path | None,
    typer.Option(
        help="What `kgated optimize` wrote: mode, quantization, skipped layers, state, target, "
        "lowering and batch, in place of those options."
    ),
]
ConversionReport = Annotated[
    Path | None, typer.Option("--json", help="Write size and agreement with Keras here.")
]

EvaluationData = Annotated[
    Path, typer.Option(help="Sequences with class labels (.npz) to judge by.")
]
RangesData = Annotated[
    Path | None, typer.Option(help="Sequences to take ranges from; else those of --data.")
]
IntegerQuantize = Annotated[
    str, typer.Option(help="int8, int16x8, dynamic, dynamic4 or float16, as in `convert`.")
]
AccuracyLimit = Annotated[
    float, typer.Option(help="Points of accuracy that may be lost, in percent of the data.")
]
QatModel = Annotated[
    Path | None, typer.Option(help="The model after `kgated.quantize_aware`, to compare with.")
]
SearchMode = Annotated[str, typer.Option(help="stream or sequence, as in `convert`.")]
AsInConvert = Annotated[int | None, typer.Option(help="As in `convert`.")]
RecipeOutput = Annotated[
    Path, typer.Option("--output", "-o", help="Recipe for `convert --recipe`.")
]

TrainingData = Annotated[Path, typer.Argument(help="Sequences with labels (.npz).")]
ComparedData = Annotated[
    Path, typer.Argument(help="Sequences with labels or numbers `y`, or of tokens (.npz).")
]
KerasFile = Annotated[Path, typer.Argument(help="The .keras file to write.")]
ValidationData = Annotated[
    Path | None, typer.Option(help="Sequences to choose the weights by. Else a fifth of DATA.")
]
Cell = Annotated[str, typer.Option(help=f"{', '.join(CELLS[:-1])} or {CELLS[-1]}.")]
Units = Annotated[int, typer.Option(min=1, help="Width of each recurrent layer.")]
Layers = Annotated[int, typer.Option(min=1, help="Recurrent layers.")]
Dropout = Annotated[float, typer.Option(help="After each recurrent layer.")]
Epochs = Annotated[int, typer.Option(min=1, help="At most so many.")]
Refit = Annotated[
    bool,
    typer.Option(
        help="Train the final models on the training and validation data together, for the epochs "
        "that the search found best."
    ),
]
Patience = Annotated[
    int, typer.Option(min=1, help="Stop after so many epochs without a lower validation loss.")
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Sequences per step, and one pass per epoch. Else 32, and several passes over fewer "
        "than 192, so that an epoch has six steps.",
    ),
]
LearningRate = Annotated[float, typer.Option(help="Adam's at the start.")]
ClipNorm = Annotated[
    float, typer.Option(help="Scale each step's gradient down to this norm at most.")
]
Precision = Annotated[
    str, typer.Option(help="float32, mixed_bfloat16 or mixed_float16 (with a scaled loss).")
]
Seed = Annotated[int, typer.Option(min=0, help="Of the split, the weights, the order.")]
RunFolder = Annotated[
    Path | None,
    typer.Option(help="For log.csv, best.keras and a backup: the same call resumes a kill."),
]
TensorBoard = Annotated[
    bool, typer.Option("--tensorboard", help="Logs for TensorBoard in FOLDER/tensorboard.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
Augmentation = Annotated[
    str | None,
    typer.Option(
        help="Disturb frames in training: jitter=0.05 (of a deviation), scaling=0.1, drop=0.02."
    ),
]

StreamingTraining = Annotated[
    bool,
    typer.Option(
        "--streaming", help="For labels per frame: train with carried state, answer each frame."
    ),
]
ChunkSteps = Annotated[
    int, typer.Option(min=1, help="With --streaming: frames that the gradient reaches back.")
]
Stride = Annotated[
    int,
    typer.Option(
        min=1,
        help="With --streaming: frames per answer. A layer joins so many frames, and the recurrent "
        "layers run once for all of them. --steps must be a multiple of it.",
    ),
]
ComparedCells = Annotated[str, typer.Option(help=f"Cells: rnn (a plain one), {COMPARED}.")]
ComparedUnits = Annotated[str, typer.Option(help="Widths of the recurrent layers.")]
ComparedLayers = Annotated[str, typer.Option(help="Numbers of recurrent layers.")]
Bidirectional = Annotated[
    bool,
    typer.Option(
        "--bidirectional", help="Each model in both directions too; those take whole sequences."
    ),
]
ComparedRecipes = Annotated[str, typer.Option(help="Recipes, as `convert --quantize`.")]
Seeds = Annotated[int, typer.Option(min=1, help="Trainings of each model with its best options.")]
BudgetMinutes = Annotated[
    float, typer.Option(help="Of training, for all models together; each gets the same part.")
]
Trials = Annotated[
    int, typer.Option(min=1, help="Options of a training to try, at most, for each model.")
]
ComparedPeriod = Annotated[
    float | None, typer.Option(help="Milliseconds between two frames; else the data's, or 10.")
]
StayTogether = Annotated[
    str | None,
    typer.Option(
        help="What keeps sequences in one part: a pattern for the file's groups, as '(p[0-9]+)_'. "
        "Else equal groups."
    ),
]
TestData = Annotated[Path | None, typer.Option(help="Sequences to test on. Else a fifth of DATA.")]
ComparedTask = Annotated[
    str | None,
    typer.Option(
        help="classification, frame-classification, regression or next-token. Else by the data."
    ),
]
TrialStorage = Annotated[
    str | None,
    typer.Option(
        help="A PostgreSQL database for the trials, as postgresql+psycopg://user@host/name. "
        "Else a file in --out."
    ),
]
ComparisonFolder = Annotated[
    Path, typer.Option(help="For the report, the models and the trials: the same call resumes.")
]
