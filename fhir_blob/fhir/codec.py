"""JSON as FHIR wants it: decimals keep their digits, keys come once, nesting ends somewhere.

Source: https://hl7.org/fhir/R4/json.html
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import msgspec
import orjson

from fhir_blob.errors import NotParseable

# Objects and lists in one another.
DEPTH = 64
_KEY = re.compile(rb'"[ \t\r\n]*:')
_decoder = msgspec.json.Decoder(float_hook=Decimal)


def parse(text: bytes) -> Any:
    """The value of a JSON text. NotParseable for what is no JSON, has a key twice or is nested too deeply."""
    try:
        value = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, ArithmeticError) as error:
        if not text.strip():
            raise NotParseable("The body is empty.") from error
        raise NotParseable(f"The body is not JSON: {_told(error)}") from error
    except RecursionError as error:
        raise NotParseable(f"The body is nested deeper than {DEPTH} levels.") from error
    # Every key leaves a quote and a colon in the text, so equal counts mean that none was lost.
    if _count_keys(value, DEPTH) != len(_KEY.findall(text)):
        _refuse_duplicates(text)
    return value


def reparse(text: bytes) -> Any:
    """The value of a JSON text that this server made, such as a Bundle around what may be as deep as allowed."""
    return _decoder.decode(text)


def dump(value: Any, *, pretty: bool = False) -> bytes:
    """JSON text of a value, each number with the digits that it came with."""
    option = orjson.OPT_INDENT_2 if pretty else None
    try:
        return orjson.dumps(value, default=_digits, option=option)
    except orjson.JSONEncodeError as error:
        if "Integer" not in str(error):
            raise
        return orjson.dumps(_without_large_integers(value), default=_digits, option=option)


def _digits(value: Any) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError(type(value).__name__)


def _without_large_integers(value: Any) -> Any:
    """orjson knows integers of 64 bits only; a decimal may be written as a longer one."""
    if isinstance(value, dict):
        return {name: _without_large_integers(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_large_integers(each) for each in value]
    return Decimal(value) if isinstance(value, int) and value.bit_length() > 63 else value


def _told(error: Exception) -> str:
    """The decoder's words: a place in the text, and nothing of the text."""
    return str(error)[:200] if isinstance(error, msgspec.DecodeError) else "a number or a character is not legal."


def _count_keys(value: Any, depth: int) -> int:
    if depth < 0:
        raise NotParseable(f"The body is nested deeper than {DEPTH} levels.")
    if isinstance(value, dict):
        count = len(value)
        for each in value.values():
            if isinstance(each, dict | list):
                count += _count_keys(each, depth - 1)
        return count
    if isinstance(value, list):
        count = 0
        for each in value:
            if isinstance(each, dict | list):
                count += _count_keys(each, depth - 1)
        return count
    return 0


def _refuse_duplicates(text: bytes) -> None:
    json.loads(text, object_pairs_hook=_unique, parse_float=str, parse_int=str)


def _unique(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise NotParseable(f"The key {name[:60]!r} stands twice in one object.")
        seen.add(name)
