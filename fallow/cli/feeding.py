"""``numbers traffic``, ``numbers inventory``, ``numbers reconcile``: what a carrier's systems say of numbers, as CSV files."""

from dataclasses import asdict
from typing import Any

from fallow.cli.ending import PARTLY
from fallow.cli.enrolling import File, content_of
from fallow.cli.showing import print_json, print_line, print_table
from fallow.cli.words import Json, KeyFile


def traffic(file: File, *, key_file: KeyFile = None, json: Json = False) -> int:
    """Keep a CSV file of residual traffic: counters of each number and day. Exit code 3 where lines were rejected.

    The same file again changes nothing; of a day stated twice the larger of each counter stands.
    """
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.traffic import note_traffic  # noqa: PLC0415 - heavy

    content = content_of(file)
    with acting(key_file) as (here, person):
        report = asdict(note_traffic(here, person, content))
    if json:
        print_json(report)
    else:
        print_line(
            f"{report['rows']} lines: {report['noted']} noted, {report['not_here']} of numbers never enrolled here{_rejected(report)}"
        )
        _print_rejections(report)
    return PARTLY if report["rejections"] else 0


def inventory(file: File, *, key_file: KeyFile = None, json: Json = False) -> int:
    """Keep a CSV file of inventory's statements: which numbers are assigned, ported, in service or on sale, and since when.

    A number in a cycle that somebody has meanwhile goes into ATTENTION. Exit code 3 where lines were rejected.
    """
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.inventory_feed import note_inventory  # noqa: PLC0415 - heavy

    content = content_of(file)
    with acting(key_file) as (here, person):
        report = asdict(note_inventory(here, person, content))
    if json:
        print_json(report)
    else:
        print_line(f"{report['rows']} lines: {report['noted']} noted, {report['outdated']} outdated{_rejected(report)}")
        for cycle_id in report["attention"]:
            print_line(f"ATTENTION {cycle_id}: see `fallow numbers show`")
        _print_rejections(report)
    return PARTLY if report["rejections"] else 0


def reconcile(file: File, *, key_file: KeyFile = None, json: Json = False) -> int:
    """Name every number of inventory's CSV file that is on sale, or with a new holder, without a released cycle here.

    Changes nothing. Numbers are named by line and cycle. Exit code 3 where one was found or a line was rejected.
    """
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations.reconcile import reconcile as compare  # noqa: PLC0415 - heavy

    content = content_of(file)
    with acting(key_file) as (here, person):
        report = asdict(compare(here, person, content))
    findings = report["findings"]
    if json:
        print_json(report)
    else:
        print_line(f"{report['rows']} lines: {len(findings)} found, {report['clear']} clear{_rejected(report)}")
        if report["unknown"]:
            print_line(f"{report['unknown']} unknown: never enrolled and in no earlier inventory file, so nothing can be said of them")
        if findings:
            print_table(("line", "code", "cycle", "state", "next"), [tuple(each.values()) for each in findings])
        _print_rejections(report)
    return PARTLY if findings or report["rejections"] else 0


def _rejected(report: dict[str, Any]) -> str:
    return f", {len(report['rejections'])} rejected"


def _print_rejections(report: dict[str, Any]) -> None:
    if report["rejections"]:
        print_table(("line", "code", "why"), [tuple(each.values()) for each in report["rejections"]])
