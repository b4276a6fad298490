"""Metrics on their way: from a session through Ray's agent to a real Prometheus, which answers the dashboard."""

import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request

import pytest

from pipeline.watching.metrics import METRICS
from pipeline.watching.state import State
from tests.pipeline.watching.script import BEGAN_S, an_eventful_session
from tests.pipeline.watching.test_metrics import EXPRESSIONS

pytestmark = [pytest.mark.ray, pytest.mark.slow]
PATIENCE_S = 90


def fetched(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def until(look):
    """What `look` gives once it gives something."""
    end = time.monotonic() + PATIENCE_S
    while not (found := look()) and time.monotonic() < end:
        time.sleep(0.5)
    return found


@pytest.fixture
def report(on_cluster):
    """Reports a session in which replicas and nodes were lost, as a run does every few seconds."""
    from pipeline.replicas.on_ray.metrics import Metrics

    metrics, state = Metrics("s3://me:hunter2@bucket/runs/coco"), State(BEGAN_S)
    an_eventful_session([state], ends=False)
    return lambda: metrics(state.summary())


@pytest.fixture
def agent(on_cluster):
    """Where Ray's agent tells what was reported."""
    from pipeline.replicas.on_ray.authenticated import ray

    (node,) = ray.nodes()
    return f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}"


@pytest.fixture
def prometheus(agent, tmp_path):
    """A Prometheus that scrapes the agent."""
    found = shutil.which("prometheus")
    if found is None:
        pytest.skip("no prometheus in PATH: the dashboard's queries were not asked")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: ray, static_configs: [{{targets: ['{agent}']}}]}}]\n"
    )
    command = [found, "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    command += [f"--web.listen-address=127.0.0.1:{port}"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
        yield f"http://127.0.0.1:{port}"
        process.terminate()
        process.wait()


def test_the_agent_tells_every_metric_and_no_password(agent, report):
    def told():
        report()
        text = fetched(f"http://{agent}/metrics")
        return text if all(f"ray_{name}{{" in text for name in METRICS) else ""

    text = until(told)
    assert text, "not all metrics were told"
    assert "hunter2" not in text
    assert 'run="s3://(hidden)@bucket/runs/coco"' in text


def test_prometheus_answers_what_the_dashboard_asks(prometheus, report):
    def answers(expression):
        report()
        query = expression.replace("$__rate_interval", "1m").replace("$run", ".*")
        try:
            text = fetched(f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}")
        except OSError:  # it is starting
            return []
        found = json.loads(text)
        assert found["status"] == "success", expression
        return found["data"]["result"]

    assert EXPRESSIONS
    unanswered = [expression for expression in EXPRESSIONS if not until(lambda asked=expression: answers(asked))]
    assert unanswered == []
    (deaths,) = [
        result["value"][1]
        for result in answers('sum by (cause) (ray_sod_replica_deaths_total{run=~"$run"})')
        if result["metric"]["cause"] == "node"
    ]
    assert deaths == "2"
