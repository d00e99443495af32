"""The gate's last bar, in the database itself: no statement can make a cycle RESELLABLE with an obligation open, or sell another.

Since schema 0003 neither with a holder key that is still there, or whose destruction has no event. Since schema 0004 neither is
done while a look at a platform is owed.

It knows less than ``fallow.domain.gate`` (no evidence, no policy); it is there for statements that never asked the gate.
"""

_WHEN = "NEW.state = 'RESELLABLE' AND OLD.state <> 'RESELLABLE'"
_WRONG = """
    OLD.state <> 'TAGGING' OR NEW.tag IS NULL OR NEW.held OR NEW.attention <> '[]'
    OR NOT EXISTS (SELECT 1 FROM obligations o WHERE o.cycle_id = NEW.cycle_id AND o.kind = 'records')
    OR NOT EXISTS (SELECT 1 FROM obligations o WHERE o.cycle_id = NEW.cycle_id AND o.kind = 'platform')
    OR EXISTS (SELECT 1 FROM obligations o WHERE o.cycle_id = NEW.cycle_id AND (o.status <> 'DISCHARGED' OR o.evidence IS NULL))
"""
_MESSAGE = "the gate: RESELLABLE needs every obligation discharged"

_SOLD_WHEN = "NEW.state = 'REASSIGNED' AND OLD.state <> 'REASSIGNED'"
_SOLD_WRONG = "OLD.state <> 'RESELLABLE' OR OLD.held OR OLD.attention <> '[]'"
_SOLD_MESSAGE = "the gate: only a RESELLABLE number without hold or ATTENTION is sold"

_KEPT = """
    EXISTS (SELECT 1 FROM holders h WHERE h.cycle_id = NEW.cycle_id)
    OR NOT EXISTS (SELECT 1 FROM events e WHERE e.cycle_id = NEW.cycle_id AND e.kind = 'HolderKeyDestroyed')
"""
_KEPT_MESSAGE = "the gate: RESELLABLE needs the holder key destroyed"

SQLITE = (
    f"""CREATE TRIGGER gate_sale BEFORE UPDATE OF state ON cycles WHEN {_SOLD_WHEN} AND ({_SOLD_WRONG})
    BEGIN SELECT RAISE(ABORT, '{_SOLD_MESSAGE}'); END""",
    f"CREATE TRIGGER gate_update BEFORE UPDATE OF state ON cycles WHEN {_WHEN} AND ({_WRONG}) BEGIN SELECT RAISE(ABORT, '{_MESSAGE}'); END",
    "CREATE TRIGGER gate_insert BEFORE INSERT ON cycles WHEN NEW.state <> 'ENROLLED' BEGIN SELECT RAISE(ABORT, 'begin as ENROLLED'); END",
)
POSTGRESQL = (
    f"""CREATE FUNCTION fallow_gate() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            IF NEW.state <> 'ENROLLED' THEN RAISE EXCEPTION 'a cycle begins as ENROLLED'; END IF;
        ELSIF {_WHEN} AND ({_WRONG}) THEN
            RAISE EXCEPTION '{_MESSAGE}';
        ELSIF {_SOLD_WHEN} AND ({_SOLD_WRONG}) THEN
            RAISE EXCEPTION '{_SOLD_MESSAGE}';
        END IF;
        RETURN NEW;
    END $$""",
    "CREATE TRIGGER gate BEFORE INSERT OR UPDATE ON cycles FOR EACH ROW EXECUTE FUNCTION fallow_gate()",
)
POSTGRESQL_DOWN = ("DROP TRIGGER gate ON cycles", "DROP FUNCTION fallow_gate()")

#: The bar of schema 0003, beside the first one.
SQLITE_KEYS = (
    f"""CREATE TRIGGER gate_keys BEFORE UPDATE OF state ON cycles WHEN {_WHEN} AND ({_KEPT})
    BEGIN SELECT RAISE(ABORT, '{_KEPT_MESSAGE}'); END""",
)
SQLITE_KEYS_DOWN = ("DROP TRIGGER gate_keys",)
POSTGRESQL_KEYS = (
    f"""CREATE FUNCTION fallow_gate_keys() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF {_WHEN} AND ({_KEPT}) THEN
            RAISE EXCEPTION '{_KEPT_MESSAGE}';
        END IF;
        RETURN NEW;
    END $$""",
    "CREATE TRIGGER gate_keys BEFORE UPDATE ON cycles FOR EACH ROW EXECUTE FUNCTION fallow_gate_keys()",
)
POSTGRESQL_KEYS_DOWN = ("DROP TRIGGER gate_keys ON cycles", "DROP FUNCTION fallow_gate_keys()")

#: Since schema 0004 only statements that set a state are looked at, as in SQLite: answers change cycles by the thousand without.
POSTGRESQL_OF_STATE = (
    "DROP TRIGGER gate ON cycles",
    "DROP TRIGGER gate_keys ON cycles",
    "CREATE TRIGGER gate BEFORE INSERT OR UPDATE OF state ON cycles FOR EACH ROW EXECUTE FUNCTION fallow_gate()",
    "CREATE TRIGGER gate_keys BEFORE UPDATE OF state ON cycles FOR EACH ROW EXECUTE FUNCTION fallow_gate_keys()",
)
#: The bar of schema 0004: neither released nor sold while a look is owed.
_LOOKED_WHEN = "(NEW.state = 'RESELLABLE' OR NEW.state = 'REASSIGNED') AND OLD.state <> NEW.state"
_UNSEEN = "EXISTS (SELECT 1 FROM looks l WHERE l.cycle_id = NEW.cycle_id)"
_UNSEEN_MESSAGE = "the gate: RESELLABLE and REASSIGNED need every look that is owed"
SQLITE_LOOKS = (
    f"""CREATE TRIGGER gate_looks BEFORE UPDATE OF state ON cycles WHEN {_LOOKED_WHEN} AND {_UNSEEN}
    BEGIN SELECT RAISE(ABORT, '{_UNSEEN_MESSAGE}'); END""",
)
SQLITE_LOOKS_DOWN = ("DROP TRIGGER gate_looks",)
POSTGRESQL_LOOKS = (
    f"""CREATE FUNCTION fallow_gate_looks() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF {_UNSEEN} THEN
            RAISE EXCEPTION '{_UNSEEN_MESSAGE}';
        END IF;
        RETURN NEW;
    END $$""",
    f"CREATE TRIGGER gate_looks BEFORE UPDATE ON cycles FOR EACH ROW WHEN ({_LOOKED_WHEN}) EXECUTE FUNCTION fallow_gate_looks()",
)
POSTGRESQL_LOOKS_DOWN = ("DROP TRIGGER gate_looks ON cycles", "DROP FUNCTION fallow_gate_looks()")
