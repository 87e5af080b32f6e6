"""Search by the words of the specification: every resource is looked at, every value compared.

Knows a few parameters of Observation, shares nothing with the server's own search.
Source: https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cmp_to_key
from typing import Any

Resource = dict[str, Any]
Span = tuple[datetime, datetime]

FIRST = datetime(1, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 12, 31, tzinfo=UTC)
PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb")


def search(resources: Sequence[Resource], pairs: Sequence[tuple[str, str]], sort: str) -> list[str]:
    """The ids of what matches, in order; `resources` stand in the order in which they were made."""
    found = [each for each in resources if all(matches(each, name, text) for name, text in pairs)]
    return [each["id"] for each in ordered(found, sort)]


def matches(resource: Resource, name: str, text: str) -> bool:
    code, _, modifier = name.partition(":")
    if modifier == "missing":
        return PRESENT[code](resource) != (text == "true")
    found = any(MATCHERS[code](resource, each, modifier) for each in text.split(","))
    return found != (modifier == "not")


SortKey = Callable[[Resource, str, bool], Any]


def ordered(resources: list[Resource], sort: str, key: SortKey | None = None) -> list[Resource]:
    """By the keys of `_sort`; what has none comes last, and what is equal stands as it was made."""
    if not sort:
        return resources
    key = key or sort_key
    keys = [(each.lstrip("-"), each.startswith("-")) for each in sort.split(",")]
    place = {id(each): number for number, each in enumerate(resources)}

    def compare(one: Resource, other: Resource) -> int:
        for code, descending in keys:
            ours, theirs = key(one, code, descending), key(other, code, descending)
            if ours != theirs:
                if ours is None or theirs is None:
                    return 1 if ours is None else -1
                return (1 if ours > theirs else -1) * (-1 if descending else 1)
        return (place[id(one)] - place[id(other)]) * (-1 if keys[-1][1] else 1)

    return sorted(resources, key=cmp_to_key(compare))


def sort_key(resource: Resource, code: str, descending: bool) -> Any:
    values = SORT_VALUES[code](resource)
    return None if not values else max(values) if descending else min(values)


def concepts(resource: Resource) -> list[tuple[str, str]]:
    codings = resource["code"].get("coding", [])
    return [(each.get("system", ""), each.get("code", "")) for each in codings]


def token(tokens: list[tuple[str, str]], text: str) -> bool:
    system, bar, code = text.rpartition("|")
    return any(
        (not code or code == of_code) and (not bar or system == of_system) for of_system, of_code in tokens if of_code
    )


def code_text(resource: Resource) -> list[str]:
    concept = resource["code"]
    return [concept.get("text", ""), *(each.get("display", "") for each in concept.get("coding", []))]


def by_code(resource: Resource, text: str, modifier: str) -> bool:
    if modifier == "text":
        return any(each and folded(each).startswith(folded(text)) for each in code_text(resource))
    return token(concepts(resource), text)


def by_status(resource: Resource, text: str, modifier: str) -> bool:
    system = "http://hl7.org/fhir/observation-status"  # 'the system is defined in the value set'
    return token([("", resource["status"]), (system, resource["status"])], text)


def by_subject(resource: Resource, text: str, modifier: str) -> bool:
    reference = resource.get("subject", {}).get("reference", "").removeprefix("https://ehr.example/fhir/")
    wanted = f"{modifier}/{text}" if modifier else text.removeprefix("https://ehr.example/fhir/")
    if "/" in wanted or ":" in wanted:
        return bool(reference == wanted)
    return bool(reference.count("/") == 1 and reference.endswith(f"/{wanted}"))


def folded(text: str) -> str:
    plain = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    return " ".join(plain.casefold().split())


def by_string(resource: Resource, text: str, modifier: str) -> bool:
    value = resource.get("valueString")
    if value is None:
        return False
    if modifier == "exact":
        return bool(value == text)
    if modifier == "contains":
        return folded(text) in folded(value)
    return folded(value).startswith(folded(text))


def when(text: str) -> Span:
    """The span of a date's precision."""
    if len(text) == 4:
        return datetime(int(text), 1, 1, tzinfo=UTC), datetime(int(text) + 1, 1, 1, tzinfo=UTC)
    if len(text) == 7:
        year, month = int(text[:4]), int(text[5:])
        return datetime(year, month, 1, tzinfo=UTC), datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    start = datetime.fromisoformat(text)
    start = start if start.tzinfo else start.replace(tzinfo=UTC)
    return start, start + (timedelta(days=1) if len(text) == 10 else timedelta(seconds=1))


def effective(resource: Resource) -> Span | None:
    if "effectiveDateTime" in resource:
        return when(resource["effectiveDateTime"])
    period = resource.get("effectivePeriod")
    if period is None:
        return None
    return (
        when(period["start"])[0] if "start" in period else FIRST,
        when(period["end"])[1] if "end" in period else LAST,
    )


def by_date(resource: Resource, text: str, modifier: str) -> bool:
    target = effective(resource)
    prefix, rest = (text[:2], text[2:]) if text[:2] in PREFIXES else ("eq", text)
    return target is not None and compared_spans(prefix, when(rest), target)


def compared_spans(prefix: str, search: Span, target: Span) -> bool:
    """The table of prefixes; each 'range above' or 'below' begins where the search's span ends."""
    contains = search[0] <= target[0] and target[1] <= search[1]
    overlaps_above, overlaps_below = target[1] > search[1], target[0] < search[0]
    return {
        "eq": contains,
        "ne": not contains,
        "gt": overlaps_above,
        "lt": overlaps_below,
        "ge": overlaps_above or contains,
        "le": overlaps_below or contains,
        "sa": target[0] >= search[1],
        "eb": target[1] <= search[0],
    }[prefix]


def by_quantity(resource: Resource, text: str, modifier: str) -> bool:
    return quantity(resource.get("valueQuantity"), text)


def quantity(value: dict[str, Any] | None, text: str) -> bool:
    if value is None:
        return False
    number, _, unit = text.partition("|")
    system, _, code = unit.partition("|")
    if system and value.get("system") != system:
        return False
    if code and code != value.get("code") and (system or code != value.get("unit")):
        return False
    prefix, rest = (number[:2], number[2:]) if number[:2] in PREFIXES else ("eq", number)
    return compared_numbers(prefix, rest, Decimal(str(value["value"])))


def compared_numbers(prefix: str, text: str, target: Decimal) -> bool:
    """Of a search for 5.4 'in the range [5.35, 5.45)', and more or less than exactly that."""
    exact = Decimal(text)
    half = Decimal(10) ** (-len(text.partition(".")[2])) / 2
    is_inside = exact - half <= target < exact + half
    return {
        "eq": is_inside,
        "ne": not is_inside,
        "gt": target > exact,
        "lt": target < exact,
        "ge": target >= exact,
        "le": target <= exact,
        "sa": target >= exact + half,
        "eb": target < exact - half,
    }[prefix]


def by_code_and_quantity(resource: Resource, text: str, modifier: str) -> bool:
    """Of the observation or one of its components, both of the same."""
    code, _, number = text.partition("$")
    return any(
        token(concepts(each), code) and quantity(each.get("valueQuantity"), number)
        for each in [resource, *resource.get("component", [])]
    )


def by_id(resource: Resource, text: str, modifier: str) -> bool:
    return bool(resource["id"] == text)


def by_profile(resource: Resource, text: str, modifier: str) -> bool:
    profiles = resource.get("meta", {}).get("profile", [])
    if modifier == "below":
        return any(each == text or each.startswith(text.rstrip("/") + "/") for each in profiles)
    if modifier == "above":
        return any(each == text or text.startswith(each.rstrip("/") + "/") for each in profiles)
    return text in profiles


MATCHERS: dict[str, Callable[[Resource, str, str], bool]] = {
    "_id": by_id,
    "_profile": by_profile,
    "status": by_status,
    "code": by_code,
    "subject": by_subject,
    "date": by_date,
    "value-string": by_string,
    "value-quantity": by_quantity,
    "combo-code-value-quantity": by_code_and_quantity,
}
PRESENT: dict[str, Callable[[Resource], bool]] = {
    "_profile": lambda resource: "meta" in resource,
    "status": lambda resource: True,
    "code": lambda resource: True,
    "subject": lambda resource: "subject" in resource,
    "date": lambda resource: effective(resource) is not None,
    "value-string": lambda resource: "valueString" in resource,
    "value-quantity": lambda resource: "valueQuantity" in resource,
}
SORT_VALUES: dict[str, Callable[[Resource], list[Any]]] = {
    "_id": lambda resource: [resource["id"]],
    "code": lambda resource: [code for _, code in concepts(resource) if code],
    "date": lambda resource: [span[0] for span in [effective(resource)] if span],
    "value-string": lambda resource: [folded(resource["valueString"])] if "valueString" in resource else [],
    "value-quantity": lambda resource: [resource["valueQuantity"]["value"]] if "valueQuantity" in resource else [],
}
