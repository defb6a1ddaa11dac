"""What a value in the site file may be: parsers that say in a ValueError what it must be.

Read on the nodes before every VM's start, so it imports nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def choice(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return text

    return parse


def number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10) or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return parse


def yes_no(text: str) -> bool:
    return choice("yes", "no")(text.lower()) == "yes"


def absolute(text: str) -> str:
    if not text.startswith("/") or " " in text:
        raise ValueError("must be an absolute path without blanks")
    return text
