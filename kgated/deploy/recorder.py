"""A file run without delegates, where every value of a run can be looked at."""

from collections.abc import Callable
from typing import Any

from ai_edge_litert.interpreter import Interpreter, OpResolverType


def recorder(tflite: bytes) -> tuple[Interpreter, Callable[..., Any]]:
    """An interpreter that keeps all tensors, and the function that runs the one signature."""
    interpreter = Interpreter(
        model_content=tflite,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    (signature,) = interpreter.get_signature_list()
    return interpreter, interpreter.get_signature_runner(signature)
