"""The card of a space, as a file that a deletion of the space ends on its way."""

from functools import partial

from app.database.sessions import transaction
from app.errors import Forbidden
from app.inference import space_cards
from app.inference.deletion_gate import Ticket
from app.operations.downloads import IsKnown, StoredFile
from app.parts import Parts
from app.store import spaces
from tangent.backbones.weights_folder import divided, is_of_hub


def card_file(parts: Parts, reader: Ticket, name: str, is_known: IsKnown) -> StoredFile:
    """Return the card of the space, by which components can be trained elsewhere.

    Raises:
        NotFound: `space_not_found`.
        Forbidden: `card_withheld`.
        SpaceUnavailable: as `OpenedSpaces.key`.
        BadCard: the backbone can be built nowhere else.
    """
    reader.enter()
    with transaction(parts.reading) as session:
        row = spaces.get(session, name)
    check_offered(row.backbone, parts.settings.space_cards)
    reader.hand_over([space_cards.contents_of(name)])  # opening the space takes its time
    key = parts.spaces.key(row)
    write = partial(parts.engine.write_card, key, name)
    version, file = parts.cards.open((name, row.fingerprint), write)
    if is_known(version):
        file.close()
        return StoredFile(version, None, lambda: True)

    def is_stored() -> bool:
        with transaction(parts.reading) as session:
            return spaces.is_as_it_was(session, row)

    return StoredFile(version, file, is_stored)


def check_offered(backbone: str, offered: str) -> None:
    """Refuse the card of a backbone whose weights the operator does not give away.

    Those of a file, a folder or a repository may be nobody else's; shipped and timm's are public.

    Raises:
        Forbidden: `card_withheld`.
    """
    is_public = not is_of_hub(backbone) and not divided(backbone)[1]
    if offered == "all" or (offered == "public" and is_public):
        return
    what = "its weights" if is_public else "its weights, which are the operator's own,"
    wanted = "public or all" if is_public else "all"
    raise Forbidden(
        "card_withheld",
        f"the space has no card for download, as {what} would leave with it: ask the operator to "
        f"set TANGENT_SPACE_CARDS={wanted}, or train here",
    )
