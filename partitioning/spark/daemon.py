"""What executors start Python with: Spark's own daemon, with what our tasks need loaded once, before workers fork."""

from pyspark.daemon import manager

import partitioning.spark.bucket_tasks
import partitioning.spark.entity_files
import partitioning.spark.files  # noqa: F401  for the workers

if __name__ == "__main__":
    manager()
