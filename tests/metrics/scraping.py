"""Reads the page as Prometheus does."""

from __future__ import annotations

from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Scrape(dict[str, float]):
    """Series by name and labels, as ``name{a="b"}``; the labels in alphabetical order."""

    def of(self, name: str, **labels: str) -> float:
        """Return the one value of a series, or zero where there is none."""
        return self.get(series(name, **labels), 0.0)

    def sum(self, name: str) -> float:
        """Return the sum of all series of a name."""
        return sum(value for key, value in self.items() if key.partition("{")[0] == name)

    def names(self) -> set[str]:
        return {key.partition("{")[0] for key in self}


def series(name: str, **labels: str) -> str:
    inside = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{inside}}}" if inside else name


def scrape(client: Flask | FlaskClient, path: str = "/metrics") -> Scrape:
    """Ask for the page in both formats, which must say the same, and read it."""
    client = client.test_client() if isinstance(client, Flask) else client
    response = client.get(path)
    assert response.status_code == 200, response.text
    assert response.content_type.startswith("text/plain; version=0.0.4")
    return read(response.text)


def read(text: str) -> Scrape:
    """Read a page of either format."""
    parse = (
        openmetrics.text_string_to_metric_families
        if text.endswith("# EOF\n")
        else text_string_to_metric_families
    )
    samples = [sample for family in parse(text) for sample in family.samples]
    found = Scrape((series(sample.name, **sample.labels), sample.value) for sample in samples)
    assert len(found) == len(samples), "a series is there twice"
    assert not any(name.endswith("_created") for name in found.names())
    return found
