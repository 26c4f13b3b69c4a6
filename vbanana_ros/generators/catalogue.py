"""What `vbanana models` prints: the models at hand, and those that are known, with the line that fetches each."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from vbanana_ros.generators import load
from vbanana_ros.generators.known import Known, known
from vbanana_ros.generators.profile import Profile, read_profile
from vbanana_ros.tasks import TASKS

WIDE = 160  # columns where nobody looks at a terminal: every row on one line


def print_models() -> None:
    """Two tables, and below each what there is to say of its models; paths and commands are never broken."""
    console = Console(width=shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE, highlight=False)
    shipped = [(folder, read_profile(folder)) for folder in load.shipped()]
    if shipped:
        console.print(_table("size", [_row(profile, _size(_bytes(folder))) for folder, profile in shipped]))
    else:
        console.print("no model came with this installation; fetch one, make one with 'vbanana tune', or name a "
                      "directory with --model")
    for folder, profile in shipped:
        _tell(console, profile, str(folder))
    console.print("\n[bold]To fetch, with the Hub's own command[/] (vbanana never downloads). Sizes are about; "
                  "memory is with all parts in 16 bits.\n", soft_wrap=True)
    models = known()
    console.print(_table("download", [
        _row(one.profile, _size(1e9 * one.download_gb), _size(1e9 * one.memory_gb), one.tuned) for one in models]))
    for one in models:
        _tell(console, one.profile, *_steps_to(one))
    console.print("\nThen: vbanana run photo.jpg --model models/NAME", soft_wrap=True)


def _table(size: str, rows: list[tuple[str, ...]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for name in ("model", "licence", size, "GPU memory", "steps", "tasks"):
        table.add_column(name, justify="right" if name in (size, "GPU memory") else "left", overflow="fold",
                         no_wrap=name == "model")
    for row in rows:
        table.add_row(*row)
    return table


def _row(profile: Profile, size: str, memory: str = "-", tuned: bool = True) -> tuple[str, ...]:
    steps = str(profile.steps)
    if profile.picture_steps != profile.steps:
        steps += f", pictures {profile.picture_steps}"
    tasks = "all" if set(profile.tasks) == set(TASKS) else ", ".join(profile.tasks)
    return profile.name, profile.license, size, memory, steps, tasks if tuned else f"{tasks}, untuned"


def _tell(console: Console, profile: Profile, *lines: str) -> None:
    console.print(f"\n[bold]{profile.name}[/]  {profile.about}", soft_wrap=True)
    for line in lines:
        console.print(f"    {line}", soft_wrap=True, markup=False)


def _steps_to(one: Known) -> list[str]:
    """How to get a model, line by line."""
    base = Path(one.profile.base).name
    lines = [f"needs its base beside it: fetch {base} too"] if base else []
    if one.gated:
        lines.append("first accept its licence on its page, and 'hf auth login'")
    return [*lines, one.fetch or "where to fetch it is not known here; put its transformer/ in "
                                 f"models/{one.profile.name}"]


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _size(count: float) -> str:
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
