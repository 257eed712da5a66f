"""``python -m example_app``: migrate, fill and serve the example on this machine only."""

from __future__ import annotations

import click
import flask_migrate
from flask import Flask

from example_app import create_app, seed

_ADDRESSES = {
    "/documents?page=2&page_size=20&sort=-uploaded_at": "a page of documents",
    "/before/documents": "the same without pages: every row",
    "/before/analytics": "an N+1: watch the log and the Server-Timing header",
    "/analytics": "the same numbers from three statements",
    "/health": "whether the database answers",
    "/metrics": "figures for Prometheus",
    "/perfkit": "the dashboard of PerfKit",
}


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
@click.option(
    "--documents",
    type=click.IntRange(1, 100_000_000),
    default=seed.DOCUMENTS,
    show_default=True,
    help="How many documents to fill an empty database with.",
)
def main(port: int, documents: int) -> None:
    """Migrate, fill and serve the example application, with PerfKit watching."""
    app = create_app({"DEBUG": True})
    with app.app_context():
        flask_migrate.upgrade()
        if seed.is_empty():
            seed.fill(documents)
    _print_addresses(app, f"http://127.0.0.1:{port}")
    app.run(port=port, use_reloader=False)


def _print_addresses(app: Flask, root: str) -> None:
    router = app.url_map.bind("127.0.0.1")
    click.echo("\nOpen, while this runs (Ctrl-C ends it):")
    for address, meaning in _ADDRESSES.items():
        if router.test(address.partition("?")[0]):
            click.echo(f"  {root}{address}\n      {meaning}")


if __name__ == "__main__":
    main(prog_name="python -m example_app")
