"""The names of an archive's entries, read from their bytes by one rule for zips, tars and folders.

Any of the world's code pages gives a name some text, and the wrong text is a wrong label. Names in
a code page may be UTF-8 by chance: the cat of GBK, 猫, is the è of UTF-8. So names without a mark
count as UTF-8 only if all of the archive's do.
"""

from app.archives.entries import CODE_PAGES, damaged
from app.errors import Invalid

WHAT_TO_DO = (
    "pack with names in UTF-8 (7-Zip: -mcu=on), or name the code page in the field code_page of "
    f"the form (tangent fit: --code-page), one of {', '.join(CODE_PAGES)}"
)
SHOWN = 80  # characters of a name


class Names:
    """Reads names; one for each archive, as it remembers what it has read."""

    def __init__(self, code_page: str | None) -> None:
        """With a code page, all names without a mark are in it."""
        self._code_page = code_page
        self._as_utf8: str | None = None  # the first that is not ASCII, without a mark
        self._unread: str | None = None  # the first that is not in UTF-8

    def marked(self, raw: bytes) -> str:
        """Return a name that the archive marks as UTF-8.

        Raises:
            Malformed: `archive_damaged`, as it is not.
        """
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise damaged(f"the name {raw!r} is not in UTF-8") from None

    def unmarked(self, raw: bytes) -> tuple[str, str | None]:
        """Return a name and, if it cannot be read for certain, the reason; it is then in ASCII.

        Raises:
            Invalid: `unreadable_names`, without a code page, when some names that are not ASCII
                are in UTF-8 and some are not.
        """
        try:
            name, fault = raw.decode(self._code_page or "utf-8"), None
        except UnicodeDecodeError:
            name, fault = raw.decode("ascii", "backslashreplace"), self._fault()
            name = name.replace("\0", "\\x00")
        if self._code_page is None and not raw.isascii():
            self._check_alike(name, fault)
        return name, fault

    def _fault(self) -> str:
        if self._code_page is not None:
            return f"its name is not in {self._code_page}"
        return (
            "its name is not in UTF-8, and the archive does not tell in which code page it is: "
            + WHAT_TO_DO
        )

    def _check_alike(self, name: str, fault: str | None) -> None:
        if fault is None:
            self._as_utf8 = self._as_utf8 or name
        else:
            self._unread = self._unread or name
        if self._as_utf8 and self._unread:
            raise Invalid(
                "unreadable_names",
                f"the name '{self._unread[-SHOWN:]}' is not in UTF-8, so that "
                f"{self._as_utf8[-SHOWN:]!r} may be so only by chance and mean another: "
                + WHAT_TO_DO,
            )
