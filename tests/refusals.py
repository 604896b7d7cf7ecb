"""The form of a refusal of bad input: an error of kgated, in one line, with a remedy."""

import re
import traceback

import pytest

from kgated.errors import ConversionError

HINT = re.compile(
    r"Received|must|needed|give|take|use|build|convert|compute|save|load|start|leave|keep|copy|"
    r"train|scale|check|make|name|drop|repeat"
)


def assert_refused(call, pattern=""):
    with pytest.raises((ValueError, TypeError, ConversionError, OSError)) as caught:
        call()
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert re.search(r"/kgated(_edge)?/", last.filename), f"{last.filename}: {caught.value!r}"
    assert last.line.startswith("raise "), f"{last.line}: {caught.value!r}"
    message = str(caught.value)
    assert "\n" not in message
    assert 20 < len(message) < 900
    assert HINT.search(message)
    assert re.search(pattern, message)
