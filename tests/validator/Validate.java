import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.ResultSeverityEnum;
import ca.uhn.fhir.validation.SingleValidationMessage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.PrePopulatedValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.SnapshotGeneratingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.UnknownCodeSystemWarningValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;
import org.hl7.fhir.instance.model.api.IBaseResource;
import org.hl7.fhir.r5.utils.validation.constants.BestPracticeWarningLevel;

/**
 * HAPI's instance validator on each file of a folder, offline: `Validate profiles answers`.
 * A line for each error is printed, its file, place and sentence with tabs between, and "done" at the end.
 */
public final class Validate {
    public static void main(String[] arguments) throws IOException {
        FhirContext context = FhirContext.forR4();
        FhirValidator validator = validator(context, Path.of(arguments[0]));
        for (Path file : files(Path.of(arguments[1]))) {
            validator.validateWithResult(Files.readString(file)).getMessages().stream()
                    .filter(each -> each.getSeverity().ordinal() >= ResultSeverityEnum.ERROR.ordinal())
                    .forEach(each -> System.out.println(line(file, each)));
        }
        System.out.println("done");
    }

    private static FhirValidator validator(FhirContext context, Path profiles) throws IOException {
        ValidationSupportChain support = new ValidationSupportChain(
                new DefaultProfileValidationSupport(context),
                ours(context, profiles),
                new SnapshotGeneratingValidationSupport(context),
                new InMemoryTerminologyServerValidationSupport(context),
                new CommonCodeSystemsTerminologyService(context),
                new UnknownCodeSystemWarningValidationSupport(context));
        FhirInstanceValidator instances = new FhirInstanceValidator(support);
        instances.setBestPracticeWarningLevel(BestPracticeWarningLevel.Ignore);
        return context.newValidator().registerValidatorModule(instances);
    }

    private static PrePopulatedValidationSupport ours(FhirContext context, Path profiles) throws IOException {
        PrePopulatedValidationSupport ours = new PrePopulatedValidationSupport(context);
        for (Path file : files(profiles)) {
            if (!file.toString().endsWith(".schema.json")) {
                IBaseResource resource = context.newJsonParser().parseResource(Files.readString(file));
                ours.addResource(resource);
            }
        }
        return ours;
    }

    private static List<Path> files(Path folder) throws IOException {
        try (Stream<Path> found = Files.list(folder)) {
            return found.filter(each -> each.toString().matches(".*\\.(json|xml)")).sorted().toList();
        }
    }

    private static String line(Path file, SingleValidationMessage message) {
        String said = message.getMessage().replaceAll("\\s+", " ");
        return String.join("\t", file.getFileName().toString(), message.getLocationString(), said);
    }
}
