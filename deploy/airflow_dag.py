"""A night by Airflow (tried with 3.3.2). 75, last night is still at work, skips the task, where Airflow's own is 99.

Every other code but 0 fails the task; repeated, the command resumes.
"""

from datetime import datetime, timedelta

from airflow import DAG
from airflow.providers.standard.operators.bash import BashOperator

with DAG(
    "transra",
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
):
    BashOperator(
        task_id="night",
        bash_command=".venv/bin/transra run configs/mine.json --quiet",
        cwd="/srv/transra",
        skip_on_exit_code=75,
        retries=2,
        retry_delay=timedelta(minutes=15),
    )
