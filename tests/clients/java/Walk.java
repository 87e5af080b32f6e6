import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.api.MethodOutcome;
import ca.uhn.fhir.rest.api.SearchStyleEnum;
import ca.uhn.fhir.rest.api.SearchTotalModeEnum;
import ca.uhn.fhir.rest.client.api.IGenericClient;
import ca.uhn.fhir.rest.client.api.ServerValidationModeEnum;
import ca.uhn.fhir.rest.server.exceptions.PreconditionFailedException;
import ca.uhn.fhir.rest.server.exceptions.ResourceGoneException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Objects;
import org.hl7.fhir.instance.model.api.IBaseBundle;
import org.hl7.fhir.instance.model.api.IIdType;
import org.hl7.fhir.r4.model.Attachment;
import org.hl7.fhir.r4.model.Binary;
import org.hl7.fhir.r4.model.Bundle;
import org.hl7.fhir.r4.model.CodeType;
import org.hl7.fhir.r4.model.DocumentReference;
import org.hl7.fhir.r4.model.Element;
import org.hl7.fhir.r4.model.Enumerations.AdministrativeGender;
import org.hl7.fhir.r4.model.Enumerations.DocumentReferenceStatus;
import org.hl7.fhir.r4.model.Extension;
import org.hl7.fhir.r4.model.IdType;
import org.hl7.fhir.r4.model.Parameters;
import org.hl7.fhir.r4.model.Patient;
import org.hl7.fhir.r4.model.Resource;
import org.hl7.fhir.r4.model.StringType;

/** HAPI's generic client walks the main job in JSON and in XML: `Walk base`. A line says what it has walked. */
public final class Walk {
    private static final String EXTENSIONS = "https://fhir-blob.org/StructureDefinition/";
    private static final String PLACEHOLDER = "urn:uuid:0b1cf1f5-6c40-4d2c-8a0b-1fd0e5d6a00";
    private static final byte[] BYTES = "Discharged in good health.".getBytes(StandardCharsets.UTF_8);

    private final IGenericClient client;
    private final HttpClient http = HttpClient.newHttpClient();
    private final String name;

    private Walk(String base, String format) {
        FhirContext context = FhirContext.forR4();
        context.getRestfulClientFactory().setServerValidationMode(ServerValidationModeEnum.ONCE);
        client = context.newRestfulGenericClient(base);
        client.setEncoding(EncodingEnum.valueOf(format.toUpperCase()));
        name = "Walked" + format + System.nanoTime();
    }

    public static void main(String[] arguments) throws Exception {
        for (String format : List.of("json", "xml")) {
            Walk walk = new Walk(arguments[0], format);
            walk.interactions();
            walk.pages();
            walk.conditions();
            walk.patches();
            walk.transaction();
            walk.binary();
            walk.photo();
            System.out.println("walked in " + format);
        }
    }

    private void interactions() {
        MethodOutcome made = client.create().resource(patient("crud")).execute();
        IIdType id = made.getId().toUnqualifiedVersionless();
        check("created", made.getCreated());
        Patient read = client.read().resource(Patient.class).withId(id).execute();
        check("version of a read", "1", read.getMeta().getVersionId());
        read.setGender(AdministrativeGender.FEMALE);
        MethodOutcome changed = client.update().resource(read).execute();
        check("version of an update", "2", changed.getId().getVersionIdPart());
        Patient first = client.read().resource(Patient.class).withId(id.withVersion("1")).execute();
        check("an earlier version", null, first.getGender());
        check("not changed since", read.getId(), unchanged(read).getId());
        stale(id);
        client.delete().resourceById(id).execute();
        gone(id);
        Bundle history = client.history().onInstance(id).returnBundle(Bundle.class).execute();
        check("history", 3, history.getEntry().size());
        Bundle ofType = client.history().onType(Patient.class).returnBundle(Bundle.class).count(2).execute();
        check("history of a type", ofType.hasEntry());
        Bundle ofAll = client.history().onServer().returnBundle(Bundle.class).count(2).execute();
        check("history of all", ofAll.hasEntry());
    }

    private Patient unchanged(Patient known) {
        return client.read().resource(Patient.class).withId(known.getIdElement().toUnqualifiedVersionless())
                .ifVersionMatches("2").returnResource(known).execute();
    }

    private void stale(IIdType id) {
        Patient old = patient("crud");
        old.setId(id);
        try {
            client.update().resource(old).withId(id.withVersion("1"))
                    .withAdditionalHeader("If-Match", "W/\"1\"").execute();
            throw new AssertionError("an update of an old version was taken");
        } catch (PreconditionFailedException error) {
            check("why it is refused", true, error.getOperationOutcome() != null);
        }
    }

    private void gone(IIdType id) {
        try {
            client.read().resource(Patient.class).withId(id).execute();
            throw new AssertionError("what was deleted is read");
        } catch (ResourceGoneException error) {
            check("why it is gone", true, error.getOperationOutcome() != null);
        }
    }

    private void pages() {
        for (int number = 0; number < 5; number++) {
            client.create().resource(patient("page" + number)).execute();
        }
        Bundle page = client.search().forResource(Patient.class).where(Patient.FAMILY.matchesExactly().value(name))
                .count(2).totalMode(SearchTotalModeEnum.ACCURATE)
                .sort().descending(Patient.RES_LAST_UPDATED).returnBundle(Bundle.class).execute();
        int seen = page.getEntry().size();
        check("total", 5, page.getTotal());
        while (page.getLink(IBaseBundle.LINK_NEXT) != null) {
            page = client.loadPage().next(page).execute();
            seen += page.getEntry().size();
        }
        check("seen page by page", 5, seen);
        Bundle posted = client.search().forResource(Patient.class).usingStyle(SearchStyleEnum.POST)
                .where(Patient.IDENTIFIER.exactly().systemAndIdentifier(name, "page3"))
                .returnBundle(Bundle.class).execute();
        check("found by POST", 1, posted.getEntry().size());
    }

    private void conditions() {
        String url = "Patient?identifier=" + name + "%7Cconditional";
        MethodOutcome made = client.create().resource(patient("conditional")).conditionalByUrl(url).execute();
        MethodOutcome again = client.create().resource(patient("conditional")).conditionalByUrl(url).execute();
        check("created where there was none", true, made.getCreated());
        check("created once", part(made), part(again));
        Patient changed = patient("conditional").setActive(true);
        MethodOutcome updated = client.update().resource(changed).conditionalByUrl(url).execute();
        check("updated where there is one", part(made), part(updated));
        client.delete().resourceConditionalByUrl(url).execute();
        gone(made.getId().toUnqualifiedVersionless());
    }

    private void patches() {
        IIdType id = client.create().resource(patient("patched")).execute().getId().toUnqualifiedVersionless();
        String change = "[{\"op\": \"add\", \"path\": \"/gender\", \"value\": \"other\"}]";
        client.patch().withBody(change).withId(id).execute();
        Parameters add = new Parameters();
        Parameters.ParametersParameterComponent operation = add.addParameter().setName("operation");
        operation.addPart().setName("type").setValue(new CodeType("replace"));
        operation.addPart().setName("path").setValue(new StringType("Patient.gender"));
        operation.addPart().setName("value").setValue(new CodeType("female"));
        client.patch().withFhirPatch(add).withId(id).execute();
        Patient patched = client.read().resource(Patient.class).withId(id).execute();
        check("patched twice", "3", patched.getMeta().getVersionId());
        check("patched", AdministrativeGender.FEMALE, patched.getGender());
    }

    private void transaction() throws Exception {
        Bundle bundle = new Bundle().setType(Bundle.BundleType.TRANSACTION);
        add(bundle, "1", new Binary().setContentType("text/plain"));
        add(bundle, "2", patient("transaction"));
        DocumentReference document = document(PLACEHOLDER + "1");
        document.getSubject().setReference(PLACEHOLDER + "2");
        add(bundle, "3", document);
        Bundle answer = client.transaction().withBundle(bundle).execute();
        List<Bundle.BundleEntryComponent> entries = answer.getEntry();
        check("created", "201 Created", entries.get(2).getResponse().getStatus());
        Binary binary = client.read().resource(Binary.class).withId(path(entries.get(0))).execute();
        put(binary.getDataElement());
        DocumentReference read = client.read().resource(DocumentReference.class).withId(path(entries.get(2))).execute();
        check("its subject", path(entries.get(1)), read.getSubject().getReference());
        Attachment attachment = read.getContentFirstRep().getAttachment();
        check("its size", BYTES.length, attachment.getSize());
        check("its bytes", BYTES, get(attachment));
        Bundle found = client.search().forResource(DocumentReference.class)
                .where(DocumentReference.SUBJECT.hasId(path(entries.get(1)))).include(DocumentReference.INCLUDE_SUBJECT)
                .returnBundle(Bundle.class).execute();
        check("found with its patient", 2, found.getEntry().size());
    }

    private void binary() throws Exception {
        Binary sent = new Binary().setContentType("text/plain").setData(BYTES);
        IIdType id = client.create().resource(sent).execute().getId().toUnqualifiedVersionless();
        Binary read = client.read().resource(Binary.class).withId(id).execute();
        check("type", "text/plain", read.getContentType());
        byte[] known = read.getData() != null ? read.getData() : get(read.getDataElement());
        check("bytes of a Binary that came as data", BYTES, known);
        HttpRequest raw = HttpRequest.newBuilder(URI.create(client.getServerBase() + "/" + id.getValue()))
                .header("Accept", "text/plain").build();
        check("raw bytes", BYTES, http.send(raw, HttpResponse.BodyHandlers.ofByteArray()).body());
        HttpRequest upload = HttpRequest.newBuilder(URI.create(client.getServerBase() + "/Binary"))
                .header("Content-Type", "text/plain").POST(HttpRequest.BodyPublishers.ofByteArray(BYTES)).build();
        HttpResponse<String> uploaded = http.send(upload, HttpResponse.BodyHandlers.ofString());
        check("raw upload", 201, uploaded.statusCode());
        IIdType made = client.create().resource(new Binary().setContentType("text/plain")).execute().getId();
        put(client.read().resource(Binary.class).withId(made.toUnqualifiedVersionless()).execute().getDataElement());
        Binary done = client.operation().onInstance(made.toUnqualifiedVersionless()).named("$complete")
                .withNoParameters(Parameters.class).returnResourceType(Binary.class).execute();
        check("completed", "available", extension(done.getDataElement(), "uploadState"));
        check("bytes that went by URL", BYTES, get(done.getDataElement()));
    }

    private void photo() throws Exception {
        Patient shown = patient("photo");
        shown.addPhoto().setContentType("image/png").setData(BYTES);
        IIdType id = client.create().resource(shown).execute().getId().toUnqualifiedVersionless();
        Patient read = client.read().resource(Patient.class).withId(id).execute();
        check("photo", BYTES, read.getPhotoFirstRep().getData());
        check("written back as it was read", id.getIdPart(), part(client.update().resource(read).execute()));
    }

    private Patient patient(String identifier) {
        Patient patient = new Patient();
        patient.addIdentifier().setSystem(name).setValue(identifier);
        patient.addName().setFamily(identifier.startsWith("page") ? name : "Hapi");
        return patient;
    }

    private static DocumentReference document(String url) {
        DocumentReference document = new DocumentReference().setStatus(DocumentReferenceStatus.CURRENT);
        document.addContent().getAttachment().setContentType("text/plain").setUrl(url);
        return document;
    }

    private static void add(Bundle bundle, String number, Resource resource) {
        bundle.addEntry().setFullUrl(PLACEHOLDER + number).setResource(resource)
                .getRequest().setMethod(Bundle.HTTPVerb.POST).setUrl(resource.fhirType());
    }

    private static String part(MethodOutcome outcome) {
        return outcome.getId().getIdPart();
    }

    private static String path(Bundle.BundleEntryComponent entry) {
        return new IdType(entry.getResponse().getLocation()).toUnqualifiedVersionless().getValue();
    }

    private static String extension(Element element, String name) {
        Extension found = element.getExtensionByUrl(EXTENSIONS + name);
        if (found == null) {
            throw new AssertionError("no " + name);
        }
        return found.getValue().primitiveValue();
    }

    private void put(Element element) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(extension(element, "presignedPutUrl")))
                .PUT(HttpRequest.BodyPublishers.ofByteArray(BYTES)).build();
        check("put by its URL", 200, http.send(request, HttpResponse.BodyHandlers.discarding()).statusCode());
    }

    private byte[] get(Element element) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(extension(element, "presignedGetUrl"))).build();
        return http.send(request, HttpResponse.BodyHandlers.ofByteArray()).body();
    }

    private static void check(String what, boolean found) {
        check(what, true, found);
    }

    private static void check(String what, Object expected, Object found) {
        if (!Objects.deepEquals(expected, found)) {
            throw new AssertionError(what + ": " + expected + " expected, but " + found + " found");
        }
    }
}
