"""The steps `head`, `get`, `version` and `probe`: one object, its bytes and versions, and what should be refused. Pure.

HeadObject and GetObject need the same s3:GetObject, and only the second decrypts: good and then refused means KMS. An
answer to HEAD has no document, so a refusal is asked for once more as GET, for its words.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from s3pull.access.denials import Cause, Clause, Suspect, Who
from s3pull.access.doctor import snippets
from s3pull.access.doctor.asking import Answer
from s3pull.access.doctor.listing import Compared, outside
from s3pull.access.doctor.report import Step, Warned, broken, you
from s3pull.access.doctor.scene import Scene
from s3pull.access.doctor.verdicts import refused
from s3pull.objects import ARCHIVE_CLASSES


def asked_head(scene: Scene) -> str:
    return f"s3:HeadObject of {scene.key!r}"


def asked_get(scene: Scene) -> str:
    return f"s3:GetObject of {scene.key!r}, its first byte"


def head(
    answer: Answer, words: Answer | None, compared: Compared, scene: Scene, *, foreign: bool | None, listed: bool | None
) -> Step:
    """One object. `words` is the same question as GET, where HEAD was refused; `listed`: was the key in a listing.

    | HEAD                    | GET                       | then                                            |
    |-------------------------|---------------------------|-------------------------------------------------|
    | good                    | –                         | ok: encryption, class, versions                 |
    | refused                 | good                      | ok: what counts is GET                          |
    | 404, no delete marker   | –                         | broken: key-missing                             |
    | delete marker           | –                         | broken: version                                 |
    | 400                     | SSE-C                     | broken: sse-c                                   |
    | 403                     | names s3:ListBucket       | broken: key-missing: who may not list hears 403 |
    | 403                     | bare, another owner's     | broken: ownership                               |
    | 403                     | anything else             | broken, by comparison or `denials`              |
    """
    question = asked_head(scene)
    if answer.ok:
        return Step("head", True, question, _facts(answer.data), request_id=answer.request_id)
    if answer.trouble is not None:
        return refused("head", question, answer, scene, "s3")
    if answer.headers.get("x-amz-delete-marker") == "true":
        cause = Suspect(Cause.VERSION, "the object was deleted: its newest version is a delete marker", Who.OWNER)
        return broken("head", question, f"{answer.said}, a delete marker", cause, request_id=answer.request_id)
    if answer.status == 404:
        cause = you(Cause.KEY_MISSING, f"there is no object {scene.key!r}: check the key (a tree ends in /)")
        return broken("head", question, answer.said, cause, request_id=answer.request_id)
    if words is None:
        return refused("head", question, answer, scene, "s3")
    if words.ok:
        said = f"{answer.said}, but it can be read"
        return Step("head", True, question, said, request_id=answer.request_id)
    return refused("head", question, words, scene, "s3", instead=_instead(words, compared, scene, foreign, listed))


def _instead(
    words: Answer, compared: Compared, scene: Scene, foreign: bool | None, listed: bool | None
) -> Sequence[Suspect]:
    if not words.denied:
        return ()
    if found := outside(compared, scene):
        return found
    diagnosis = words.diagnosis("s3", scene.access)
    if diagnosis.clause.action == "s3:ListBucket" and scene.assumed:
        why = f"there is no object {scene.key!r}: who may not list hears 403 instead of 404"
        return (you(Cause.KEY_MISSING, why), *diagnosis.causes)
    if not diagnosis.told and foreign:
        why = "the object belongs to another account, which uploaded it, than the bucket: policies do not reach it"
        return (Suspect(Cause.OWNERSHIP, why, Who.OWNER),)
    told = diagnosis.told and diagnosis.causes[0].cause is Cause.IDENTITY_POLICY
    if (told or scene.access.anonymous) and not listed:
        why = f"or there is no object {scene.key!r}: who may not list hears 403 instead of 404"
        return (*diagnosis.causes, you(Cause.KEY_MISSING, why))
    return ()


def _facts(data: Mapping[str, Any]) -> str:
    told = [f"{data.get('ContentLength', 0)} bytes"]
    if encryption := data.get("ServerSideEncryption"):
        told.append(f"encrypted with {encryption}" + (f" {data['SSEKMSKeyId']}" if data.get("SSEKMSKeyId") else ""))
    told.append(str(data.get("StorageClass") or "STANDARD"))
    told += [f"{name} {data[name]}" for name in ("Restore", "ArchiveStatus") if data.get(name)]
    return ", ".join(told)


def archived(data: Mapping[str, Any]) -> str | None:
    """The class of an object that has to be restored first, by its HEAD; None for one that can be read."""
    if 'ongoing-request="false"' in str(data.get("Restore") or ""):
        return None
    if data.get("ArchiveStatus"):
        return str(data["ArchiveStatus"])
    storage = data.get("StorageClass")
    return str(storage) if storage in ARCHIVE_CLASSES else None


def untouched(scene: Scene) -> Step:
    """Nothing but INTELLIGENT_TIERING objects: reading one would move it, which is not doctor's to do."""
    said = "not asked: all objects seen are in INTELLIGENT_TIERING, and reading one moves it; --key KEY reads one"
    return Step("get", None, asked_get(scene), said)


def get_archived(storage: str, head: Answer, scene: Scene) -> Step:
    """An archived object is not asked for: that would be refused, and HEAD said it already."""
    under_way = 'ongoing-request="true"' in str(head.data.get("Restore") or "")
    why = f"the object lies in {storage} and is not restored: only its owner can restore it"
    if under_way:
        why = f"the object lies in {storage}, and a restore is under way: wait"
    cause = Suspect(Cause.ARCHIVED, why, Who.OWNER)
    found = () if under_way else snippets.against((cause,), Clause(), scene, "s3")
    question = f"{asked_get(scene)}: not asked, HEAD said enough"
    return broken("get", question, f"archived in {storage}", cause, snippets=found, request_id=head.request_id)


def get(answer: Answer, compared: Compared, scene: Scene, encryption: str | None) -> Step:
    """The first byte.

    | answer                                  | then                                        |
    |-----------------------------------------|---------------------------------------------|
    | 206, 200                                | ok                                          |
    | denied, HEAD was good, and aws:kms      | broken: kms, the role's or the key's policy |
    | KMS.*, InvalidObjectState, others       | broken, by `denials`                        |
    """
    question = asked_get(scene)
    if answer.ok:
        return Step("get", True, question, f"{answer.status}: it can be read", request_id=answer.request_id)
    instead: Sequence[Suspect] = ()
    if answer.denied and (found := outside(compared, scene)):
        instead = found
    elif answer.denied and (encryption or "").startswith("aws:kms"):
        diagnosis = answer.diagnosis("s3", scene.access)
        if not diagnosis.told:
            reader = "the role's own policy" if scene.assumed else "your own policy"
            instead = (
                Suspect(Cause.KMS, "the policy of the object's KMS key does not allow the role to decrypt", Who.OWNER),
                Suspect(Cause.KMS, f"{reader} does not allow kms:Decrypt with the object's key", Who.OWNER),
            )
    return refused("get", question, answer, scene, "s3", instead=instead)


def changed(answer: Answer) -> Warned:
    """The object was replaced between two questions."""
    return Warned("changed", f"the object was replaced while doctor looked at it ({answer.said})", Who.UNKNOWN)


def version(answer: Answer, scene: Scene, number: str) -> Step:
    """A version by its ID, which needs s3:GetObjectVersion instead of s3:GetObject. It may be denied: --probe alone."""
    question = f"s3:HeadObject of {scene.key!r}, version {number}"
    if answer.ok:
        return Step("version", True, question, "versions can be read", request_id=answer.request_id)
    if not answer.denied:
        return refused("version", question, answer, scene, "s3")
    said = f"{answer.said}: --version-id, --as-of and --locked need s3:GetObjectVersion; nothing else does"
    found = (snippets.role(scene, versions=True),) if scene.assumed else ()
    cause = Suspect(Cause.VERSION, "the role's policy does not allow s3:GetObjectVersion", Who.OWNER)
    return Step("version", None, question, said, Who.OWNER, (cause,), found, answer.request_id)


def probe(answer: Answer, scene: Scene, beside: str) -> tuple[Step, list[Warned]]:
    """A listing that should be refused, by a session that is not narrowed. `beside` is its prefix."""
    question = f"s3:ListObjectsV2 of s3://{scene.access.bucket}, prefix {beside!r}, with all that the role may"
    if answer.ok:
        why = f"the role is broader than needed: it may list prefix {beside!r}, too"
        warned = Warned("broad-role", why, Who.OWNER, (snippets.role(scene),))
        said = "200: that should be refused"
        return Step("probe", True, question, said, request_id=answer.request_id), [warned]
    if answer.denied:
        return Step("probe", True, question, "refused, as it should be", request_id=answer.request_id), []
    step = refused("probe", question, answer, scene, "s3")
    return replace(step, ok=None), []
