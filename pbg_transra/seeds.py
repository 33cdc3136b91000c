"""Seeds of what is drawn: each follows from whole numbers, so that a training draws the same again."""


def seed_of(*numbers: int) -> int:
    """Mixes whole numbers into a seed for torch; Python hashes tuples of integers alike in every process."""
    return hash(numbers) & (2**63 - 1)
