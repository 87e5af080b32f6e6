"""Regular expressions that others wrote, by RE2: none takes for ever, and none with look-ahead is taken.

Source: https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

from typing import Any


def pattern(text: str, *, dot_nl: bool = False) -> Any:
    """What `re.compile` gives; with `dot_nl` a dot is a line's end too. ValueError for what RE2 does not take."""
    import re2  # where nobody has patterns it is not needed

    options = re2.Options()
    options.dot_nl, options.log_errors = dot_nl, False
    try:
        return re2.compile(text, options)
    except re2.error as error:
        raise ValueError(str(error)) from error
