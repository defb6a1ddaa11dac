"""Prometheus: what the last cycle saw, collected when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from vafnebula.scale.loop import Scaler


class _Scaler(Collector):
    def __init__(self, scaler: Scaler) -> None:
        self._scaler = scaler

    def collect(self) -> Iterator[Metric]:
        counts = CounterMetricFamily("vafnebula_actions", "Actions and their outcomes", labels=["verb", "outcome"])
        for (verb, outcome), number in sorted(dict(self._scaler.counts).items()):
            counts.add_metric([verb, outcome], number)
        yield counts
        report = self._scaler.report
        if report is None:
            return
        states = [job.state for job in report.snapshot.jobs]
        jobs = GaugeMetricFamily("vafnebula_jobs", "Jobs that a snapshot had", labels=["state"])
        for state in ("waiting", "held", "running"):
            jobs.add_metric([state], states.count(state))
        yield jobs
        vms = GaugeMetricFamily("vafnebula_vms", "VMs of a pool by the state of their life", labels=["pool", "life"])
        views = report.reasons.vms
        for pool, life in sorted({(v.pool, v.life) for v in views}):
            vms.add_metric([pool, life], sum(v.pool == pool and v.life == life for v in views))
        yield vms
        cores = GaugeMetricFamily("vafnebula_ready_cores", "Cores of ready VMs", labels=["pool"])
        for view in report.reasons.pools:
            cores.add_metric([view.name], view.cores)
        yield cores
        broken = GaugeMetricFamily("vafnebula_breaker_failures", "Boot failures in a row", labels=["template"])
        for template, breaker in sorted(self._scaler.state.memory.breakers.items()):
            broken.add_metric([template], breaker.failures)
        yield broken
        for name, text, value in (
            ("vafnebula_leads", "1 when this front-end acts", float(report.leads)),
            ("vafnebula_hold", "1 while nothing may be changed", float(report.reasons.hold is not None)),
            ("vafnebula_cycle_seconds", "Seconds that the last cycle took", report.seconds),
            ("vafnebula_cycle_timestamp_seconds", "When the last cycle looked", report.snapshot.now),
            ("vafnebula_squeezed_vms", "Batch VMs that gave up CPU", float(len(self._scaler.state.squeezed))),
        ):
            yield GaugeMetricFamily(name, text, value=value)


def registry(scaler: Scaler) -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(_Scaler(scaler))
    return made


def text(made: CollectorRegistry) -> bytes:
    """The text format that Prometheus scrapes."""
    return generate_latest(made)
