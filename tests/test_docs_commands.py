"""Every command block of README and docs is typed into a shell, line by line, page by page, and works.

The pages' data owner is `tests/acme.py`. A page's blocks are one session: what a line leaves is there for the next.
Lines that cannot be run here stand in NOT_HERE, with the reason; nothing else is left out.
"""

from __future__ import annotations

import re
import shlex

import pytest

from s3pull.cli.app import main
from tests.acme import Acme
from tests.test_readme import ROOT

pytestmark = pytest.mark.slow

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "bench").glob("*.md")]
)

#: how a line begins that is not run here, and why
NOT_HERE = {
    "python3 -m venv": "installs from the index; .ci/run does the same, and tests/cli/test_demo.py runs the demo",
    ".venv/bin/pytest": "all the tests: this one is among them",
    "aws iam ": "changes an AWS account; tests/cli/test_policy_applied.py applies the same documents",
    "sbatch ": "needs Slurm; tests/test_shards_together.py runs what it would start",
    "sudo apt-get": "changes the machine",
    "pip install": "changes the environment",
    ".venv/bin/pip": "downloads from the package index",
    "/opt/s3pull/": "changes the machine",
    "minisign ": "another tool, and keys; tests/test_packages.py runs it",
    "cosign ": "another tool, and its keys or a log on the network",
    "sha256sum ": "is typed where a release is made; tests/test_packages.py does",
    "docker ": "needs Docker; tests/test_packages.py looks at the Dockerfile",
    "0 2 * * * ": "a line for a crontab, into /data",
    "s3pull sync -q acme: /data/acme --metrics": "writes to /data and /var/lib; tests/cli/test_metrics.py has it",
    "python bench/": "takes minutes, and needs nginx and other clients",
}
#: pages that start many processes
SLOW = ("docs/MACHINES.md",)
#: blocks that are no commands, and what becomes of them
LANGUAGES = {
    "python": "tests/api/test_examples.py runs them",
    "ini": "what a command of the page writes, or a piece of a unit",
    "yaml": "rules for another program; tests/cli/test_metrics.py holds their names",
}
#: blocks that are drawings
DRAWINGS = ("cli/",)
#: what stands in the environment of these lines
VARIABLES = {"JOB_COMPLETION_INDEX": "3", "DASK_SCHEDULER": "local:1"}
#: exits other than 0, by line
EXITS: dict[str, int] = {}
#: what a line needs that the page takes for granted, made before it
GIVEN = {
    "s3pull policy acme --kind role --check their-policy.json": "s3pull policy acme --kind role > their-policy.json",
    "s3pull get acme: d/ --from-file keys.txt": "s3pull ls -r acme:2026/ > keys.txt",
    "s3pull share import --aws-profile": (
        "for name in reader acme-reader; do printf '[profile %s]\\nexternal_id=9f4c\\ncredential_source=Environment\\n"
        'role_arn=arn:aws:iam::111122223333:role/acme-readers\\n\' $name; done > "$AWS_CONFIG_FILE"'
    ),
    "s3pull get acme:2026/a.csv --profile work": (
        "printf '[profile work]\naws_access_key_id=%s\naws_secret_access_key=%s\naws_session_token=%s\n'"
        ' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" "$AWS_SESSION_TOKEN" > "$AWS_CONFIG_FILE"'
    ),
}


def lines(page: str) -> list[str]:
    """The lines of all blocks of a page that are commands, without their remarks."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        assert language in ("", *LANGUAGES), f"{page}: what is {language}?"
        block = block.replace("\\\n", " ")
        if not language and not block.startswith(DRAWINGS):
            found += [re.sub(r"\s+#( .*)?$", "", line) for line in block.splitlines() if not line.startswith("#")]
    return [line for line in found if line.strip()]


def runs(line: str) -> bool:
    return not line.startswith(tuple(NOT_HERE))


class Shell:
    """Types lines. What needs no shell is run in this process: that takes a tenth of the time."""

    def __init__(self, acme: Acme, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.acme, self._capsys = acme, capsys
        self._config = acme.folder.parent / "home" / "config.toml"
        acme.env |= {
            **VARIABLES,
            "S3PULL_CONFIG": str(self._config),
            "S3PULL_CACHE_DIR": str(self._config.parent / "c"),
        }
        for name, value in acme.env.items():
            monkeypatch.setenv(name, value)
        for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.chdir(acme.folder)

    def type(self, line: str) -> None:
        """The share that a line makes is not there before: whoever follows a page has not made it yet."""
        if line.startswith(("s3pull share import", "s3pull share add")) and "--replace" not in line:
            self._config.unlink(missing_ok=True)
        elif "acme" in line and "[shares.acme]" not in self._known():
            self._type("s3pull share import acme.toml")
        for start, given in GIVEN.items():
            if line.startswith(start):
                self._type(given)
        self._type(line)

    def _known(self) -> str:
        return self._config.read_text() if self._config.exists() else ""

    def _type(self, line: str) -> None:
        words, target = plain(line)
        if words is None:
            done = self.acme.sh(line)
            code, said = done.returncode, done.stderr
        else:
            self._capsys.readouterr()
            code = main(words[1:])
            out, said = self._capsys.readouterr()
            if target is not None:
                (self.acme.folder / target).write_text(out)
        assert code == EXITS.get(line, 0), f"{line}\n{said}"
        assert "Traceback" not in said


def plain(line: str) -> tuple[list[str] | None, str | None]:
    """The words of an s3pull command, and the file that its stdout goes to; None where a shell has more to do."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(lexer)
    target = None
    if len(words) > 2 and words[-2] == ">":
        *words, _, target = words
    special = any(re.fullmatch(r"[();<>|&]+", word) for word in words)
    return (None if special or "$" in line or words[0] != "s3pull" else words), target


@pytest.fixture
def shell(fake_aws, tmp_path, monkeypatch, capsys):
    return Shell(Acme(fake_aws, tmp_path / "here"), monkeypatch, capsys)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] if page in SLOW else [])
        for page in PAGES
        if any(map(runs, lines(page)))
    ],
)
def test_what_a_page_says_to_type_works(shell, page):
    for line in filter(runs, lines(page)):
        shell.type(line)


def test_every_exception_is_needed():
    every = [line for page in PAGES for line in lines(page)]
    assert [start for start in NOT_HERE if not any(line.startswith(start) for line in every)] == []
    assert [start for start in GIVEN if not any(line.startswith(start) for line in [*every, *COUNTERPARTS])] == []
    assert [line for line in EXITS if line not in every] == []


COUNTERPARTS = [
    found[1]
    for row in (ROOT / "docs" / "MIGRATION.md").read_text(encoding="utf-8").splitlines()
    if (found := re.search(r"\| `(s3pull [^`]+)` \|$", row))
]


@pytest.mark.timeout(600)
def test_each_counterpart_of_another_tools_command_works(shell):
    assert len(COUNTERPARTS) >= 15
    for line in COUNTERPARTS:
        shell.type(line)
