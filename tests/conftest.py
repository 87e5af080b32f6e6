"""Fixtures that every test may ask for."""

from tests.services.browser import browser
from tests.services.elasticsearch import elasticsearch_url, own_elasticsearch
from tests.services.postgresql import fresh_postgresql_url, own_postgresql, postgresql_url
from tests.services.s3 import minio, s3, seaweedfs
from tests.services.server import server, start_server

__all__ = [
    "browser",
    "elasticsearch_url",
    "fresh_postgresql_url",
    "minio",
    "own_elasticsearch",
    "own_postgresql",
    "postgresql_url",
    "s3",
    "seaweedfs",
    "server",
    "start_server",
]
