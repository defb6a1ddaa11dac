"""The catalogue of lint rules: what each forbids, why, and what to do.  docs/context-lint.md is made from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """`title` is the rule, `why` what happens otherwise, `fix` what to do; `level` is error or warning."""

    id: str
    level: str
    title: str
    why: str
    fix: str


_ALL = (
    Rule(
        "Y001",
        "error",
        "The file is YAML without duplicate keys",
        "Other programs keep the last of two equal keys and say nothing.",
        "correct the YAML at this place",
    ),
    Rule(
        "Y002",
        "error",
        "The file fits the schema",
        "An unknown key is a setting that silently does not work.",
        "see docs/context-schema.md",
    ),
    Rule(
        "Y003",
        "error",
        "Named files exist beside the definition and can be rendered",
        "A definition shall be complete in its directory: no path leads out of it.",
        "correct the path or the template",
    ),
    Rule(
        "T001",
        "error",
        "The rendered text parses back to the same tree",
        "What OpenNebula reads would differ from what was meant.",
        "report it: this is a mistake in vafnebula",
    ),
    Rule(
        "T002",
        "error",
        "No value ends with a backslash, contains ]]>, the separator @^_^@, a carriage return or a control character",
        "OpenNebula's grammar has no way to write such a value; some swallow the next attribute.",
        "move the value to context.payload: it travels as base64",
    ),
    Rule(
        "T003",
        "error",
        "Names are A-Z, 0-9 and _, and each is set once",
        "OpenNebula refuses other names without saying why, and keeps the first of two equal keys.",
        "rename it, or remove one of the two",
    ),
    Rule(
        "T004",
        "error",
        "`raw` text is OpenNebula's template grammar and sets nothing that the definition sets",
        "A trailing comma or a nested vector makes the whole template unreadable.",
        "correct the text at this place",
    ),
    Rule(
        "C101",
        "error",
        "No $ in a literal value",
        "OpenNebula substitutes $NAME everywhere in CONTEXT: unknown names by nothing, other uses fail.",
        "move it to context.payload if the $ is meant literally, or to context.late if OpenNebula shall substitute it",
    ),
    Rule(
        "C102",
        "error",
        "Late values use variables that OpenNebula knows, in its grammar",
        "An unknown variable is replaced by nothing; ${NAME} and $(...) make instantiation fail.",
        "use $NAME, $VMID, $UID, $UNAME, $GID, $GNAME, an input, $NIC[...], $NETWORK[...], $USER[...] or $IMAGE[...]",
    ),
    Rule(
        "C103",
        "error",
        'No backtick, ", $(, double backslash or line NAME= in a value for the guest agent one-context',
        "one-context writes values into a shell file without quoting: a backtick is executed as root.",
        "move the value to context.payload: it travels as base64",
    ),
    Rule(
        "C104",
        "error",
        "A variable has at most 120000 bytes, the context 512 KiB",
        "From 131072 bytes on no program of the guest agent can be started.",
        "put large files into an image of OpenNebula's files datastore and name it in context.file_images",
    ),
    Rule(
        "C105",
        "error",
        "No variable has a name that a shell or the guest agent uses",
        "A variable PATH stops the guest's boot for minutes; IFS vanishes; BASH_ENV is executed.",
        "rename the variable, for example with the prefix VAF_",
    ),
    Rule(
        "C106",
        "error",
        "START_SCRIPT, USER_DATA and their like are not set by hand",
        "Each guest agent reads another variable, and vafnebula knows which: what is not read is lost in silence.",
        "use context.script and context.files",
    ),
    Rule(
        "C107",
        "error",
        "Scripts have a shebang, LF line ends, and pass their shell's syntax check",
        "The guest agent logs the failure inside the guest, where nobody looks.",
        "correct the script at this place",
    ),
    Rule(
        "C108",
        "error",
        "A host name fits RFC 1123 after substitution",
        "The guest would keep its image's name, and all workers would be called the same.",
        "use letters, digits and -, 63 characters per label at most",
    ),
    Rule(
        "C109",
        "error",
        "{{ ... }} in a script template passes through `| sh` or `| b64`",
        "A value with a blank or a quote would become part of the program.",
        "write {{ value | sh }}, or give the value as a variable and use $NAME in the script",
    ),
    Rule(
        "S201",
        "error",
        "Nothing that looks like a secret is in the definition or its files",
        "Everybody who may use the template or see a VM can read its context.",
        "declare it under `secrets`: it is asked for at instantiation and never stored in a template",
    ),
    Rule(
        "S202",
        "warning",
        "FILES is not used",
        "It names paths on the front-end, needs an administrator, and 7.x refuses some directories.",
        "use context.files, or context.file_images",
    ),
    Rule(
        "S203",
        "error",
        "A VM with a OneGate token takes no security decision from what the VM itself may write",
        "The token lets the guest rewrite its USER_TEMPLATE, and so its own VAF_ attributes.",
        "set VAF_ attributes on the virtual network, or drop the token",
    ),
    Rule(
        "R302",
        "error",
        "Names refer to something, dependencies have no cycle, min <= default <= max",
        "OneFlow refuses the service, or waits for ever.",
        "correct the name or the number",
    ),
    Rule(
        "R301",
        "error",
        "Images and networks exist, and the user may use them (only with --online)",
        "oned would refuse every VM of the role.",
        "correct name or owner, or let the user use it (onevnet chmod, oneimage chmod)",
    ),
    Rule(
        "R303",
        "error",
        "No restricted attribute is set for an owner who is no administrator",
        "oned refuses to instantiate the template.",
        "remove the attribute, or set `cluster.owner: oneadmin`",
    ),
    Rule(
        "N401",
        "warning",
        "A network has a MAC class, of a sane width, and its extra peers are outside of it",
        "Without a class there is no isolation; a peer inside the class, or a wide mask, opens it.",
        "set mac_class to the prefix that only this cluster's MACs share",
    ),
)

RULES = {rule.id: rule for rule in _ALL}


def document() -> str:
    """docs/context-lint.md."""
    head = (
        "# Lint rules of `vafnebula context`\n\n"
        "Made from `vafnebula/context/rules.py`; a test keeps it current. A finding is an error or a warning; with\n"
        "`--strict` warnings count as errors. The exit code is 1 when something counts.\n\n"
    )
    return head + "\n".join(
        f"## {r.id} ({r.level})\n\n**{r.title}.** {r.why}\n\n*Fix:* {r.fix}.\n" for r in RULES.values()
    )
