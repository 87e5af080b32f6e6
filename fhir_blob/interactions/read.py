"""The read and vread interactions: https://hl7.org/fhir/R4/http.html#read and #vread"""

from __future__ import annotations

from collections.abc import Collection

from fhir_blob.errors import Gone, NotFound, UnknownVersion
from fhir_blob.interactions import Answer, Context, Found, outgoing
from fhir_blob.store import Reader, Version


def read(context: Context, type: str, id: str) -> Answer:
    """200 with the current version. NotFound, or Gone where it was deleted."""
    with context.services.store.read(context.tenant) as reader:
        found = find(context, reader, type, id)
    return found.answer()


def find(context: Context, reader: Reader, type: str, id: str) -> Found:
    """The answer to a read, found there."""
    version = current(reader, type, id)
    blobs = outgoing.blobs_of(reader, (version,))
    if type == "Binary":
        blobs = outgoing.with_offer(blobs, id, reader.offered(id))
    return Found(len(version.body), lambda: _answer(context, version, outgoing.settle(context, blobs), 200))


def vread(context: Context, type: str, id: str, number: str) -> Answer:
    """200 with that version. UnknownVersion, or Gone where that version is a deletion."""
    with context.services.store.read(context.tenant) as reader:
        found = find_numbered(context, reader, type, id, number)
    return found.answer()


def find_numbered(context: Context, reader: Reader, type: str, id: str, number: str) -> Found:
    """The answer to a vread, found there."""
    version = numbered(reader, type, id, number)
    blobs = outgoing.blobs_of(reader, (version,))
    return Found(len(version.body), lambda: _answer(context, version, outgoing.settle(context, blobs), 200))


def answer(context: Context, version: Version, *, status: int, made: Collection[str] = ()) -> Answer:
    """The answer to a write, whose blobs are read after it; nothing can have been uploaded for those just `made`."""
    blobs: outgoing.Blobs = {}
    if version.slots:
        with context.services.store.read(context.tenant) as reader:
            blobs = outgoing.blobs_of(reader, (version,))
            if version.type == "Binary":
                blobs = outgoing.with_offer(blobs, version.id, reader.offered(version.id))
    old = {key: blob for key, blob in blobs.items() if blob.id not in made}
    return _answer(context, version, {**blobs, **outgoing.settle(context, old)}, status)


def current(reader: Reader, type: str, id: str) -> Version:
    version = reader.current(type, id)
    if version is None:
        raise NotFound(f"{type}/{id[:80]} is not known.")
    if version.deleted:
        raise Gone(f"{type}/{id} was deleted.", headers={"ETag": f'W/"{version.version}"'})
    return version


def numbered(reader: Reader, type: str, id: str, number: str) -> Version:
    is_number = number.isascii() and number.isdigit() and len(number) < 19
    version = reader.version(type, id, int(number)) if is_number else None
    if version is None:
        raise UnknownVersion(f"{type}/{id[:80]} has no version {number[:80]!r}.")
    if version.deleted:
        raise Gone(f"{type}/{id} was deleted in version {number}.")
    return version


def _answer(context: Context, version: Version, blobs: outgoing.Blobs, status: int) -> Answer:
    body = outgoing.bodies(context, (version,), blobs)[0]
    return Answer(status, body, version, signed=version.slots is not None)
