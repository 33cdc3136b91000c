"""What a stage's plan says, in words."""

from datetime import timedelta

LONG = 1000 * 365 * 86_400  # seconds


def told(expected: dict[str, int]) -> str:
    """Of bytes (`<resource>_bytes`) and `seconds`."""
    return ", ".join(
        f"time {timedelta(seconds=value) if value < LONG else 'a thousand years or more'}"
        if key == "seconds"
        else f"{key.removesuffix('_bytes')} {value / (1 << 20):,.0f} MiB"
        for key, value in expected.items()
    )
