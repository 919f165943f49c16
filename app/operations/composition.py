"""Compositions as a client puts them."""

from app.database.sessions import transaction
from app.errors import Invalid
from app.parts import Parts
from app.store import compositions, spaces
from tangent_composer.schemas.compositions import CompositionIn, CompositionOut


def put_composition(
    parts: Parts,
    name: str,
    request: CompositionIn,
    *,
    if_match: str | None,
    if_none_match: str | None,
) -> tuple[CompositionOut, bool]:
    """Make or replace the composition; return it, and whether it is new.

    Raises:
        Invalid: `too_many_components`.
        NotFound: `space_not_found`.
        StaleVersion, Invalid, Conflict, NotFound, Gone: as `compositions.put`.
    """
    chosen, most = request.components, parts.settings.max_components
    if chosen != "all" and len(chosen) > most:
        raise Invalid(
            "too_many_components",
            f"{len(chosen)} components are named, the most is {most}",
        )
    with transaction(parts.sessions) as session:
        row, created = compositions.put(
            session,
            parts.blobs,
            name,
            space=spaces.get(session, request.space),
            rule=request.rule,
            components="all" if chosen == "all" else [(part.id, part.weight) for part in chosen],
            metadata=request.metadata,
            if_match=if_match,
            if_none_match=if_none_match,
        )
        return CompositionOut.of(row, compositions.etag(row)), created
