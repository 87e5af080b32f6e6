"""Requests that take the server longer than a connection may be quiet."""

from __future__ import annotations

import socket
import sqlite3
import time
from contextlib import closing
from threading import Thread

from tests.client import Client
from tests.services.server import Server, StartServer


def test_an_answer_may_take_its_time(start_server: StartServer) -> None:
    """Nobody has to send anything while the server works; a body that stalls after it is ended all the same."""
    server = start_server(stall_seconds=1, workers=1)
    client, answers = Client(server.base), []

    def create() -> None:
        answers.append(client("POST", "Patient", json={"resourceType": "Patient"}).status_code)

    with closing(sqlite3.connect(server.data / "metadata.sqlite", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        waits = Thread(target=create)
        waits.start()
        time.sleep(2.5)
        database.execute("ROLLBACK")
        waits.join()
    ended = stalled(server)

    assert [201] == answers
    assert b"HTTP/1.1 408 " == ended


def stalled(server: Server) -> bytes:
    """What is answered to a body that does not come, to its first blank after the version."""
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), 20) as connection:
        connection.sendall(b"POST /fhir/Binary HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Length: 9\r\n\r\n")
        return connection.recv(13)
