"""`vafnebula bench net`: what isolation costs."""

from __future__ import annotations

from pathlib import Path

import click

from vafnebula import errors
from vafnebula.bench import net, record


@click.command("net")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the records there.")
@click.option("--rounds", default=5, show_default=True, help="How often each case is measured.")
def bench_net(json_file: Path | None, rounds: int) -> None:
    """Measure loading, frames and the pre hook; as root, about five minutes."""
    try:
        records = net.run(rounds, lambda text: click.echo(text, err=True))
    except errors.Error as e:
        raise click.ClickException(str(e)) from e
    click.echo(record.markdown(records), nl=False)
    if json_file:
        json_file.write_text(record.to_json(records))
