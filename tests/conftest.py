"""Fixtures that every test may ask for."""

from tests.services.server import server, start_server

__all__ = ["server", "start_server"]
