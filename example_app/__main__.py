"""``python -m example_app``: migrate, fill and serve the example on this machine only."""

from __future__ import annotations

import click
import flask_migrate
from click.core import ParameterSource

from example_app import create_app, seed
from example_app.blueprints.home import known_addresses


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
        elif _was_given("documents") and (held := seed.count_documents()) != documents:
            click.echo(
                f"The database holds {held:,} documents already: --documents "
                "fills an empty one only. `flask --app example_app seed --force` adds to it."
            )
        addresses = known_addresses()
    click.echo("\nOpen, while this runs (Ctrl-C ends it):")
    for address, meaning in addresses.items():
        click.echo(f"  http://127.0.0.1:{port}{address}\n      {meaning}")
    app.run(port=port, use_reloader=False)


def _was_given(option: str) -> bool:
    source = click.get_current_context().get_parameter_source(option)
    return source is ParameterSource.COMMANDLINE


if __name__ == "__main__":
    main(prog_name="python -m example_app")
