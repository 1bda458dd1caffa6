"""Make a page of the results of playbooks/doctor.yml: one row per Pi, its checks below.

The page is one file: no script, no font, no picture from elsewhere. It holds addresses, and no secrets.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2

REPOSITORY = Path(__file__).resolve().parent.parent
TEMPLATE = Path(__file__).with_name("report.html.j2")
RESULTS = REPOSITORY / ".cache" / "doctor.json"
PAGE = REPOSITORY / ".cache" / "report.html"
LAYOUT = 1
# Word, sign and style of each level: colour is never the only mark.
LEVELS = {
    "bad": ("bad", "✖", "bad"),
    "warning": ("look", "!", "look"),
    "unknown": ("not known", "?", "grey"),
    "ok": ("good", "✔", "good"),
}


def row(host: dict[str, Any]) -> dict[str, Any]:
    """Return what the page shows of a Pi: verdict (good, bad, grey), a sentence, checks (worst first)."""
    report = host["report"]
    if report is None:
        left_out = host["state"] == "left out"
        said = {"off": "does not answer", "left out": "not asked"}.get(host["state"], "could not be asked")
        reason = "" if left_out else f": {host['reason']}"
        verdict, sign = ("grey", "○") if left_out else ("bad", "✖")
        return {**host, "verdict": verdict, "sign": sign, "said": f"{said}{reason}", "checks": []}
    order = list(LEVELS)
    checks = sorted(report["checks"], key=lambda check: order.index(check["level"]))
    names = {level: [check["name"] for check in checks if check["level"] == level] for level in LEVELS}
    parts = []
    if names["bad"]:
        parts.append("bad: " + "; ".join(names["bad"]))
    if names["warning"]:
        parts.append(("To" if parts else "to") + " look at: " + "; ".join(names["warning"]))
    said = ". ".join(parts) or "all good"
    verdict, sign = ("bad", "✖") if names["bad"] else ("good", "✔")
    return {**host, "verdict": verdict, "sign": sign, "said": said, "checks": checks}


def render(results: dict[str, Any], title: str) -> str:
    """Return the page. Raises ValueError if the results have another layout."""
    if results.get("layout") != LAYOUT:
        raise ValueError(f"layout {results.get('layout')!r} is not known; run the doctor again")
    rows = [row(host) for host in results["hosts"]]
    counts = {verdict: sum(one["verdict"] == verdict for one in rows) for verdict in ("good", "bad", "grey")}
    at = datetime.fromisoformat(results["at"]).strftime("%-d %B %Y, %H:%M UTC")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text())
    return template.render(title=title, at=at, rows=rows, counts=counts, levels=LEVELS)


def main(arguments: list[str] | None = None) -> int:
    """Write the page; return 0, or 2 if there are no results."""
    parser = argparse.ArgumentParser(description="Make one page of what playbooks/doctor.yml found.")
    parser.add_argument("--results", type=Path, default=RESULTS, help="what the playbook kept")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page (.cache/report.html)")
    parser.add_argument("--title", default="Smart Meter: state of the fleet")
    parsed = parser.parse_args(arguments)
    try:
        page = render(json.loads(parsed.results.read_text()), parsed.title)
    except (OSError, ValueError) as error:
        print(f"report: {parsed.results}: {error}", file=sys.stderr)
        return 2
    parsed.out.parent.mkdir(parents=True, exist_ok=True)
    parsed.out.write_text(page)
    print(f"report: {parsed.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
