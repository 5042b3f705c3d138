import pytest

from s3pull.pull.plan import Standing, decide, needs_proof

NOW = 2000.0
OLD_NS, NOW_NS, NEW_NS = 1000 * 10**9, 2000 * 10**9, 3000 * 10**9


@pytest.mark.parametrize(
    ("standing", "proof", "flags", "fetch", "reason", "refused"),
    [
        (None, None, {}, True, "new", False),
        (None, None, {"no_clobber": True}, True, "new", False),
        (Standing(9, NEW_NS), None, {"no_clobber": True}, False, "no-clobber", False),
        (Standing(5, NEW_NS), True, {}, False, "same-checksum", False),
        (Standing(5, NEW_NS), True, {"overwrite": True}, False, "same-checksum", False),
        (Standing(5, NOW_NS), None, {}, False, "same-time", False),
        (Standing(5, NOW_NS), False, {}, True, "changed", False),
        (Standing(5, OLD_NS), None, {}, True, "changed", False),
        (Standing(9, OLD_NS), None, {}, True, "changed", False),
        (Standing(9, NOW_NS + 10**9), None, {}, True, "changed", False),
        (Standing(9, NEW_NS), None, {}, False, "local-edit", True),
        (Standing(5, NEW_NS), False, {}, False, "local-edit", True),
        (Standing(5, NEW_NS), None, {}, False, "local-edit", True),
        (Standing(9, NEW_NS), None, {"overwrite": True}, True, "overwrite", False),
        (Standing(5, OLD_NS, regular=False), None, {}, False, "local-edit", True),
        (Standing(5, OLD_NS, regular=False), None, {"overwrite": True}, True, "overwrite", False),
    ],
)
def test_decisions(standing, proof, flags, fetch, reason, refused):
    assert decide(standing, 5, NOW, proof, **flags)[:3] == (fetch, reason, refused)


def test_without_a_remote_time_only_proof_replaces():
    assert decide(Standing(5, OLD_NS), 5, None, False).refused
    assert decide(Standing(5, OLD_NS), 5, None, True).reason == "same-checksum"


@pytest.mark.parametrize(
    ("standing", "no_clobber", "needed"),
    [
        (None, False, False),
        (Standing(5, NOW_NS), False, True),
        (Standing(5, NOW_NS), True, False),
        (Standing(6, NOW_NS), False, False),
        (Standing(5, NOW_NS, regular=False), False, False),
    ],
)
def test_bytes_are_compared_only_where_it_matters(standing, no_clobber, needed):
    assert needs_proof(standing, 5, no_clobber=no_clobber) is needed
