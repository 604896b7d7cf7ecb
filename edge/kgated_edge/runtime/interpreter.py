"""Opens a model file and binds its tensors. Only this module creates interpreters."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ai_edge_litert.interpreter import Interpreter

from kgated_edge.errors import EdgeError, ManifestError
from kgated_edge.format.manifest import SIGNATURES, Manifest
from kgated_edge.format.reader import read_model
from kgated_edge.format.signature_selection import select_signature
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.format.verified_file import ModelPath
from kgated_edge.runtime import tensor_views
from kgated_edge.verifier.structure import check_structure

_MAX_THREADS = 256  # the interpreter starts all of them, however few CPUs there are


@dataclass(frozen=True)
class Binding:
    """An interpreter ready to run, and views of its tensors.

    Attributes:
        manifest: the manifest in the file.
        content: the file's bytes, shared by all interpreters of it; with several signatures, those
            of this one.
        num_threads: threads of the interpreter.
        interpreter: owns the memory of the views; `invoke()` runs the signature.
        inputs, outputs: a view of each tensor of the signature by name, without a batch axis of 1.
        whole: the bytes of a file with several signatures, where `bind` was asked to keep them.
    """

    manifest: Manifest
    content: bytes
    num_threads: int
    interpreter: Any
    inputs: dict[str, Array]
    outputs: dict[str, Array]
    whole: bytes | None = None

    @property
    def engine(self) -> str:
        """The name of the engine."""
        return "litert"

    @property
    def checks_numbers(self) -> bool:
        """Whether `invoke()` returns true, and does nothing, for NaN and inf in an input."""
        return False

    def quick_step(self, idle: list[Any]) -> Callable[[Any], Any] | None:
        """A step in one call, or None.

        Args:
            idle: empty while another thread uses the model.

        Returns:
            a function of the frame that returns a new result, or None where it does not take the
            frame and nothing was done.
        """
        return None

    def clone(self) -> "Binding":
        """A second binding on the same bytes, with its own interpreter and tensors."""
        binding = _bind(self.content, self.manifest, self.num_threads)
        return replace(binding, whole=self.whole)

    def for_sessions(self, batch: int) -> "Binding":
        """A binding of the signature for so many sessions; needs `whole`.

        Raises:
            ManifestError: that signature does not run.
        """
        assert self.whole is not None, "`bind` was asked to keep the file"
        manifest = self.manifest.for_sessions(batch)
        try:
            return _checked(self.whole, manifest, self.num_threads)
        except (ManifestError, RuntimeError, TypeError, ValueError) as error:
            raise _does_not_run(f"its signature '{manifest.signature}'", error) from None

    def reset_internal_state(self) -> None:
        """Sets the state inside the interpreter to zero, where the file keeps it there."""
        if self.manifest.state == "internal":
            # The runner must not outlive this call: it makes `invoke()` refuse to run.
            self.interpreter.get_signature_runner("reset")()


def bind(path: ModelPath, num_threads: int, mode: str, keep_whole: bool = False) -> Binding:
    """Opens a file and binds every input and output of its signature.

    Args:
        path: a `.tflite` file made by `kgated convert`.
        num_threads: threads of the interpreter, 1..256.
        mode: the mode that the caller runs; a file of another mode is refused.
        keep_whole: whether to keep the whole of a file with several signatures.

    Raises:
        ManifestError: the file cannot be run; the message says why and what to do.
        EdgeError: `num_threads` is out of range.
    """
    if type(num_threads) is not int or not 1 <= num_threads <= _MAX_THREADS:
        raise EdgeError(f"`num_threads` must be an int in 1..{_MAX_THREADS}, got {num_threads!r}")
    content, manifest = read_model(path)
    if manifest.mode != mode:
        raise wrong_mode(path, manifest.mode, mode)
    try:
        check_structure(content)
        binding = _checked(content, manifest, num_threads)
        return replace(binding, whole=content) if keep_whole and manifest.sessions else binding
    except (ManifestError, RuntimeError, TypeError, ValueError) as error:
        raise _does_not_run(f"{path}: the model", error) from None


def _does_not_run(what: str, error: Exception) -> ManifestError:
    return ManifestError(f"{what} does not run here: {' '.join(str(error).split())}")


def _checked(content: bytes, manifest: Manifest, num_threads: int) -> Binding:
    """Binds one signature of a file that may have several."""
    if manifest.sessions or manifest.signature not in SIGNATURES.values():
        content = select_signature(content, manifest.signature)
    return _bind(content, manifest, num_threads)


def _bind(content: bytes, manifest: Manifest, num_threads: int) -> Binding:
    """Creates an interpreter, reads its tensors' addresses, and checks that a run keeps them."""
    interpreter = Interpreter(model_content=content, num_threads=num_threads)
    interpreter.allocate_tensors()
    inputs, outputs = _signature(interpreter, manifest)
    sources, results = before = _all_addresses(interpreter, inputs, outputs)
    sides = _views(sources, manifest.inputs), _views(results, manifest.results)
    for view in sides[0].values():
        view.fill(0)
    interpreter.invoke()
    binding = Binding(manifest, content, num_threads, interpreter, *sides)
    binding.reset_internal_state()
    if _all_addresses(interpreter, inputs, outputs) != before:
        raise ManifestError("its tensors move while it runs: convert it with fixed shapes")
    return binding


def wrong_mode(path: ModelPath, actual: str, wanted: str) -> ManifestError:
    """The error on a file of another mode than the caller runs."""
    return ManifestError(
        f"{path}: its mode is '{actual}', this runs '{wanted}' models: `kgated-edge check` and "
        f'`open_model` take both; or convert the model with mode="{wanted}", if its layers allow it'
    )


def _signature(
    interpreter: Any, manifest: Manifest
) -> tuple[tensor_views.Details, tensor_views.Details]:
    """Details of the signature's inputs and outputs, checked against the manifest."""
    expected = {manifest.signature} | ({"reset"} if manifest.state == "internal" else set())
    signatures = list(interpreter.get_signature_list())
    if set(signatures) != expected:
        raise ManifestError(f"its signatures are {signatures}, not {sorted(expected)}")
    # The runner must not outlive this call: it makes `invoke()` refuse to run.
    runner = interpreter.get_signature_runner(manifest.signature)
    inputs, outputs = runner.get_input_details(), runner.get_output_details()
    tensor_views.check_tensors(inputs, manifest.inputs, manifest.batch)
    tensor_views.check_tensors(outputs, manifest.results, manifest.batch)
    return inputs, outputs


def _all_addresses(
    interpreter: Any, inputs: tensor_views.Details, outputs: tensor_views.Details
) -> tuple[dict[str, int], dict[str, int]]:
    return tensor_views.addresses(interpreter, inputs), tensor_views.addresses(interpreter, outputs)


def _views(addresses: dict[str, int], specs: Iterable[TensorSpec]) -> dict[str, Array]:
    return {spec.name: tensor_views.view(addresses[spec.name], spec) for spec in specs}
