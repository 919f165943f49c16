"""The perceptual hash of an image: images that look alike have hashes with few different bits.

The image is reduced to 9 × 9 shades of grey; each bit says whether a field is brighter than its
neighbour to the left, or above (a difference hash in both directions). Another format, quality,
size, brightness or contrast changes few of the 144 bits; another photograph about half of them.
"""

from PIL import Image

SIDE = 9
BITS = 2 * SIDE * (SIDE - 1)
DIGITS = BITS // 4
MIN_CONTRAST = 8  # shades between the brightest and the darkest field; of less, noise decides


def perceptual_hash(image: Image.Image) -> str | None:
    """Return the hash of an upright RGB image in hexadecimal; None if it is too even for one."""
    fields = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()
    if max(fields) - min(fields) < MIN_CONTRAST:
        return None
    places = range(SIDE * SIDE)
    bits = [fields[place] > fields[place - 1] for place in places if place % SIDE]
    bits += [fields[place] > fields[place - SIDE] for place in places if place >= SIDE]
    number = int("".join("01"[bit] for bit in bits), 2)
    return f"{number:0{DIGITS}x}"


def distance(one: str, other: str) -> int:
    """Return the number of different bits of two hashes."""
    return (int(one, 16) ^ int(other, 16)).bit_count()
