"""The alert rules that a page shows ask for series and labels that the service has."""

import re
from dataclasses import replace

import pytest
import yaml

from app.inference.engine.metrics import EngineMetrics
from app.server.metrics import Metrics
from app.store.counts import Counts
from tests.support.pages import DOCS, blocks

RULES = [
    rule
    for block in blocks(DOCS / "monitoring.md")
    if block.language == "yaml" and "groups:" in block.code
    for group in yaml.safe_load(block.code)["groups"]
    for rule in group["rules"]
]
SELECTOR = re.compile(r"(tangent_\w+)(?:\{([^}]*)\})?")


@pytest.fixture(scope="module")
def series() -> dict[str, set[str]]:
    """The labels of every series, by its name as Prometheus stores it."""
    metrics, engine = Metrics(), EngineMetrics()
    counts = Counts({"failed": 1}, 0, {}, 0, 0, 0, 0, 0)
    counts = replace(counts, damaged={"rows": 1}, passes={("evaluation", "failed"): 1})
    metrics.register_counts(lambda: counts)
    metrics.engine_text = lambda: engine.text().decode()
    found: dict[str, set[str]] = {}
    for name, collector in metrics.registry._names_to_collectors.items():
        found[name] = set(getattr(collector, "_labelnames", ()))
        found[f"{name}_bucket"] = found[name] | {"le"}
    text = metrics.text().decode()
    for name, labels in re.findall(r"^(tangent_\w+)(?:\{(.*)\})? \S+$", text, re.M):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_asks_for_series_that_there_are(rule: dict, series: dict[str, set[str]]):
    asked = {name for name, _ in SELECTOR.findall(rule["expr"])}
    assert asked <= set(series), f"{rule['alert']} asks for {asked - set(series)}"
    assert asked or "up{" in rule["expr"]
    for name, selected in SELECTOR.findall(rule["expr"]):
        labels = set(re.findall(r"(\w+)=", selected))
        assert labels <= series[name], f"{rule['alert']}: {name} has labels {series[name]}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_says_how_urgent_it_is_and_what_is_wrong(rule: dict):
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert len(rule["annotations"]["summary"]) > 20
    assert rule["expr"].count("(") == rule["expr"].count(")")


def test_there_are_rules_and_their_names_differ():
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names)) >= 10
