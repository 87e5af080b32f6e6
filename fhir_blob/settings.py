"""Settings: one frozen value, from the environment and an optional TOML file.

Each field is a setting. In the file it has the field's name, in the environment FHIR_BLOB_ and the
name in capitals; the environment wins. FHIR_BLOB_SETTINGS names the file.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_LAST_PORT = 65_535


class SettingsError(Exception):
    """A setting that the server cannot start with; the sentence says what to set."""


def setting(
    default: Any,
    help: str,
    *,
    secret: bool = False,
    choices: tuple[str, ...] = (),
    least: float = 0,
    most: float = math.inf,
    urls: bool = False,
) -> Any:
    """`least` and `most` are limits of a number; `urls` that it holds URLs, with commas between them."""
    limits = {"least": least, "most": most, "urls": urls}
    return field(default=default, metadata={"help": help, "secret": secret, "choices": choices, **limits})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    host: str = setting("127.0.0.1", "Address to listen on. Other than loopback only with `auth` set.")
    port: int = setting(8000, "Port to listen on.", least=1, most=_LAST_PORT)
    workers: int = setting(2, "Server processes.", least=1)
    threads: int = setting(3, "Threads of each process.", least=1)
    max_transfers: int = setting(
        2, "Raw uploads and downloads of each process at a time; 503 beyond. Below `threads`.", least=1
    )
    public_url: str = setting(
        "", "Base URL that clients see, without /fhir; default: from the request's Host.", urls=True
    )
    trusted_proxies: str = setting(
        "",
        "Addresses and networks, separated by blanks, of the proxies whose Forwarded or X-Forwarded-* is believed;"
        " default: none.",
    )
    compression: bool = setting(True, "Compress FHIR answers from 1 kB on for clients that take gzip.")
    rate_limit: int = setting(
        0,
        "Requests a minute of each user or token, or of each address where nobody signs in; 429 beyond. 0: no limit.",
    )
    data: Path = setting(Path("data"), "Folder of the embedded database, the embedded S3 and the keys.")
    profiles: str = setting(
        "", "A folder of further conformance resources (StructureDefinition, SearchParameter, ...)."
    )

    database: str = setting(
        "", "Database URL (postgresql://user:password@host/name); default: SQLite in `data`.", secret=True
    )
    statement_timeout: float = setting(30.0, "Seconds that a database statement may take.", least=0.001)

    elasticsearch: str = setting(
        "",
        "URLs of Elasticsearch, with commas between them, where that is to answer searches; default: the database.",
        urls=True,
    )
    elasticsearch_user: str = setting("", "User of Elasticsearch.")
    elasticsearch_password: str = setting("", "Password of the user.", secret=True)
    elasticsearch_api_key: str = setting("", "API key, in place of a user.", secret=True)
    elasticsearch_ca: str = setting("", "File of the certificate authority of Elasticsearch.")
    elasticsearch_timeout: float = setting(10.0, "Seconds that a search or a write there may take.", least=0.001)
    index_prefix: str = setting("fhir-blob-", "What the names of all indices begin with.")
    index_shards: int = setting(1, "Shards of each index.", least=1)
    index_replicas: int = setting(0, "Replicas of each shard.")
    index_consistency: str = setting(
        "strict",
        "strict: a search waits until Elasticsearch has what was committed when it came. relaxed: it does not.",
        choices=("strict", "relaxed"),
    )
    index_wait_seconds: float = setting(5.0, "How long such a search waits; then it answers with a Warning.")
    index_worker: bool = setting(True, "Fill Elasticsearch from the server; false where `index-worker` runs.")

    s3_endpoint: str = setting("", "S3 endpoint URL; empty with s3_bucket set: AWS.", urls=True)
    s3_public_endpoint: str = setting("", "Endpoint in the URLs that clients get; default: s3_endpoint.", urls=True)
    s3_region: str = setting("us-east-1", "S3 region.")
    s3_bucket: str = setting("", "Bucket. Without it the embedded SeaweedFS is started.")
    s3_access_key_id: str = setting("", "Access key; without it boto3's own chain (role, profile).", secret=True)
    s3_secret_access_key: str = setting("", "Secret of the access key.", secret=True)
    s3_session_token: str = setting("", "Session token of temporary credentials.", secret=True)
    s3_path_style: bool = setting(True, "Bucket in the path (MinIO, SeaweedFS) or in the host name (AWS).")
    s3_timeout: float = setting(10.0, "Seconds to connect to S3, and between bytes.", least=0.001)
    s3_embedded_port: int = setting(
        8333, "First port of the embedded SeaweedFS; the next free ones are taken.", least=1, most=_LAST_PORT
    )

    secret_key: str = setting("", "Key that encrypts account secrets; default: a file made in `data`.", secret=True)
    put_url_seconds: int = setting(3600, "How long a presigned PUT URL is good for, at least.")
    get_url_seconds: int = setting(900, "How long a presigned GET URL is good for, at least.")
    url_window_seconds: int = setting(900, "Reads inside a window of this length get the same URL.")
    bind_content_type: bool = setting(False, "Bind the declared content type into every PUT URL.")
    plain_url_properties: bool = setting(
        False, "Also answer presignedPutUrl and presignedGetUrl as root properties of a Binary (FHIR Works on AWS)."
    )
    attachments: str = setting(
        "default", "How attachments are answered.", choices=("default", "extension", "url", "inline", "reference")
    )
    offer_uploads: bool = setting(False, "Offer a PUT URL for every empty Attachment, as attachments=upload does.")
    inline_limit: int = setting(1_048_576, "Bytes up to which an Attachment or Binary is answered as data.")
    complete_at_once: int = setting(8_388_608, "Bytes up to which a first read completes an upload itself.")
    upload_seconds: int = setting(86_400, "Longest upload; never completed ones are swept after it.")
    restore_seconds: int = setting(86_400, "How long bytes stay after their Binary was deleted.")
    stall_seconds: float = setting(
        30.0, "Seconds without a byte, or with less than 64 kB of a body, after which a transfer ends.", least=0.001
    )

    validation: str = setting(
        "strict", "lenient: unknown elements and codes outside a binding are warnings.", choices=("strict", "lenient")
    )
    update_create: bool = setting(True, "PUT to an id that is not there makes it.")
    conditional_delete: str = setting(
        "single", "Whether DELETE by criteria deletes more than one resource.", choices=("single", "multiple")
    )
    integrity: str = setting(
        "off",
        "A reference to what is not there: let be, told (warn), or refused as is the deletion of what is referred to.",
        choices=("off", "warn", "enforce"),
    )
    max_json_bytes: int = setting(20_971_520, "Largest JSON body.")
    max_raw_bytes: int = setting(5_368_709_120, "Largest raw body.")
    max_bundle_entries: int = setting(10_000, "Most entries of a batch or transaction.")
    default_count: int = setting(20, "Entries of a page when _count is not given.")
    max_count: int = setting(1000, "Most entries of a page.", least=1)

    auth: str = setting(
        "none", "none: everybody may do everything. required: users or tokens.", choices=("none", "required")
    )
    users: str = setting("", "HTTP Basic users: name=argon2 hash, separated by blanks (`fhir-blob hash`).", secret=True)
    tokens: str = setting("", "Bearer tokens: name=argon2 hash, separated by blanks.", secret=True)
    cors_origins: str = setting("*", "Origins of browser clients, separated by blanks.")
    stop_seconds: int = setting(
        2, "How long requests under way may take to finish when the server is stopped.", least=1
    )
    log_level: str = setting("info", "Least level that is logged.", choices=("debug", "info", "warning", "error"))

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.data.resolve() / 'metadata.sqlite'}"

    @property
    def embedded_s3(self) -> bool:
        return not self.s3_bucket


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of this process; SettingsError quotes what cannot be used."""
    given = _from_file(environ.get("FHIR_BLOB_SETTINGS", "")) | _from_environment(environ)
    return Settings(**{name: _typed(name, value) for name, value in given.items()})


def _from_file(name: str) -> dict[str, Any]:
    if not name:
        return {}
    try:
        given = tomllib.loads(Path(name).read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"The settings file {name!r} cannot be read: {reason}.") from error
    for each in sorted(set(given) - set(_FIELDS)):
        raise SettingsError(f"The settings file {name!r} has {each!r}, which is no setting{_nearest(each, _FIELDS)}")
    return given


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """A variable with a typing error would be a setting that silently does not count: it is refused."""
    known = {variable(name): name for name in _FIELDS}
    for each in sorted(environ):
        if each.startswith("FHIR_BLOB_") and each not in known and not _NO_SETTING.fullmatch(each):
            raise SettingsError(f"{each} is no setting{_nearest(each, known)}")
    return {name: environ[each] for each, name in known.items() if each in environ}


def _nearest(given: str, known: Iterable[str]) -> str:
    """The end of the sentence, with what may be meant."""
    names = {each.removeprefix("FHIR_BLOB_"): each for each in known}
    near = difflib.get_close_matches(given.removeprefix("FHIR_BLOB_"), names, n=1, cutoff=0.75)
    return f": is {names[near[0]]} meant?" if near else "."


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"FHIR_BLOB_{name.upper()}"


def _typed(name: str, value: Any) -> Any:
    default, given = _FIELDS[name].default, _FIELDS[name].metadata
    shown = "what it is" if given["secret"] else repr(value)
    try:
        typed = _READERS[type(default)](value)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise SettingsError(
            f"{variable(name)} cannot be {shown}: it takes {_KINDS.get(type(default), 'text')}."
        ) from error
    if given["choices"] and typed not in given["choices"]:
        raise SettingsError(f"{variable(name)} cannot be {shown}: it takes one of {', '.join(given['choices'])}.")
    if isinstance(typed, int | float) and not given["least"] <= typed <= given["most"]:
        most = f", and {given['most']} at most" if given["most"] < math.inf else ""
        raise SettingsError(f"{variable(name)} cannot be {shown}: it takes {given['least']} or more{most}.")
    if given["urls"] and typed and not all(map(_is_url, typed.split(","))):
        # Not quoted: it may hold a password.
        raise SettingsError(f"{variable(name)} takes a URL: http:// or https://, and a host.")
    return typed


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text.strip())
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 0) >= 0
    except ValueError:
        return False


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


_FIELDS = {each.name: each for each in fields(Settings)}
# The file of settings; and what Kubernetes tells every pod beside a service that is named fhir-blob.
_NO_SETTING = re.compile(r"FHIR_BLOB_(SETTINGS|SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_\w+)")
_BOOLEANS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    type(Path()): "a path",
}
_READERS: dict[type, Any] = {
    bool: lambda value: _BOOLEANS[str(value).lower()],
    int: int,
    float: float,
    str: _text,
    type(Path()): lambda value: Path(_text(value)),
}
