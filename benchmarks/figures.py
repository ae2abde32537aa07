"""Figures with spread, how they compare, and whether they keep a budget."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any, Literal

Comparison = Literal["ratio", "difference", "value"]


@dataclass(slots=True)
class Figure:
    """What repetitions of one measurement gave.

    Attributes:
        values: One per repetition.
    """

    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """First and third quartile; the extremes of fewer than four values."""
        if len(self.values) < 4:
            return min(self.values), max(self.values)
        low, _, high = quantiles(self.values, n=4, method="inclusive")
        return low, high

    def minus(self, other: "Figure") -> "Figure":
        """Return the same, less the other's repetitions; never below a thousandth, so that ratios stay finite."""
        pairs = zip(self.values, other.values, strict=True)
        return Figure([max(value - less, value / 1000) for value, less in pairs])


@dataclass(slots=True)
class Row:
    """A line of the table.

    Attributes:
        name: What was measured.
        unit: Of the figures.
        figures: By contestant.
        comparison: How contestants are compared with the bare loop: by ratio, by difference, or not at all.
        budget: What the comparison may be.
        at_least: Whether the budget is a lower limit.
    """

    name: str
    unit: str
    figures: dict[str, Figure]
    comparison: Comparison = "ratio"
    budget: float | None = None
    at_least: bool = False

    def compared(self, contestant: str, yardstick: str = "bare") -> Figure | None:
        """Return the figure that the budget is about: each repetition against the one of the bare loop next to it.

        A shared machine is now fast, now slow; two repetitions that follow each other have the same luck.
        """
        figure = self.figures.get(contestant)
        base = self.figures.get(yardstick)
        if figure is None or contestant == yardstick or (base is None and self.comparison != "value"):
            return None
        if base is None or self.comparison == "value":
            return figure
        pairs = zip(figure.values, base.values, strict=True)
        return Figure([ours / bare if self.comparison == "ratio" else ours - bare for ours, bare in pairs])

    def kept(self, contestant: str) -> bool | None:
        """Whether the budget is kept; ``None`` if there is none, or nothing to compare."""
        compared = self.compared(contestant)
        if compared is None or self.budget is None:
            return None
        return compared.median >= self.budget if self.at_least else compared.median <= self.budget

    def as_json(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return {
            "measure": self.name,
            "unit": self.unit,
            "comparison": self.comparison,
            "budget": self.budget,
            "budget_is": "at least" if self.at_least else "at most",
            "contestants": {name: self._contestant_as_json(name) for name in self.figures},
        }

    def _contestant_as_json(self, name: str) -> dict[str, Any]:
        compared = self.compared(name)
        return {
            **_as_json(self.figures[name]),
            "compared": None if compared is None else _as_json(compared),
            "budget_kept": self.kept(name),
        }


def _as_json(figure: Figure) -> dict[str, Any]:
    return {"median": figure.median, "quartiles": figure.spread, "values": figure.values}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` (0 to 1) of the values are.

    Raises:
        ValueError: There are none.
    """
    if not values:
        raise ValueError("nothing was measured: no audio came through")
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    others = [name for name in names if name not in ("bare", "harness")]
    heads = ["measure", "unit", *names, *(f"{name} : bare" for name in others), "budget", "kept"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in rows:
        cells = [row.name, row.unit]
        cells += [_figure(row.figures.get(name)) for name in names]
        cells += [_compared(row, name) for name in others]
        cells += [_budget(row), ", ".join(_verdict(row.kept(name)) for name in others)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _figure(figure: Figure | None) -> str:
    if figure is None:
        return ""
    low, high = figure.spread
    return f"{_number(figure.median)} [{_number(low)}, {_number(high)}]"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _unit(row: Row) -> str:
    return {"ratio": " x", "difference": f" {row.unit} more", "value": f" {row.unit}"}[row.comparison]


def _compared(row: Row, name: str) -> str:
    figure = row.compared(name)
    if figure is None:
        return ""
    low, high = figure.spread
    return f"{figure.median:.2f} [{low:.2f}, {high:.2f}]{_unit(row)}"


def _budget(row: Row) -> str:
    if row.budget is None:
        return ""
    return f"{'≥' if row.at_least else '≤'} {row.budget:g}{_unit(row)}"


def _verdict(kept: bool | None) -> str:
    return {None: "", True: "yes", False: "NO"}[kept]
