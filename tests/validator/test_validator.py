"""HAPI's instance validator on what the server answers: its conformance resources, Bundles, outcomes and resources."""

from __future__ import annotations

Errors = list[tuple[str, str, str]]


def test_no_errors(found: Errors) -> None:
    """HAPI has no error with anything that the server answers."""
    left = "\n".join(": ".join(each) for each in found if not each[0].startswith(("broken", "case-")))

    assert "" == left


def test_errors_are_seen(found: Errors) -> None:
    """A Patient with an element that R4 does not know is found to be wrong."""
    assert [("broken.json", "Unrecognized property 'gendre'")] == [
        (file, said) for file, _, said in found if file == "broken.json"
    ]
