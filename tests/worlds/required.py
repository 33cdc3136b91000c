"""Programs that a machine may lack."""

import os
from typing import NoReturn

import pytest


def lacks(program: str, why: str) -> NoReturn:
    """Skips the test that asks for it; fails it where the environment, as CI's does, requires the program."""
    required = f"TRANSRA_REQUIRE_{program}"
    if required in os.environ:
        pytest.fail(f"{required} is set, but {why}")
    pytest.skip(why)
