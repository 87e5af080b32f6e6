"""The published examples of R4 that break R4's own rules, each with its reason."""

BLANK = "its narrative is blank (txt-2)"
NO_LINK_ID = "its items have no linkId"
NO_BASE = "it has no base"
LONG_ID = "its id has more than 64 characters"
NO_NAME = "it has no name and no packageId"

WRONG = {
    "ActivityDefinition-blood-tubes-supply.json": BLANK,
    "ActivityDefinition-heart-valve-replacement.json": BLANK,
    "Bundle-dataelements.json": "twelve entries share their fullUrl (bdl-7)",
    "EventDefinition-example.json": BLANK,
    "ig-r4.json": NO_NAME,
    "ImplementationGuide-fhir.json": NO_NAME,
    "Questionnaire-qs1.json": NO_LINK_ID,
    "Questionnaire-zika-virus-exposure-assessment.json": BLANK,
    "SearchParameter-codesystem-extensions-CodeSystem-author.json": NO_BASE,
    "SearchParameter-codesystem-extensions-CodeSystem-effective.json": NO_BASE,
    "SearchParameter-codesystem-extensions-CodeSystem-end.json": NO_BASE,
    "SearchParameter-codesystem-extensions-CodeSystem-keyword.json": NO_BASE,
    "SearchParameter-codesystem-extensions-CodeSystem-workflow.json": NO_BASE,
    "SearchParameter-questionnaireresponse-extensions-QuestionnaireResponse-item-subject.json": LONG_ID,
    "SearchParameter-valueset-extensions-ValueSet-author.json": NO_BASE,
    "SearchParameter-valueset-extensions-ValueSet-effective.json": NO_BASE,
    "SearchParameter-valueset-extensions-ValueSet-end.json": NO_BASE,
    "SearchParameter-valueset-extensions-ValueSet-keyword.json": NO_BASE,
    "SearchParameter-valueset-extensions-ValueSet-workflow.json": NO_BASE,
}
