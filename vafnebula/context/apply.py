"""`apply`: make OpenNebula hold what the definition says.  Templates first, then the service that names their ids."""

from __future__ import annotations

from collections.abc import Callable

from vafnebula import errors
from vafnebula.context import service
from vafnebula.context.changes import Change, Plan
from vafnebula.context.load import Loaded
from vafnebula.one.api import Api


class Partial(errors.SiteError):
    """A change failed; nothing is taken back, and running again goes on.  Fact `rest` are the changes not made."""

    sentence = "{change} failed: {why}; {done} changes were made before, {left} were not; run apply again to go on"

    @property
    def rest(self) -> tuple[str, ...]:
        rest: tuple[str, ...] = self.facts["rest"]  # type: ignore[assignment]
        return rest


def apply(loaded: Loaded, plan: Plan, api: Api, target: str, say: Callable[[str], None]) -> None:
    """Make the changes of `plan`, and tell each when it is made.  Raises Partial, with what was done and what not."""
    ids = {c.built.role: c.id for c in plan.changes if c.built and c.id >= 0}
    todo = list(plan.effective)
    for i, change in enumerate(todo):
        try:
            number = _make(loaded, change, api, target, ids)
        except errors.Error as e:
            rest = tuple(str(c) for c in todo[i:])
            raise Partial(change=change, why=e, done=i, left=len(rest), rest=rest) from e
        if change.built:
            ids[change.built.role] = number
        say(f"{change}: done, id {number}")


def _make(loaded: Loaded, change: Change, api: Api, target: str, ids: dict[str, int]) -> int:
    if change.kind == "service":
        body = service.service(loaded.definition, target, ids)
        if change.verb == "create":
            return api.create_service(body)
        api.update_service(change.id, body)
    elif change.built is None:
        api.delete(change.id)
    elif change.verb == "create":
        return api.create(change.name, change.built.template)
    else:
        api.update(change.id, change.built.template)
    return change.id
