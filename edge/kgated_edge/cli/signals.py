"""Signals that end a run."""

import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

_REPEAT_S = 1.0


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Handles SIGTERM as SIGINT, so that a run ends with a summary.

    A second signal within a second is ignored: `timeout` sends two, and the second would prevent
    the summary.
    """
    last = -math.inf

    def end(number: int, frame: Any) -> None:
        nonlocal last
        before, last = last, monotonic()
        if last - before > _REPEAT_S:
            raise KeyboardInterrupt

    # A background job of a script ignores SIGINT, and must go on doing so.
    kinds = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        kinds.append(signal.SIGINT)
    handlers = {kind: signal.signal(kind, end) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in handlers.items():
            signal.signal(kind, handler)
