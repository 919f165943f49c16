"""The versions of a composition that a request may name as its condition."""

from app.errors import StaleVersion


def precondition(found: str | None, if_match: str | None, if_none_match: str | None = None) -> None:
    """Refuse a composition whose version does not meet the request's conditions.

    `found` is its etag; None if there is no composition yet. "*" stands for any version.

    Raises:
        StaleVersion: `composition_changed`.
    """
    if if_match is not None and (found is None or if_match not in ("*", found)):
        raise StaleVersion(
            "composition_changed",
            f"If-Match is {if_match}, the composition's version is {found or 'none'}: GET it and "
            "decide again",
        )
    if if_none_match is not None and found is not None and if_none_match in ("*", found):
        raise StaleVersion(
            "composition_changed",
            f"If-None-Match is {if_none_match}, and the composition exists with version {found}",
        )
