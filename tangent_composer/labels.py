"""Labels as people write them: the one form of a text, and the reasons why a text is no label.

Loads nothing but the standard library, so what must start without torch can import it. Archives,
imported components, spaces and renamings of labels all follow this module.

Orthography is accepted: joiners (Persian, Hindi, emoji), soft hyphens, directional marks, variation
selectors, spaces of any width, private characters. Refused is a text that hides something: controls
and line ends, characters that turn the direction of others, and a text that shows nothing.
"""

import re
import unicodedata
from collections.abc import Container

MAX_LABEL = 255  # characters
MAX_UNTIDY = 4 * MAX_LABEL  # composing a text makes it shorter by less, and takes quadratic time
INVISIBLE_EDGES = re.compile(  # zero-width spaces, directional marks and soft hyphens beside white
    r"^[\s\u00ad\u061c\u200b\u200e\u200f\u2060\ufeff]+"
    r"|[\s\u00ad\u061c\u200b\u200e\u200f\u2060\ufeff]+$"
)
FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f")  # of Scotland, say
CATEGORIES = {
    "Cc": "a control character",
    "Cs": "half of a character (a lone surrogate)",
    "Cn": f"not a character of Unicode {unicodedata.unidata_version}",
    "Zl": "a line end",
    "Zp": "a line end",
}
FORMATS = {
    **dict.fromkeys("\u202a\u202b\u202c\u202d\u202e", "turns the direction of the text around it"),
    **dict.fromkeys("\u2066\u2067\u2068\u2069", "turns the direction of the text around it"),
    **dict.fromkeys(map(chr, range(0x206A, 0x2070)), "is deprecated and cannot be seen"),
    **dict.fromkeys("\ufff9\ufffa\ufffb", "hides an annotation"),
    "\ufeff": "is a byte order mark in the middle of a text",
}
BLANK = re.compile(  # letters, symbols and marks that show nothing by themselves
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def composed(text: str) -> str:
    """Return the text in Unicode's composed form (NFC): é is one character, however it came.

    A text that is too long for a name is returned as it is.
    """
    return unicodedata.normalize("NFC", text) if len(text) <= MAX_UNTIDY else text


def tidy(text: str) -> str:
    """Return the text as a label: composed, and without white space or invisible marks around."""
    return INVISIBLE_EDGES.sub("", composed(text)) if len(text) <= MAX_UNTIDY else text


def fault(label: str) -> str | None:
    """Return why a tidy text is no label, as the end of a sentence; None if it is one."""
    if not label:
        return "is empty"
    if len(label) > MAX_LABEL:
        return f"is longer than {MAX_LABEL} characters"
    visible = False
    for character in FLAG.sub("\U0001f3f4", label):
        if why := _character_fault(character):
            return f"has U+{ord(character):04X}, which {why}"
        visible = visible or not _is_blank(character)
    return None if visible else "has no character that can be seen"


def fault_as_given(label: str) -> str | None:
    """Return why a text that cannot be changed is no label, as the end of a sentence."""
    if (why := fault(label)) or label == tidy(label):
        return why
    return (
        f"is written as {label!a}: its only form here is {tidy(label)!a}, composed (NFC) and "
        "without white space around it"
    )


def meant(text: str, known: Container[str]) -> str:
    """Return the label that a text names among the known ones: itself, else its tidy form."""
    return text if text in known else tidy(text)


def name_from(text: str) -> str:
    """Return a name made from a text: tidy, and without the characters that no label may have."""
    return tidy("".join(each for each in text[:MAX_UNTIDY] if not _character_fault(each)))


def _character_fault(character: str) -> str | None:
    if character.isprintable():
        return None
    category = unicodedata.category(character)
    if category in CATEGORIES:
        return f"is {CATEGORIES[category]}"
    if "\U000e0000" <= character <= "\U000e007f":
        return "is a hidden tag outside a flag"
    return FORMATS.get(character)


def _is_blank(character: str) -> bool:
    category = unicodedata.category(character)
    return category in ("Cf", "Zs") or BLANK.match(character) is not None
