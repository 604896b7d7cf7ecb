"""A check of finished loops: each operand has the same numbers outside and inside of the loop."""

from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite import flatbuffer
from kgated.errors import ConversionError


def check_loop_operands(model: schema.ModelT) -> None:
    """Refuse a WHILE whose inputs, outputs or body have operands of unlike numbers.

    Raises:
        ConversionError: type, scale or zero point of an operand differ.
    """
    for graph, operator in flatbuffer.operators(model):
        if flatbuffer.operator_name(model, operator) == "WHILE":
            _check(model, graph, operator)


def _check(model: schema.ModelT, graph: schema.SubGraphT, loop: schema.OperatorT) -> None:
    body = model.subgraphs[loop.builtinOptions.bodySubgraphIndex]
    sides = {
        "inputs": (graph, loop.inputs),
        "outputs": (graph, loop.outputs),
        "inputs of the body": (body, body.inputs),
        "outputs of the body": (body, body.outputs),
    }
    wanted = _numbers(*sides["inputs"])
    for side, (owner, tensors) in sides.items():
        numbers = _numbers(owner, tensors)
        if numbers != wanted:
            pairs = zip(numbers, wanted, strict=True)
            place = next(n for n, (own, like) in enumerate(pairs) if own != like)
            name = flatbuffer.tensor_name(graph.tensors[loop.inputs[place]])
            raise ConversionError(
                f"the quantized loop is broken: `{name}` has type, scale and zero point "
                f'{wanted[place]}, and the {side} {numbers[place]}; take `lowering="unrolled"`, '
                "and report the model"
            )


def _numbers(
    graph: schema.SubGraphT, tensors: list[int]
) -> list[tuple[str, tuple[float, int] | None]]:
    """Type, scale and zero point of each operand."""
    parts = [graph.tensors[n] for n in tensors]
    return [(flatbuffer.type_name(x), flatbuffer.scale_and_zero_point(x)) for x in parts]
