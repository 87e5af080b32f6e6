"""Hypothesis makes Observations, and searches for them: the same few values in both, so that they meet."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.contracts import naive

BASE = "https://ehr.example/fhir"
TEXTS = ["Sonne", "sönne", "son", "SON net", "100%", "100 percent", "a_b", "axb", "\U0010ffff!", "ﬁne", ""]
DATES = [
    "2013",
    "2013-01",
    "2013-01-14",
    "2013-12-31",
    "2014-01-01",
    "2013-01-14T10:00:00Z",
    "2013-01-14T23:00:00-02:00",
]
NUMBERS = ["5", "5.4", "5.40", "5.35", "5.45", "-5", "0", "100", "99.5", "100.5"]
SYSTEMS = ["", "http://a.example", "http://b.example"]
REFERENCES = ["Patient/1", "Patient/2", "Group/1", f"{BASE}/Patient/1", "http://o.example/r4/Patient/1", "urn:uuid:7"]
STATUSES = ["http://hl7.org/fhir/observation-status|final", "http://a.example|final"]
PROFILES = ["http://p.example/a", "http://p.example/a/b", "http://p.example/ab", "http://p.example"]

codings = st.fixed_dictionaries(
    {"code": st.sampled_from("abc")},
    optional={"system": st.sampled_from(SYSTEMS[1:]), "display": st.sampled_from(["Söme", "other"])},
)
concepts = st.one_of(
    st.fixed_dictionaries({"coding": st.lists(codings, min_size=1, max_size=2)}),
    st.fixed_dictionaries({"text": st.sampled_from(["some text", "Other"])}),
)
quantities = st.fixed_dictionaries(
    {"value": st.sampled_from(NUMBERS).map(float)},
    optional={
        "unit": st.sampled_from(["mg", "kg"]),
        "code": st.sampled_from(["mg", "g"]),
        "system": st.just("http://u"),
    },
)
effective: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.sampled_from(DATES).map(lambda date: {"effectiveDateTime": date}),
    st.fixed_dictionaries({}, optional={"start": st.sampled_from(DATES[:4]), "end": st.sampled_from(DATES[3:5])})
    .filter(bool)
    .map(lambda period: {"effectivePeriod": period}),
    st.just({}),
)
values: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.sampled_from(TEXTS[:-1]).map(lambda text: {"valueString": text}),
    quantities.map(lambda quantity: {"valueQuantity": quantity}),
    st.just({}),
)
components = st.lists(
    st.fixed_dictionaries({"code": concepts}, optional={"valueQuantity": quantities}), min_size=1, max_size=2
)
more = st.fixed_dictionaries(
    {"status": st.sampled_from(["final", "amended"]), "code": concepts},
    optional={
        "subject": st.sampled_from(REFERENCES).map(lambda reference: {"reference": reference}),
        "component": components,
        "meta": st.lists(st.sampled_from(PROFILES), min_size=1, max_size=2).map(lambda all: {"profile": all}),
    },
)
observations = st.tuples(more, effective, values).map(lambda parts: parts[0] | parts[1] | parts[2])
stores = st.lists(observations, max_size=12)

systems_and_codes = st.one_of(
    st.sampled_from("abc"),
    st.tuples(st.sampled_from(SYSTEMS), st.sampled_from("abc")).map("|".join),
    st.sampled_from(SYSTEMS[1:]).map("{}|".format),
)
prefixes = st.sampled_from(["", *naive.PREFIXES])
numbers = st.tuples(prefixes, st.sampled_from(NUMBERS)).map("".join)
quantity_texts = st.tuples(numbers, st.sampled_from(["", "||mg", "|http://u|mg", "||g", "|http://u|"])).map("".join)


def asked(names: list[str], texts: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, str]]:
    return st.tuples(st.sampled_from(names), st.lists(texts, min_size=1, max_size=2).map(",".join))


criteria = st.one_of(
    asked(["code", "code:not"], systems_and_codes),
    asked(["code:text"], st.sampled_from(["some", "oth", "SÖM"])),
    asked(["status", "status:not"], st.sampled_from(["final", "amended", "|final", *STATUSES])),
    asked(["subject"], st.sampled_from([*REFERENCES, "1", "2"])),
    asked(["subject:Patient"], st.sampled_from(["1", "2"])),
    asked(["date"], st.tuples(prefixes, st.sampled_from(DATES)).map("".join)),
    asked(["value-string", "value-string:exact", "value-string:contains"], st.sampled_from(TEXTS[:-1])),
    asked(["value-quantity"], quantity_texts),
    asked(["combo-code-value-quantity"], st.tuples(systems_and_codes, quantity_texts).map("$".join)),
    asked(["_id"], st.sampled_from(["o1", "o3", "o99"])),
    asked(["_profile", "_profile:below", "_profile:above"], st.sampled_from(PROFILES)),
    st.tuples(
        st.sampled_from(["subject", "date", "value-string", "value-quantity", "code", "_profile"]).map(
            "{}:missing".format
        ),
        st.sampled_from(["true", "false"]),
    ),
)
sorts = st.lists(
    st.sampled_from(sorted(naive.SORT_VALUES)).flatmap(lambda code: st.sampled_from([code, f"-{code}"])),
    max_size=3,
    unique_by=lambda key: key.lstrip("-"),
).map(",".join)
