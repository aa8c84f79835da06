"""Arithmetic on whole numbers."""


def largest_divisor(number: int, most: int) -> int:
    """Returns the largest divisor of a positive number that is not above `most`, which is at least 1."""
    return max(divisor for divisor in range(1, most + 1) if number % divisor == 0)
