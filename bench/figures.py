"""What a part hands back: a figure beside its baseline. Imports the standard library only."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Figure:
    """A figure and the baseline that was measured in the same run.

    Attributes:
        name: ``part.variant``.
        unit: of both.
        values: the figure, once for each repeat.
        baseline: what it is compared with.
        baseline_values: the baseline, once for each repeat.
    """

    name: str
    unit: str
    values: Sequence[float]
    baseline: str
    baseline_values: Sequence[float]

    @property
    def ratio(self) -> float:
        """The figure's median as a share of the baseline's."""
        return median(self.values) / median(self.baseline_values)

    def row(self) -> dict[str, str | float]:
        """Return the row of ``latest.json``."""
        return {
            "name": self.name,
            "value": round(median(self.values), 3),
            "unit": self.unit,
            "baseline": self.baseline,
            "baseline_value": round(median(self.baseline_values), 3),
            "ratio": round(self.ratio, 3),
        }

    def lines(self) -> list[str]:
        """Return what is printed: medians, the spread of each, the ratio."""
        return [
            f"{self.name}: {_spread(self.values)} {self.unit}",
            f"  baseline, {self.baseline}: {_spread(self.baseline_values)} {self.unit}",
            f"  ratio: {self.ratio:.2f} of the baseline",
        ]


def write(figures: Sequence[Figure], path: Path) -> None:
    """Write the rows as a JSON list, instead of what was there; beside them ``….samples.json`` with every single value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = {figure.name: {"values": list(figure.values), "baseline_values": list(figure.baseline_values)} for figure in figures}
    path.with_suffix(".samples.json").write_text(json.dumps(samples, indent=1) + "\n", encoding="utf-8")
    path.write_text(json.dumps([figure.row() for figure in figures], indent=1) + "\n", encoding="utf-8")


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.2f} (median of {len(values)}; {min(values):.2f} to {max(values):.2f})"
