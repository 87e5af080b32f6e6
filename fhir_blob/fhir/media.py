"""Media types: which ones a browser may show, and how a file's name is written in a header."""

from __future__ import annotations

from urllib.parse import quote

_SHOWN = {"application/pdf", "text/plain"}


def essence(media_type: str) -> str:
    """The type without its parameters, in lower case."""
    return media_type.partition(";")[0].strip().lower()


def is_shown(media_type: str) -> bool:
    """Images but SVG, PDF and plain text: nothing that could run a script in this origin."""
    kind = essence(media_type)
    return kind in _SHOWN or (kind.startswith("image/") and "svg" not in kind)


def disposition(media_type: str, filename: str = "") -> str:
    """Content-Disposition by RFC 6266: inline or attachment, and the file's name where it has one."""
    kind = "inline" if is_shown(media_type) else "attachment"
    return f"{kind}; filename*=UTF-8''{quote(filename, safe='')}" if filename else kind
