"""Metrics: every one is told, none that is unknown, and the dashboard asks for nothing else."""

import json
import re
from pathlib import Path

import pytest

from pipeline.replicas import events
from pipeline.watching.metrics import METRICS, samples
from pipeline.watching.state import State
from tests.documents import ROOT
from tests.pipeline.watching.script import BEGAN_S, an_eventful_session

DASHBOARD = json.loads(Path(ROOT, "jobs/grafana.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
README = Path(ROOT, "jobs/README.md").read_text(encoding="utf-8")
ALERTS = re.findall(r"^\| .* \| `(.*ray_sod_.*)` \|$", README, re.MULTILINE)


@pytest.fixture(scope="module")
def told():
    """What a session in which about everything happens tells."""
    state = State(BEGAN_S)
    an_eventful_session([state], ends=False)
    return list(samples(state.summary()))


def test_every_metric_is_told_with_its_tags(told):
    assert {sample.name for sample in told} == METRICS.keys()
    for sample in told:
        assert tuple(sample.tags) == METRICS[sample.name].tags
        assert sample.value >= -1


def test_no_metric_is_told_twice_with_the_same_tags(told):
    keys = [(sample.name, tuple(sample.tags.items())) for sample in told]
    assert len(set(keys)) == len(keys)


def test_counters_are_named_so_and_never_fall():
    state = State(BEGAN_S)
    before = {}

    def look(event):
        state(event)
        for sample in samples(state.summary()) if isinstance(event, events.ReplicaEnded) else ():
            if METRICS[sample.name].kind == "counter":
                key = (sample.name, tuple(sample.tags.items()))
                assert sample.value >= before.get(key, 0)
                before[key] = sample.value

    an_eventful_session([look], shards=60)
    assert before
    assert {name for name, metric in METRICS.items() if metric.kind == "counter"} == {
        name for name in METRICS if name.endswith("_total")
    }


def test_what_has_ended_has_no_rate_and_no_replicas():
    state = State(BEGAN_S)
    an_eventful_session([state], shards=60)
    found = {(sample.name, *sample.tags.values()): sample.value for sample in samples(state.summary())}
    assert found["sod_images_per_s",] == 0
    assert found["sod_time_left_s",] == -1
    assert not [name for name, *_ in found if name.startswith("sod_replica_") and not name.endswith("_total")]
    assert {found["sod_replicas", state] for state in ("asked", "loading", "idle", "working")} == {0}


def test_the_dashboard_asks_for_metrics_that_exist_by_tags_that_they_have():
    asked = set()
    for expression in EXPRESSIONS:
        names = re.findall(r"ray_(sod_\w+)", expression)
        assert names, expression
        asked |= set(names)
        for tag in re.findall(r"by \((\w+)\)", expression):
            assert all(tag in (*METRICS[name].tags, "run") for name in names), expression
    assert asked == METRICS.keys()


@pytest.mark.parametrize("expression", [*EXPRESSIONS, *ALERTS])
def test_expressions_ask_for_values_by_tags_that_there_are_and_not_for_rises(expression):
    assert not re.search(r"\b(rate|irate|increase|delta)\b", expression)  # they miss a counter's first value
    for name, selected in re.findall(r"ray_(sod_\w+)\{([^}]*)\}", expression):
        assert set(re.findall(r"(\w+)[!=]", selected)) <= {*METRICS[name].tags, "run"}
    for name in re.findall(r"ray_(sod_\w+)", expression):
        assert name in METRICS
    if "deaths" in expression:
        assert 'cause!="surplus"' in expression


def test_there_are_alerts():
    assert len(ALERTS) == 3


def test_no_figure_of_the_dashboard_turns_red_for_being_large():
    coloured = [panel for panel in DASHBOARD["panels"] if panel.get("options", {}).get("colorMode") == "value"]
    assert coloured
    for panel in coloured:  # without a colour, Grafana's own thresholds hold: red from 80 on
        assert panel["fieldConfig"]["defaults"]["color"]["mode"] == "fixed", panel["title"]


def test_the_dashboard_is_one_that_grafana_loads():
    assert DASHBOARD["schemaVersion"] >= 36
    assert DASHBOARD["uid"]
    assert {variable["name"] for variable in DASHBOARD["templating"]["list"]} == {"datasource", "run"}
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert [target["refId"] for target in panel["targets"]] == list("AB")[: len(panel["targets"])]
            assert all("$run" in target["expr"] for target in panel["targets"])
