"""A transaction planned: its entries checked, their ids chosen, what they call each other found.

What can change before they are written, the matches of criteria, is a guess that the transaction decides on.
Source: https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from fhir_blob.access import Request as Asked
from fhir_blob.access import authorise
from fhir_blob.errors import BadRequest, NotFound, PreconditionFailed, TooLarge, Unprocessable
from fhir_blob.fhir import bundle
from fhir_blob.fhir.bundle import Mention
from fhir_blob.fhir.patch_mentions import patch_mentions
from fhir_blob.interactions import Context, binary, conditional, incoming, search
from fhir_blob.interactions.entries import Action, Criteria, Deadline, Mistakes, at_entry
from fhir_blob.interactions.update import same_id
from fhir_blob.store import Reader, Version

BINARY = "Binary"
_QUOTED = 200
_SEARCHES = ("search-type", "search-system")


@dataclass(frozen=True, slots=True)
class Learned:
    """What is kept for the next try: new ids by number, what conditional references mean, what criteria match."""

    ids: dict[int, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    matches: dict[tuple[str, Criteria], Version | None] = field(default_factory=dict)


@dataclass(slots=True)
class Plan:
    """What was chosen for the entries, by their numbers.

    `targets` are (type, id) of what is written, `fresh` those whose id is new, `found` the guessed matches of
    criteria; `same_as` are conditional creates with the criteria of an earlier one, `firsts` those.
    `conditional` are the conditional references by their text, with the first entry that has it, `named` what
    they were found to mean. `deadline` ends the looking for all of these.
    """

    deadline: Deadline
    targets: dict[int, tuple[str, str]] = field(default_factory=dict)
    fresh: set[int] = field(default_factory=set)
    found: dict[int, Version | None] = field(default_factory=dict)
    firsts: dict[tuple[str, Criteria], int] = field(default_factory=dict)
    same_as: dict[int, int] = field(default_factory=dict)
    mentions: dict[int, list[Mention]] = field(default_factory=dict)
    conditional: dict[str, tuple[str, Criteria, int]] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)


def check(context: Context, actions: Sequence[Action]) -> None:
    """Every mistake that shows without the database."""
    mistakes = Mistakes()
    for action in actions:
        with mistakes.of(action.number):
            _CHECKS.get(action.interaction, _check_other)(context, action)
    mistakes.tell()


def _check_create(context: Context, action: Action) -> None:
    _check_resource(context, action)
    _check_by_criteria(context, action)


def _check_update(context: Context, action: Action) -> None:
    _check_resource(context, action)
    if action.criteria is None:
        same_id(action.resource, action.id)
    else:
        conditional.asked(context, action.type, action.criteria)


def _check_by_criteria(context: Context, action: Action) -> None:
    if action.criteria is not None:
        conditional.asked(context, action.type, action.criteria)


def _check_other(context: Context, action: Action) -> None:
    if action.interaction in _SEARCHES:
        search.parsed(context, action.type or None, action.query)


_CHECKS = {
    "create": _check_create,
    "update": _check_update,
    "patch": _check_by_criteria,
    "delete": _check_by_criteria,
}


def _check_resource(context: Context, action: Action) -> None:
    if action.type == BINARY:
        binary.checked(context, action.resource)
    else:
        incoming.checked(context, action.resource, action.type)


def plan(context: Context, reader: Reader, actions: Sequence[Action], learned: Learned) -> Plan:
    """Ids and matches as the database is now, but for what was learned by trying."""
    made = Plan(Deadline(context), named=dict(learned.names))
    for action in actions:
        if action.interaction in ("create", "update", "patch"):
            with at_entry(action.number):
                made.targets[action.number] = (action.type, _id(context, reader, action, made, learned))
    _check_overlaps(made, actions)
    _mentions(context, made, actions)
    for text, (_, _, number) in made.conditional.items():
        if text not in made.named:
            with at_entry(number):
                made.deadline.check()
                _guess_reference(context, reader, made, text)
    return made


def _id(context: Context, reader: Reader, action: Action, made: Plan, learned: Learned) -> str:
    """Of the resource that the entry writes, or finds there already."""
    number, type, criteria = action.number, action.type, action.criteria
    if action.id:
        return action.id
    fresh = learned.ids.setdefault(number, context.services.new_id())
    found = None
    if criteria is not None:
        first = number
        if action.interaction == "create":
            first = made.firsts.setdefault((type, tuple(sorted(criteria))), number)
        if first != number:
            made.same_as[number] = first
            return made.targets[first][1]
        made.deadline.check()
        found = made.found[number] = _guess(context, reader, type, criteria, learned)
    if action.interaction == "patch" and found is None:
        raise NotFound(f"{conditional.told(type, criteria or ())!r} matches nothing.")
    if action.interaction == "update":
        return _id_of_update(context, action, made, found, fresh)
    if action.interaction == "patch" and found is not None:
        authorise(context.principal, Asked("patch", type, found.id))
    return fresh if found is None else found.id


def _id_of_update(context: Context, action: Action, made: Plan, found: Version | None, fresh: str) -> str:
    is_fresh = found is None and "id" not in action.resource
    id = fresh if is_fresh else conditional.id_of(context, action.type, action.resource, found)
    if is_fresh:
        made.fresh.add(action.number)
    authorise(context.principal, Asked("update", action.type, id))
    action.resource["id"] = id
    same_id(action.resource, id)
    return id


def _guess(context: Context, reader: Reader, type: str, criteria: Criteria, learned: Learned) -> Version | None:
    if (type, criteria) in learned.matches:
        return learned.matches[type, criteria]
    return conditional.only(type, criteria, conditional.matches(context, reader, type, criteria))


def _check_overlaps(made: Plan, actions: Sequence[Action]) -> None:
    """Criteria may lead to what another entry writes."""
    seen: dict[tuple[str, str], int] = {}
    for action in actions:
        if action.interaction == "create":
            continue
        target = (action.type, action.id) if action.interaction == "delete" else made.targets.get(action.number)
        if target is not None and target[1]:
            with at_entry(action.number):
                if target in seen:
                    raise BadRequest(f"{'/'.join(target)} is written by Bundle.entry[{seen[target]}] too.")
            seen[target] = action.number


def _mentions(context: Context, made: Plan, actions: Sequence[Action]) -> None:
    """Where the entries name each other; a placeholder that names none is a mistake."""
    full_urls, mistakes = (
        {each.full_url for each in actions if each.full_url and each.number in made.targets},
        Mistakes(),
    )
    for action in actions:
        if action.number not in made.targets:
            continue
        with at_entry(action.number):
            found = made.mentions[action.number] = _mentioned(action, full_urls)
        for text in (mention.text for mention in found if mention.is_reference):
            if bundle.is_placeholder(text) and text.partition("#")[0] not in full_urls:
                with mistakes.of(action.number):
                    raise _nameless(action, text)
            elif text not in made.conditional and (query := bundle.conditional(text, context.base)) is not None:
                made.conditional[text] = (query[0], _pairs(query[1]), action.number)
        if len(made.conditional) > context.services.settings.max_bundle_entries:
            raise TooLarge(
                f"The Bundle has more than {context.services.settings.max_bundle_entries} conditional references."
            )
    mistakes.tell()


def _mentioned(action: Action, full_urls: Container[str]) -> list[Mention]:
    base = bundle.base_of(action.full_url)
    if action.patch is not None:
        return patch_mentions(action.patch, action.type, full_urls, base)
    return bundle.mentions(action.resource, full_urls, base)


def _nameless(action: Action, text: str) -> Unprocessable:
    path = None if action.patch is not None else bundle.path_of(action.resource, text)
    return Unprocessable(f"{text[:_QUOTED]!r} is the fullUrl of no entry that is stored.", expression=path)


def _pairs(query: str) -> Criteria:
    try:
        return tuple(parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=100))
    except ValueError as error:
        raise BadRequest(f"{query[:_QUOTED]!r} is no query.") from error


def _guess_reference(context: Context, reader: Reader, made: Plan, text: str) -> None:
    """What is found in the end counts: it may be one of the entries, which is not there yet."""
    type, criteria, _ = made.conditional[text]
    found = conditional.only(type, criteria, conditional.matches(context, reader, type, criteria))
    if found is not None:
        made.named[text] = f"{type}/{found.id}"
    elif all(type != target[0] for target in made.targets.values()):
        raise unmatched(text)


def unmatched(text: str) -> PreconditionFailed:
    return PreconditionFailed(f"The conditional reference {text[:_QUOTED]!r} matches nothing.")
