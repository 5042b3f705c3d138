import pytest

from s3pull.pull.plan import Standing, decide, needs_proof

OLD, NOW, NEW = 1000.0, 2000.0, 3000.0


@pytest.mark.parametrize(
    ("standing", "proof", "flags", "fetch", "reason", "refused"),
    [
        (None, None, {}, True, "new", False),
        (None, None, {"no_clobber": True}, True, "new", False),
        (Standing(9, NEW), None, {"no_clobber": True}, False, "no-clobber", False),
        (Standing(5, NEW), True, {}, False, "same-checksum", False),
        (Standing(5, NEW), True, {"overwrite": True}, False, "same-checksum", False),
        (Standing(5, NOW), None, {}, False, "same-time", False),
        (Standing(5, NOW), False, {}, True, "changed", False),
        (Standing(5, OLD), None, {}, True, "changed", False),
        (Standing(9, OLD), None, {}, True, "changed", False),
        (Standing(9, NOW + 1), None, {}, True, "changed", False),
        (Standing(9, NEW), None, {}, False, "local-edit", True),
        (Standing(5, NEW), False, {}, False, "local-edit", True),
        (Standing(5, NEW), None, {}, False, "local-edit", True),
        (Standing(9, NEW), None, {"overwrite": True}, True, "overwrite", False),
        (Standing(5, OLD, regular=False), None, {}, False, "local-edit", True),
        (Standing(5, OLD, regular=False), None, {"overwrite": True}, True, "overwrite", False),
    ],
)
def test_decisions(standing, proof, flags, fetch, reason, refused):
    assert decide(standing, 5, NOW, proof, **flags) == (fetch, reason, refused)


def test_without_a_remote_time_only_proof_replaces():
    assert decide(Standing(5, OLD), 5, None, False).refused
    assert decide(Standing(5, OLD), 5, None, True).reason == "same-checksum"


@pytest.mark.parametrize(
    ("standing", "no_clobber", "needed"),
    [
        (None, False, False),
        (Standing(5, NOW), False, True),
        (Standing(5, NOW), True, False),
        (Standing(6, NOW), False, False),
        (Standing(5, NOW, regular=False), False, False),
    ],
)
def test_bytes_are_compared_only_where_it_matters(standing, no_clobber, needed):
    assert needs_proof(standing, 5, no_clobber=no_clobber) is needed
