"""Images, wherever they are held: found by their bytes, or by what they look like."""

from collections.abc import AsyncIterator
from typing import Any

from tangent_composer.client.asynchronous.transport import AsyncTransport, parsed
from tangent_composer.client.errors import BadInput
from tangent_composer.client.pictures import media_type, pictures
from tangent_composer.schemas.images import HeldImage, ImageSearchOut


class AsyncImages:
    """The images of all datasets of a service."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    def each(self, sha256: str) -> AsyncIterator[HeldImage]:
        """Yield the images with these bytes, and what was trained with them."""
        return self._transport.each("/v1/images", HeldImage, sha256=sha256)

    async def find(self, image: Any, *, distance: int | None = None) -> ImageSearchOut:
        """Return the images that are this one or look like it, and what holds them.

        distance: most bits of 144 by which the perceptual hashes differ.
        """
        found = pictures(image)
        if len(found) != 1:
            raise BadInput(
                "one_image", f"{len(found)} images were given", "search for one at a time"
            )
        data = found[0].read()
        file = {"image": (found[0].name, data, media_type(data))}
        params = {} if distance is None else {"distance": distance}
        answer = await self._transport.send(
            "POST", "/v1/images/search", params=params, body=lambda: {"files": file}, reads=True
        )
        return parsed(answer, ImageSearchOut)
