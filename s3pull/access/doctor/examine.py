"""Asks one question after the other and stops at the first broken link: the order of doctor, and nothing but the order.

    local         nobody is asked
    caller        GetCallerIdentity with your own credentials
    assume-role   AssumeRole as configured, for 15 minutes; then once more without the external ID, which should fail
    role          GetCallerIdentity as the role
    bucket, list  ListObjectsV2; HeadBucket where that was refused
    head, get     one object, one byte of it
    version       with --probe: one version by its ID
    probe         with --probe: a listing beside the prefix, by a session that is not narrowed

It needs no permission that a reader has not. But with --probe nothing is asked that a sound chain refuses in the data
owner's logs: a refused AssumeRole is logged at the caller's. Its sessions are never cached.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NoReturn

from s3pull.access import assume, own
from s3pull.access.denials import Cause
from s3pull.access.doctor import asking, assuming, caller, listing, objects, verdicts
from s3pull.access.doctor.asking import Answer, Aws, Limits, Store, cause_of
from s3pull.access.doctor.listing import NOTHING_COMPARED, Compared
from s3pull.access.doctor.patience import Prompt, within
from s3pull.access.doctor.report import Report, Step, Warned
from s3pull.access.doctor.scene import Scene
from s3pull.access.narrow import Narrowing, narrowing
from s3pull.access.profiles import Profiles
from s3pull.access.status import identity_of
from s3pull.errors import S3pullError
from s3pull.objects import Access, Credentials


def examine(
    access: Access,
    *,
    source: str,
    prefix: str,
    key: str | None = None,
    probe: bool = False,
    environ: Mapping[str, str],
    profiles: Profiles,
    prompt: Prompt | None = None,
    limits: Limits | None = None,
    clock: Callable[[], float] = time.time,
) -> Report:
    """Examine the chain to one source. Ends within `limits.total` seconds and the time that a person types.

    `source` is as it was typed, `prefix` what is to be listed, `key` (whole, prefix included) the object to look at;
    None takes one of the listing. `prompt` asks a person for an MFA code.
    """
    limits = limits or asking.LIMITS
    report = Report()
    scene = Scene(access, source, prefix, key)
    aws = Aws(access, environ, profiles, limits, clock)
    aws.prepare()

    def work(ask: Prompt | None) -> None:
        exam = _Exam(report, scene, aws, ask, probe=probe)
        holder.append(exam)
        try:
            exam.run()
        except _Broken:
            pass

    holder: list[_Exam] = []
    if not within(limits.total, work, prompt):
        now = holder[0].now if holder else ("local", caller.ASKED_LOCAL)
        causes = verdicts.silences("sts" if now[0] in _OF_STS else "s3", aws.proxy())
        said = f"no answer: given up after {limits.total:g} s"
        # a copy: what the thread still finds must not change what is told
        late = Step(now[0], False, now[1], said, causes[0].who, causes, verdicts.pasted(causes, scene))
        return Report([*report.steps, late], list(report.warnings))
    return report


_OF_STS = frozenset({"local", "caller", "assume-role", "role"})


class _Broken(Exception):
    """A link is broken: what comes after it cannot be judged."""


class _Exam:
    """One examination. `now` is the step that is under way, and what it asks."""

    def __init__(self, report: Report, scene: Scene, aws: Aws, prompt: Prompt | None, *, probe: bool) -> None:
        self.now = ("local", caller.ASKED_LOCAL)
        self._report, self._scene, self._aws, self._prompt, self._probing = report, scene, aws, prompt, probe
        self._access = scene.access
        self._own: Credentials | None = None
        self._parameters: dict[str, Any] = {}

    def run(self) -> None:
        self._note(*caller.local(self._scene, self._aws.environ))
        keys: Credentials | None = None
        if not self._access.anonymous:
            keys = self._own = self._who_am_i()
        if self._access.role_arn is not None:
            keys = self._assume()
            self._as_role(keys)
        self._read(keys)

    # --- STS ----------------------------------------------------------------------------------------------

    def _who_am_i(self) -> Credentials:
        self.now = ("caller", caller.ASKED_CALLER)
        aws = self._aws
        try:
            keys = own.find(self._access, aws.environ, aws.profiles, self._prompt).current()
        except S3pullError as error:
            self._stop(self._without_credentials(error))
        answer = aws.caller(keys)
        self._note(
            *caller.caller(answer, self._scene, caller.expected_account(self._access, aws.environ, aws.profiles))
        )
        if answer.ok:
            self._scene = replace(self._scene, consumer=identity_of(caller.who_of(answer)).iam_arn)
            self._session = assume.session_name(caller.who_of(answer).arn)
        else:
            self._session = assume.NAMELESS
        return keys

    def _without_credentials(self, error: S3pullError) -> Step:
        """No credentials of one's own. Where a profile's role had to be assumed for them, STS may have said why."""
        if error.status is not None:
            answer = Answer(False, error.status, error.code or "", error.message, error.request_id)
            step = verdicts.refused("caller", "your own credentials", answer, self._scene, "sts")
            # it is not the data owner's role that was refused, and nothing of theirs is to be pasted
            note = "this is the role of your own AWS profile, on the way to the data owner's"
            return replace(step, snippets=(), notes=(note,))
        answer = Answer(False, trouble=error, cause=cause_of(error, error))
        return verdicts.unanswered("caller", "your own credentials", answer, self._scene, "sts")

    def _assume(self) -> Credentials:
        self.now = ("assume-role", assuming.asked(self._access))
        if self._access.mfa_serial is not None and self._prompt is None:
            self._stop(assuming.no_code(self._scene))
        narrowed = narrowing(self._access)
        answer = self._ask_role(narrowed)
        if answer.code == "PackedPolicyTooLarge" and narrowed.width == "prefix":
            note = "the session policy does not fit beside the session's tags: narrowed to the bucket, not the prefix"
            narrowed = narrowing(self._access, at_most="bucket")._replace(note=note)
            answer = self._ask_role(narrowed)
        step, warnings = assuming.verdict(answer, self._scene, narrowed)
        self._note(step, warnings)
        # codes are single-use, and a person is not asked for two
        again = self._again(ExternalId=None) if self._access.external_id and not self._access.mfa_serial else None
        self._note(None, assuming.unenforced(again, self._scene))
        return _keys(answer)

    def _ask_role(self, narrowed: Narrowing) -> Answer:
        name = self._access.session_name or self._session
        self._parameters = assuming.parameters(self._access, name, narrowed, chained=self._scene.chained)
        asked = dict(self._parameters)
        if (serial := self._access.mfa_serial) is not None and self._prompt is not None:
            asked |= {"SerialNumber": serial, "TokenCode": self._code(serial, self._prompt)}
        assert self._own is not None
        return self._aws.assume(self._own, asked)

    def _code(self, serial: str, prompt: Prompt) -> str:
        code = prompt(f"MFA code of {serial}: ").replace(" ", "")
        return code if re.fullmatch(r"\d{6}", code, re.ASCII) else "000000"

    def _again(self, **changed: str | None) -> Answer:
        """AssumeRole once more, with these parameters changed or (None) left out."""
        asked = {name: value for name, value in {**self._parameters, **changed}.items() if value is not None}
        assert self._own is not None
        return self._aws.assume(self._own, asked)

    def _as_role(self, keys: Credentials) -> None:
        self.now = ("role", caller.ASKED_ROLE)
        self._note(caller.role(self._aws.caller(keys), self._scene))

    # --- S3 -----------------------------------------------------------------------------------------------

    def _read(self, keys: Credentials | None) -> None:
        store, listed = self._find_bucket(keys)
        self._list(store, listed)
        if self._sample(store, listed) is not None:
            self._look(store, listed)

    def _find_bucket(self, keys: Credentials | None) -> tuple[Store, Answer]:
        scene = self._scene
        self.now = ("bucket", listing.asked_list(scene))
        try:
            store = self._aws.store(keys)
        except S3pullError as error:
            answer = Answer(False, trouble=error, cause=cause_of(error, error))
            self._stop(verdicts.unanswered("bucket", self.now[1], answer, scene, "s3"))
        listed = store.list(scene.prefix, most=1)
        head = store.head_bucket() if listed.denied else None
        step = listing.bucket(listed, head, scene, store.region)
        self._note(step, caller.clock(listed) if self._access.anonymous else [])
        region = (head or listed).region
        if region and region != store.region:
            store = self._aws.store(keys, region)
            if listed.denied:
                # asked again where the bucket is: the first denial may have been the other region's
                listed = store.list(scene.prefix, most=1)
        self._scene = replace(scene, region=region or store.region)
        return store, listed

    def _list(self, store: Store, listed: Answer) -> None:
        self.now = ("list", listing.asked_list(self._scene))
        prefix = self._scene.prefix
        compared = self._compare(listed, lambda s, owned: s.list(prefix, most=1, owned=owned), store)
        self._note(listing.listing(listed, compared, self._scene, key_given=self._scene.key is not None))

    def _compare(self, refused: Answer, ask: Callable[[Store, bool], Answer], store: Store) -> Compared:
        """The same question without an expected owner, and by a session that is not narrowed, where it was denied.

        Only where AWS does not say which policy it was, or says that it was the session's.
        """
        if not refused.denied:
            return NOTHING_COMPARED
        diagnosis = refused.diagnosis("s3", self._access)
        ours = diagnosis.told and diagnosis.causes[0].cause is Cause.SESSION_POLICY
        if diagnosis.told and not ours:
            return NOTHING_COMPARED
        unowned = wide = None
        if not diagnosis.told and self._access.bucket_owner is not None:
            unowned = ask(store, False)
        if not (unowned and unowned.ok) and "Policy" in self._parameters and self._access.mfa_serial is None:
            session = self._again(Policy=None)
            if session.ok:
                wide = ask(self._aws.store(_keys(session), store.region), True)
        return Compared(unowned, wide)

    def _sample(self, store: Store, listed: Answer) -> str | None:
        """The key to look at; None where there is none that should be touched."""
        if self._scene.key is None:
            entry = listing.sample(listed)
            if entry is None or listing.unfit(entry):
                page = store.list(self._scene.prefix)
                entry = listing.sample(page) or entry
            if entry is None:
                return None
            self._scene = replace(self._scene, key=str(entry["Key"]))
            if entry.get("StorageClass") == listing.TIERED:
                self._note(objects.untouched(self._scene))
                return None
        return self._scene.key

    def _look(self, store: Store, listed: Answer) -> None:
        head = self._head(store, listed)
        for attempt in range(2):
            self.now = ("get", objects.asked_get(self._scene))
            if (storage := objects.archived(head.data)) is not None:
                self._stop(objects.get_archived(storage, head, self._scene))
            answer = self._byte(store, etag=head.data.get("ETag"), whole=head.data.get("ContentLength") == 0)
            if answer.status != 412 or attempt:
                break
            self._note(None, [objects.changed(answer)])
            head = store.head(self._key)
        compared = self._compare(answer, lambda s, owned: s.get(self._key, owned=owned), store)
        self._note(objects.get(answer, compared, self._scene, head.data.get("ServerSideEncryption")))
        if self._probing:
            self._probe(store, head)

    @property
    def _key(self) -> str:
        assert self._scene.key is not None
        return self._scene.key

    def _head(self, store: Store, listed: Answer) -> Answer:
        self.now = ("head", objects.asked_head(self._scene))
        head = store.head(self._key)
        words: Answer | None = None
        compared, foreign = NOTHING_COMPARED, None
        if not head.ok and head.status in (400, 403):
            words = self._byte(store)
            compared = self._compare(words, lambda s, owned: s.get(self._key, owned=owned), store)
            if words.denied and listed.ok:
                foreign = listing.foreign(store.list(self._scene.prefix), self._key)
        known = any(entry.get("Key") == self._key for entry in listed.data.get("Contents", ()))
        self._note(objects.head(head, words, compared, self._scene, foreign=foreign, listed=known))
        self._scene = replace(self._scene, kms_key=head.data.get("SSEKMSKeyId"))
        return head

    def _byte(self, store: Store, *, etag: str | None = None, whole: bool = False) -> Answer:
        """GetObject of one byte; an object that turns out to have none is asked for whole."""
        answer = store.get(self._key, etag=etag, whole=whole)
        if answer.code == "InvalidRange" and not whole:
            answer = store.get(self._key, etag=etag, whole=True)
        return answer

    def _probe(self, store: Store, head: Answer) -> None:
        if (number := head.data.get("VersionId")) not in (None, "null"):
            self.now = ("version", f"a version of {self._key!r}")
            self._note(objects.version(store.head(self._key, version=number), self._scene, number))
        if self._scene.prefix and self._access.role_arn is not None and self._access.mfa_serial is None:
            self.now = ("probe", "a listing beside the prefix")
            session = self._again(Policy=None)
            if session.ok:
                wide = self._aws.store(_keys(session), store.region)
                self._note(*objects.probe(wide.list("", most=1), self._scene, ""))

    # --- what was found -------------------------------------------------------------------------------------

    def _note(self, step: Step | None, warnings: list[Warned] | None = None) -> None:
        """Keep a step and warnings. Raises _Broken where the link is."""
        self._report.warnings += warnings or []
        if step is not None:
            self._report.steps.append(step)
            if step.ok is False:
                raise _Broken

    def _stop(self, step: Step) -> NoReturn:
        """Keep the step that is broken."""
        self._report.steps.append(step)
        raise _Broken


def _keys(answer: Answer) -> Credentials:
    given = answer.data["Credentials"]
    return Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
