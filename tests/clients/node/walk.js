// Node's FHIR clients walk the main job against the base URL that is given; the first failure ends it.
import assert from "node:assert/strict";

const [base, which] = process.argv.slice(2);
const CANONICAL = "https://fhir-blob.org/StructureDefinition/";
const value = (element, name) => element.extension.find((each) => each.url === CANONICAL + name).valueUrl;

function transaction(name) {
  const uuid = "urn:uuid:0b1cf1f5-6c40-4d2c-8a0b-1fd0e5d6a002";
  const document = {
    resourceType: "DocumentReference",
    status: "current",
    description: name,
    content: [{ attachment: { contentType: "text/plain", url: uuid } }],
  };
  const entry = [
    { fullUrl: uuid, resource: { resourceType: "Binary", contentType: "text/plain" }, request: { method: "POST", url: "Binary" } },
    { resource: document, request: { method: "POST", url: "DocumentReference" } },
  ];
  return { resourceType: "Bundle", type: "transaction", entry };
}

async function upload(response) {
  const binary = response.entry[0].resource;
  const put = await fetch(value(binary._data, "presignedPutUrl"), { method: "PUT", body: "bytes" });
  assert.equal(put.status, 200);
  return binary.id;
}

async function bytes(id) {
  const answered = await fetch(`${base}/Binary/${id}`, { headers: { Accept: "text/plain" } });
  return answered.text();
}

async function kit() {
  const { Client } = await import("fhir-kit-client");
  const client = new Client({ baseUrl: base });
  assert.equal((await client.capabilityStatement()).fhirVersion, "4.0.1");
  const made = [];
  for (let number = 0; number < 5; number++) {
    const identifier = [{ system: "urn:clients:kit", value: `k${number}` }];
    made.push(await client.create({ resourceType: "Patient", body: { resourceType: "Patient", identifier, name: [{ family: "Fhirkit" }] } }));
  }
  const [first] = made;
  let page = await client.search({ resourceType: "Patient", searchParams: { family: "Fhirkit", _count: 2 } });
  let count = page.entry.length;
  while ((page = await client.nextPage({ bundle: page }))) count += page.entry.length;
  assert.equal(count, 5);
  await client.update({ resourceType: "Patient", id: first.id, body: { ...first, active: true } });
  const jsonPatch = [{ op: "add", path: "/gender", value: "female" }];
  const patched = await client.patch({ resourceType: "Patient", id: first.id, jsonPatch });
  assert.equal(patched.gender, "female");
  const history = await client.history({ resourceType: "Patient", id: first.id });
  assert.equal(history.total, 3);
  const old = await client.vread({ resourceType: "Patient", id: first.id, version: "1" });
  assert.equal(old.active, undefined);
  const again = await client.create({
    resourceType: "Patient",
    body: { resourceType: "Patient", name: [{ family: "Fhirkit" }] },
    options: { headers: { "If-None-Exist": "identifier=urn:clients:kit|k0" } },
  });
  assert.equal(again.id, first.id);
  const id = await upload(await client.transaction({ body: transaction("by fhir-kit-client") }));
  assert.equal(await bytes(id), "bytes");
  const binary = await client.create({ resourceType: "Binary", body: { resourceType: "Binary", contentType: "text/plain", data: "aGk=" } });
  assert.equal(await bytes(binary.id), "hi");
  await client.delete({ resourceType: "Patient", id: made[4].id });
  await assert.rejects(client.read({ resourceType: "Patient", id: made[4].id }), (error) => error.response.status === 410);
}

async function smart() {
  const { default: FHIR } = await import("fhirclient");
  const client = new FHIR.FhirClient(base);
  const made = await client.create({ resourceType: "Patient", name: [{ family: "Fhirclientjs" }] });
  await client.update({ ...made, active: true });
  const found = await client.fhirRequest("Patient?family=Fhirclientjs");
  assert.deepEqual(found.entry.map((each) => [each.resource.id, each.resource.active]), [[made.id, true]]);
  const patched = await client.patch(`Patient/${made.id}`, [{ op: "replace", path: "/active", value: false }]);
  assert.equal(patched.active, false);
  const body = JSON.stringify(transaction("by fhirclient"));
  const headers = { "Content-Type": "application/json" };
  const id = await upload(await client.fhirRequest("", { method: "POST", body, headers }));
  assert.equal(await bytes(id), "bytes");
  await client.delete(`Patient/${made.id}`);
}

await { kit, smart }[which]();
console.log("walked");
