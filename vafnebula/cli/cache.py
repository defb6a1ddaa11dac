"""`vafnebula cache ...`: what is cached where, and filling, keeping, removing, checking it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from vafnebula import errors, units
from vafnebula.admin import ask, site, views
from vafnebula.admin import cache as origins
from vafnebula.cli import asking

origin = click.argument("wanted", metavar="ORIGIN...", nargs=-1, required=True)
parallel = click.option("--parallel", default=4, show_default=True, type=click.IntRange(1, 64), help="Nodes at a time.")


@click.group()
def cache() -> None:
    """The images cached on the nodes.

    An ORIGIN is named by its key or the beginning of it, by the image's id or name, or by DATASTORE/FILE.
    """


@cache.command("list")
@asking.hosts
@asking.sds
@asking.as_json
def list_(hosts: Sequence[str], sds: int | None, as_json: bool) -> None:
    """Show what is cached where, how large it is, and whether it is used."""
    with asking.failures("cache list"):
        found, unseen = _rows(site.known(hosts))
    found = [r for r in found if sds in (None, r.sds)]
    if as_json:
        asking.show_json([asdict(r) for r in found])
    else:
        header = ("host", "sds", "key", "image", "file", "size", "holds", "disks", "last used", "")
        asking.show_table(header, [_cells(r) for r in found])
    if asking.tell_unseen(unseen):
        raise SystemExit(asking.PROBLEMS)


def _cells(row: origins.Row) -> tuple[str, ...]:
    used = time.strftime("%Y-%m-%d %H:%M", time.localtime(row.used))
    note = "pinned" if row.pinned else "" if row.complete else "being filled, or left by a crash (fsck)"
    holds = units.human(row.holds) if row.holds else "?"
    return (
        row.host, str(row.sds), row.key, row.name or "-", row.image, units.human(row.size), holds, str(row.disks), used,
        note,
    )  # fmt: skip


@cache.command()
@click.argument("images", nargs=-1, required=True)
@asking.hosts
@asking.sds
@click.option("--size", type=click.IntRange(1), metavar="MB", help="Mode thick: for disks of this size.")
@click.option("--pin", is_flag=True, help="Keep it from eviction.")
@parallel
@asking.as_json
def warm(
    images: Sequence[str],
    hosts: Sequence[str],
    sds: int | None,
    size: int | None,
    pin: bool,
    parallel: int,
    as_json: bool,
) -> None:
    """Copy IMAGES (ids or names) to the nodes before the first VM asks for them."""
    with asking.failures("cache warm"):
        known = site.known(hosts)
        registered = known.api.images()
        wanted = [origins.image(registered, word) for word in images]
        systems = [sds] if sds is not None else [d.id for d in known.systems]
        jobs = origins.fills(known.hosts, systems, wanted, known.root, (size or 0) * units.MIB, pin)
    answers = _carried_out(jobs, known, parallel, as_json)
    if sds is None:  # a node without that volume group was not meant
        answers = [a for a in answers if not isinstance(a.error, errors.NoVolumeGroup)]
    _report(answers, as_json)


@cache.command()
@origin
@asking.hosts
@asking.sds
@asking.as_json
def pin(wanted: Sequence[str], hosts: Sequence[str], sds: int | None, as_json: bool) -> None:
    """Keep origins from eviction."""
    _change("pin", wanted, hosts, sds, as_json)


@cache.command()
@origin
@asking.hosts
@asking.sds
@asking.as_json
def unpin(wanted: Sequence[str], hosts: Sequence[str], sds: int | None, as_json: bool) -> None:
    """Let origins go again when room is needed."""
    _change("unpin", wanted, hosts, sds, as_json)


@cache.command()
@origin
@asking.hosts
@asking.sds
@asking.as_json
def evict(wanted: Sequence[str], hosts: Sequence[str], sds: int | None, as_json: bool) -> None:
    """Remove origins that no disk is made of, whatever their age."""
    _change("evict", wanted, hosts, sds, as_json)


@cache.command()
@click.argument("wanted", metavar="[ORIGIN]...", nargs=-1)
@asking.hosts
@asking.sds
@parallel
@asking.as_json
def verify(wanted: Sequence[str], hosts: Sequence[str], sds: int | None, parallel: int, as_json: bool) -> None:
    """Compare origins (all by default) with their images, while disks are made of them and run.

    Exit code 1 when one is different. Images that are gone, or are newer files by now, cannot be compared.
    """
    _change("verify", wanted, hosts, sds, as_json, parallel)


def _change(
    verb: str, wanted: Sequence[str], hosts: Sequence[str], sds: int | None, as_json: bool, parallel: int = ask.PARALLEL
) -> None:
    with asking.failures(f"cache {verb}"):
        known = site.known(hosts)
        found, unseen = _rows(known)
        picked = (
            origins.chosen(found, wanted, sds) if wanted else [r for r in found if r.complete and sds in (None, r.sds)]
        )
        jobs = origins.orders(verb, picked, known.root)
    silent = asking.tell_unseen(unseen)
    answers = _carried_out(jobs, known, parallel, as_json)
    _report(answers, as_json, failed=silent)


def _rows(known: site.Known) -> tuple[list[origins.Row], list[tuple[str, errors.Error]]]:
    seen, unseen = views.of_site(known)
    return origins.rows(seen, known.api.images()), unseen


def _carried_out(jobs: Sequence[tuple[str, Any]], known: site.Known, parallel: int, quiet: bool) -> list[ask.Answer]:
    """Give out the orders, with a bar per node where somebody looks."""
    with _bars(jobs, quiet) as (began, ended):
        return ask.everyone(jobs, known.config, parallel=parallel, began=began, ended=ended)


@contextmanager
def _bars(jobs: Sequence[tuple[str, Any]], quiet: bool) -> Iterator[tuple[Any, Any]]:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[now]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as progress:
        counts: dict[str, int] = {}
        for host, _ in jobs:
            counts[host] = counts.get(host, 0) + 1
        bars = {
            host: progress.add_task(host, total=count, now="waiting", start=False) for host, count in counts.items()
        }

        def began(host: str, request: Any) -> None:
            progress.start_task(bars[host])
            progress.update(bars[host], now=_what(request))

        def ended(answer: ask.Answer) -> None:
            progress.update(bars[answer.host], advance=1, now="")

        yield began, ended


def _what(request: Any) -> str:
    image = getattr(request, "image", None)
    return f"{request.verb} {image.path.rpartition('/')[2] if image else getattr(request, 'key', '')}"


def _report(answers: Sequence[ask.Answer], as_json: bool, failed: bool = False) -> None:
    rows = [
        {
            "host": a.host,
            "sds": a.request.sds,
            "what": _what(a.request),
            "error": "" if a.error is None else str(a.error),
            **({} if a.error else a.facts),
        }
        for a in answers
    ]
    if as_json:
        asking.show_json(rows)
    else:
        for row, answer in zip(rows, answers):
            said = row["error"] or _result(answer.facts)
            click.echo(f"{row['host']} {row['sds']} {row['what']}: {said}", err=bool(row["error"]))
    if failed or not all(map(origins.good, answers)):
        raise SystemExit(asking.PROBLEMS)


def _result(facts: dict[str, Any]) -> str:
    words = {"hit": "was there already", "miss": f"copied, {units.human(int(facts.get('bytes', 0)))} read"}
    told = {
        "same": "same as its image",
        "different": "DIFFERENT from its image: evict it, and check the node's disks",
        "changed": "not compared: the image is a newer file by now",
        "gone": "not compared: the image is gone",
    }
    return words.get(str(facts.get("cache", "")), told.get(str(facts.get("result")), str(facts.get("result"))))
