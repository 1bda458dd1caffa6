"""Make an HTML page of the results of playbooks/doctor.yml: one row per Pi, its checks below. Also for print.

The page is one self-contained file without scripts. It contains addresses, but no secrets.
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
if str(REPOSITORY) not in sys.path:
    sys.path.append(str(REPOSITORY))

from roles.preflight.look.reading import clean  # noqa: E402 - the path comes first.
from roles.preflight.rules.report import ReportError, check_report  # noqa: E402

TEMPLATE = Path(__file__).with_name("report.html.j2")
RESULTS = REPOSITORY / ".cache" / "doctor.json"
PAGE = REPOSITORY / ".cache" / "report.html"
LAYOUT = 1
# Word, sign and style of each level, the worst first. Colour is never the only mark.
LEVELS = {
    "bad": ("bad", "✖", "bad"),
    "warning": ("warning", "!", "look"),
    "unknown": ("unknown", "?", "grey"),
    "ok": ("good", "✔", "good"),
}


def row(host: dict[str, Any]) -> dict[str, Any]:
    """Return the template's data for a Pi.

    verdict (good, bad or grey), summary, checks (worst first), and the last events.
    """
    report, reason = host["report"], clean(host["reason"])
    if report is not None:
        try:
            report = check_report(report, host["name"])
        except ReportError as error:
            report, reason = None, str(error)
    if report is None:
        left_out = host["state"] == "left out"
        summary = {"off": "does not answer", "left out": "not asked"}.get(host["state"], "could not be asked")
        reason = "" if left_out else f": {reason}"
        verdict, sign = ("grey", "○") if left_out else ("bad", "✖")
        return {
            **host,
            "report": None,
            "verdict": verdict,
            "sign": sign,
            "summary": f"{summary}{reason}",
            "checks": [],
            "events": [],
        }
    order = list(LEVELS)
    checks = sorted(report["checks"], key=lambda check: order.index(check["level"]))
    names = {level: [check["name"] for check in checks if check["level"] == level] for level in LEVELS}
    parts = []
    if names["bad"]:
        parts.append("bad: " + "; ".join(names["bad"]))
    if names["warning"]:
        parts.append("warning: " + "; ".join(names["warning"]))
    summary = " | ".join(parts) or "all good"
    verdict, sign = ("bad", "✖") if names["bad"] else ("good", "✔")
    return {
        **host,
        "report": report,
        "verdict": verdict,
        "sign": sign,
        "summary": summary,
        "checks": checks,
        "events": report["events"],
    }


def render(results: dict[str, Any], title: str) -> str:
    """Return the page as HTML. Raises ValueError if the results have an unknown layout."""
    if results.get("layout") != LAYOUT:
        raise ValueError(f"unknown layout {results.get('layout')!r}; run playbooks/doctor.yml again")
    rows = [row(host) for host in results["hosts"]]
    counts = {verdict: sum(one["verdict"] == verdict for one in rows) for verdict in ("good", "bad", "grey")}
    at = datetime.fromisoformat(results["at"]).strftime("%-d %B %Y, %H:%M UTC")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text())
    return template.render(title=title, at=at, rows=rows, counts=counts, levels=LEVELS)


def main(arguments: list[str] | None = None) -> int:
    """Write the page and return 0; return 2 if the results can't be read."""
    parser = argparse.ArgumentParser(description="Make an HTML page of the results of playbooks/doctor.yml.")
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        help="file that the playbook wrote (default: .cache/doctor.json)",
    )
    parser.add_argument("--out", type=Path, default=PAGE, help="page to write (default: .cache/report.html)")
    parser.add_argument("--title", default="Smart Meter: state of the fleet", help="title of the page")
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
