"""After a crash, the operator and layer that a file was at."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.deploy.tflite.operator_runs import SUSPECT, run_by_operator
from kgated.deploy.worker import LOCATE
from kgated_worker import LOG_LINE, CrashError, Worker


def file_of(scales):
    """`tanh(x) -> squashed`, then `squashed + squashed -> added`, in int8 of these scales."""
    model = schema.ModelT(version=3, buffers=[schema.BufferT()], operatorCodes=[])
    tensors = [
        schema.TensorT(
            name=name.encode(),
            shape=np.array([1, 4], np.int32),
            type=schema.TensorType.INT8,
            buffer=0,
            quantization=schema.QuantizationParametersT(
                scale=np.array([scale], np.float32), zeroPoint=np.array([0], np.int64)
            ),
        )
        for name, scale in zip(("x", "first/squashed", "second/added"), scales, strict=True)
    ]
    tanh = schema.OperatorT(inputs=[0], outputs=[1])
    add = schema.OperatorT(
        inputs=[1, 1],
        outputs=[2],
        builtinOptionsType=schema.BuiltinOptions.AddOptions,
        builtinOptions=schema.AddOptionsT(),
    )
    codes = schema.BuiltinOperator
    for operator, code in ((tanh, codes.TANH), (add, codes.ADD)):
        operator.opcodeIndex = flatbuffer.code_index(model, code)
    for code in model.operatorCodes:
        code.version = 2
    graph = schema.SubGraphT(tensors=tensors, inputs=[0], outputs=[2], operators=[tanh, add])
    entry = schema.TensorMapT
    model.subgraphs = [graph]
    model.signatureDefs = [
        schema.SignatureDefT(
            inputs=[entry(name=b"x", tensorIndex=0)],
            outputs=[entry(name=b"y", tensorIndex=2)],
            signatureKey=b"serve",
            subgraphIndex=0,
        )
    ]
    return model


def test_a_crash_names_the_operator_and_the_layer(tmp_path):
    worker = Worker("json")
    (tmp_path / SUSPECT).write_bytes(flatbuffer.pack(file_of([1 / 64, 1 / 128, 1e-12])))
    with pytest.raises(
        CrashError, match=r"\(SIGABRT\) at operator ADD of layer `second`"
    ) as caught:
        worker.run(LOCATE, tmp_path)
    assert caught.value.stage == "operator ADD of layer `second`"
    (tmp_path / SUSPECT).write_bytes(flatbuffer.pack(file_of([1 / 64, 1 / 128, 1 / 32])))
    worker.run(LOCATE, tmp_path)
    worker.stop()


def test_each_operator_runs_on_what_the_one_before_it_wrote(monkeypatch):
    stages, model = [], file_of([1 / 64, 1 / 128, 1 / 32])
    monkeypatch.setattr("kgated.deploy.tflite.operator_runs.begin", stages.append)
    run_by_operator(model, {"x": np.zeros((1, 4), np.float32)}, LayerTable.from_names(model))
    assert stages == ["operator TANH of layer `first`", "operator ADD of layer `second`"]


LINES = [
    ("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.", True),
    ("WARNING: All log messages before absl::InitializeLog() is called", True),
    ("W0000 00:00:1795968735.645089   22032 helpers.cc:367] Ignored drop", True),
    ("2026-11-29 16:10:03.123456: I tensorflow/core/util/port.cc:153] oneDNN", True),
    ("2026-11-29 16:10:03.123456: F tensorflow/core/x.cc:1] Check failed", False),
    ("F0000 00:00:1795968735.645089   22032 x.cc:1] Check failed: a < b", False),
    ("terminate called after throwing an instance of 'std::bad_alloc'", False),
]


@pytest.mark.parametrize(("line", "is_log"), LINES)
def test_log_lines_are_no_cause(line, is_log):
    assert bool(LOG_LINE.match(line)) is is_log
