"""Commands that look ahead and behind: how many numbers come free when, and which have lain too long."""

from typing import Annotated, Any

import typer

from fallow.cli.showing import print_json, print_line, print_table
from fallow.cli.words import Json, KeyFile


def forecast(
    *,
    days: Annotated[int, typer.Option("--days", min=1, max=366, help="How many days, today first.")] = 90,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Count the quarantines that end on each UTC day; empty days are shown with --json only.

    Of those expected, the stopped ones are held or wait for a person and will not go on by themselves.
    """
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations import outlook  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        found = outlook.forecast(here, person, days)
    if json:
        print_json(found)
        return
    summed = [(name, found[key]) for name, key in (("due already", "due_already"), ("later", "later"), ("total", "total"))]
    counted = [summed[0], *((each["on"], each) for each in found["days"] if each["expected"]), *summed[1:]]
    print_table(("UTC day", "expected", "of them stopped"), [(name, each["expected"], each["stopped"]) for name, each in counted])


def overdue(
    *,
    after: Annotated[
        str | None, typer.Option("--after", metavar="CYCLE", help="Go on after this cycle, the last of the page before.")
    ] = None,
    reviews_after: Annotated[
        str | None, typer.Option("--reviews-after", metavar="HOLD", help="Go on after this hold, the last of the page before.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="Most rows in each list.")] = 100,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """List numbers that have lain longer than their rule's maximum, longest first, and why; and holds whose review day has come."""
    from fallow.cli.acting import acting  # noqa: PLC0415 - heavy
    from fallow.operations import outlook  # noqa: PLC0415 - heavy

    with acting(key_file) as (here, person):
        found = outlook.overdue(here, person, outlook.Cursors(after, reviews_after), limit=limit)
    if json:
        print_json(found)
        return
    _print_overdue(found["overdue"], limit)
    _print_reviews(found["reviews_due"], limit)


def _print_overdue(late: list[dict[str, Any]], limit: int) -> None:
    if not late:
        print_line("No number is past its rule's maximum.")
        return
    rows = list[tuple[object, ...]]()
    for each in late:
        first, *others = each["why"]
        rows.append((each["cycle_id"], each["state"], each["days_over"], each["overdue_at"][:10], first))
        rows += [("", "", "", "", other) for other in others]
    print_table(("cycle", "state", "days over", "maximum", "why it waits"), rows)
    if len(late) == limit:
        print_line(f"more: --after {late[-1]['cycle_id']}")


def _print_reviews(due: list[dict[str, Any]], limit: int) -> None:
    if not due:
        return
    print_line("holds to be reviewed")
    columns = ("review_on", "hold_id", "cycle_id", "state", "reference", "placed_by")
    print_table([name.replace("_", " ") for name in columns], [[each[name] for name in columns] for each in due])
    if len(due) == limit:
        print_line(f"more: --reviews-after {due[-1]['hold_id']}")
