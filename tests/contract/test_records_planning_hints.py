"""How PostgreSQL is led to rows: by the number's index where there is one, by its own judgement where there is none."""

from collections.abc import Callable

import pytest
from carrier_database import FORMER, Carrier, order
from people_table import collection
from sqlalchemy import Engine, event, text

from fallow.records.records_map import RecordsMap


@pytest.mark.parametrize(
    ("index", "hint"),
    [
        ("CREATE INDEX by_number ON people (msisdn, since)", "off"),
        ("CREATE INDEX by_date ON people (since, msisdn)", "on"),
        ("CREATE INDEX by_some ON people (msisdn) WHERE name = 'x'", "on"),
        ("CREATE INDEX by_hash ON people (md5(msisdn))", "on"),
        ("", "on"),
    ],
)
def test_only_an_index_that_begins_with_the_number_is_preferred(
    people: Carrier, mapped: Callable[[str], RecordsMap], index: str, hint: str
) -> None:
    """Kept from reading the table without one, PostgreSQL would go by any other index, row by row for each order."""
    if people.engine.dialect.name != "postgresql":
        pytest.skip("only PostgreSQL takes such hints")
    if index:
        people.run(index)
    said = list[str]()

    def listen(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        said.extend([statement] if "enable_seqscan" in statement else [])

    records = mapped(collection("delete"))
    event.listen(Engine, "before_cursor_execute", listen)
    try:
        (receipt,) = records.systems["crm"].wipe([order()])
    finally:
        event.remove(Engine, "before_cursor_execute", listen)

    assert receipt.collections[0].affected == 1
    assert set(said) == {f"SET LOCAL enable_seqscan = {hint}"}


def test_rows_that_a_policy_hides_from_the_account_are_no_clean_table(people: Carrier, mapped: Callable[[str], RecordsMap]) -> None:
    """Row-level security that applies to the engine's account is an error, never a receipt over what it was shown."""
    if people.engine.dialect.name != "postgresql":
        pytest.skip("only PostgreSQL has row-level security")
    with people.engine.begin() as connection:
        name = f"limited_{connection.execute(text('SELECT oid FROM pg_database WHERE datname = current_database()')).scalar_one()}"
        connection.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD 'limited'"))
        connection.execute(text(f"GRANT ALL ON people, lines TO {name}"))
        connection.execute(text("ALTER TABLE people ENABLE ROW LEVEL SECURITY"))
        connection.execute(text("CREATE POLICY none_of_it ON people USING (name = 'nobody')"))
    url = people.engine.url.set(username=name, password="limited").render_as_string(hide_password=False)  # noqa: S106 - a test's own role
    written = people.map_path.read_text()
    people.map_path.write_text(written.replace(people.engine.url.render_as_string(hide_password=False), url))

    with pytest.raises(Exception, match="could not do its part"):
        mapped(collection("delete")).systems["crm"].wipe([order(FORMER)])
