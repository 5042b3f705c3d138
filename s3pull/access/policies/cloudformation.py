"""Resources as a CloudFormation template, in JSON. Pure; which resources there are is `deploy`'s.

Types: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-template-resource-type-ref.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from s3pull.access.policies.deploy import Attached, BucketPolicy, Resource, Role
from s3pull.errors import UsageError

_LOG_BUCKET = {
    "Type": "String",
    "Description": "The bucket that the trail writes its logs to; its policy must let CloudTrail do so",
}


def template(resources: Sequence[Resource], title: str) -> dict[str, Any]:
    """The template; raises UsageError for the policy of an access point, which is no resource of its own."""
    found: dict[str, Any] = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": title,
        "Resources": {one.title: _resource(one) for one in resources},
    }
    if any(_needs_log_bucket(one) for one in resources):
        found["Parameters"] = {"LogBucket": _LOG_BUCKET}
    roles = [one for one in resources if isinstance(one, Role)]
    if roles:
        found["Outputs"] = {f"{one.title}Arn": {"Value": {"Fn::GetAtt": [one.title, "Arn"]}} for one in roles}
    return found


def _needs_log_bucket(one: Resource) -> bool:
    return not isinstance(one, Role | Attached | BucketPolicy)


def _resource(one: Resource) -> dict[str, Any]:
    if isinstance(one, Role):
        facts: dict[str, Any] = {"RoleName": one.name, "Path": one.path, "AssumeRolePolicyDocument": one.trust}
        if one.duration > 3600:
            facts["MaxSessionDuration"] = one.duration
        if one.permissions is not None:
            facts["Policies"] = [{"PolicyName": one.policy_name, "PolicyDocument": one.permissions}]
        return _typed("AWS::IAM::Role", facts)
    if isinstance(one, Attached):
        if one.kind == "managed":
            return _typed(
                "AWS::IAM::ManagedPolicy", {"ManagedPolicyName": one.policy_name, "PolicyDocument": one.policy}
            )
        kind = one.kind.capitalize()
        facts = {f"{kind}Name": one.owner, "PolicyName": one.policy_name, "PolicyDocument": one.policy}
        return _typed(f"AWS::IAM::{kind}Policy", facts)
    if isinstance(one, BucketPolicy):
        if one.access_point:
            raise UsageError(
                "CloudFormation knows no policy of an access point on its own",
                hint="--format json has both policies: the first goes into the access point's own resource, the second "
                "to the bucket behind it; or --format terraform",
            )
        service = "S3Express" if one.directory else "S3"
        return _typed(f"AWS::{service}::BucketPolicy", {"Bucket": one.bucket, "PolicyDocument": one.policy})
    return _typed(
        "AWS::CloudTrail::Trail",
        {
            "TrailName": one.name,
            "IsLogging": True,
            "S3BucketName": {"Ref": "LogBucket"},
            "AdvancedEventSelectors": list(one.selectors),
        },
    )


def _typed(kind: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {"Type": kind, "Properties": properties}
