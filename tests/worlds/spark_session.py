"""Spark for tests: one session that is quick to begin, since what it compiles is run a few times only."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from artifacts.errors import ConfigError
from partitioning.config.sections import SparkConfig
from tests.worlds.required import lacks

_DEFAULTS = """
spark.driver.extraJavaOptions -XX:TieredStopAtLevel=1 -XX:+UseSerialGC
spark.sql.adaptive.enabled false
spark.sql.codegen.wholeStage false
spark.sql.codegen.factoryMode NO_CODEGEN
"""


@contextmanager
def spark_of_tests(directory: Path) -> Iterator[None]:
    """A session that builds of this process use; without Java or pyspark the test is skipped, but fails in CI.

    A task may fail as often as on a cluster.
    """
    from partitioning.spark.session import spark_session

    write_defaults(directory)
    with mock.patch.dict(os.environ, {"SPARK_CONF_DIR": str(directory)}):
        try:
            session = spark_session(SparkConfig(master="local[2, 4]"), directory)
            session.__enter__()
        except ConfigError as error:
            lacks("SPARK", str(error))
        try:
            yield
        finally:
            session.__exit__(None, None, None)


def write_defaults(directory: Path) -> None:
    """Spark's own config, for SPARK_CONF_DIR."""
    (directory / "spark-defaults.conf").write_text(_DEFAULTS)
