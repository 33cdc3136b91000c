"""Defaults of `model` that depend on the graph: inner products where anchors lead from some types to others."""

import json
from pathlib import Path
from typing import Any

import pytest

from pbg_transra import ModelConfig
from pbg_transra.defaults import INNER_PRODUCT
from pipeline.config.loading import load_config
from pipeline.tuning.tuned_config import write_tuned
from tests.pipeline.config.test_config import good

COSINE = {key: ModelConfig.model_fields[key].default for key in INNER_PRODUCT}


def resolved(tmp_path: Path, model: dict[str, Any], config: dict[str, Any] | None = None) -> dict[str, Any]:
    path = tmp_path / "config.json"
    path.write_text(json.dumps((config or good()) | {"model": model}))
    trained = load_config(path).trained
    assert trained.model_fields_set == set(model)
    return {key: getattr(trained, key) for key in INNER_PRODUCT}


@pytest.mark.parametrize(
    "written", [{}, {"similarity": "dot"}, {"tail_bias": False}, {"regularization": 0.0}, {"anchor_translation": True}]
)
def test_anchors_between_types_are_trained_by_the_inner_product_that_is_served(
    tmp_path: Path, written: dict[str, Any]
) -> None:
    assert resolved(tmp_path, {"anchors": ["click"], **written}) == {**INNER_PRODUCT, **written}


@pytest.mark.parametrize(
    "written",
    [{"similarity": "cos"}, {"scale": 4.0}, {"loss": "logistic"}, {"start_from": "checkpoint"}, {"similarity": "l2"}],
)
def test_what_is_written_of_another_score_keeps_its_defaults(tmp_path: Path, written: dict[str, Any]) -> None:
    known = {key: value for key, value in written.items() if key in INNER_PRODUCT}
    assert resolved(tmp_path, {"anchors": ["click"], **written}) == {**COSINE, **known}


def test_operators_without_anchors_keep_the_cosine(tmp_path: Path) -> None:
    assert resolved(tmp_path, {"operator": "transr"}) == COSINE


@pytest.mark.parametrize("from_data", [False, True])
def test_anchors_within_a_type_keep_the_cosine(tmp_path: Path, from_data: bool) -> None:
    config = good()
    (relation,) = config["graph"]["relations"]
    relation["rhs"] = {"type": "user", "column": "p"}
    del config["graph"]["entities"]["pin"]
    if from_data:
        relation["relation_column"] = relation.pop("name")
    assert resolved(tmp_path, {"anchors": ["click"]}, config) == COSINE


def test_an_inverse_that_is_an_anchor_too_keeps_the_cosine(tmp_path: Path) -> None:
    config = good()
    config["graph"]["relations"][0]["inverse"] = "clicked_by"
    assert resolved(tmp_path, {"anchors": ["click", "clicked_by"]}, config) == COSINE


def test_a_name_that_comes_from_the_data_has_the_types_of_its_declaration(tmp_path: Path) -> None:
    config = good()
    (relation,) = config["graph"]["relations"]
    relation["relation_column"] = relation.pop("name")
    assert resolved(tmp_path, {"anchors": ["anything"]}, config) == INNER_PRODUCT


@pytest.mark.parametrize("before", [{}, {"similarity": "cos"}, {"scale": 3.0}])
@pytest.mark.parametrize("settings", [COSINE | {"scale": 9.0}, COSINE | {"similarity": "dot"}, INNER_PRODUCT])
def test_a_tuned_config_says_what_defaults_would_make_of_it(
    tmp_path: Path, before: dict[str, Any], settings: dict[str, Any]
) -> None:
    """A similarity that is written changes what is not: the file that `transra tune` writes loads as what was tuned."""
    (tmp_path / "base.json").write_text(json.dumps(good() | {"model": {"anchors": ["click"], **before}}))
    base = load_config(tmp_path / "base.json")
    tuned = ModelConfig.model_validate({**base.trained.model_dump(), **settings})
    write_tuned(tmp_path / "t.json", tmp_path / "base.json", base.model_copy(update={"model": tuned}), "a test")
    assert load_config(tmp_path / "t.json").trained.model_dump() == tuned.model_dump()
