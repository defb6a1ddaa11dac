"""`vafnebula bench ...`."""

from __future__ import annotations

from pathlib import Path

import click

from vafnebula import errors
from vafnebula.bench import net, record, report, storage
from vafnebula.bench.record import Record
from vafnebula.cli.stop import stoppable
from vafnebula.demo.screen import Screen


@click.group()
def bench() -> None:
    """Measure in a lab; nothing outside of it is changed."""


@bench.command("storage")
@click.option(
    "--json",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write records to FILE; those of other measurements in it stay.",
)
@click.option("--quick", is_flag=True, help="Fewer rounds, smaller images: for a look.")
@click.option("--rounds", type=click.IntRange(1), help="How often each case is measured.")
@click.option("--only", default="", metavar="M1,M2,...", help=f"Of {', '.join(storage.MEASUREMENTS)}.")
def storage_command(file: Path | None, quick: bool, rounds: int | None, only: str) -> None:
    """The storage driver beside raw dd, bare lvcreate, and copies over ssh."""

    old = _read(file) if file and file.exists() else []

    def keep(records: list[Record]) -> None:
        if file:
            file.write_text(record.to_json(report.merged(old, records)))

    screen = Screen()
    with stoppable("bench"):
        storage.show(screen, storage.run(screen, storage.chosen(only), quick=quick, rounds=rounds, keep=keep))


@bench.command("net")
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write all records to FILE.")
@click.option("--rounds", default=5, show_default=True, help="How often each case is measured.")
def net_command(file: Path | None, rounds: int) -> None:
    """Isolation beside one nft per VM, the linear rules of OpenNebula's old driver, and a bare nft -f.  As root."""
    with stoppable("bench"):
        records = net.run(rounds, lambda text: click.echo(text, err=True))
        if file:
            file.write_text(record.to_json(records))
        storage.show(Screen(), records)


@bench.command("scale")
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write all records to FILE.")
@click.option("--events", default=40, show_default=True, help="How many events the reaction is measured with.")
@click.option("--days", default=30.0, show_default=True, help="Simulated days in which everything fails now and then.")
def scale_command(file: Path | None, events: int, days: float) -> None:
    """The scaler's reaction, cycle and waste beside the threshold policy of old, in memory and in a simulated site."""
    from vafnebula.bench import scale

    records = scale.run(events, days, lambda text: click.echo(text, err=True))
    if file:
        file.write_text(record.to_json(records))
    storage.show(Screen(), records)


@bench.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def table(file: Path) -> None:
    """Print the records in FILE as Markdown tables."""
    records = _read(file)
    click.echo(storage.markdown(records) or record.markdown(records), nl=False)


def _read(file: Path) -> list[Record]:
    try:
        return record.from_json(file.read_text())
    except (ValueError, TypeError) as e:
        raise click.ClickException(errors.one_line(f"{file} holds no records: {e}")) from e
