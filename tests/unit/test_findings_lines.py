"""The line that a finding names: where a stack left the one of the statement before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factories import make_site

from poolhog.analysis.findings.lines import departure
from poolhog.analysis.stacks import innermost_line

if TYPE_CHECKING:
    from poolhog.model import Site


def stack(*frames: tuple[str, int] | str) -> Site:
    """Frames from the outermost on; of a library if there is only a name."""
    site: Site | None = None
    for frame in frames:
        is_application = not isinstance(frame, str)
        function, line = (frame, 1) if isinstance(frame, str) else frame
        site = make_site(line, function=function, is_application=is_application, caller=site)
    assert site is not None
    return site


def test_the_line_between_two_statements_of_a_function() -> None:
    found = departure(
        stack("serve", ("middleware", 5), "route", ("endpoint", 12), "sleep"),
        stack(("middleware", 5), ("endpoint", 11)),
    )
    assert found.site is not None
    assert (found.site.function, found.site.line) == ("endpoint", 12)
    assert [frame.function for frame in found.awaiting] == ["sleep"]


def test_the_endpoint_and_not_the_helpers_that_it_calls() -> None:
    seen = stack(("endpoint", 12), ("helper", 3), "retry", ("inner", 7), "sleep")
    found = departure(seen, stack(("endpoint", 11)))
    assert found.site is not None
    assert (found.site.function, found.site.line) == ("endpoint", 12)
    assert [frame.function for frame in found.awaiting] == ["helper", "retry", "inner", "sleep"]


def test_the_helper_if_the_statement_was_in_it() -> None:
    found = departure(
        stack(("endpoint", 12), ("helper", 4)), stack(("endpoint", 12), ("helper", 3))
    )
    assert found.site is not None
    assert (found.site.function, found.site.line) == ("helper", 4)


def test_the_endpoint_if_the_statement_was_in_a_dependency() -> None:
    found = departure(stack(("endpoint", 12), ("helper", 4)), stack(("get_user", 3), ("load", 9)))
    assert found.site is not None
    assert found.site.function == "endpoint"


def test_the_endpoint_if_nothing_is_known_of_the_statement() -> None:
    found = departure(stack("route", ("endpoint", 12), ("helper", 4)), None)
    assert found.site is not None
    assert found.site.function == "endpoint"


def test_the_innermost_line_if_the_stacks_are_the_same() -> None:
    found = departure(
        stack(("endpoint", 12), ("helper", 4), "get"), stack(("endpoint", 12), ("helper", 4))
    )
    assert found.site is not None
    assert (found.site.function, found.site.line) == ("helper", 4)
    assert [frame.function for frame in found.awaiting] == ["get"]


def test_nowhere_if_there_is_no_code_of_the_application() -> None:
    found = departure(stack("serve", "send"), stack(("endpoint", 12)))
    assert found.site is None
    assert [frame.function for frame in found.awaiting] == ["serve", "send"]
    assert departure(None, None).site is None


def test_the_innermost_line_of_the_application() -> None:
    line = innermost_line(stack(("endpoint", 12), ("parse", 4), "loads", "scan"))
    assert line is not None
    assert line.function == "parse"
    library = innermost_line(stack("serve", "loads"))
    assert library is not None
    assert library.function == "loads"
    assert innermost_line(None) is None
