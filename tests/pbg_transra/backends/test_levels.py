"""Which copy of the kernels runs, and that training says so."""

import pytest

from artifacts.errors import ConfigError
from pbg_transra.backends.fused import levels
from pbg_transra.backends.fused.levels import VARIABLE, chosen_level, possible_levels


def test_the_fastest_possible_level_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert chosen_level() == possible_levels()[0]
    monkeypatch.setenv(VARIABLE, "")
    assert chosen_level() == possible_levels()[0], "empty is not set"


@pytest.mark.parametrize("level", possible_levels())
def test_a_level_can_be_forced(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, level)
    assert chosen_level() == level


def test_torch_is_always_possible_and_the_last() -> None:
    assert possible_levels()[-1] == "torch"
    assert set(possible_levels()) <= set(levels.LEVELS)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("avx3", "TRANSRA_KERNELS=avx3 is no level: expected baseline, torch"),
        ("AVX2", "TRANSRA_KERNELS=AVX2 is no level: expected baseline, torch"),
        ("avx512", "TRANSRA_KERNELS=avx512 cannot run here: expected baseline, torch"),
    ],
)
def test_another_level_is_refused_with_what_is_possible(
    asked: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levels, "possible_levels", lambda: ("baseline", "torch"))
    monkeypatch.setenv(VARIABLE, asked)
    with pytest.raises(ConfigError) as refused:
        chosen_level()
    assert str(refused.value) == expected


def test_without_compiled_copies_torch_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "library_path", lambda level: None)
    assert possible_levels.__wrapped__() == ("torch",)
