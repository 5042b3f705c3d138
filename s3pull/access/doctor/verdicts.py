"""How any refusal, or silence, becomes a step: pure. What is particular to one step is in that step's module."""

from __future__ import annotations

from collections.abc import Sequence

from s3pull.access.denials import Cause, Clause, Suspect, Who
from s3pull.access.doctor import snippets
from s3pull.access.doctor.asking import Answer
from s3pull.access.doctor.report import Snippet, Step
from s3pull.access.doctor.scene import Scene

#: seconds off from which a clock is worth a warning, and from which AWS refuses
CLOCK_NEAR = 300.0
CLOCK_LIMIT = 900.0


def refused(
    step: str, asked: str, answer: Answer, scene: Scene, service: str, *, instead: Sequence[Suspect] = ()
) -> Step:
    """A link that is broken by a refusal. `instead`: what was found out beyond AWS's own words, and goes before them.

    | the answer              | observed           | who                    |
    |-------------------------|--------------------|------------------------|
    | none came               | why not            | by the kind of trouble |
    | one that says enough    | AWS's words        | by `denials`           |
    | one that does not       | cannot tell: …     | unknown                |
    """
    if answer.trouble is not None:
        return unanswered(step, asked, answer, scene, service)
    diagnosis = answer.diagnosis(service, scene.access, listing=step in ("bucket", "list"))
    told = diagnosis.told or bool(instead)
    causes = tuple(instead) or diagnosis.causes
    return Step(
        step,
        False,
        asked,
        answer.said if told else f"cannot tell: AWS says no and not why ({answer.said})",
        causes[0].who if told else Who.UNKNOWN,
        causes,
        snippets.against(causes, diagnosis.clause, scene, service),
        answer.request_id,
        answer.host_id,
    )


def unanswered(step: str, asked: str, answer: Answer, scene: Scene, service: str) -> Step:
    """A link that is broken because nothing came back."""
    assert answer.trouble is not None
    causes: tuple[Suspect, ...] = (silence(answer.cause, service, answer.trouble.message),)
    if answer.cause is Cause.NETWORK:
        causes = silences(service, answer.proxy)
    found = pasted(causes, scene, service)
    hint = (answer.trouble.hint,) if answer.trouble.hint else ()
    return Step(step, False, asked, answer.trouble.message, causes[0].who, causes, found, notes=hint)


def pasted(causes: Sequence[Suspect], scene: Scene, service: str = "sts") -> tuple[Snippet, ...]:
    """What is to be pasted where nobody said a word."""
    return snippets.against(causes, Clause(), scene, service)


def silences(service: str, proxy: str | None) -> tuple[Suspect, ...]:
    """Why nothing came in time. Where there is a proxy, all that is seen of the network is the proxy."""
    network = silence(Cause.NETWORK, service, "")
    if proxy is None:
        return (network,)
    why = f"the proxy {proxy} passes nothing on: it hangs, or does not let {service.upper()} through"
    return (Suspect(Cause.PROXY, why, Who.YOU), network)


def silence(cause: Cause, service: str, said: str) -> Suspect:
    """Why nothing came back, and who must act."""
    name = service.upper()
    match cause:
        case Cause.TLS:
            why = (
                f"the certificate of {name} is not one that is trusted here: a proxy that reads along, or no CA bundle"
            )
            return Suspect(cause, why, Who.YOU)
        case Cause.PROXY:
            return Suspect(cause, "the proxy of HTTPS_PROXY does not answer, or wants other credentials", Who.YOU)
        case Cause.CREDENTIALS:
            expired = "expired" in said
            why = "your own login has expired" if expired else "there are no credentials of your own, or half of them"
            return Suspect(cause, why, Who.YOU)
        case Cause.CONFIGURATION:
            return Suspect(cause, "a setting here cannot be right", Who.YOU)
    why = f"{name} cannot be reached: no way out (egress), no DNS, or a VPC without an endpoint for {name}"
    return Suspect(Cause.NETWORK, why, Who.NETWORK)
