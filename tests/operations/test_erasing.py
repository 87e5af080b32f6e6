"""`$erase` beside Elasticsearch: the index has nothing of the patient either, though it was away meanwhile."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import requests

from tests.client import Client
from tests.services.server import StartServer, free_port

PREFIX = "erased-"


class Road:
    """A port that leads to another one, until it is cut."""

    def __init__(self, port: int) -> None:
        self._to, self.port = port, free_port()
        self._ends: list[socket.socket] = []
        self.mend()

    def mend(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        for each in (self._listener, *self._ends):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._ends.clear()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_pass_on, args=(one, other), daemon=True).start()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(65_536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)


@pytest.fixture
def road(elasticsearch_url: str) -> Iterator[Road]:
    road = Road(int(elasticsearch_url.rpartition(":")[2]))
    yield road
    road.cut()


def held(elasticsearch_url: str) -> set[str]:
    """The ids of all that the indices have."""
    requests.post(f"{elasticsearch_url}/{PREFIX}*/_refresh", timeout=30)
    found = requests.get(f"{elasticsearch_url}/{PREFIX}*/_search", json={"size": 1000}, timeout=30).json()
    return {f"{each['_index']}/{each['_id']}" for each in found["hits"]["hits"]}


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.2)


def record(fhir: Client, family: str) -> str:
    """A patient with an Observation that was changed, one that was deleted and a document: the patient's id."""
    id = fhir.create({"resourceType": "Patient", "name": [{"family": family}]})["id"]
    subject = {"reference": f"Patient/{id}"}
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": f"{family}'s"},
        "subject": subject,
    }
    changed, gone = fhir.create(observation), fhir.create(observation)
    fhir.update({**changed, "status": "amended"})
    fhir("DELETE", f"Observation/{gone['id']}")
    attachment = {"contentType": "text/plain", "data": "eA=="}
    content = [{"attachment": attachment}]
    document = {"resourceType": "DocumentReference", "status": "current", "subject": subject, "content": content}
    fhir.create({**document, "description": f"{family}'s letter"})
    return str(id)


def searches(fhir: Client, id: str, family: str) -> list[int]:
    """How many are found by the id, and by the name."""
    by_id = (f"Patient?_id={id}", f"Observation?subject=Patient/{id}", f"DocumentReference?patient={id}")
    by_name = (f"{type}?_content={family}" for type in ("Patient", "Observation", "DocumentReference"))
    return [fhir.fhir(each)["total"] for each in (*by_id, *by_name)]


def test_nothing_is_left_in_the_index(elasticsearch_url: str, road: Road, start_server: StartServer) -> None:
    """No search finds anything at once; where the index could not be reached, as soon as it can be."""
    settings: dict[str, Any] = {"elasticsearch": f"http://127.0.0.1:{road.port}", "index_prefix": PREFIX}
    fhir = Client(start_server(**settings, elasticsearch_timeout=5).base)
    ulrica = record(fhir, "Ulrica")
    of_ulrica = searches(fhir, ulrica, "Ulrica"), held(elasticsearch_url)
    near, far = (record(fhir, "Zenobia") for _ in range(2))
    before = [searches(fhir, id, "Zenobia") for id in (near, far)], len(held(elasticsearch_url))

    fhir("POST", f"Patient/{near}/$erase")
    at_once = searches(fhir, near, "Zenobia")
    road.cut()
    erased = fhir("POST", f"Patient/{far}/$erase").status_code
    unreachable = fhir.get("Patient?family=Zenobia").status_code
    road.mend()
    until(lambda: fhir.get("Patient?family=Zenobia").status_code == 200)

    assert ([[1, 1, 1, 2, 2, 2]] * 2, len(of_ulrica[1]) + 2 * 4) == before
    assert ([0, 0, 0, 1, 1, 1], 200, 503) == (at_once, erased, unreachable)
    assert [0] * 6 == searches(fhir, far, "Zenobia")
    assert of_ulrica == (searches(fhir, ulrica, "Ulrica"), held(elasticsearch_url))
