"""The step `assume-role`: what AssumeRole is asked, and what its answer means. Pure.

A refused cross-account AssumeRole is in the caller's CloudTrail alone: the owner cannot look it up, and has to read the
trust policy. https://docs.aws.amazon.com/IAM/latest/UserGuide/cloudtrail-integration.html
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from s3pull.access import assume, values
from s3pull.access.denials import Cause, Who
from s3pull.access.doctor import snippets
from s3pull.access.doctor.asking import Answer
from s3pull.access.doctor.report import Snippet, Step, Warned, broken, you
from s3pull.access.doctor.scene import Scene
from s3pull.access.doctor.verdicts import refused
from s3pull.access.narrow import Narrowing
from s3pull.errors import UsageError
from s3pull.objects import Access

#: the shortest session there is: doctor's own are used at once
SHORT = 900
_UNSEEN = "the owner's CloudTrail does not show this denial, yours does: the owner has to read the trust policy"


def asked(access: Access) -> str:
    with_id = "with the external ID" if access.external_id else "without an external ID"
    return f"sts:AssumeRole on {access.role_arn} {with_id}"


def parameters(access: Access, name: str, narrowed: Narrowing, *, chained: bool) -> dict[str, Any]:
    """What AssumeRole is asked: a short session, unless a long one is what has to be tried.

    Up to 1 h every role gives: MaxSessionDuration is 1 h at least. A chained session gets 1 h, and `get` lowers it.
    """
    long = access.duration > values.LONGEST_CHAINED_SESSION and not chained
    return assume.parameters(access, name, access.duration if long else SHORT, narrowed)


def verdict(answer: Answer, scene: Scene, narrowed: Narrowing) -> tuple[Step, list[Warned]]:
    """AssumeRole with what is configured.

    | answer                                 | then                                     |
    |----------------------------------------|------------------------------------------|
    | a session                              | ok; what it should not be is warned of   |
    | a refusal that says why                | broken, by `denials`                     |
    | a bare AccessDenied                    | cannot tell: six causes, trust snippet, own policy snippet |
    """
    question = asked(scene.access)
    if not answer.ok:
        step = refused("assume-role", question, answer, scene, "sts")
        if answer.denied:
            step = _noted(step, scene, answer)
        return step, []
    arn = answer.data.get("AssumedRoleUser", {}).get("Arn", "")
    packed = answer.data.get("PackedPolicySize")
    found = f"the session {arn}, narrowed to the {narrowed.width}" if narrowed.policy else f"the session {arn}"
    warnings = []
    if narrowed.note:
        warnings.append(Warned("session-policy", narrowed.note, Who.YOU))
    if narrowed.policy and packed is None:
        why = "STS does not say that it applied our session policy: the session may be as wide as the role"
        warnings.append(Warned("session-policy", why, Who.UNKNOWN))
    if scene.chained and scene.access.duration > values.LONGEST_CHAINED_SESSION:
        why = "your own credentials are themselves a role: the session lasts 1 h, however long --duration says"
        warnings.append(Warned("duration", why, Who.YOU, (snippets.option("--duration 1h"),)))
    notes = (f"{packed}% of the packed policy's budget are used",) if packed else ()
    return Step("assume-role", True, question, found, request_id=answer.request_id, notes=notes), warnings


def _noted(step: Step, scene: Scene, answer: Answer) -> Step:
    trusted = f"the principal to trust: {scene.consumer}" if scene.consumer else None
    trusting = {Cause.EXTERNAL_ID, Cause.TRUST, Cause.ROLE_MISSING} & {one.cause for one in step.causes}
    notes = tuple(note for note in (trusted, _UNSEEN if trusting else None) if note)
    if scene.access.external_id is None and not answer.diagnosis("sts", scene.access).told:
        notes = ("no external ID is given: ask the data owner whether there is one", *notes)
    return replace(step, notes=notes)


def no_code(scene: Scene) -> Step:
    """An MFA code is needed and there is nobody to ask for it."""
    said = f"an MFA code of {scene.access.mfa_serial} is needed and there is no terminal to ask on"
    cause = you(Cause.MFA, "doctor needs a terminal to ask for the MFA code")
    line = snippets.command(f"s3pull doctor {scene.source}", "a terminal of yours", Who.YOU)
    return broken("assume-role", asked(scene.access), said, cause, snippets=(line,))


def unenforced(answer: Answer | None, scene: Scene) -> list[Warned]:
    """What a second try without the external ID says. `answer` None: it was not made (MFA codes are single-use).

    | external ID | account | second try | then                                  |
    |-------------|---------|------------|---------------------------------------|
    | given       | any     | a session  | a warning: it is not enforced         |
    | given       | any     | refused    | as it should be                       |
    | none        | another | –          | a warning: the role asks for none     |
    """
    own = scene.consumer is not None and scene.account is not None and f":{scene.account}:" in scene.consumer
    if scene.access.external_id is None:
        if own:
            return []
        why = "the role asks for no external ID: whoever gets your consumer to ask for it reads it (confused deputy)"
        return [Warned("external-id", why, Who.OWNER, _trust(scene))]
    if answer is None or not answer.ok:
        return []
    why = "the role can be assumed without the external ID, too: it protects nothing (confused deputy)"
    return [Warned("external-id", why, Who.OWNER, _trust(scene))]


def _trust(scene: Scene) -> tuple[Snippet, ...]:
    try:
        return (snippets.trust(scene),)
    except UsageError:
        return ()
