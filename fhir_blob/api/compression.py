"""gzip, both ways: what is asked for and taken, and how large a body may become.

Source: https://www.rfc-editor.org/rfc/rfc9110#name-content-encoding and https://www.rfc-editor.org/rfc/rfc7694
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from functools import lru_cache

from fhir_blob.api import negotiation
from fhir_blob.errors import BodyTruncated, NotParseable, TooLarge, UnsupportedMediaType

# Bytes from which it is worth its headers and its time.
LEAST = 1024
# The least there is: level 6 takes three times as long, for a tenth less of a Bundle of 20 documents.
_LEVEL = 1
# zlib's way to say gzip: https://zlib.net/manual.html#Advanced
_GZIP = 16 + zlib.MAX_WBITS
_PLAIN = ("", "identity")


@lru_cache(256)
def takes_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header likes gzip at least as much as nothing."""
    asked = dict(negotiation.ranges(accept_encoding))
    liked = asked.get("gzip", asked.get("x-gzip", asked.get("*", 0.0)))
    return liked > 0 and liked >= asked.get("identity", 0.0)


def compressed(body: bytes) -> bytes:
    """The same for the same body: without the time."""
    encoder = zlib.compressobj(_LEVEL, wbits=_GZIP)
    return encoder.compress(body) + encoder.flush()


def decoded(encoding: str, chunks: Iterable[bytes], limit: int) -> bytes:
    """The body without its Content-Encoding.

    UnsupportedMediaType for another than gzip, TooLarge as soon as it has more than `limit` bytes.
    """
    coding = encoding.strip().lower()
    if coding in _PLAIN:
        return b"".join(chunks)
    if coding not in ("gzip", "x-gzip"):
        raise UnsupportedMediaType(
            f"Content-Encoding is {encoding[:80]!r}: this takes gzip.", headers={"Accept-Encoding": "gzip"}
        )
    return _inflated(chunks, limit)


def _inflated(chunks: Iterable[bytes], limit: int) -> bytes:
    decoder, parts, left = zlib.decompressobj(_GZIP), [], limit
    try:
        for chunk in chunks:
            parts.append(decoder.decompress(chunk, left + 1))
            left -= len(parts[-1])
            if left < 0:
                raise TooLarge(f"The body has more than {limit} bytes when it is decompressed, which is the most here.")
            if decoder.unused_data:
                raise NotParseable("The body goes on after the end of its gzip.")
    except zlib.error as error:
        raise NotParseable("Content-Encoding is gzip, but the body is not.") from error
    if not decoder.eof:
        raise BodyTruncated("The body ends before its gzip does.")
    return b"".join(parts)


def refuse(encoding: str) -> None:
    """UnsupportedMediaType for bytes in a Content-Encoding: they are kept, hashed and given back as they are."""
    if encoding.strip().lower() not in _PLAIN:
        raise UnsupportedMediaType(
            f"Content-Encoding is {encoding[:80]!r}: the bytes of a Binary are taken as they are, without one.",
            headers={"Accept-Encoding": "identity"},
        )
