"""The media type of an answer, by the weights of a request's Accept (RFC 9110, section 12.5.1)."""

from collections.abc import Sequence


def preferred(accept: str, offered: Sequence[str]) -> str:
    """Return the offered type that the client likes best; the first one if it likes none.

    Of equal weights, a type that is named comes before one that is only in a range. Of several that
    are named the last one is meant, as nobody has to name the first one.
    """
    weights = _weights(accept)

    def rank(media_type: str) -> tuple[float, bool, int]:
        is_named, place = weights.get(media_type, 0.0) > 0, offered.index(media_type)
        return _weight(media_type, weights), is_named, place if is_named else -place

    return max(offered, key=rank)


def _weights(accept: str) -> dict[str, float]:
    """Return the weight of every range of media types; those that cannot be read weigh nothing."""
    weights: dict[str, float] = {}
    for part in accept.lower().split(","):
        name, *parameters = (each.strip() for each in part.split(";"))
        given = [each[2:] for each in parameters if each.startswith("q=")]
        try:
            weights[name] = float(given[0]) if given else 1.0
        except ValueError:
            weights[name] = 0.0
    return weights


def _weight(media_type: str, weights: dict[str, float]) -> float:
    """Return the weight of the most specific range that has the type in it."""
    ranges = (media_type, media_type.partition("/")[0] + "/*", "*/*")
    return next((weights[each] for each in ranges if each in weights), 0.0)
