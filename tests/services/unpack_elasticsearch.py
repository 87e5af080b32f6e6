"""Takes Elasticsearch and its Java out of the archive that carries them: ARCHIVE FOLDER."""

from __future__ import annotations

import io
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

# What a node on loopback does without; apm, x-pack-core and x-pack-security are looked for at its start.
_UNNEEDED = (
    "x-pack-inference", "x-pack-geoip-enterprise-downloader", "x-pack-redact", "x-pack-migrate",
    "x-pack-esql-core", "x-pack-apm-data", "x-pack-otel-data", "logsdb", "old-lucene-versions", "rank-vectors",
)  # fmt: skip


def main(archive: str, folder: str) -> None:
    target = Path(folder)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with zipfile.ZipFile(archive) as packed:
        for each in packed.infolist():
            _, _, inner = each.filename.partition("/")
            if inner.startswith("elasticsearch/") and not each.is_dir() and not _is_unneeded(inner):
                _write(packed, each, target / "home" / inner.removeprefix("elasticsearch/"))
            elif inner.startswith("jres/OpenJDK21U-jre_x64_linux_hotspot"):
                _unpack_java(packed.read(each), target / "jre")
    (target / "home" / "plugins").mkdir()  # the archive has it, empty
    (target / ".installed").touch()


def _is_unneeded(name: str) -> bool:
    parts = name.split("/")
    return parts[1] == "modules" and len(parts) > 2 and parts[2] in _UNNEEDED


def _write(packed: zipfile.ZipFile, each: zipfile.ZipInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with packed.open(each) as source, path.open("wb") as sink:
        shutil.copyfileobj(source, sink)


def _unpack_java(content: bytes, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(content)) as packed:
        for member in packed.getmembers():
            _, _, member.name = member.name.partition("/")
            if member.name:
                packed.extract(member, folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
