"""The tests' root package, so that every folder reaches the fakes as `tests.fakes`."""
