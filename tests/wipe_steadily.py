"""A program that wipes number after number at a SQLite carrier, and says after each batch that its receipts are full.

Arguments: the records map, how many numbers, how many a batch. Started by tests/faults/test_wiping_power_cut.py.
"""

import sys
from pathlib import Path

from builders import number
from carrier_database import LEFT_AT

from fallow.domain.ports import WipeOrder
from fallow.records.records_map import load_records_map


def main() -> None:
    """Wipe them all."""
    path, count, most = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    records = load_records_map(path)
    for first in range(0, count, most):
        orders = [WipeOrder(f"{index}/1", number(index), LEFT_AT) for index in range(first, first + most)]
        receipts = records.systems["crm"].wipe(orders)
        assert not any(each.remaining for receipt in receipts for each in receipt.collections)
        sys.stdout.write(f"{first + most}\n")
        sys.stdout.flush()
    records.close()


if __name__ == "__main__":
    main()
