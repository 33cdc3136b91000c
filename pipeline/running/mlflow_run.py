"""`transra mlflow`: the published run as a run of MLflow, with its parameters, metrics and manifest."""

import json
import re
from typing import Any

from artifacts.errors import ConfigError, ResourceError
from artifacts.formats.run import MANIFEST
from artifacts.machine.exhausted import first_line
from pipeline.running.published_facts import Facts, numbers
from pipeline.workspace.workspace import METRICS

TAG = "transra.run"
_MOST, _LONGEST = 6000, 250  # characters of a parameter's value, and of a metric's name: MLflow's bounds
_OTHER = re.compile(r"[^A-Za-z0-9_\-. :/]")


def log_to_mlflow(facts: Facts, name: str, uri: str) -> bool:
    """Adds the run to the experiment `name` at a tracking URI, once; returns whether it was not there yet.

    Raises ConfigError where MLflow is not installed, ResourceError for a store that does not take it.
    """
    try:
        import mlflow
    except ImportError as error:
        raise ConfigError(f"mlflow: not installed ({error}); `pip install '.[mlflow]'`") from error
    try:
        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment(name)
        if mlflow.search_runs(filter_string=f"tags.`{TAG}` = '{facts.run.name}'", output_format="list"):
            return False
        with mlflow.start_run(run_name=facts.run.name):
            mlflow.log_params(_parameters(facts.manifest["config"]["model"]))
            mlflow.log_metrics({_metric(key): value for key, value in numbers(facts.metrics)})
            for file in (MANIFEST, METRICS):
                mlflow.log_artifact(str(facts.run / file))
            mlflow.set_tag(TAG, facts.run.name)  # last: what was cut short is logged anew
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise ResourceError(f"mlflow {uri}: {first_line(error)}") from error
    return True


def _metric(name: str) -> str:
    """A name that MLflow takes: those of relations may be any text."""
    return _OTHER.sub("_", name.replace("@", "_at_"))[:_LONGEST]


def _parameters(model: dict[str, Any]) -> dict[str, str]:
    return {key: (value if isinstance(value, str) else json.dumps(value))[:_MOST] for key, value in model.items()}
