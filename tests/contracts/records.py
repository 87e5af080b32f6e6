"""Resources that have something for every kind of search parameter."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.contracts.readings import BASE, UCUM, Resource

WORDS = [
    "Smith", "smyth", "Ångström", "Straße", "O'Neil", "van  der Berg", "100% sure", "a_b", "ﬁne", "山田 太郎", "İzmir",
    "a*b?c", "back\\slash", "one, two", "x|y", "cost $5", "\U0001f600 smile", "Berg", "q",
]  # fmt: skip
DATES = [
    "2012", "2013", "2013-01", "2013-02", "2013-01-14", "2013-12-31", "2014-01-01", "2013-01-14T10:00:00Z",
    "2013-01-14T10:00:00.500Z", "2013-01-14T23:30:00-05:00", "2013-01-15T05:00:00+01:00", "2012-12-31T23:30:00-01:00",
]  # fmt: skip
NUMBERS = [0, 0.1, 0.25, 0.5, 1, 5, 5.35, 5.4, 5.45, 100, -5, 0.0054, 37, 98.6, 5400]
URIS = ["http://p.example/a", "http://p.example/a/b", "http://p.example/ab", "http://p.example", "urn:oid:1.2"]
SYSTEMS = ["http://a.example", "http://b.example"]
CODES = ["a", "b", "c", "A"]
# Vienna thrice, either side of the antimeridian, the poles, the equator, and what is opposite Vienna.
PLACES = [
    (48.2082, 16.3738), (48.21, 16.37), (48.3, 16.3738), (-17.5, 179.99), (-17.5, -179.99), (-17.5, 180), (90, 0),
    (90, 120), (89.99, -60), (-90, 0), (0, 0), (0.001, 0), (-48.2082, -163.6262),
]  # fmt: skip
FORMS = ["http://q.example/forms/1", "http://q.example/forms/1|2", f"{BASE}/Questionnaire/r1"]
LITERALS = [
    "Patient/r1", "Patient/r2", "Patient/r2/_history/1", "Group/r1", f"{BASE}/Patient/r1", "http://o.example/Patient/r1",
    "urn:uuid:53fefa32-fcbb-4ff8-8a92-55ee120877b7", "#inner",
]  # fmt: skip


class _Maker:
    """Elements with a little of everything."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def one(self, given: list[Any]) -> Any:
        return self._chance.choice(given)

    def maybe(self, **content: Callable[[], Any]) -> Resource:
        return {name: make() for name, make in content.items() if self._chance.random() < 0.6}

    def some(self, make: Callable[[], Any]) -> list[Any]:
        return [make() for _ in range(self._chance.randrange(1, 3))]

    def word(self) -> str:
        return str(self.one(WORDS))

    def date(self) -> str:
        return str(self.one(DATES))

    def day(self) -> str:
        return str(self.one([each for each in DATES if len(each) <= 10]))

    def instant(self) -> str:
        return str(self.one([each for each in DATES if len(each) > 10]))

    def coding(self) -> Resource:
        return {"code": self.one(CODES), **self.maybe(system=lambda: self.one(SYSTEMS), display=self.word)}

    def concept(self) -> Resource:
        return (
            {"coding": self.some(self.coding), **self.maybe(text=self.word)} if self.one([1, 1, 0]) else {"text": "q"}
        )

    def identifier(self) -> Resource:
        return {"value": self.one(["1", "2", "x|y", "one, two"]), **self.maybe(
            system=lambda: self.one(SYSTEMS), type=lambda: {"coding": [{"system": SYSTEMS[0], "code": self.one(CODES)}]}
        )}  # fmt: skip

    def reference(self) -> Resource:
        logical = {"identifier": {"system": self.one(SYSTEMS), "value": self.one(["1", "2"])}}
        plain = {"reference": self.one(LITERALS), **self.maybe(display=self.word)}
        return dict(self.one([logical, plain, plain, plain]))

    def period(self) -> Resource:
        low, high = sorted(self.one([each for each in DATES if len(each) == 10]) for _ in "ab")
        return {"start": low, **self.maybe(end=lambda: high)} if self.one([1, 1, 0]) else {"end": high}

    def quantity(self) -> Resource:
        given = self.maybe(
            unit=lambda: self.one(["mg", "kg"]), code=lambda: self.one(["mg", "g"]), system=lambda: SYSTEMS[0]
        )  # fmt: skip
        measured = {"unit": "mg", "system": UCUM, "code": self.one(["mg", "g", "[lb_av]", "Cel", "[degF]", "{score}"])}
        compared = self.one([{"comparator": "<"}, {"comparator": ">="}, {}, {}, {}])
        return {"value": self.one(NUMBERS), **self.one([given, measured]), **compared}

    def value(self) -> Resource:
        return dict(self.one([
            {"valueQuantity": self.quantity()}, {"valueCodeableConcept": self.concept()}, {"valueString": self.word()},
            {"valueDateTime": self.date()}, {"valuePeriod": self.period()}, {},
        ]))  # fmt: skip

    def name(self) -> Resource:
        return {"family": self.word(), **self.maybe(
            given=lambda: self.some(self.word), use=lambda: "official", prefix=lambda: ["Dr"]
        )}  # fmt: skip

    def patient(self) -> Resource:
        return self.maybe(
            identifier=lambda: self.some(self.identifier), active=lambda: self.one([True, False]),
            name=lambda: self.some(self.name), gender=lambda: self.one(["female", "male"]), birthDate=self.day,
            telecom=lambda: self.some(lambda: {"system": self.one(["phone", "email"]), "value": self.one(["1", "12"])}),
            address=lambda: self.some(lambda: {"city": self.word(), "line": [self.word()], "use": "home"}),
            managingOrganization=self.reference, generalPractitioner=lambda: self.some(self.reference),
            communication=lambda: self.some(lambda: {"language": self.concept()}),
        ) | self.one(
            [{}, {"deceasedBoolean": True}, {"deceasedBoolean": False}, {"deceasedDateTime": self.date()}]
        )  # fmt: skip

    def content(self) -> Resource:
        return {"attachment": self.maybe(
            contentType=lambda: self.one(["image/png", "text/plain"]), url=lambda: self.one(URIS), title=self.word,
        ) or {"title": "t"}, **self.maybe(format=self.coding)}  # fmt: skip

    def document(self) -> Resource:
        return {"status": self.one(["current", "superseded"]), "content": self.some(self.content), **self.maybe(
            masterIdentifier=self.identifier, identifier=lambda: self.some(self.identifier), type=self.concept,
            category=lambda: self.some(self.concept), subject=self.reference, date=self.instant,
            author=lambda: self.some(self.reference), description=self.word,
            context=lambda: {"period": self.period(), **self.maybe(event=lambda: self.some(self.concept))},
            relatesTo=lambda: self.some(lambda: {"code": self.one(["replaces", "signs"]), "target": self.reference()}),
        )}  # fmt: skip

    def observation(self) -> Resource:
        return {"status": self.one(["final", "amended"]), "code": self.concept(), **self.maybe(
            identifier=lambda: self.some(self.identifier), category=lambda: self.some(self.concept),
            subject=self.reference, performer=lambda: self.some(self.reference),
            component=lambda: self.some(lambda: {"code": self.concept(), **self.one(
                [{"valueQuantity": self.quantity()}, {"valueCodeableConcept": self.concept()}, {}]
            )}),
        ), **self.value(), **self.one(
            [{"effectiveDateTime": self.date()}, {"effectivePeriod": self.period()}, {}]
        )}  # fmt: skip

    def prediction(self) -> Resource:
        limits = {"probabilityRange": self.maybe(low=self.point, high=self.point) or {"low": self.point()}}
        return {**self.one([limits, {"probabilityDecimal": self.one(NUMBERS)}]), **self.maybe(
            qualitativeRisk=self.concept
        )}  # fmt: skip

    def location(self) -> Resource:
        latitude, longitude = self.one(PLACES)
        return self.maybe(
            status=lambda: self.one(["active", "suspended"]), name=self.word, alias=lambda: self.some(self.word),
            position=lambda: {"latitude": latitude, "longitude": longitude},
        )  # fmt: skip

    def risk(self) -> Resource:
        return {"status": "final", "subject": self.reference(), **self.maybe(
            prediction=lambda: self.some(self.prediction),
            occurrenceDateTime=self.date, method=self.concept, condition=self.reference,
        )}  # fmt: skip

    def point(self) -> Resource:
        return {"value": self.one([0, 0.1, 0.5])}

    def money(self) -> Resource:
        return {"value": self.one(NUMBERS), "currency": self.one(["EUR", "USD"])}

    def invoice(self) -> Resource:
        return {"status": self.one(["issued", "draft"]), **self.maybe(
            totalGross=self.money, totalNet=self.money, date=self.date, subject=self.reference, type=self.concept
        )}  # fmt: skip

    def context(self) -> Resource:
        return {"code": self.coding(), **self.one(
            [{"valueQuantity": self.quantity()}, {"valueCodeableConcept": self.concept()}, {"valueRange": {
                "low": {"value": 1, "unit": "mg"}, "high": {"value": 5.4, "unit": "mg"}}}]
        )}  # fmt: skip

    def value_set(self) -> Resource:
        return {"status": self.one(["active", "draft"]), **self.maybe(
            url=lambda: self.one(URIS), version=lambda: self.one(["1.0", "2"]), name=self.word, date=self.date,
            useContext=lambda: self.some(self.context),
            compose=lambda: {"include": self.some(lambda: {"system": self.one(URIS)})},
        )}  # fmt: skip

    def answers(self) -> Resource:
        return {"status": self.one(["completed", "amended"]), **self.maybe(
            questionnaire=lambda: self.one(FORMS), authored=self.date, author=self.reference, identifier=self.identifier
        )}  # fmt: skip

    def everywhere(self) -> Resource:
        """What every type may have."""
        return self.maybe(meta=lambda: self.maybe(
            profile=lambda: self.some(lambda: self.one(URIS)), tag=lambda: self.some(self.coding),
            security=lambda: self.some(self.coding), source=lambda: self.one(URIS),
        ) or {"source": URIS[0]})  # fmt: skip


def records(seed: int, each: int = 18) -> list[Resource]:
    """So many of each type, mixed."""
    make = _Maker(seed)
    makers: dict[str, Callable[[], Resource]] = {
        "Patient": make.patient, "DocumentReference": make.document, "Observation": make.observation,
        "RiskAssessment": make.risk, "Invoice": make.invoice, "ValueSet": make.value_set,
        "QuestionnaireResponse": make.answers, "Location": make.location,
    }  # fmt: skip
    return [
        {"resourceType": type, "id": f"r{number}", **make.everywhere(), **content()}
        for number in range(each)
        for type, content in makers.items()
    ]
