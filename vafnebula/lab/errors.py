"""What can go wrong with a lab: one line each, what failed, why, and what to do."""

from __future__ import annotations

from vafnebula import errors


class LabError(errors.HostError):
    """The lab cannot do what was asked; the machine it runs on, or its installation, is to blame."""

    sentence = "lab: {what}: {why}; {advice}"


class NoLab(errors.RequestError):
    """No lab of this name is up, or it has no such node."""

    sentence = "lab: {what} is not there: {why}; {advice}"


class BadSpec(errors.RequestError):
    """A lab that cannot be built was asked for."""

    sentence = "lab: {what} {value!r} is not possible: {why}"
