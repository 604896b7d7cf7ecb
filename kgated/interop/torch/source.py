"""Read PyTorch's tensors from a module, a state dict, or a file with a state dict."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHECKPOINT = ("state_dict", "model_state_dict", "model", "net")
"""Keys of the state dict in the files of common training programs."""


def is_module(source: Any) -> bool:
    """Whether it is a `torch.nn.Module`, without importing torch."""
    return any(c.__module__.startswith("torch.nn.modules") for c in type(source).__mro__)


def tensors_of(source: Any) -> Mapping[str, Any]:
    """The state dict of a module or a file; a state dict is returned unchanged.

    Raises:
        TypeError: `source` has another type.
        ValueError: the file holds no state dict; the message says in one line what to do.
        ImportError: `source` is a path, and PyTorch is not installed.
    """
    if isinstance(source, Mapping):
        _check_tensors(source)
        return source
    if isinstance(source, str | Path):
        return _from_file(Path(source))
    if is_module(source):
        return dict(source.state_dict())
    raise TypeError(
        "`source` must be a torch.nn.Module, a state dict or the path of a .pt file. Received: "
        f"{type(source).__name__}"
    )


def _check_tensors(state_dict: Mapping[Any, Any]) -> None:
    """Raise an error for a dict that is not a state dict; a buffer of a module may be None."""
    for name, tensor in state_dict.items():
        if not isinstance(name, str):
            raise TypeError(f"`source` must have names of tensors as keys. Received: {name!r}")
        dtype = str(getattr(tensor, "dtype", type(tensor).__name__))
        if tensor is not None and not any(kind in dtype for kind in ("float", "int", "bool")):
            raise TypeError(
                f"`source` must hold tensors or arrays of numbers by name. Received: {dtype} for "
                f"`{name}`"
            )


def _from_file(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; pass a file of `torch.save(model.state_dict(), path)`"
        )
    content = _load(path)
    if isinstance(content, Mapping):
        inner = [content[name] for name in CHECKPOINT if isinstance(content.get(name), Mapping)]
        tensors = inner[0] if inner else content
        if tensors and all(hasattr(value, "shape") for value in tensors.values()):
            return tensors
        raise ValueError(
            f"{path}: this dict holds {sorted(map(str, tensors))[:8]} and no tensors: "
            "load it by `torch.load(path, weights_only=True)` and pass the state dict in it"
        )
    raise ValueError(f"{path}: this holds a {type(content).__name__}, and no dict of tensors")


def _load(path: Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{path} is read by PyTorch, which can't be imported ({error}): pip install torch"
        ) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch raises a dozen kinds of errors for damaged bytes
        raise ValueError(
            f"{path}: this is damaged, or holds more than tensors, such as a whole pickled module, "
            "and kgated runs no code from a file: load it in PyTorch and save only the weights by "
            "`torch.save(model.state_dict(), 'weights.pt')`; for TorchScript pass "
            "`torch.jit.load(path).state_dict()`"
        ) from error
