"""Resources as Terraform (HCL), for the AWS provider. Pure; which resources there are is `deploy`'s.

Policies stand as JSON in here-documents: what is printed is what AWS gets, `\\u` escapes included (IAM takes no
character beyond U+00FF). Only `${` and `%{` mean something to Terraform there, and are doubled.
https://developer.hashicorp.com/terraform/language/expressions/strings
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from s3pull.access.policies.deploy import Attached, BucketPolicy, Resource, Role, Trail

_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


def configuration(resources: Sequence[Resource], title: str) -> str:
    """The text of a .tf file."""
    blocks = [f"# {title}"]
    if any(isinstance(one, Trail) for one in resources):
        blocks.append(
            'variable "log_bucket" {\n'
            '  description = "the bucket that the trail writes its logs to; its policy must let CloudTrail do so"\n'
            "  type        = string\n}"
        )
    blocks += [
        f'variable "{_label(one)}" {{\n  description = "the bucket behind {one.behind}"\n  type        = string\n}}'
        for one in resources
        if isinstance(one, BucketPolicy) and one.behind
    ]
    blocks += [block for one in resources for block in _blocks(one)]
    return "\n\n".join(blocks) + "\n"


def _blocks(one: Resource) -> list[str]:
    label = _label(one)
    if isinstance(one, Role):
        facts = {"name": _text(one.name), "path": _text(one.path), "assume_role_policy": _json(one.trust)}
        if one.duration > 3600:
            facts["max_session_duration"] = str(one.duration)
        found = [_block("aws_iam_role", label, facts)]
        if one.permissions is not None:
            inline = {
                "name": _text(one.policy_name),
                "role": f"aws_iam_role.{label}.name",
                "policy": _json(one.permissions),
            }
            found.append(_block("aws_iam_role_policy", f"{label}_policy", inline))
        return found
    if isinstance(one, Attached):
        facts = {"name": _text(one.policy_name), "policy": _json(one.policy)}
        if one.owner is None:
            return [_block("aws_iam_policy", label, facts)]
        return [_block(f"aws_iam_{one.kind}_policy", label, {one.kind: _text(one.owner), **facts})]
    if isinstance(one, BucketPolicy):
        if one.access_point:
            facts = {"access_point_arn": _text(one.bucket), "policy": _json(one.policy)}
            return [_block("aws_s3control_access_point_policy", label, facts)]
        if one.behind:
            # the one expression in a document: whoever applies it knows the bucket
            name = f"${{var.{label}}}"
            facts = {"bucket": f"var.{label}", "policy": _json(one.policy).replace(one.bucket, name)}
            return [_block("aws_s3_bucket_policy", label, facts)]
        return [_block("aws_s3_bucket_policy", label, {"bucket": _text(one.bucket), "policy": _json(one.policy)})]
    return [_trail(one, label)]


def _label(one: Resource) -> str:
    return _CAPITAL.sub("_", one.title).lower()


def _trail(one: Trail, label: str) -> str:
    lines = [f'resource "aws_cloudtrail" "{label}" {{', f"  name           = {_text(one.name)}"]
    lines.append("  s3_bucket_name = var.log_bucket")
    for selector in one.selectors:
        lines += ["", "  advanced_event_selector {", f"    name = {_text(selector['Name'])}"]
        for field in selector["FieldSelectors"]:
            lines += ["", "    field_selector {", f"      field = {_text(field['Field'])}"]
            for name, operator in (("Equals", "equals"), ("StartsWith", "starts_with")):
                if name in field:
                    lines.append(f"      {operator} = [{', '.join(map(_text, field[name]))}]")
            lines.append("    }")
        lines.append("  }")
    return "\n".join([*lines, "}"])


def _block(kind: str, label: str, facts: dict[str, str]) -> str:
    lines = [f"  {name} = {value}" for name, value in facts.items()]
    return "\n".join([f'resource "{kind}" "{label}" {{', *lines, "}"])


def _text(value: str) -> str:
    return _literal(json.dumps(value, ensure_ascii=False))


def _json(document: Any) -> str:
    """A here-document; `<<` and not `<<-`: nothing in it is taken for indentation."""
    return f"<<POLICY\n{_literal(json.dumps(document, indent=2))}\nPOLICY"


def _literal(text: str) -> str:
    return text.replace("${", "$${").replace("%{", "%%{")
