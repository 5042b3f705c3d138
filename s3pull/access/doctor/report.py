"""What doctor found, as frozen records with a JSON form: steps, warnings, and what to paste. No I/O, no decisions.

The text form is `cli.doctor`'s. The words in `step`, `who` and `cause` are published lists that may grow.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from s3pull.access.denials import Cause, Suspect, Who
from s3pull.objects import JSON

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Snippet:
    """What is to be pasted: `text`, and `place`, where it goes. `kind` names the place for scripts.

    | kind      | text                                                        |
    |-----------|-------------------------------------------------------------|
    | trust     | the whole trust policy of the role                          |
    | role      | a policy to add to the role's permissions                   |
    | consumer  | a policy to add to your own permissions                     |
    | bucket    | a bucket policy's statements to add                         |
    | key       | a statement to add to the KMS key's policy                  |
    | except    | a condition to add to the statement that denies             |
    | allow     | a statement to add to the policy that `place` names         |
    | command   | a command line                                              |
    | option    | an option of s3pull, which is a key of the share as well    |
    """

    kind: str
    place: str
    text: str
    who: Who

    def json(self) -> JSON:
        return {"kind": self.kind, "place": self.place, "who": str(self.who), "text": self.text}


@dataclass(frozen=True, slots=True)
class Step:
    """One link of the chain. `ok` None: nobody can tell, or it was not asked. `notes` say what was put right."""

    step: str
    ok: bool | None
    asked: str
    observed: str
    who: Who = Who.UNKNOWN
    causes: tuple[Suspect, ...] = ()
    snippets: tuple[Snippet, ...] = ()
    request_id: str | None = None
    host_id: str | None = None
    notes: tuple[str, ...] = ()

    def json(self) -> JSON:
        """The member of `steps`. `snippet` is the first of `snippets`, for whoever wants one."""
        return {
            "step": self.step,
            "ok": self.ok,
            "asked": self.asked,
            "observed": self.observed,
            "who": str(self.who),
            "causes": [{"cause": str(one.cause), "why": one.why, "who": str(one.who)} for one in self.causes],
            "snippet": self.snippets[0].text if self.snippets else None,
            "snippets": [one.json() for one in self.snippets],
            "notes": list(self.notes),
            "request_id": self.request_id,
            "host_id": self.host_id,
        }


@dataclass(frozen=True, slots=True)
class Warned:
    """What works and should not, or will not for long. `warning` is its published word."""

    warning: str
    why: str
    who: Who
    snippets: tuple[Snippet, ...] = ()

    def json(self) -> JSON:
        return {
            "warning": self.warning,
            "why": self.why,
            "who": str(self.who),
            "snippet": self.snippets[0].text if self.snippets else None,
            "snippets": [one.json() for one in self.snippets],
        }


@dataclass(slots=True)
class Report:
    """Steps in the order in which they were taken; the last one may be the broken link."""

    steps: list[Step] = field(default_factory=list)
    warnings: list[Warned] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return all(step.ok is not False for step in self.steps)

    @property
    def broken(self) -> Step | None:
        """The first broken link."""
        return next((step for step in self.steps if step.ok is False), None)

    def json(self) -> JSON:
        """The whole of `doctor --json`."""
        return {
            "schema": SCHEMA,
            "sound": self.sound,
            "steps": [step.json() for step in self.steps],
            "warnings": [warned.json() for warned in self.warnings],
        }


def broken(
    step: str,
    asked: str,
    observed: str,
    *causes: Suspect,
    snippets: tuple[Snippet, ...] = (),
    request_id: str | None = None,
) -> Step:
    """A link that is broken for a reason that is known: whoever the first cause names must act."""
    return Step(step, False, asked, observed, causes[0].who, causes, snippets, request_id)


def you(cause: Cause, why: str) -> Suspect:
    """A cause that you yourself can put right."""
    return Suspect(cause, why, Who.YOU)
