import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s3pull.errors import UsageError
from s3pull.pull.globs import escape
from s3pull.pull.source import Into, Kind, parse_dest, parse_source

AP = "arn:aws:s3:eu-west-1:111122223333:accesspoint/readers"


@pytest.mark.parametrize(
    ("text", "share", "bucket", "path", "kind", "fixed"),
    [
        ("acme", "acme", None, "", Kind.TREE, ""),
        ("acme:", "acme", None, "", Kind.TREE, ""),
        ("acme:a/b", "acme", None, "a/b", Kind.OBJECT, "a/"),
        ("acme:a/b/", "acme", None, "a/b/", Kind.TREE, "a/b/"),
        ("acme:2026/*.parquet", "acme", None, "2026/*.parquet", Kind.GLOB, "2026/"),
        ("acme:2026/ab*", "acme", None, "2026/ab*", Kind.GLOB, "2026/"),
        ("acme:**/x", "acme", None, "**/x", Kind.GLOB, ""),
        (r"acme:a\*b", "acme", None, r"a\*b", Kind.OBJECT, ""),
        ("acme:a:b", "acme", None, "a:b", Kind.OBJECT, ""),
        (r"acme:\//a/b", "acme", None, r"\//a/b", Kind.OBJECT, "//a/"),
        (r"acme:\//a/*", "acme", None, r"\//a/*", Kind.GLOB, "//a/"),
        ("s3://bucket", None, "bucket", "", Kind.TREE, ""),
        ("s3://bucket/", None, "bucket", "", Kind.TREE, ""),
        ("s3://bucket/a//b", None, "bucket", "a//b", Kind.OBJECT, "a//"),
        (f"s3://{AP}/a/b", None, AP, "a/b", Kind.OBJECT, "a/"),
        (f"s3://{AP}", None, AP, "", Kind.TREE, ""),
        ("s3://arn:aws:s3::111122223333:accesspoint/mfzwi23gnjvgw.mrap/k", None,
         "arn:aws:s3::111122223333:accesspoint/mfzwi23gnjvgw.mrap", "k", Kind.OBJECT, ""),
        ("s3://bucket--use1-az4--x-s3/k", None, "bucket--use1-az4--x-s3", "k", Kind.OBJECT, ""),
    ],
)  # fmt: skip
def test_sources(text, share, bucket, path, kind, fixed):
    spec = parse_source(text)
    assert (spec.share, spec.bucket, spec.path, spec.kind, spec.fixed) == (share, bucket, path, kind, fixed)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "NAME:path"),
        ("C:\\data", "2 or more"),
        ("C:", "2 or more"),
        ("Acme:x", "acme:x"),
        ("bucket/key", "s3://bucket/key"),
        (AP + "/x", f"s3://{AP}/x"),
        ("s3://", "s3://bucket"),
        ("s3:/bucket/key", "s3://bucket/path"),
        ("https://bucket.s3.amazonaws.com/key", "s3://bucket/path"),
        ("s3:///key", "s3://bucket"),
        ("s3://arn:aws:s3:::bucket/x", "accesspoint"),
        ("./x", "s3pull ls"),
    ],
)
def test_what_is_no_source_gets_the_form_that_was_meant(text, hint):
    with pytest.raises(UsageError) as caught:
        parse_source(text)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("dest", "source", "is_directory", "into", "folder", "name"),
    [
        (None, "acme:a/b", False, Into.FILE, ".", None),
        (None, "acme:a/b/", False, Into.FOLDER, "b", None),
        (None, "acme", False, Into.FOLDER, "acme", None),
        (None, "s3://bucket", False, Into.FOLDER, "bucket", None),
        (None, f"s3://{AP}", False, Into.FOLDER, "readers", None),
        (None, "acme:a/*", False, Into.FOLDER, ".", None),
        ("-", "acme:a/b", False, Into.STDOUT, ".", None),
        ("d", "acme:a/b", True, Into.FILE, "d", None),
        ("d/", "acme:a/b", False, Into.FILE, "d/", None),
        ("d/x", "acme:a/b", False, Into.FILE, "d", "x"),
        ("x", "acme:a/b", False, Into.FILE, ".", "x"),
        ("/x", "acme:a/b", False, Into.FILE, "/", "x"),
        ("..", "acme:a/b", True, Into.FILE, "..", None),
        ("d/x", "acme:a/", False, Into.FOLDER, "d/x", None),
        ("d", "acme:a/*", False, Into.FOLDER, "d", None),
        ("./acme:x", "acme:a/b", False, Into.FILE, ".", "acme:x"),
    ],
)
def test_where_things_go(dest, source, is_directory, into, folder, name):
    found = parse_dest(dest, parse_source(source), is_directory=is_directory)
    assert (found.into, found.folder, found.name) == (into, folder, name)


@pytest.mark.parametrize("dest", ["s3://bucket/x", "acme:", "acme:x"])
def test_a_remote_dest_is_refused_in_the_words_of_the_contract(dest):
    with pytest.raises(UsageError, match=r"^s3pull only downloads$"):
        parse_dest(dest, parse_source("acme:a"), is_directory=False)


@pytest.mark.parametrize("source", ["acme:", "acme:a/", "acme:a/*"])
def test_only_one_object_goes_to_stdout(source):
    with pytest.raises(UsageError, match="only one object"):
        parse_dest("-", parse_source(source), is_directory=False)


@pytest.mark.parametrize("source", ["acme:..", "acme:../", "acme:a/../", "acme:a/.", "s3://bucket/.."])
def test_no_dest_is_made_of_dots(source):
    with pytest.raises(UsageError, match="cannot be a name here"):
        parse_dest(None, parse_source(source), is_directory=False)


@given(st.text(min_size=1))
@example("//")
@example("//a/*")
@example("\\/")
def test_every_key_can_be_named(key):
    escaped = "".join("\\" + c if c in "*?[\\" else c for c in key)
    for path in ("\\" + escaped if key.startswith("//") else escaped, escape(key)):
        spec = parse_source("acme:" + path)
        assert spec.kind is not Kind.GLOB
        assert spec.key == key


@given(st.text())
def test_any_text_is_a_source_or_a_usage_error(text):
    try:
        spec = parse_source(text)
    except UsageError as error:
        assert error.hint
    else:
        assert (spec.share is None) != (spec.bucket is None)
