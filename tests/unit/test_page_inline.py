"""Modules become one script that does the same."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from poolhog.render.page.inline import Module, digest, inlined, script

A = 'import { b, c } from "./b.js";\n\nconst own = 1;\nexport const a = () => b + c();\n'
B = "const own = 2;\nexport const b = own;\nexport async function c() {}\nexport class D {}\n"


def test_each_module_comes_after_those_it_imports_and_keeps_its_names() -> None:
    found = inlined("a.js", {"a.js": A, "b.js": B, "unused.js": "export const u = 1;\n"})
    assert found.index("// b.js") < found.index("// a.js")
    assert "unused" not in found
    assert "const { b, c } = $b;" in found
    assert "return { b, c, D };" in found
    assert not re.search(r"^(import|export)\b", found, re.MULTILINE)
    assert found.count("const own = ") == 2


def test_imports_over_several_lines_and_twice_from_one_module() -> None:
    source = (
        'import {\n  b,\n  c,\n} from "./b.js";\nimport { D } from "./b.js";\nexport const e = b;\n'
    )
    assert Module.of("a.js", source).imports == {"b.js": ("b", "c", "D")}


def test_a_diamond_is_there_once() -> None:
    top = 'import { a } from "./a.js";\nimport { b } from "./b.js";\na(b);\n'
    assert inlined("top.js", {"top.js": top, "a.js": A, "b.js": B}).count("// b.js") == 1


@pytest.mark.parametrize(
    ("sources", "problem"),
    [
        ({}, "the page imports a.js, which is missing"),
        ({"a.js": A}, "a.js imports b.js, which is missing"),
        ({"a.js": A, "b.js": "export const b = 1;\n"}, "imports c, which b.js does not export"),
        (
            {"a.js": A, "b.js": B + 'import { a } from "./a.js";\n'},
            "import each other: a.js -> b.js -> a.js",
        ),
        ({"a.js": 'import * as b from "./b.js";\n', "b.js": B}, "only named imports"),
        ({"a.js": 'import { b as x } from "./b.js";\n', "b.js": B}, "cannot have another name"),
        ({"a.js": "export default 1;\n"}, "only named imports"),
        ({"a.js": "export let a = 1;\n"}, "only named imports"),
        ({"a.js": "const a = 1;\nexport { a };\n"}, "only named imports"),
    ],
)
def test_what_cannot_be_inlined_is_told(sources: dict[str, str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        inlined("a.js", sources)


def test_the_page_has_a_script_and_nothing_in_it_ends_it() -> None:
    found = script("main.js")
    assert "</script" not in found.lower()
    assert "<!--" not in found
    assert "innerHTML" not in found
    assert len(found.encode()) < 200_000


def test_a_digest_is_what_the_policy_asks_for() -> None:
    expected = base64.b64encode(hashlib.sha256("ü".encode()).digest()).decode()
    assert digest("ü") == f"'sha256-{expected}'"
