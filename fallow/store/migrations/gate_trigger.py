"""The gate's last bar, in the database itself: no statement can make a cycle RESELLABLE with an obligation open, or sell another.

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
