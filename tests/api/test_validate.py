"""$validate over HTTP: https://hl7.org/fhir/R4/resource-operation-validate.html"""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.client import Client
from tests.services.server import Server, StartServer

TIDY = "http://example.org/StructureDefinition/validated"
PROFILE = {
    "resourceType": "StructureDefinition",
    "id": "validated",
    "url": TIDY,
    "version": "2",
    "name": "Validated",
    "status": "active",
    "kind": "resource",
    "abstract": False,
    "type": "Patient",
    "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Patient",
    "derivation": "constraint",
    "differential": {
        "element": [
            {"id": "Patient", "path": "Patient"},
            {"id": "Patient.name", "path": "Patient.name", "min": 1},
            {
                "id": "Patient.maritalStatus",
                "path": "Patient.maritalStatus",
                "binding": {"strength": "required", "valueSet": "http://example.org/ValueSet/validated"},
            },
        ]
    },
}
CODE_SYSTEM = {
    "resourceType": "CodeSystem",
    "id": "validated",
    "url": "urn:validated",
    "status": "active",
    "content": "complete",
    "concept": [{"code": "1", "concept": [{"code": "1a"}]}],
}
VALUE_SET = {
    "resourceType": "ValueSet",
    "id": "validated",
    "url": "http://example.org/ValueSet/validated",
    "status": "active",
    "compose": {
        "include": [{"system": "urn:validated"}],
        "exclude": [{"system": "urn:validated", "concept": [{"code": "1"}]}],
    },
}
OK = [("information", "informational", None)]
NAME = [{"family": "a"}]


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    client = Client(server.base)
    for each in (PROFILE, CODE_SYSTEM, VALUE_SET):
        client.update(each)
    return client


def patient(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **more}


def parameters(resource: dict[str, Any] | None = None, **texts: str) -> dict[str, Any]:
    given: list[dict[str, Any]] = [] if resource is None else [{"name": "resource", "resource": resource}]
    for name, text in texts.items():
        given.append({"name": name, "valueUri" if name == "profile" else "valueCode": text})
    return {"resourceType": "Parameters", "parameter": given}


def told(response: requests.Response) -> list[tuple[str, str, str | None]]:
    assert 200 == response.status_code, response.text
    outcome = response.json()
    assert "OperationOutcome" == outcome["resourceType"]
    return [(each["severity"], each["code"], each.get("expression", [None])[0]) for each in outcome["issue"]]


def test_ok(client: Client) -> None:
    """Without an issue it says so, of a resource and of Parameters, in JSON and in XML; nothing is stored."""
    before = client.fhir("Patient/_history?_count=1")["total"]
    xml = '<Patient xmlns="http://hl7.org/fhir"><active value="true"/></Patient>'

    assert OK == told(client("POST", "Patient/$validate", json=patient(active=True)))
    assert OK == told(client("POST", "Patient/$validate", json=parameters(patient(active=True), mode="create")))
    assert OK == told(client("POST", "Parameters/$validate", json={"resourceType": "Parameters"}))
    assert OK == told(
        client(
            "POST",
            "Patient/$validate",
            data=xml,
            headers={"Content-Type": "application/fhir+xml", "Accept": "application/fhir+json"},
        )
    )
    assert before == client.fhir("Patient/_history?_count=1")["total"]


def test_every_issue(client: Client) -> None:
    """All problems are listed, the request itself has not failed."""
    wrong = patient(gender="x", birthDate="yesterday", shoe=43)

    found = told(client("POST", "Patient/$validate", json=wrong))

    assert {
        ("error", "code-invalid", "Patient.gender"),
        ("error", "value", "Patient.birthDate"),
        ("error", "structure", "Patient.shoe"),
    } == set(found)
    assert [("error", "invalid", "resourceType")] == told(client("POST", "Basic/$validate", json=patient()))


def test_profile(client: Client) -> None:
    """A profile in the store, by the parameter, with its version or not, and by what the resource says of itself."""
    missing, path = [("error", "required", "Patient.name")], f"Patient/$validate?profile={TIDY}"
    own = patient(meta={"profile": [TIDY]})

    assert missing == told(client("POST", path, json=patient(active=True)))
    assert missing == told(client("POST", f"{path}|2", json=patient(active=True)))
    assert missing == told(client("POST", "Patient/$validate", json=own))
    assert missing == told(client("POST", "Patient/$validate", json=parameters(own, profile=TIDY)))
    assert OK == told(client("POST", path, json=patient(name=NAME)))


def test_unknown_profile(client: Client) -> None:
    """One that is asked for is an error, one that the resource names a warning."""
    path = "Patient/$validate"

    assert [("error", "not-found", "Patient")] == told(
        client("POST", f"{path}?profile={TIDY}|1", json=patient(name=NAME))
    )
    assert [("warning", "not-found", "Patient")] == told(
        client("POST", path, json=patient(meta={"profile": ["http://example.org/none"]}))
    )


def test_value_set(client: Client) -> None:
    """A required binding to a ValueSet in the store, whose CodeSystem is there too."""
    codes = {
        code: told(
            client(
                "POST",
                f"Patient/$validate?profile={TIDY}",
                json=patient(name=NAME, maritalStatus={"coding": [{"system": "urn:validated", "code": code}]}),
            )
        )
        for code in ("1", "1a", "2")
    }

    wrong = [("error", "code-invalid", "Patient.maritalStatus")]
    nowhere = [("error", "code-invalid", "Patient.maritalStatus.coding[0]")]
    assert {"1": wrong, "1a": OK, "2": nowhere + wrong} == codes


def test_instance(client: Client) -> None:
    """What is stored is validated where no resource is given; a given one has to be of that id."""
    id = client.create(patient(active=True))["id"]

    assert OK == told(client.get(f"Patient/{id}/$validate"))
    assert [("error", "required", "Patient.name")] == told(
        client("POST", f"Patient/{id}/$validate", json=parameters(mode="profile", profile=TIDY))
    )
    assert [("error", "invalid", "id")] == told(client("POST", f"Patient/{id}/$validate", json=patient(id="else")))


def test_deletion(client: Client) -> None:
    """It tells whether the deletion would be done, and does not do it."""
    binary = client.uploaded(b"letter")
    attachment = {"contentType": "application/pdf", "url": f"Binary/{binary}"}
    id = client.create(patient(photo=[attachment]))["id"]

    found = [told(client("POST", f"{path}/$validate?mode=delete")) for path in (f"Binary/{binary}", f"Patient/{id}")]

    assert [[("error", "conflict", None)], OK] == found
    assert [200, 200] == [client.get(path).status_code for path in (f"Binary/{binary}", f"Patient/{id}")]


def test_integrity(start_server: StartServer) -> None:
    """Where references have to lead somewhere, one that does not is told."""
    client = Client(start_server(integrity="enforce").base)
    organization = {"reference": "Organization/none"}

    found = told(client("POST", "Patient/$validate", json=patient(managingOrganization=organization)))

    assert [("error", "not-found", "Patient.managingOrganization.reference")] == found


def test_creation_and_update(client: Client) -> None:
    """mode=create leaves the id to the server; mode=update is of the id in the URL, and of the version of If-Match."""
    id = client.create(patient(active=True))["id"]
    path, body = f"Patient/{id}/$validate?mode=update", patient(id=id, active=True)

    assert OK == told(client("POST", "Patient/$validate?mode=create", json=patient(id="else", active=True)))
    assert OK == told(client("POST", path, json=body, headers={"If-Match": 'W/"1"'}))
    assert [("error", "conflict", None)] == told(client("POST", path, json=body, headers={"If-Match": 'W/"7"'}))
    assert [("error", "required", "id")] == told(client("POST", path, json=patient(active=True)))
    assert [("error", "invalid", "id")] == told(client("POST", path, json=patient(id="else", active=True)))


def test_update_of_nothing(start_server: StartServer) -> None:
    """Where the server lets no client choose an id, an update of what is not there would be refused."""
    client = Client(start_server(update_create=False).base)

    found = told(client("POST", "Patient/none/$validate?mode=update", json=patient(id="none", active=True)))

    assert [("error", "not-supported", None)] == found


def test_deletion_of_a_version(client: Client) -> None:
    """A deletion is tried as If-Match would have it; content is ignored: it need not even be valid."""
    id = client.create(patient(active=True))["id"]
    path, wrong = f"Patient/{id}/$validate?mode=delete", {"resourceType": "Basic", "colour": 1}

    assert OK == told(client("POST", path, json=wrong, headers={"If-Match": 'W/"1"'}))
    assert [("error", "conflict", None)] == told(client("POST", path, headers={"If-Match": 'W/"2"'}))


def test_bundle(client: Client) -> None:
    """Each entry is validated by its type, and by the profiles that it names; the paths lead from the Bundle."""
    entries = [patient(gender="x"), patient(meta={"profile": [TIDY]}, active=True), patient(name=NAME)]
    bundles = [{"resourceType": "Bundle", "type": "collection", "entry": [{"resource": each}]} for each in entries]

    found = [told(client("POST", "Bundle/$validate?mode=create", json=each)) for each in bundles]

    assert [
        [("error", "code-invalid", "Bundle.entry[0].resource.gender")],
        [("error", "required", "Bundle.entry[0].resource.name")],
        OK,
    ] == found


def test_binary(client: Client) -> None:
    """A Binary as a resource, and a stored one; raw bytes are no resource that could be validated."""
    binary = {"resourceType": "Binary", "contentType": "text/plain", "data": "aGk="}
    stored = client.uploaded(b"letter")

    assert OK == told(client("POST", "Binary/$validate", json=binary))
    assert OK == told(client.get(f"Binary/{stored}/$validate"))
    assert [("error", "value", "Binary.data"), ("error", "required", "Binary.contentType")] == told(
        client("POST", "Binary/$validate", json={"resourceType": "Binary", "data": "a"})
    )
    raw = client("POST", "Binary/$validate", data=b"%PDF", headers={"Content-Type": "application/pdf"})
    assert (415, "OperationOutcome") == (raw.status_code, raw.json()["resourceType"])


def test_xml(client: Client) -> None:
    """XML of an unknown element is invalid, as JSON is; XML that is none at all cannot be validated."""
    bodies = [
        '<Patient xmlns="http://hl7.org/fhir"><gendre value="x"/></Patient>',
        '<Parameters xmlns="http://hl7.org/fhir"><parameter><name value="resource"/><resource>'
        '<Patient><gender value="x"/></Patient></resource></parameter></Parameters>',
    ]
    headers = {"Content-Type": "application/fhir+xml", "Accept": "application/fhir+json"}

    found = [told(client("POST", "Patient/$validate", data=each, headers=headers)) for each in bodies]

    assert [[("error", "structure", "Patient")], [("error", "code-invalid", "Patient.gender")]] == found
    for each in ("<Patient", bodies[1].replace("name", "nome")):
        assert 400 == client("POST", "Patient/$validate", data=each, headers=headers).status_code


def test_bytes(client: Client) -> None:
    """Attachments that a create refuses: of other bytes than they have or name, or of bytes that are gone."""
    kept, gone = client.uploaded(b"letter"), client.uploaded(b"other")
    assert client("DELETE", f"Binary/{gone}").ok
    attachments = [
        {"contentType": "text/plain", "data": "aGk=", "size": 2},
        {"contentType": "text/plain", "data": "aGk=", "size": 3},
        {"contentType": "application/pdf", "url": f"Binary/{kept}", "size": 6},
        {"contentType": "application/pdf", "url": f"Binary/{kept}", "hash": "aGk="},
        {"contentType": "application/pdf", "url": f"Binary/{gone}"},
    ]

    found = [told(client("POST", "Patient/$validate", json=patient(photo=[each]))) for each in attachments]

    wrong = {name: [("error", "processing", f"Attachment.{name}")] for name in ("size", "hash")}
    assert [OK, wrong["size"], OK, wrong["hash"], [("error", "conflict", None)]] == found
    assert [201, 422, 201, 422, 409] == [
        client("POST", "Patient", json=patient(photo=[each])).status_code for each in attachments
    ]


def test_constraints(client: Client) -> None:
    """R4's own constraints count, and required bindings of more than a code, though a create does not ask for them."""
    telecom = client("POST", "Patient/$validate", json=patient(telecom=[{"value": "1"}]))
    status = {"coding": [{"system": "urn:else", "code": "active"}]}
    allergy = {"resourceType": "AllergyIntolerance", "clinicalStatus": status, "patient": {"reference": "Patient/1"}}

    found = told(client("POST", "AllergyIntolerance/$validate", json=allergy))

    assert [("error", "invariant", "Patient.telecom[0]")] == told(telecom)
    assert [("error", "code-invalid", "AllergyIntolerance.clinicalStatus")] == found


def test_invalid_and_profile(client: Client) -> None:
    """What is not valid as its type is not held against a profile, and that is told."""
    found = told(client("POST", f"Patient/$validate?profile={TIDY}", json=patient(gender="x")))

    assert [("error", "code-invalid", "Patient.gender"), ("information", "not-supported", None)] == found


def test_quoted(client: Client) -> None:
    """An unknown profile is quoted."""
    url = "http://example.org/StructureDefinition/which-has-a-name-of-some-length-and-is-nowhere"

    (issue,) = client("POST", f"Patient/$validate?profile={url}", json=patient(active=True)).json()["issue"]

    assert f"Patient: the profile '{url}' is not known to this server." == issue["diagnostics"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("Patient/$validate", None, 400),
        ("Patient/$validate?mode=delete", None, 400),
        ("Patient/$validate?mode=delete", patient(active=True), 400),
        ("Patient/$validate?mode=update", patient(active=True), 400),
        ("Patient/nobody/$validate?mode=update", None, 400),
        ("Patient/nobody/$validate?mode=delete", None, 404),
        ("Patient/$validate?profile=", patient(active=True), 400),
        ("Patient/$validate?resource=Patient", None, 400),
        ("Patient/$validate", parameters() | {"parameter": [{"name": "resource", "valueString": "Patient"}]}, 400),
        ("Patient/$validate", parameters() | {"parameter": [{"name": "resource", "part": []}]}, 422),
        ("Patient/$validate", parameters(patient(active=True), profile=TIDY, shape="round"), 400),
        ("Patient/$validate", {"resourceType": "Parameters", "parameter": [{"resource": patient()}]}, 422),
        ("Patient/$validate", {"resourceType": "Parameters", "parameter": 1}, 422),
        ("Patient/$validate?mode=create", parameters(patient(active=True), mode="create"), 400),
        ("$validate", patient(active=True), 404),
        ("Patient/$validate?mode=guess", patient(active=True), 400),
        ("Patient/$validate?mode=profile", patient(active=True), 400),
        ("Patient/$validate?colour=red", patient(active=True), 400),
        ("Patient/$validate", "{", 400),
        ("Patient/nobody/$validate", None, 404),
        ("Patience/$validate", patient(active=True), 404),
    ],
)
def test_refused(client: Client, path: str, body: Any, status: int) -> None:
    """What cannot be validated at all is refused."""
    given = {"data": body, "headers": {"Content-Type": "application/json"}} if isinstance(body, str) else {"json": body}
    refused = client("POST", path, **({} if body is None else given))

    assert (status, "OperationOutcome") == (refused.status_code, refused.json()["resourceType"])
