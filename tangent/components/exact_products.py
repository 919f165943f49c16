"""Sums over features on a grid, in whole numbers: exact in any order and on any device.

A feature is a whole number n of steps. It is written by digits of 8 bits: n is the sum of
n_i 2^(8i), -128 ≤ n_i ≤ 127. A product of two digits, summed over ROWS rows, stays below 2^24, so
float32 holds it exactly, also where a device rounds the factors to TF32 or bfloat16. These sums are
added as int64, modulo 2^64; the true sum is below 2^53, so nothing is lost.

The result has the bits of the products in float64, which many GPUs compute 64 times more slowly
than those in float32, and some devices not at all.
"""

import torch
from torch import Tensor

EXACT = 2.0**53  # float64 represents every whole number below it
DIGIT = 8  # bits
MIN_DIGIT, MAX_DIGIT = -128, 127  # digits
ROWS = 512  # in one product: 512 · 128² = 2^23
QUICK_DOUBLES = ("cpu",)  # devices on which one product in float64 is quicker than three in float32


def whole(psi: Tensor, steps: Tensor) -> Tensor | None:
    """Return features (n, D) in units of their steps, int64.

    None if they are no whole numbers, or so large that sums of their products may reach 2^53.
    """
    numbers = psi / steps.to(psi.device, psi.dtype)
    largest = numbers.abs().amax() if numbers.numel() else numbers.new_zeros(())
    # One question to the device for both; a NaN is not equal to itself.
    fits = torch.where((numbers == numbers.round()).all(), largest, torch.inf).item()
    if not fits * fits * max(len(psi), 1) < EXACT:
        return None
    return numbers.to(torch.int64)


def products(numbers: Tensor) -> Tensor:
    """Return NᵀN (D, D) int64 of whole numbers (n, D), as `whole` gives them."""
    width = numbers.shape[1]
    found = torch.zeros(width, width, dtype=torch.int64, device=numbers.device)
    for some in numbers.split(ROWS):
        own = digits(some)
        for i, low in enumerate(own):
            found += (low.T @ low).to(torch.int64) << 2 * DIGIT * i
            for j, high in enumerate(own[i + 1 :], i + 1):
                mixed = (low.T @ high).to(torch.int64) << DIGIT * (i + j)
                found += mixed + mixed.T
    return found


def digits(numbers: Tensor) -> list[Tensor]:
    """Return n_0, n_1 … of whole numbers, float32, as many as the largest number needs."""
    found = []
    while True:
        digit = ((numbers - MIN_DIGIT) & (2**DIGIT - 1)) + MIN_DIGIT
        found.append(digit.to(torch.float32))
        numbers = (numbers - digit) >> DIGIT
        if not numbers.any():
            return found


def label_sums(numbers: Tensor, columns: Tensor, count: int) -> Tensor:
    """Return the sums (count, D) int64 of the rows of each column."""
    sums = torch.zeros(count, numbers.shape[1], dtype=torch.int64, device=numbers.device)
    return sums.index_add_(0, columns, numbers)
