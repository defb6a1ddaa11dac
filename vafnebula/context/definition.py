"""The definition of a cluster: every key, its type, its default and its meaning.

One source for four things: the check of a file, the JSON Schema for editors (share/schema/cluster.schema.json),
the reference (docs/context-schema.md) and the types that the rest of the package reads.  An unknown
key is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from vafnebula import units

_SIZE = re.compile(r"([0-9]{1,9})(MiB|GiB|TiB)")
_UNITS = {"MiB": units.MIB, "GiB": units.GIB, "TiB": 1024 * units.GIB}

Agent = Literal["one-context", "cloud-init"]


def _size(value: Any) -> Any:
    """Bytes of '4GiB'."""
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError("a size needs its unit: MiB, GiB or TiB")  # noqa: TRY004  pydantic reports ValueErrors
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if not found or not int(found[1]):
        raise ValueError("a size is a whole number above 0 and MiB, GiB or TiB, as in 4GiB")
    return int(found[1]) * _UNITS[found[2]]


def _text(value: Any) -> Any:
    """Numbers and booleans as OpenNebula writes them: a variable is text in the end."""
    if isinstance(value, bool):
        return "YES" if value else "NO"
    return str(value) if isinstance(value, (int, float)) else value


def _count(value: Any) -> Any:
    """`count: 3` means three, always."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"default": value, "min": value, "max": value}
    return value


def _named(key: str, model: type[BaseModel]) -> BeforeValidator:
    """A mere word stands for the mapping with only its first key."""
    return BeforeValidator(
        lambda value: {key: value} if isinstance(value, str) else value,
        json_schema_input_type=Union[str, model],
    )


def _relative(value: str) -> str:
    if value.startswith("/") or ".." in value.split("/") or not value or "\x00" in value:
        raise ValueError("a path is relative to the definition and stays below its directory")
    return value


Size = Annotated[
    int,
    BeforeValidator(_size, json_schema_input_type=str),
    Field(description="Whole number and unit, as in 512MiB, 4GiB, 1TiB."),
]


def is_size(metadata: Iterable[Any]) -> bool:
    """Whether the metadata of an annotation are those of Size, for the reference."""
    return any(isinstance(m, BeforeValidator) and m.func is _size for m in metadata)


Text = Annotated[str, BeforeValidator(_text, json_schema_input_type=str | int | float | bool)]
RolePattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]{1,40}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Thing = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r'^[^"\\\x00-\x1f$]+$')]
Question = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r'^[^"\\|\x00-\x1f$`]+$')]
Relative = Annotated[str, AfterValidator(_relative)]
GuestPath = Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9_.@+-]+)+$", max_length=200)]
Mac = Annotated[str, StringConstraints(pattern=r"^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$")]
MacClass = Annotated[str, StringConstraints(pattern=r"^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}/[0-9]{1,2}$")]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Cluster(_Closed):
    """What the cluster is called, and whose it is."""

    name: Annotated[Name, Field(description="Name of the service; templates are called NAME-ROLE.")]
    owner: Annotated[Thing, Field(description="OpenNebula user who will own the templates.")] = "oneadmin"
    description: Annotated[str, Field(description="One line for people.", max_length=200)] = ""


class Image(_Closed):
    """An image of OpenNebula, by name; a mere word is its name."""

    name: Annotated[Thing, Field(description="Name of the image.")]
    user: Annotated[Thing, Field(description="Its owner.")] = "oneadmin"


ImageRef = Annotated[Image, _named("name", Image)]


class Network(_Closed):
    """A virtual network that roles name in `nics`."""

    vnet: Annotated[Thing, Field(description="Name of the virtual network in OpenNebula.")]
    user: Annotated[Thing, Field(description="Its owner.")] = "oneadmin"
    mac_class: Annotated[
        MacClass | None,
        Field(
            description="The MACs of this cluster, as prefix/bits; the admin sets VAF_MAC_CLASS of the network to it."
        ),
    ] = None
    extra_peers: Annotated[
        tuple[Mac, ...],
        Field(strict=False, description="MACs outside of the class that may be talked to: gateway, storage."),
    ] = ()


class Offering(_Closed):
    """A size of machine that roles can share."""

    cpu: Annotated[float | None, Field(gt=0, le=1024, description="Physical CPUs reserved by the scheduler.")] = None
    vcpu: Annotated[int | None, Field(ge=1, le=1024, description="CPUs that the guest sees.")] = None
    memory: Annotated[Size | None, Field(description="Memory, as in 4GiB.")] = None
    disk: Annotated[Size | None, Field(description="Size of the system disk; the image's own without it.")] = None


class Count(_Closed):
    """How many VMs a role has: at first, at least, at most."""

    default: Annotated[int, Field(ge=0, le=10_000, description="VMs when the service starts.")]
    min: Annotated[int, Field(ge=0, le=10_000, description="VMs at least.")] = 0
    max: Annotated[int | None, Field(ge=0, le=10_000, description="VMs at most; no limit without it.")] = None


class Nic(_Closed):
    """A network interface; a mere word is its network."""

    network: Annotated[str, Field(description="A name from `network`.")]
    model: Annotated[Literal["virtio", "e1000"], Field(description="The card that the guest sees.")] = "virtio"


class Swap(_Closed):
    """Swap space, made when the VM is deployed and used by the guest without further ado."""

    kind: Literal["swap"]
    size: Annotated[Size, Field(description="Its size.")]


class Scratch(_Closed):
    """An empty file system, made when the VM is deployed; mounted in the guest when `mount` is given."""

    kind: Literal["scratch"]
    size: Annotated[Size, Field(description="Its size.")]
    fs: Annotated[Literal["xfs", "ext4"], Field(description="File system.")] = "xfs"
    mount: Annotated[GuestPath | None, Field(description="Where the start script mounts it.")] = None
    serial: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9-]{1,20}$"),
        Field(description="Serial number of the disk, by which the guest finds it."),
    ] = "vafscratch"


class Data(_Closed):
    """A further image as a disk."""

    kind: Literal["image"]
    image: Annotated[ImageRef, Field(description="The image.")]


Disk = Annotated[Union[Swap, Scratch, Data], Field(discriminator="kind")]


class File(_Closed):
    """A file that the start script writes in the guest before it does anything else."""

    source: Annotated[Relative, Field(description="File beside the definition, or a directory; `.j2` is rendered.")]
    path: Annotated[GuestPath, Field(description="Where it goes in the guest.")]
    mode: Annotated[str, StringConstraints(pattern=r"^0?[0-7]{3}$"), Field(description='Its mode, quoted: "0644".')] = (
        "0644"
    )


class Script(_Closed):
    """The start script: of a file (a mere word), or written here."""

    source: Annotated[Relative | None, Field(description="File beside the definition; `.j2` is rendered.")] = None
    text: Annotated[str | None, Field(description="The script itself, never rendered.")] = None


class Context(_Closed):
    """What the guest gets."""

    script: Annotated[
        Annotated[Script, _named("source", Script)] | None,
        Field(description="Start script. It must be idempotent: it runs again when a NIC is added."),
    ] = None
    vars: Annotated[
        dict[str, Text], Field(description="Plain variables, literally. What cannot be carried is an error.")
    ] = {}
    late: Annotated[
        dict[str, Text], Field(description="Variables with $NAME in them, substituted by OpenNebula per VM.")
    ] = {}
    payload: Annotated[dict[str, Text], Field(description="Any text, byte for byte: the guest gets NAME_BASE64.")] = {}
    files: Annotated[tuple[File, ...], Field(strict=False, description="Files written by the start script.")] = ()
    file_images: Annotated[
        tuple[ImageRef, ...], Field(strict=False, description="Images of the files datastore, put on the context CD.")
    ] = ()
    network: Annotated[bool, Field(description="Let the guest agent configure the network.")] = True
    token: Annotated[bool, Field(description="Give the VM a OneGate token.")] = False
    report_ready: Annotated[bool, Field(description="Tell OneGate when the context is done; needs `token`.")] = False
    ssh_keys: Annotated[bool, Field(description="Let the keys of the user who instantiates in, as root.")] = True


class Role(_Closed):
    """A kind of VM in the cluster."""

    image: Annotated[ImageRef | None, Field(description="System disk. Default: that of `defaults`.")] = None
    agent: Annotated[
        Agent | None, Field(description="Guest agent in the image. Default: that of `defaults`, or one-context.")
    ] = None
    offering: Annotated[str | None, Field(description="A name from `offerings`; own values win over it.")] = None
    cpu: Annotated[float | None, Field(gt=0, le=1024, description="Physical CPUs reserved by the scheduler.")] = None
    vcpu: Annotated[int | None, Field(ge=1, le=1024, description="CPUs that the guest sees.")] = None
    memory: Annotated[Size | None, Field(description="Memory, as in 4GiB.")] = None
    disk: Annotated[Size | None, Field(description="Size of the system disk.")] = None
    count: Annotated[
        Count,
        BeforeValidator(_count, json_schema_input_type=int | Count),
        Field(description="How many VMs; a mere number is all three."),
    ] = Count(default=1, min=1, max=1)
    depends_on: Annotated[
        tuple[str, ...], Field(strict=False, description="Roles that must run before this one starts.")
    ] = ()
    nics: Annotated[
        tuple[Annotated[Nic, _named("network", Nic)], ...],
        Field(strict=False, description="Network interfaces, in order."),
    ] = ()
    disks: Annotated[tuple[Disk, ...], Field(strict=False, description="Disks after the system disk, in order.")] = ()
    context: Annotated[Context, Field(description="What the guest gets.")] = Context()
    raw: Annotated[
        str, Field(description="Further attributes in OpenNebula's own syntax; they are parsed and checked.")
    ] = ""


class Defaults(_Closed):
    """Values for all roles that do not say otherwise."""

    image: Annotated[ImageRef | None, Field(description="System disk.")] = None
    agent: Annotated[Agent | None, Field(description="Guest agent in the image.")] = None
    offering: Annotated[str | None, Field(description="A name from `offerings`.")] = None
    cpu: Annotated[float | None, Field(gt=0, le=1024, description="Physical CPUs.")] = None
    vcpu: Annotated[int | None, Field(ge=1, le=1024, description="CPUs that the guest sees.")] = None
    memory: Annotated[Size | None, Field(description="Memory.")] = None
    disk: Annotated[Size | None, Field(description="Size of the system disk.")] = None


class Input(_Closed):
    """A question to the person who instantiates; the answer reaches the guest as a variable of this name."""

    type: Annotated[Literal["text", "number", "choice"], Field(description="What may be answered.")] = "text"
    description: Annotated[Question, Field(description="The question.")]
    options: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_. -]+$")], ...],
        Field(strict=False, description="Answers to choose from, for type choice."),
    ] = ()
    default: Annotated[
        Annotated[Text, StringConstraints(pattern=r"^[^|\"\\$`\x00-\x1f]*$")] | None,
        Field(description="Answer given for you."),
    ] = None
    required: Annotated[bool, Field(description="No answer, no VM.")] = True


class Secret(_Closed):
    """A short-lived secret, asked for at instantiation as a password; it is never in a definition or template."""

    description: Annotated[Question, Field(description="The question.")]
    lifetime: Annotated[
        str,
        StringConstraints(pattern=r"^([1-9][0-9]?m|1h)$"),
        Field(
            description="How long it is good for: 1m to 99m, or 1h. A VM's context is readable for as long as it lives."
        ),
    ]


class Definition(_Closed):
    """A cluster."""

    apiVersion: Annotated[Literal["vafnebula/v1"], Field(description="The version of this schema.")]  # noqa: N815
    cluster: Annotated[Cluster, Field(description="Name and owner.")]
    defaults: Annotated[Defaults, Field(description="Values for all roles.")] = Defaults()
    offerings: Annotated[dict[Name, Offering], Field(description="Sizes of machines.")] = {}
    network: Annotated[dict[Name, Network], Field(description="Virtual networks.")] = {}
    roles: Annotated[dict[RolePattern, Role], Field(min_length=1, description="The kinds of VMs.")]
    inputs: Annotated[dict[str, Input], Field(description="Questions to the person who instantiates.")] = {}
    secrets: Annotated[dict[str, Secret], Field(description="Short-lived secrets, typed at instantiation.")] = {}
    anchors: Annotated[Any, Field(description="A place for YAML anchors; nothing else reads it.")] = None
