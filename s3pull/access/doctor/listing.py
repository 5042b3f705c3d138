"""The steps `bucket` and `list`: is there such a bucket, where, and may its keys be listed. Pure.

The first question to S3 is the listing, with the prefix exactly as granted: it also tells the region, and a role that
is scoped as it should be is not asked what it must refuse. HeadBucket carries no prefix, so it is asked only where the
listing was refused; its own 403 says nothing, its region does.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from s3pull.access.denials import Cause, Suspect, Who
from s3pull.access.doctor.asking import Answer
from s3pull.access.doctor.report import Step, broken, you
from s3pull.access.doctor.scene import Scene
from s3pull.access.doctor.verdicts import refused
from s3pull.objects import ARCHIVE_CLASSES

#: reading an object of this class moves it to a dearer tier
TIERED = "INTELLIGENT_TIERING"
_ELSEWHERE = frozenset(
    {"PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)


@dataclass(frozen=True, slots=True)
class Compared:
    """The same question asked in other ways, where the first answer was a denial; None where it was not asked so.

    `unowned`: without saying which account must own the bucket. `wide`: with a session that is not narrowed.
    """

    unowned: Answer | None = None
    wide: Answer | None = None


NOTHING_COMPARED = Compared()


def asked_list(scene: Scene) -> str:
    return f"s3:ListObjectsV2 of s3://{scene.access.bucket}, prefix {scene.prefix!r}"


def bucket(listed: Answer, head: Answer | None, scene: Scene, tried: str) -> Step:
    """Is there such a bucket, and where. `head` was asked only where the listing was refused; `tried` is the region.

    | listing                    | HeadBucket              | then                                        |
    |----------------------------|-------------------------|---------------------------------------------|
    | good                       | –                       | ok; another region was put right, and said  |
    | NoSuchBucket               | –                       | broken: bucket-missing                      |
    | a redirect to nowhere      | –                       | broken: region                              |
    | denied                     | 200, or 403 with region | ok: that 403 is none                        |
    | denied                     | 404                     | broken: bucket-missing                      |
    | denied                     | 301, 400                | broken: region                              |
    | denied                     | 403 without region      | ok unknown                                  |
    | credentials, clock, silence| –                       | broken, by `verdicts`                       |
    """
    question = f"s3:ListObjectsV2 of s3://{scene.access.bucket}"
    if head is not None:
        question = f"s3:HeadBucket of s3://{scene.access.bucket}"
    answer = head or listed
    if answer.trouble is not None:
        return refused("bucket", question, answer, scene, "s3")
    if answer.code == "NoSuchBucket" or (head is not None and answer.status == 404):
        return _missing(question, answer, scene)
    if answer.code in _ELSEWHERE or answer.status in (301, 307) or (head is not None and answer.status == 400):
        return _elsewhere(question, answer, scene)
    if not answer.ok and not answer.denied:
        return refused("bucket", question, answer, scene, "s3")
    region = answer.region
    if region is None and head is not None and not answer.ok:
        return Step(
            "bucket", None, question, f"cannot tell: {answer.said}, and no region", request_id=answer.request_id
        )
    where = f" in {region}" if region else ""
    notes: tuple[str, ...] = ()
    if region and region != tried:
        notes = (f"put right: the bucket is in {region}, not {tried}; --region {region} saves the detour",)
    return Step("bucket", True, question, f"the bucket is there{where}", request_id=answer.request_id, notes=notes)


def _missing(question: str, answer: Answer, scene: Scene) -> Step:
    why = f"there is no bucket {scene.access.bucket}: check the name with the data owner"
    return broken("bucket", question, answer.said, you(Cause.BUCKET_MISSING, why), request_id=answer.request_id)


def _elsewhere(question: str, answer: Answer, scene: Scene) -> Step:
    found = replace(scene, region=answer.region)
    return refused("bucket", question, answer, found, "s3")


def listing(answer: Answer, compared: Compared, scene: Scene, *, key_given: bool) -> Step:
    """May its keys be listed.

    | answer                                    | then                                                            |
    |-------------------------------------------|-----------------------------------------------------------------|
    | keys                                      | ok                                                              |
    | no keys                                   | broken: prefix, you: no permission is at fault (a note with a key) |
    | denied; fine without the expected owner   | broken: ownership                                               |
    | denied; fine with a session not narrowed  | broken: session-policy, ours                                    |
    | denied, identity-based, prefix without /  | broken: prefix before identity-policy                           |
    | denied otherwise                          | broken, by `denials`                                            |
    | denied, and a key is given                | ok unknown: listing may be withheld on purpose                  |
    """
    question = asked_list(scene)
    if answer.ok:
        count = answer.data.get("KeyCount", 0)
        if count:
            return Step("list", True, question, "keys can be listed", request_id=answer.request_id)
        if key_given:
            return Step("list", True, question, "no key begins with the prefix", request_id=answer.request_id)
        why = f"nothing begins with {scene.prefix!r}" if scene.prefix else "the bucket is empty"
        cause = you(Cause.PREFIX, f"{why}: no permission is missing; check the prefix with the data owner")
        return broken("list", question, f"200, and no keys: {why}", cause, request_id=answer.request_id)
    step = refused("list", question, answer, scene, "s3", instead=_instead(answer, compared, scene))
    if key_given and answer.denied:
        said = f"listing is withheld, perhaps on purpose: {answer.said}"
        return replace(step, ok=None, observed=said, who=Who.UNKNOWN)
    if step.causes and step.causes[0].cause is Cause.IDENTITY_POLICY:
        step = replace(step, notes=("where listing is withheld on purpose: s3pull doctor … --key KEY",))
    return step


def _instead(answer: Answer, compared: Compared, scene: Scene) -> Sequence[Suspect]:
    if not answer.denied:
        return ()
    if found := outside(compared, scene):
        return found
    diagnosis = answer.diagnosis("s3", scene.access)
    first = diagnosis.causes[0]
    if diagnosis.told and first.cause is Cause.IDENTITY_POLICY and scene.assumed and not diagnosis.clause.explicit:
        bucket = Suspect(
            Cause.IDENTITY_POLICY,
            "the role's policy does not allow s3:ListBucket on the bucket's own ARN with this prefix",
            Who.OWNER,
        )
        if scene.prefix and not scene.prefix.endswith("/"):
            return (
                Suspect(
                    Cause.PREFIX,
                    f"the role's s3:prefix may be {scene.prefix}/*, which does not match {scene.prefix!r}",
                    Who.OWNER,
                ),
                bucket,
            )
        prefix = f"the role's s3:prefix does not match {scene.prefix!r} (data/ is not data)"
        return (bucket, Suspect(Cause.PREFIX, prefix, Who.OWNER))
    if not diagnosis.told and scene.access.bucket.endswith("--x-s3"):
        why = "a directory bucket never says why, and its role needs s3express:CreateSession"
        return (Suspect(Cause.DIRECTORY_BUCKET, why, Who.OWNER),)
    return ()


def outside(compared: Compared, scene: Scene) -> tuple[Suspect, ...]:
    """What the comparison found; nothing where it found nothing.

    | asked otherwise               | then                                                             |
    |-------------------------------|------------------------------------------------------------------|
    | fine without an owner named   | ownership                                                        |
    | fine without our narrowing    | session-policy: ours alone denies it                             |
    | refused for another reason    | that reason: AWS names one policy, and the narrowing came first  |
    """
    if compared.unowned is not None and compared.unowned.ok:
        why = (
            f"the bucket does not belong to account {scene.access.bucket_owner}: a wrong or squatted name, or a role "
            "that lives apart from its bucket"
        )
        return (Suspect(Cause.OWNERSHIP, why, Who.OWNER),)
    if compared.wide is not None and compared.wide.ok:
        why = "our own narrowing of the session denies it: the role itself may"
        return (Suspect(Cause.SESSION_POLICY, why, Who.YOU),)
    if compared.wide is not None and compared.wide.denied:
        diagnosis = compared.wide.diagnosis("s3", scene.access)
        return diagnosis.causes if diagnosis.told else ()
    return ()


def sample(listed: Answer) -> Mapping[str, Any] | None:
    """The object to read a byte of: a STANDARD one that is not empty; else any that needs no restore; else any.

    Reading moves INTELLIGENT_TIERING objects, so they come after all that can be read.
    """
    found = list(listed.data.get("Contents", ()))
    return min(found, key=unfit, default=None)


def unfit(entry: Mapping[str, Any]) -> int:
    """How little an entry suits as a sample: 0 suits."""
    storage = entry.get("StorageClass", "STANDARD")
    if storage in ARCHIVE_CLASSES:
        return 4
    if storage == TIERED:
        return 3
    if str(entry.get("Key", "")).endswith("/") or not entry.get("Size"):
        return 2
    return 0 if storage == "STANDARD" else 1


def foreign(page: Answer, key: str) -> bool | None:
    """Whether the object of `key` belongs to another account than most on the page; None where nobody can tell."""
    owners = {entry.get("Key"): entry.get("Owner", {}).get("ID") for entry in page.data.get("Contents", ())}
    mine = owners.get(key)
    if mine is None or len(owners) < 2:
        return None
    usual, _ = Counter(owner for owner in owners.values() if owner).most_common(1)[0]
    return bool(mine != usual)
