"""Puts the numbers of a run of ``poolhog lab remedies`` into docs/remedies.md and remedies.json.

    poolhog lab remedies -o RUN
    python benchmarks/remedies_page.py RUN

What the page says around its tables is checked by nobody: read it again afterwards.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from poolhog.lab.remedies.table import markdown
from poolhog.lab.remedy_results import RemediesResults

DOCS = Path(__file__).parent.parent / "docs"
BEGIN, END = "<!-- tables: benchmarks/remedies_page.py -->\n", "<!-- end of tables -->"


def main(run: Path) -> None:
    """Replace what is between the marks."""
    results = json.loads((run / "results.json").read_text())
    found = RemediesResults.from_dict(results["remedies"])
    before, _, rest = (DOCS / "remedies.md").read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    tables = markdown(found, results["parameters"]["requests"])
    (DOCS / "remedies.md").write_text(f"{before}{BEGIN}\n{tables}\n{END}{after}")
    (DOCS / "remedies.json").write_text(json.dumps(found.as_dict(), indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
