"""What a page leads to: commands that a shell runs, and lines that an editor opens."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest
from traces import hostile_trace
from verbs import poolhog

from poolhog.model import Site
from poolhog.render.page.links import EDITOR, NO_LINKS, Links, checked_editor, target_text
from poolhog.render.page.source import SourceFiles

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "template",
    [
        EDITOR,
        "idea://open?file={path}&line={line}",
        "http://localhost:63342/api/file/{path}:{line}",
        "subl://open?url=file://{path}&line={line}",
    ],
)
def test_an_editor_s_address(template: str) -> None:
    assert checked_editor(template) == template


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("code {path}:{line}", "must be an address"),
        ("{path}:{line}", "must be an address"),
        ("javascript:alert('{path}{line}')", "must be an address"),
        ("JavaScript:alert('{path}{line}')", "must be an address"),
        ("data:text/html,{path}{line}", "must be an address"),
        ("vscode://file/{path}", "has no {line}"),
        ("vscode://file/", "has no {path} and no {line}"),
        ("", "must be an address"),
    ],
)
def test_what_is_no_address_of_an_editor(template: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        checked_editor(template)


def test_no_editor_is_no_address() -> None:
    assert checked_editor("none") == ""


def site(file: Path) -> Site:
    return Site(str(file), 7, "f", "x = 1", is_application=True)


@pytest.mark.parametrize(
    ("template", "address"),
    [
        (EDITOR, "vscode://file{path}:7"),
        ("subl://open?url=file://{path}&line={line}", "subl://open?url=file://{path}&line=7"),
    ],
)
def test_a_line_of_a_file_that_is_here(template: str, address: str, tmp_path: Path) -> None:
    file = tmp_path / "a & b.py"
    file.write_text("x = 1\n")
    links = Links("trace", template, SourceFiles(tmp_path))
    path = str(file).replace(" ", "%20").replace("&", "%26")
    assert links.address(site(file)) == address.replace("{path}", path)
    assert links.json({3: str(file), 4: "/elsewhere.py"}) == {
        "target": "trace",
        "editor": template,
        "here": [3],
    }


def test_a_line_of_a_file_that_is_not_here(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("x = 1\n")
    (tmp_path / "there.py").write_text("x = 1\n")
    links = Links("trace", EDITOR, SourceFiles(tmp_path))
    for file in ("gone.py", "secret.txt", "../there.py"):
        assert links.address(site(tmp_path / file)) == ""
    assert links.address(None) == ""
    assert Links("trace", "", SourceFiles(tmp_path)).address(site(tmp_path / "there.py")) == ""
    assert NO_LINKS.address(site(tmp_path / "there.py")) == ""


def test_a_trace_is_named_from_where_the_page_is_made_or_from_home(tmp_path: Path) -> None:
    home, working = tmp_path / "home", tmp_path / "home" / "work"
    trace = working / "poolhog-traces" / "it's mine"
    trace.mkdir(parents=True)
    other = home / "other trace"
    other.mkdir()

    def named(directory: Path, pid: int | None = None) -> str:
        return target_text(directory, working=working, home=home, pid=pid)

    assert shlex.split(named(trace, 12)) == ["poolhog-traces/it's mine", "--pid", "12"]
    assert named(other) == "~/'other trace'"
    assert named(tmp_path) == str(tmp_path)


def test_a_command_needs_a_trace() -> None:
    assert Links("t").command("log", "--request", "1.2") == "poolhog log t --request 1.2"
    assert Links("t").command("log", "--request", "a b") == "poolhog log t --request 'a b'"
    assert NO_LINKS.command("log") == ""


@pytest.mark.parametrize("verb", ["report", "compare"])
def test_a_bad_editor_is_one_line(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile_trace(tmp_path, "x")
    traces = [tmp_path / "trace"] * (1 if verb == "report" else 2)
    page = tmp_path / "page.html"
    poolhog(verb, *traces, "--html", page, "--editor", "emacs", code=2)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "--editor emacs: it must be an address of an editor" in told
    assert not page.exists()
    poolhog(verb, *traces, "--editor", "none", code=2)
    assert "--editor is for a page: name its file with --html" in capsys.readouterr().err
