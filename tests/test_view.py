"""The view of MLflow's UI: it names only what the runs have."""

import json
import re

from test_pipeline import client, runs

from twinhead.tracking import ui


def test_every_column_and_chart_is_something_that_a_run_has(finished):
    run, state = runs(finished)[0], json.loads(ui.state())
    shown = [chart["metricKey"] for chart in state["compareRunCharts"]]
    for column in state["selectedColumns"]:
        kind, name = re.fullmatch("(attributes|metrics|params).`(.+)`", column).groups()
        assert kind != "params" or name in run.data.params
        shown += [name] if kind == "metrics" else []
    assert shown and set(shown) <= run.data.metrics.keys()


def test_the_experiment_keeps_the_view_under_the_link_s_key(finished):
    experiment = client(finished).get_experiment(runs(finished)[0].info.experiment_id)
    (key,) = re.findall("viewStateShareKey=([a-z]+)", ui.link(experiment.experiment_id))
    assert experiment.tags[f"mlflow.sharedViewState.{key}"] == ui.state()
