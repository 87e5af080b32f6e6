"""Requests that take the server longer than a connection may be quiet."""

from __future__ import annotations

import select
import socket
import time
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher

from fhir_blob.access.credentials import hash_secret
from tests.client import Client
from tests.services.server import Server, StartServer


def test_an_answer_may_take_its_time(start_server: StartServer) -> None:
    """Nobody has to send anything while the server works, though somebody else there stalls, and is ended."""
    tokens = f"ann={costly('ann', seconds=2.5)} ben={hash_secret('ben')}"
    server = start_server(stall_seconds=1, workers=1, auth="required", tokens=tokens)
    client = Client(server.base, Authorization="Bearer ann")
    Client(server.base, Authorization="Bearer ben").fhir("Patient")  # who is known from now on

    with ThreadPoolExecutor(2) as pool:
        created = pool.submit(client, "POST", "Patient", json={"resourceType": "Patient"})
        ended = pool.submit(stalled, server)

    assert 201 == created.result().status_code
    assert b"HTTP/1.1 408 " == ended.result()


def test_a_body_that_drips(start_server: StartServer) -> None:
    """Who sends a byte now and then is ended, and not who sends steadily, or waits meanwhile for a thread."""
    server = start_server(stall_seconds=1.5, workers=1)
    port = int(server.url.rpartition(":")[2])

    with ThreadPoolExecutor(3) as pool:
        dripped = [pool.submit(sent, port, "Patient", b" ", 0.3, 30) for _ in range(2)]
        steady = pool.submit(sent, port, "Binary", bytes(70_000), 0.3, 12)
        time.sleep(0.2)
        read = Client(server.base).get("Patient/none")

    assert [b"HTTP/1.1 408 "] * 2 == [each.result() for each in dripped]
    assert b"HTTP/1.1 201 " == steady.result()
    assert 404 == read.status_code


def sent(port: int, path: str, piece: bytes, pause: float, count: int) -> bytes:
    """What is answered to a body in so many pieces, to its first blank after the version."""
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        kind = "application/fhir+json" if path == "Patient" else "a/b"
        head = f"POST /fhir/{path} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n"
        connection.sendall(f"{head}Content-Length: {len(piece) * count}\r\n\r\n".encode())
        for _ in range(count):
            connection.sendall(piece)
            if select.select([connection], [], [], pause)[0]:
                break
        return connection.recv(13)


def costly(token: str, seconds: float) -> str:
    """A hash of the token that takes so long to check."""
    began = time.monotonic()
    PasswordHasher(time_cost=8).hash(token)
    return PasswordHasher(time_cost=round(8 * seconds / (time.monotonic() - began))).hash(token)


def stalled(server: Server) -> bytes:
    """What is answered to a body that does not come, to its first blank after the version."""
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), 20) as connection:
        head = {"Host": "a", "Content-Type": "a/b", "Content-Length": "9", "Authorization": "Bearer ben"}
        lines = ["POST /fhir/Binary HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
        connection.sendall("\r\n".join(lines).encode())
        return connection.recv(13)
