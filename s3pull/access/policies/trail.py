"""How a data owner finds in CloudTrail what was read through a grant: which events to record, and what to ask Athena.

Reads of objects are data events, which a trail records only when it is told to. Pure. Fields:
https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_AdvancedFieldSelector.html; the table is the one that
https://docs.aws.amazon.com/athena/latest/ug/cloudtrail-logs.html makes.
"""

from __future__ import annotations

from typing import Any

from s3pull.access.policies.grant import Grant, Place, directory_arn
from s3pull.errors import UsageError

TABLE = "cloudtrail_logs"

#: ListObjectsV2 is recorded as ListObjects: https://docs.aws.amazon.com/AmazonS3/latest/userguide/cloudtrail-logging.html
_EVENTS = ("GetObject", "HeadObject", "ListObjects", "ListObjectVersions")


def selectors(grant: Grant) -> list[dict[str, Any]]:
    """Advanced event selectors of a trail: reads of the grant's buckets and access points.

    They are the whole buckets' and not a prefix's, so that listings are among them. `put-event-selectors` replaces
    the selectors that a trail has: these are to be added to them.

    An ARN ends in a slash, or `ap` would mean `ap2` as well; of an access point the bare ARN is an event's, too. That
    several operators of a field are alternatives says
    https://docs.aws.amazon.com/awscloudtrail/latest/userguide/filtering-data-events.html
    """
    kinds = {
        "AWS::S3::Object": [
            f"arn:{grant.partition}:s3:::{place.bucket}/"
            for place in grant.places
            if not place.is_access_point and not place.is_directory
        ],
        "AWS::S3::AccessPoint": [f"{place.bucket}/" for place in grant.places if place.bucket.startswith("arn:")],
        "AWS::S3Express::Object": [f"{directory_arn(grant, place)}/" for place in grant.places if place.is_directory],
    }
    return [
        {
            "Name": f"s3pull: reads of {kind.rpartition('::')[2].lower()}s",
            "FieldSelectors": [
                {"Field": "eventCategory", "Equals": ["Data"]},
                {"Field": "resources.type", "Equals": [kind]},
                _of_resources(kind, list(dict.fromkeys(arns))),
                {"Field": "readOnly", "Equals": ["true"]},
            ],
        }
        for kind, arns in kinds.items()
        if arns
    ]


def _of_resources(kind: str, arns: list[str]) -> dict[str, Any]:
    bare = {"Equals": [arn.removesuffix("/") for arn in arns]} if kind == "AWS::S3::AccessPoint" else {}
    return {"Field": "resources.ARN", **bare, "StartsWith": arns}


def query(grant: Grant, table: str = TABLE) -> str:
    """The Athena query: one row a request, newest first, with session name, source identity and user agent.

    A session of the role is told by the role. A principal of another account that reads directly is told by its account
    alone: the owner's trail has no ARN of it. Raises UsageError where neither is known.
    """
    if grant.role_arn is not None:
        who = f"useridentity.sessioncontext.sessionissuer.arn = {_text(grant.role_arn)}"
    elif grant.consumer is not None:
        who = f"useridentity.accountid = {_text(grant.consumer.split(':')[4])}"
    else:
        raise UsageError(
            "it is not said who the consumer is", hint="--consumer-role ARN: the consumer's `s3pull status` prints it"
        )
    asked = ", ".join(map(_text, _EVENTS))
    conditions = [
        "eventsource IN ('s3.amazonaws.com', 's3express.amazonaws.com')",
        f"eventname IN ({asked})",
        who,
        "useragent LIKE '%s3pull/%'",
    ]
    if all(not place.is_access_point for place in grant.places):
        conditions.append(f"json_extract_scalar(requestparameters, '$.bucketName') IN ({_buckets(grant.places)})")
    return (
        "SELECT eventtime,\n"
        "       split_part(useridentity.arn, '/', 3) AS session_name,\n"
        "       useridentity.sessioncontext.sourceidentity AS source_identity,\n"
        "       useragent,\n"
        "       sourceipaddress,\n"
        "       eventname,\n"
        "       json_extract_scalar(requestparameters, '$.bucketName') AS bucket,\n"
        "       json_extract_scalar(requestparameters, '$.key') AS key,\n"
        "       json_extract_scalar(additionaleventdata, '$.bytesTransferredOut') AS bytes,\n"
        "       errorcode,\n"
        "       requestid\n"
        f"FROM {table}\n"
        "WHERE " + "\n  AND ".join(conditions) + "\n"
        "ORDER BY eventtime DESC\n"
    )


def _buckets(places: tuple[Place, ...]) -> str:
    return ", ".join(_text(name) for name in dict.fromkeys(place.bucket for place in places))


def _text(value: str) -> str:
    """A literal of SQL."""
    return "'" + value.replace("'", "''") + "'"
