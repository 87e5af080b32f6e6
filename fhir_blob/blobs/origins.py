"""Which object a URL names, if it leads to an endpoint: path style, virtual-host style, AWS by any of its names.

Source: https://docs.aws.amazon.com/general/latest/gr/s3.html
and https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from fhir_blob.blobs.signing import Endpoint

# s3.amazonaws.com (of any region), s3.REGION, s3-REGION, s3-fips, s3-accelerate, each dual-stack or not; in China .cn.
_AWS = re.compile(
    r"(?:(?P<bucket>.+)\.)?s3(?:-fips|-accelerate|-external-1)?(?:\.dualstack)?"
    r"(?:[.-](?P<region>[a-z]{2}(?:-[a-z]+){1,3}-\d+))?\.amazonaws\.(?P<partition>com|com\.cn)"
)


def object_at(endpoint: Endpoint, url: str) -> tuple[str, str] | None:
    """Bucket and key of a bare or presigned URL; None where it leads elsewhere."""
    if not url.startswith(("http://", "https://")):
        return None
    try:
        host, path = Endpoint.of(url, "", path_style=True).host, unquote(urlsplit(url).path)
    except ValueError:
        return None
    bucket = _bucket_before(endpoint, host)
    if bucket is None:
        return None
    key = path.removeprefix(endpoint.path).lstrip("/")
    if not bucket:
        bucket, _, key = key.partition("/")
    return (bucket, key) if bucket and key else None


def _bucket_before(endpoint: Endpoint, host: str) -> str | None:
    """The bucket that the host names, '' where the path does; None where the host is another."""
    own, given = _AWS.fullmatch(endpoint.host), _AWS.fullmatch(host)
    if own and given:
        regions = ("", None, own["region"] or endpoint.region)
        is_same = own["partition"] == given["partition"] and given["region"] in regions
        return (given["bucket"] or "") if is_same else None
    if host == endpoint.host:
        return ""
    return host.removesuffix(f".{endpoint.host}") if host.endswith(f".{endpoint.host}") else None
