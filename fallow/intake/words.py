"""The closed word lists of a row and of a quarantine rule. Imports the standard library only."""

#: What kind of number it is (design.md §2: rules by country, class, carrier and reason).
NUMBER_CLASSES = frozenset({"mobile", "fixed", "toll-free", "data-only"})

#: Why the former holder's line ended.
DISCONNECT_REASONS = frozenset(
    {
        "ordinary",
        "non-payment",
        "nuisance",
        "threat",
        "fraud",
        "crime",
        "deceased",
        "real-name-termination",
        "wrongful",
        "data-only",
    }
)

#: Reasons a rule may speak of: those of a row, and the one of a number taken back from its buyer.
RULE_REASONS = DISCONNECT_REASONS | {"recall"}
