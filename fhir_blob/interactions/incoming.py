"""Requests made ready to be stored: validated, Attachments linked to Binaries, bytes moved to S3.

What answers add (presigned URLs, states, sizes, data) is taken out again, so that what was read can
be written back unchanged and no URL that expires is ever stored.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from fhir_blob.errors import BadRequest, Invalid, Unprocessable
from fhir_blob.fhir import attachments
from fhir_blob.fhir.attachments import Link, Place
from fhir_blob.fhir.validation import validate
from fhir_blob.interactions import Context
from fhir_blob.interactions.drafts import Attached, Draft, abandon, binary_draft, drafted
from fhir_blob.interactions.links import NOTHING, Coming, Links, Target
from fhir_blob.search import added
from fhir_blob.store import Blob, Version


def checked(context: Context, resource: Any, type: str) -> dict[str, Any]:
    """The resource, if it is a valid one of that type; else BadRequest or Invalid with every problem."""
    if not isinstance(resource, dict):
        raise BadRequest("The body is not a FHIR resource: it has to be a JSON object.")
    if resource.get("resourceType") != type:
        given = repr(str(resource["resourceType"])[:60]) if "resourceType" in resource else "missing"
        raise BadRequest(f"The body is not a {type}: its resourceType is {given}.", expression="resourceType")
    issues = validate(resource, lenient=context.services.settings.validation == "lenient")
    if any(issue.severity == "error" for issue in issues):
        raise Invalid(f"The {type} is not valid.", issues=issues)
    if type == "SearchParameter":
        added.check(resource)
    return resource


def draft(
    context: Context, resource: dict[str, Any], id: str, *, prior: Version | None = None, coming: Coming = NOTHING
) -> Draft:
    """A Draft of a valid resource; `prior` is the version that it replaces.

    Attachments with data have their bytes in S3 afterwards: hand the Draft to `drafts.stored`. `coming` are the
    Binaries that are stored before it in the same transaction.
    """
    type = resource["resourceType"]
    links, attached = Links(context, prior, coming), Attached()
    try:
        for place in attachments.places(resource):
            _look_at(context, links, attached, place, owner=f"{type}/{id}")
    except BaseException:
        abandon(context, attached.made)
        raise
    return drafted(context, resource, id, attached)


def tried(context: Context, resource: dict[str, Any], *, prior: Version | None = None) -> tuple[str, ...]:
    """The ids of the Binaries that a valid resource's Attachments name. Unprocessable as `draft`, which writes."""
    links, attached = Links(context, prior, NOTHING), Attached()
    found: list[Link | None] = []
    for place in attachments.places(deepcopy(resource)):
        attachments.strip(place.attachment)
        if "data" in place.attachment:
            _digest(place.attachment, decoded(place.attachment["data"]))
        elif "url" in place.attachment:
            found.append(_from_url(links, attached, place.attachment))
    return tuple(link.binary_id for link in found if link is not None)


def _look_at(context: Context, links: Links, attached: Attached, place: Place, *, owner: str) -> None:
    attachment = place.attachment
    attachments.strip(attachment)
    if "data" in attachment:
        link: Link | None = _from_data(context, links, attached, attachment, owner)
    elif "url" in attachment:
        link = _from_url(links, attached, attachment)
    elif context.offer_uploads and "contentType" in attachment:
        link = _from_offer(context, attached, attachment, owner)
    else:
        return
    if link is not None:
        attached.links.append((place, link))


def _from_data(context: Context, links: Links, attached: Attached, attachment: dict[str, Any], owner: str) -> Link:
    """Data goes to S3. What is there already, since this resource had it before, stays there."""
    content = decoded(attachment.pop("data"))
    digest = _digest(attachment, content)
    known = links.with_hash(digest)
    if known is not None:
        for name in {"size", "hash"} - known.kept:
            attachment.pop(name, None)
        attachment.setdefault("url", known.url)
        return known.link
    lifecycle = context.services.lifecycle
    binary_id = context.services.new_id()
    offered = lifecycle.offer(
        binary_id=binary_id,
        version=1,
        content_type=attachment.get("contentType", "application/octet-stream"),
        creator=context.principal.name,
        owner=owner,
        pending_key="",
    )
    blob = lifecycle.write(context.tenant, offered, (content,), len(content))
    attached.made.append((_binary_draft(context, blob), blob))
    attachment.setdefault("url", f"Binary/{binary_id}/_history/1")
    return Link(binary_id, 1, as_data=True)


def _from_url(links: Links, attached: Attached, attachment: dict[str, Any]) -> Link | None:
    target = links.of(attachment["url"])
    if target is None:
        return None
    attachment["url"] = target.url
    for blob in target.blobs[-1:]:
        if blob.state == "available":
            _drop_filled_in(attachment, target)
        elif blob.state == "pending":
            _declare(attached, attachment, blob)
    return target.link


def _from_offer(context: Context, attached: Attached, attachment: dict[str, Any], owner: str) -> Link:
    """An Attachment without bytes: it gets a Binary, and its client a PUT URL."""
    blob = context.services.lifecycle.offer(
        binary_id=context.services.new_id(),
        version=1,
        content_type=attachment["contentType"],
        creator=context.principal.name,
        owner=owner,
        declared_size=attachment.get("size"),
        declared_sha1=attachment.get("hash", ""),
    )
    attached.made.append((_binary_draft(context, blob), blob))
    attachment["url"] = f"Binary/{blob.binary_id}/_history/1"
    return Link(blob.binary_id, 1)


def _digest(attachment: Mapping[str, Any], content: bytes) -> str:
    """The hash of the bytes, which the Attachment does not deny."""
    digest = base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()
    _match(attachment, "size", len(content))
    _match(attachment, "hash", digest)
    return digest


def _match(attachment: Mapping[str, Any], name: str, actual: int | str) -> None:
    declared = attachment.get(name, actual)
    if declared != actual:
        raise Unprocessable(
            f"Attachment.{name} is {str(declared)[:60]!r}, but that of the bytes is {str(actual)!r}.",
            expression=f"Attachment.{name}",
        )


def _drop_filled_in(attachment: dict[str, Any], target: Target) -> None:
    """Size and hash are answered from the blob; those of an earlier version were read before this one came."""
    blobs = target.blobs
    for name, values in (("size", [blob.size for blob in blobs]), ("hash", [blob.sha1 for blob in blobs])):
        if attachment.get(name) not in values:
            _match(attachment, name, values[-1] or "")
        elif name not in target.kept or not target.link.as_data:
            del attachment[name]


def _declare(attached: Attached, attachment: Mapping[str, Any], blob: Blob) -> None:
    size, sha1 = attachment.get("size"), attachment.get("hash", "")
    if (size is not None and blob.declared_size is None) or (sha1 and not blob.declared_sha1):
        attached.declared.append(
            blob.with_(
                declared_size=blob.declared_size if size is None else size, declared_sha1=blob.declared_sha1 or sha1
            )
        )


def decoded(data: str) -> bytes:
    """base64 as FHIR has it, already validated: white space may stand in it."""
    return base64.b64decode(data.translate(_NO_SPACE))


_NO_SPACE = dict.fromkeys(map(ord, " \t\r\n"))


def _binary_draft(context: Context, blob: Blob) -> Draft:
    resource = {"resourceType": "Binary", "contentType": blob.content_type}
    return binary_draft(context, resource, blob.binary_id, Link(blob.binary_id, 1))
