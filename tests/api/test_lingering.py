"""Answers reach clients that still send their bodies."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from threading import Event, Thread

import pytest

from fhir_blob.api import lingering
from fhir_blob.api.lingering import Closing
from tests.services import absent
from tests.services.server import Server

HEAD = "POST /fhir/Nonsense HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\n"
GET = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
# Sizes of which the whole comes with the head, with the answer, and long after it.
SIZES = (10, 400_000, 40_000_000)
NODE = """
const [url, size] = process.argv.slice(1), body = Buffer.alloc(Number(size));
function* pieces() { for (let at = 0; at < body.length; at += 65536) yield body.subarray(at, at + 65536); }
for (const given of [body, body, ReadableStream.from(pieces()), body]) {
  const answer = await fetch(url, {method: 'POST', body: given, duplex: 'half', headers: {'Content-Type': 'a/b'}});
  console.log(answer.status, (await answer.json()).resourceType);
}
"""


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), 20)


def answer(connection: socket.socket) -> bytes:
    """All of an answer that is an OperationOutcome, or the status of /health."""
    told = b""
    while not told.endswith(b"}"):
        part = connection.recv(65_536)
        assert part, told
        told += part
    return told


@pytest.mark.parametrize("size", SIZES)
def test_who_sends_before_listening(server: Server, size: int) -> None:
    """A client that hears nothing until it has sent everything hears the answer, each time."""
    port, heard = int(server.url.rpartition(":")[2]), []

    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        for _ in range(3):
            connection.request("POST", "/fhir/Nonsense", bytes(size), {"Content-Type": "a/b"})
            told = connection.getresponse()
            heard.append((told.status, told.read()[:35]))

    assert [(404, b'{"resourceType":"OperationOutcome",')] * 3 == heard


@pytest.mark.parametrize("size", SIZES[:2])
def test_a_small_body(server: Server, size: int) -> None:
    """It may come after its answer, and the connection is kept."""
    with connect(server) as connection:
        connection.sendall(f"{HEAD}Content-Length: {size}\r\n\r\n".encode())
        refused = answer(connection)
        connection.sendall(bytes(size))
        connection.sendall(GET)
        after = answer(connection)

    assert refused.startswith(b"HTTP/1.1 404 ")
    assert b"connection: close" not in refused.lower()
    assert after.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("length", ["Content-Length: 40000000", "Transfer-Encoding: chunked"])
def test_a_large_body(server: Server, length: str) -> None:
    """Its client is told that the connection ends, which it does when it has sent what it will."""
    with connect(server) as connection:
        connection.sendall(f"{HEAD}{length}\r\n\r\n".encode())
        refused = answer(connection)
        for _ in range(20):
            connection.sendall(b"100000\r\n" + bytes(1_048_576) + b"\r\n")
        connection.shutdown(socket.SHUT_WR)
        rest = connection.recv(1)

    assert b"connection: close" in refused.lower()
    assert b"" == rest


def test_who_asks_before_sending(server: Server) -> None:
    """Expect: 100-continue is answered by the refusal in its place, and nothing has to be sent."""
    with connect(server) as connection:
        connection.sendall(f"{HEAD}Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n".encode())
        refused, rest = answer(connection), connection.recv(1)

    assert refused.startswith(b"HTTP/1.1 404 ")
    assert b"connection: close" in refused.lower()
    assert b"" == rest


def test_who_asks_and_may_send(server: Server) -> None:
    """The connection is kept where the body was sent after 100 Continue."""
    with connect(server) as connection:
        connection.sendall(
            f"{HEAD}Content-Length: 9\r\nExpect: 100-continue\r\n\r\n".replace("Nonsense", "Binary").encode()
        )
        told = connection.recv(25)
        connection.sendall(b"some text")
        created = answer(connection)
        connection.sendall(GET)
        after = answer(connection)

    assert b"HTTP/1.1 100 Continue\r\n\r\n" == told
    assert [True, True] == [created.startswith(b"HTTP/1.1 201 "), after.startswith(b"HTTP/1.1 200 ")]


@pytest.mark.parametrize("expect", ["Expect:", "Expect: 100-continue"])
@pytest.mark.parametrize("form", [(), ("-H", "Transfer-Encoding: chunked")], ids=["length", "chunked"])
def test_curl(server: Server, tmp_path: Path, expect: str, form: tuple[str, ...]) -> None:
    """Bodies of both sizes are refused one after the other, with an outcome each."""
    program = shutil.which("curl") or absent("curl")
    url = f"{server.base}/Nonsense"
    for size in SIZES[1:]:
        (tmp_path / "body").write_bytes(bytes(size))
        run = [program, "-sS", "-H", "Content-Type: a/b", "-H", expect, *form, "--data-binary", f"@{tmp_path / 'body'}"]

        done = subprocess.run([*run, "-w", " %{http_code} ", url, url], capture_output=True, timeout=60)

        assert (0, 2, 2) == (done.returncode, done.stdout.count(b" 404 "), done.stdout.count(b"OperationOutcome"))


@pytest.mark.parametrize("size", SIZES[1:])
def test_node(server: Server, size: int) -> None:
    """Node's fetch hears each, of a body with a length and of one in chunks."""
    program = shutil.which("node") or absent("node")
    run = [program, "--input-type=module", "-e", NODE, f"{server.base}/Nonsense", str(size)]

    done = subprocess.run(run, capture_output=True, text=True, timeout=60)

    assert ["404 OperationOutcome"] * 4 == done.stdout.splitlines(), done.stderr


def test_many_who_never_send(server: Server) -> None:
    """Who promises a small body and sends nothing keeps nobody else waiting."""
    stop, slowest = Event(), 0.0

    def silent() -> None:
        while not stop.is_set():
            with connect(server) as connection:
                connection.sendall(f"{HEAD}Content-Length: 1000\r\n\r\n".encode())
                while connection.recv(65_536):
                    pass

    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit(silent) for _ in range(8)]
        with connect(server) as connection:
            for _ in range(40):
                began = time.monotonic()
                connection.sendall(GET)
                answer(connection)
                slowest = max(slowest, time.monotonic() - began)
                time.sleep(0.05)
        stop.set()
        for each in work:
            each.result(20)

    assert slowest < 1.5


def test_another_that_is_waited_for(server: Server) -> None:
    """To end a body that does not come takes nothing from one that comes slowly, on a connection as old as it."""
    head = HEAD.replace("Nonsense", "Binary")
    with connect(server) as slow, connect(server) as silent:
        slow.sendall(f"{head}Content-Length: 12\r\n\r\n".encode())
        silent.sendall(f"{HEAD}Content-Length: 12\r\n\r\n".encode())
        refused, rest = answer(silent), silent.recv(1)
        slow.sendall(b"slow, but so")
        created = answer(slow)

    assert (True, b"") == (refused.startswith(b"HTTP/1.1 404 "), rest)
    assert created.startswith(b"HTTP/1.1 201 ")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def closed(listener: socket.socket) -> socket.socket:
    """The client's end of a connection that is held, and then closed as an HTTP server does."""
    closing = Closing(listener.getsockname()[1])
    closing.start()
    client = socket.create_connection(listener.getsockname(), 20)
    accepted, _ = listener.accept()
    closing.hold("127.0.0.1")
    accepted.sendall(b"answer")
    accepted.shutdown(socket.SHUT_WR)
    accepted.close()
    return client


def sends(client: socket.socket, seconds: float, pause: float = 0.0) -> bool:
    """Whether a client can go on sending for so long."""
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            client.sendall(bytes(1000))
            time.sleep(pause)
    except OSError:
        return False
    return True


def test_nobody_sends_for_ever(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some time the connection is reset, though more comes."""
    monkeypatch.setattr(lingering, "_LONGEST", 0.5)
    with closed(listener) as client:
        assert sends(client, 0.3)
        assert not sends(client, 5)


def test_nobody_sends_without_end(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many bytes too."""
    monkeypatch.setattr(lingering, "_MOST", 1_000_000)
    with closed(listener) as client:
        assert not sends(client, 5)


def test_who_is_quiet(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some time without a byte as well; the answer has been heard."""
    monkeypatch.setattr(lingering, "_LONGEST_QUIET", 0.3)
    with closed(listener) as client:
        heard = client.recv(100)
        time.sleep(0.6)

        assert b"answer" == heard
        assert not sends(client, 5, pause=0.01)


def test_another_connection_from_there(listener: socket.socket) -> None:
    """What it sends is read by its own server, and by nobody else."""
    with socket.create_connection(listener.getsockname(), 20) as other:
        accepted, _ = listener.accept()
        with accepted, closed(listener) as client:
            sender = Thread(target=sends, args=(client, 0.3))
            sender.start()
            other.sendall(b"its own")
            time.sleep(0.2)
            sender.join()

            assert b"its own" == accepted.recv(100)
