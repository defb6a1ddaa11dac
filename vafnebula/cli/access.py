"""`vafnebula access ...`: ssh with certificates of the Grid."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from vafnebula import errors
from vafnebula.access import endpoint, keys, settings
from vafnebula.access.registry import Registry

configuration = click.option("--config", "path", default=settings.PATH, show_default=True, help="The settings.")


@click.group()
def access() -> None:
    """Let people with X.509 certificates log in with plain ssh, for a while (docs/access.md)."""


@contextmanager
def failures() -> Iterator[None]:
    try:
        yield
    except errors.Error as e:
        raise click.ClickException(str(e)) from e


@access.command()
@configuration
def serve(path: str) -> None:
    """Run the endpoint, until stopped."""
    with failures():
        server = endpoint.Server(settings.load(path))
        click.echo(f"listening on {server.site.listen} port {server.server_port}")
        with server:
            server.serve_forever()


@access.command(name="keys")
@click.argument("account")
@configuration
def keys_(account: str, path: str) -> None:
    """Print the registered keys of ACCOUNT, as sshd wants them."""
    with failures():
        click.echo(keys.answer(account, path), nl=False)


@access.command(name="list")
@configuration
def list_(path: str) -> None:
    """Print who may log in, until when."""
    with failures():
        for entry in Registry(settings.load(path).registry).entries(int(time.time())):
            end = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.expires))
            click.echo(f"{entry.account:16} {end}  {entry.subject}")


@access.command()
@click.option("--account", help="All keys of this account.")
@click.option("--subject", help="All keys that this certificate's holder registered.")
@configuration
def revoke(account: str | None, subject: str | None, path: str) -> None:
    """End keys now."""
    if not (account or subject):
        raise click.UsageError("say whose keys: --account, --subject or both")
    with failures():
        count = Registry(settings.load(path).registry).revoke(account=account, subject=subject)
        click.echo(f"{count} keys ended")
