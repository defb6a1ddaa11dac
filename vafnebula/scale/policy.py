"""The policy file: YAML, a closed schema, and errors that name the line and the nearest valid key.

    batch:
      system: slurm
    limits: {vms: 40, cores: 160, memory: 512GiB}
    timers: {keep_alive: 10m}
    pools:
      workers:
        min_vms: 0
        warm_vms: 1
        limits: {vms: 20}
        templates:
          - {name: small, id: 12, cores: 4, memory: 8GiB}
          - {name: gpu, id: 13, cores: 8, memory: 32GiB, gpus: 1, features: [a100], queues: [gpu]}

Durations are `90s`, `10m`, `4h`; sizes `512MiB`, `8GiB`, `1TiB`.  Every key, its default and its meaning is below.
"""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from vafnebula import errors, units
from vafnebula.scale import model

PATH = "/etc/vafnebula/scale.yaml"

_DURATION = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SIZE = re.compile(r"([0-9]{1,7})(MiB|GiB|TiB)")
BYTES = {"MiB": units.MIB, "GiB": units.GIB, "TiB": 1024 * units.GIB}


def _duration(value: Any) -> Any:
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError("a duration is a number and s, m, h or d, as in 10m")
    return float(found[1]) * _SECONDS[found[2]]


def _size(value: Any) -> Any:
    found = SIZE.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError("a size is a whole number and MiB, GiB or TiB, as in 8GiB")
    return int(found[1]) * BYTES[found[2]]


Duration = Annotated[float, BeforeValidator(_duration)]
Size = Annotated[int, BeforeValidator(_size)]
Count = Annotated[int, Field(ge=0, le=100_000, strict=True)]
Share = Annotated[float, Field(gt=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]


Text = Annotated[str, Field(min_length=1, max_length=128)]
Absolute = Annotated[str, Field(pattern=r"^/[!-~]*$")]
Reference = tuple[str, ...]
"""(template name,) or (service template name, role name)."""
EMPTY: Mapping[Reference, int] = {}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Section):
    """Upper bounds; a key that is left out is no bound."""

    vms: Count | None = None
    cores: Count | None = None
    memory: Size | None = None
    gpus: Count | None = None

    def quota(self) -> model.Quota:
        return model.Quota(self.vms, self.cores, self.memory, self.gpus)


class TimersSection(_Section):
    """See model.Timers; what a pool leaves out is the file's, what the file leaves out is ours."""

    come_alive: Duration | None = None
    job_alive: Duration | None = None
    keep_alive: Duration | None = None
    error_delay: Duration | None = None
    stale_node: Duration | None = None

    def over(self, base: model.Timers) -> model.Timers:
        given = self.model_dump(exclude_none=True)
        return model.Timers(**{**vars(base), **given})


class TemplateSection(_Section):
    """What a VM of an OpenNebula template offers to jobs.

    The template is named by `id`, by its name (`template`), or as the one of a `role` of a OneFlow `service` template.
    """

    name: Name
    id: Count | None = None
    template: Text | None = None
    service: Text | None = None
    role: Text | None = None
    cores: Annotated[int, Field(ge=1, le=10_000, strict=True)]
    memory: Size
    gpus: Count = 0
    features: tuple[Word, ...] = ()
    queues: tuple[Word, ...] = ()
    cost: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _named(self) -> TemplateSection:
        ways = [self.id is not None, self.template is not None, self.service is not None and self.role is not None]
        if sum(ways) != 1 or (self.service is None) != (self.role is None):
            raise ValueError("name the template by id, or by template, or by service and role")
        return self

    @property
    def reference(self) -> Reference | None:
        """How the template is named in OpenNebula, None when by its id."""
        if self.service is not None and self.role is not None:
            return (self.service, self.role)
        return None if self.template is None else (self.template,)

    def made(self, ids: Mapping[Reference, int]) -> model.Template:
        number = self.id if self.reference is None else ids.get(self.reference, -1)
        shape = model.Shape(self.cores, self.memory, self.gpus, frozenset(self.features), frozenset(self.queues))
        return model.Template(self.name, -1 if number is None else number, shape, self.cost)


class PoolSection(_Section):
    """VMs of one purpose: their label VAF_POOL is the pool's name."""

    templates: Annotated[tuple[TemplateSection, ...], Field(min_length=1)]
    min_vms: Count = 0
    warm_vms: Count = 0
    limits: Limits
    timers: TimersSection = TimersSection()

    @model_validator(mode="after")
    def _sane(self) -> PoolSection:
        names = [t.name for t in self.templates]
        if len(set(names)) < len(names):
            raise ValueError("two templates have the same name")
        if self.limits.vms is None:
            raise ValueError("limits.vms is missing: a pool without a bound would follow any queue")
        if self.min_vms > self.limits.vms:
            raise ValueError(f"min_vms {self.min_vms} is above limits.vms {self.limits.vms}")
        return self


class Tuning(_Section):
    """What hardly anyone changes: see model.Policy."""

    starts: Annotated[int, Field(ge=1, le=10_000, strict=True)] = 50
    booting: Annotated[int, Field(ge=1, le=10_000, strict=True)] = 40
    trial: Annotated[int, Field(ge=1, le=10_000, strict=True)] = 10
    shrink: Share = 0.1
    delays: Annotated[tuple[Duration, ...], Field(min_length=1)] = (0.0, 60.0, 300.0, 900.0, 1800.0, 3600.0)
    futile_delay: Duration = 4 * 3600.0
    stale_after: Duration = 120.0
    loss_share: Share = 0.45
    loss_floor: Count = 3
    loss_hold: Duration = 3600.0
    orphan_age: Duration = 90.0
    request_lost: Duration = 300.0
    drain_limit: Duration = 600.0
    stop_again: Duration = 300.0
    come_alive_most: Duration = 4 * 3600.0
    max_step: Duration = 120.0


class BatchSection(_Section):
    """Which batch system, and how its commands are to be started."""

    system: Literal["slurm", "torque", "openpbs", "htcondor"]
    options: dict[str, str] = Field(default_factory=dict)


class Watch(_Section):
    """A log that says when to look; see tail.PATTERNS for the kinds.  A % in the path is strftime's."""

    kind: Literal["slurm", "torque", "htcondor", "file"]
    path: Absolute


class ServiceSection(_Section):
    """The daemon: where it keeps its journal, what wakes it, where it answers."""

    state: Absolute = "/var/lib/vafnebula/scale"
    socket: Absolute = "/run/vafnebula/scale.sock"
    watch: tuple[Watch, ...] = ()
    period: Duration = 60.0
    quiet: Duration = 0.5
    patience: Duration = 3.0
    api_timeout: Duration = 20.0
    node_name: Text = "vaf-{vm}"
    local: Absolute = "/run/vafnebula/scale-api.sock"
    listen: Annotated[str, Field(pattern=r"^([0-9.]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}$")] | None = None
    token_file: Absolute | None = None


class SqueezeSection(_Section):
    """Batch VMs of `pools` give CPU (and memory) to VMs that say VAF_INTERACTIVE=YES and belong to one of `groups`.

    `cpu` and `memory` are what is left to a batch VM meanwhile, as a share of its own; memory 1 is untouched.
    """

    pools: tuple[Name, ...]
    groups: tuple[Text, ...] = ("oneadmin",)
    cpu: Share = 0.1
    memory: Share = 1.0


class File(_Section):
    """The whole file."""

    batch: BatchSection
    service: ServiceSection = ServiceSection()
    squeeze: SqueezeSection | None = None
    limits: Limits = Limits()
    timers: TimersSection = TimersSection()
    pools: Annotated[dict[Name, PoolSection], Field(min_length=1)]
    tuning: Tuning = Tuning()

    def references(self) -> set[Reference]:
        """The templates that are not named by id."""
        return {t.reference for p in self.pools.values() for t in p.templates if t.reference is not None}

    def policy(self, ids: Mapping[Reference, int] = EMPTY) -> model.Policy:
        """What decide wants.  `ids` are those of `references()`; a template that is missing there has id -1."""
        base = self.timers.over(model.Timers())
        pools = tuple(
            model.Pool(
                name,
                tuple(t.made(ids) for t in p.templates),
                p.min_vms,
                p.warm_vms,
                p.limits.quota(),
                p.timers.over(base),
            )
            for name, p in self.pools.items()
        )
        return model.Policy(pools, self.limits.quota(), **vars(self.tuning))


def load(path: Path) -> File:
    """Raises BadPolicy with the first thing that is wrong, BadArgument when the file cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as e:
        raise errors.BadArgument(what="policy file", value=str(path), why=str(e.strerror)) from e
    except UnicodeDecodeError as e:
        raise BadPolicy(path=path, line=1, why=f"it is not UTF-8 at byte {e.start}") from e
    return parse(text, str(path))


class BadPolicy(errors.SiteError):
    sentence = "{path}:{line}: {why}; correct the policy file"


def parse(text: str, name: str = "policy") -> File:
    """Raises BadPolicy."""
    try:
        data = YAML(typ="rt", pure=True).load(io.StringIO(text))
    except MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        raise BadPolicy(path=name, line=mark.line + 1 if mark else 1, why=str(e.problem or e.context)) from e
    except (YAMLError, ValueError, RecursionError) as e:
        raise BadPolicy(path=name, line=1, why=f"it is not YAML: {str(e).splitlines()[0]}") from e
    if not isinstance(data, dict):
        raise BadPolicy(path=name, line=1, why="it is not a mapping of batch, pools, ...")
    try:
        return File.model_validate(_plain(data))
    except ValidationError as e:
        problems = e.errors(include_url=False)
        first = min(problems, key=lambda p: p["type"] != "extra_forbidden")  # a typo explains what is then missing
        loc = tuple(first["loc"])
        raise BadPolicy(path=name, line=_line(data, loc), why=_why(dict(first), loc)) from None


def _plain(value: Any) -> Any:
    """ruamel's own kinds of str, int and float as Python's."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return tuple(_plain(v) for v in value)
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _line(data: Any, loc: tuple[int | str, ...]) -> int:
    """The line of the value at `loc`, or of the nearest above it."""
    line = 0
    for step in loc:
        try:
            line = data.lc.item(step)[0] if isinstance(step, int) else data.lc.key(step)[0]
            data = data[step]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return line + 1


def _why(problem: dict[str, Any], loc: tuple[int | str, ...]) -> str:
    where, last = ".".join(str(x) for x in loc), str(loc[-1]) if loc else ""
    if problem["type"] == "extra_forbidden":
        known = _known(loc[:-1])
        near = difflib.get_close_matches(last, known, 1)
        return f"unknown key {where!r}; " + (f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}")
    if problem["type"] == "missing":
        return f"key {where!r} is missing"
    return f"{where}: {str(problem['msg']).removeprefix('Value error, ')}"


def _known(path: tuple[int | str, ...]) -> list[str]:
    """The keys that the schema knows at `path`."""
    kind: type[BaseModel] = File
    for step in path:
        field = kind.model_fields.get(str(step))
        kind = _section(field.annotation) if field else kind
    return sorted(kind.model_fields)


def _section(annotation: Any) -> type[BaseModel]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = [_section(a) for a in get_args(annotation)]
    return next((i for i in inner if i is not BaseModel), BaseModel)
