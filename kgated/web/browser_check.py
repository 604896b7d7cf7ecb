"""Which files LiteRT.js runs."""

from kgated_edge.errors import ManifestError
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.reader import read_model
from kgated_edge.format.verified_file import ModelPath
from kgated_edge.verifier.flatbuffer_reader import Graphs
from kgated_edge.verifier.opcodes import Op
from kgated_edge.verifier.structure import check_structure

MAX_INTEGER = 2**53 - 1


def read_browser_model(path: ModelPath) -> tuple[bytes, Manifest]:
    """Reads a model file that a browser is to run.

    Returns:
        the file, and its manifest.

    Raises:
        ManifestError: it is damaged, no stream with a batch of 1, has variable tensors, or a
            vocabulary that JavaScript cannot hold.
    """
    content, manifest = read_model(path)
    try:
        check_structure(content)
        _check_variables(content)
        _check_mode(manifest)
        _check_vocabularies(manifest)
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}") from None
    return content, manifest


def _check_variables(content: bytes) -> None:
    if operators := operators_with_variables(content):
        raise ManifestError(
            "LiteRT.js does not run files with variable tensors, which lowering='fused' makes "
            f"({', '.join(operators)}): convert the model with --mode stream"
        )


def operators_with_variables(content: bytes) -> list[str]:
    """Names of the operators that keep their state in a variable tensor."""
    codes = {
        operator.code
        for subgraph in Graphs(content).subgraphs
        for operator in subgraph.operators
        if any(n >= 0 and subgraph.tensors[n].is_variable for n in operator.inputs)
    }
    # Others that read the state, such as to set it to zero, are not what keeps it.
    names = [Op(code).name for code in sorted(codes & set(Op))]
    return names or [f"operator {code}" for code in sorted(codes)]


def _check_mode(manifest: Manifest) -> None:
    if manifest.mode != "stream":
        raise ManifestError(
            f"its mode is {manifest.mode!r}, the page runs a stream frame by frame: convert the "
            "model with --mode stream"
        )
    if manifest.batch > 1:
        raise ManifestError(
            f"it runs {manifest.batch} streams at once, the page runs one: convert the model with "
            "--batch 1"
        )


def _check_vocabularies(manifest: Manifest) -> None:
    for name, vocabulary in manifest.vocabularies.items():
        for token in vocabulary.tokens:
            if isinstance(token, int) and abs(token) > MAX_INTEGER:
                raise ManifestError(
                    f"the vocabulary of {name!r} has the integer {token}, JavaScript rounds "
                    "integers of 2**53 or more: convert the model with smaller ones"
                )
