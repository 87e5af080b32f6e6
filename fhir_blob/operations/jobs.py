"""`$reindex` as a job that outlives its process: started, asked for, and done by whichever server is there.

The task in the outbox is postponed again and again while somebody works on it; who dies leaves it to the
next, which begins again with the type that was under way.
Source: https://hl7.org/fhir/R4/async.html
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fhir_blob.errors import BadParameter, FhirError, NotFound
from fhir_blob.fhir import codec
from fhir_blob.fhir.definitions import definitions
from fhir_blob.interactions import Answer, Context, Services
from fhir_blob.operations.reindexing import Reindexing
from fhir_blob.store import Task, Transaction

_KIND = "reindex"
_LEASE = 30_000_000
_MOST_TRIES = 5


def start(context: Context, pairs: Sequence[tuple[str, str]]) -> Answer:
    """202 with the URL of the job's state. A job that is under way is not begun a second time."""
    types = [each for name, value in pairs if name == "type" for each in value.split(",") if each]
    unknown = [each for each in types if each not in definitions().types]
    if unknown:
        raise BadParameter(f"type={unknown[0][:80]!r} is no resource type of FHIR R4.")
    services, tasks = context.services, context.services.store.index_tasks
    under_way = _state(services)
    if under_way.get("state") not in ("queued", "running"):
        job = {"id": services.new_id(), "types": types or list(definitions().types), "done": 0, "resources": 0}
        tasks.put_state(_KIND, json.dumps({**job, "state": "queued"}))

        def work(transaction: Transaction) -> None:
            transaction.enqueue(Task(_KIND, json.dumps(job)))

        services.store.write(context.tenant, work)
        under_way = job
    return Answer(202, headers={"Content-Location": f"{context.base}/$reindex-status/{under_way['id']}"})


def state(context: Context, id: str) -> Answer:
    """202 while it is under way, with X-Progress; 200 with an OperationOutcome once it has ended."""
    job = _state(context.services)
    if job.get("id") != id:
        raise NotFound(f"No job has the id {id[:80]!r}: the last one alone is remembered.")
    told = f"{job['done']} of {len(job['types'])} types, {job['resources']} resources"
    if job["state"] in ("queued", "running"):
        return Answer(202, headers={"X-Progress": f"{job['state']}: {told}", "Retry-After": "1"})
    failed = job["state"] == "failed"
    issue = {
        "severity": "error" if failed else "information",
        "code": "exception" if failed else "informational",
        "diagnostics": f"The reindex has failed after {told}: {job['error']}" if failed else f"Reindexed: {told}.",
    }
    return Answer(200, codec.dump({"resourceType": "OperationOutcome", "issue": [issue]}))


def run_due(services: Services, reindexing: Reindexing) -> bool:
    """Do the job that is due, if there is one."""
    claimed = services.store.claim((_KIND,), now=services.clock(), lease=_LEASE, limit=1)
    for task in claimed:
        _Run(services, reindexing, task).run()
    return bool(claimed)


class _Run:
    """One try at a job; `job` is what is told of it."""

    def __init__(self, services: Services, reindexing: Reindexing, task: Task) -> None:
        self._services, self._reindexing, self._task = services, reindexing, task
        told = _state(services)
        self._job: dict[str, Any] = (
            told if told.get("id") == json.loads(task.payload)["id"] else json.loads(task.payload)
        )
        self._kept = 0

    def run(self) -> None:
        try:
            types = self._job["types"]
            self._reindexing.run(types[self._job["done"] :], self._progress, self._type_done)
        except FhirError as error:
            if self._task.attempts < _MOST_TRIES:
                self._tell("running", error=str(error))
                later = self._services.clock() + 2_000_000 * 2**self._task.attempts
                return self._services.store.postpone(self._task, not_before=later, error=str(error))
            self._tell("failed", error=str(error))
        else:
            self._tell("done")
        self._services.store.finish(self._task)

    def _progress(self, type: str, count: int) -> None:
        now = self._services.clock()
        if now - self._kept > _LEASE // 6:
            self._kept = now
            self._tell("running")
            self._services.store.postpone(self._task, not_before=now + _LEASE, error="")

    def _type_done(self, type: str, count: int) -> None:
        self._job["done"] += 1
        self._job["resources"] += count

    def _tell(self, state: str, **more: str) -> None:
        self._services.store.index_tasks.put_state(_KIND, json.dumps({**self._job, "state": state, **more}))


def _state(services: Services) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(services.store.index_tasks.state(_KIND) or "{}")
    return found
