"""JSON as batch systems print it: nothing, one document or several in a row, raw control characters in strings."""

from __future__ import annotations

import json
from typing import Any

_READER = json.JSONDecoder(strict=False)


def documents(text: str) -> list[Any] | None:
    """All documents in `text`, in their order; None when anything else is in it."""
    text, at, found = text.strip(), 0, []
    while at < len(text):
        try:
            document, at = _READER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        found.append(document)
        while at < len(text) and text[at].isspace():
            at += 1
    return found
