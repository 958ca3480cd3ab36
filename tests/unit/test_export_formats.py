"""The list of export formats: the verb, its help and its documentation are made from it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from traces import hostile_trace
from verbs import poolhog

from poolhog.render import export
from poolhog.render.export import FORMATS, format_named
from poolhog.render.export.format import Format
from poolhog.render.output import Hint

if TYPE_CHECKING:
    from typing import BinaryIO

    from poolhog.analysis.selection import Extract

DOCS = Path(__file__).parents[2] / "docs" / "export.md"


def _owners(extract: Extract, out: BinaryIO) -> int:
    for part in extract.parts:
        for checkout in part.checkouts():
            out.write(f"{checkout.owner}\n".encode())
    return 3


OWNERS = Format(
    name="owners",
    purpose="for those who count owners",
    suffix=".owners.txt",
    write=_owners,
    hint=lambda file: Hint(f"sort {file}", "who asked"),
)


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    hostile_trace(tmp_path, "await the_tax_office(form)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(export, "FORMATS", (*FORMATS, OWNERS))
    return tmp_path / "trace"


def test_a_new_format_takes_one_object(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    poolhog("export", trace, "--format", "owners")
    told = capsys.readouterr()
    written = Path("trace.owners.txt").read_text().splitlines()
    assert f"{len(written)} checkouts of 1 process" in told.out
    assert told.out.splitlines()[-1] == "sort trace.owners.txt  who asked"
    assert "3 times a long statement" in told.err
    poolhog("export", trace, "--format", "owners", "--json")
    described: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (described["format"], described["checkouts"]) == ("owners", len(written))


def test_a_mistake_names_every_format(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    poolhog("export", trace, "--format", "xml", code=2)
    (line,) = capsys.readouterr().err.splitlines()
    assert all(repr(form.name) in line for form in (*FORMATS, OWNERS))


def test_the_help_says_what_each_format_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    poolhog("export", "--help")
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for form in FORMATS:
        assert form.name in told
        assert form.purpose in told


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_each_format_is_documented(form: Format) -> None:
    docs = DOCS.read_text()
    assert f"`{form.name}`" in docs
    assert f"`{form.suffix}`" in docs
    assert f"--format {form.name}" in docs


def test_formats_are_found_by_their_names() -> None:
    assert [format_named(form.name) for form in FORMATS] == list(FORMATS)
    assert len({form.suffix for form in FORMATS}) == len(FORMATS)
    with pytest.raises(LookupError):
        format_named("xml")


def test_a_terminal_is_not_given_what_it_cannot_show(
    trace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    binary = [form for form in FORMATS if form.binary is not None]
    assert binary
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    for form in binary:
        poolhog("export", trace, "--format", form.name, "-o", "-", code=2)
        assert f"{form.name} is {form.binary}, which no terminal shows" in capsys.readouterr().err
