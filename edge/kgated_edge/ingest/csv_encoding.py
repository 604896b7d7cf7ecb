"""Tells text in UTF-8 from text in other encodings, and from damage."""

import codecs
import re

from kgated_edge.errors import DataError

UTF8_MARK = codecs.BOM_UTF8
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LATIN_LETTER, _LETTER = re.compile("[A-Za-z]"), re.compile("[A-Za-z\x80-\xff]")
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
_EXCERPT = 60


def check_not_utf16(content: bytes) -> None:
    """Refuses text that begins as UTF-16 does: with its mark, and a zero in each character.

    Args:
        content: the first bytes of a file.

    Raises:
        DataError: it is UTF-16.
    """
    if content.startswith(_UTF16_MARKS) and b"\0" in content[2:4]:
        raise DataError(
            "the file is text in UTF-16, such as Unicode text of Excel: save it as CSV in UTF-8"
        )


def check_utf8(number: int, line: bytes) -> None:
    """Refuses a line that is not text in UTF-8.

    Args:
        number: of the line, from 1.
        line: its bytes.

    Raises:
        DataError: it is text in another encoding, or no text.
    """
    if line.isascii() and b"\0" not in line:
        return
    try:
        if "\0" not in line.decode("utf-8"):
            return
    except UnicodeDecodeError:
        pass
    excerpt = line[:_EXCERPT].rstrip(b"\r\n").decode(errors="replace")
    raise DataError(
        f"line {number} is not text in UTF-8, got {excerpt!r}: save the file as CSV in UTF-8"
    )


def text_or_damage(line: bytes) -> tuple[str, bool]:
    """The text of a line, and whether it is UTF-8; other bytes are read as Latin-1."""
    try:
        return line.decode("utf-8"), b"\0" not in line
    except UnicodeDecodeError:
        return line.decode("latin-1"), False


def are_words(fields: list[str]) -> bool:
    """Whether fields that were read as Latin-1 may be names in any encoding; noise seldom may.

    Each field that is not empty has a letter of ASCII; or there are several fields, each has a
    letter of any alphabet, and none has control characters.
    """
    filled = [field for field in fields if field]
    if not filled or all(map(_LATIN_LETTER.search, filled)):
        return bool(filled)
    is_text = not any(map(_CONTROL.search, filled))
    return len(fields) > 1 and is_text and all(map(_LETTER.search, filled))
