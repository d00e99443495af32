"""``fallow demo``: cancelled numbers to RESELLABLE on a real Temporal server, against real processes that misbehave, with a killed worker.

The verdict is not the demo's: it comes from ``fallow/local/checker``, which imports nothing of the engine.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from fallow.domain.errors import SettingRefused
from fallow.domain.number import E164
from fallow.local import crowd, demo_words, stack
from fallow.local.demo_desk import Desk, control, fetch
from fallow.local.demo_records import Records
from fallow.local.processes import Child, free_ports
from fallow.local.temporal_server import RunningTemporal
from fallow.settings import Settings

_SETTLED_WITHIN = 150.0
_BOTH_IN_FLIGHT_WITHIN = 40.0
_LOOK_EVERY = 0.25
_WIDTH_IN_A_FILE = 120
_ACTIVE = ("ENROLLED", "QUARANTINED", "WIPING", "UNBINDING", "TAGGING")
_DENIED, _NEWER = "denied", "newer-holder"
_CHECKER = Path(__file__).parent / "checker"


@dataclass
class Scene:
    """A running demo.

    Attributes:
        directory: its state folder.
        sample: the crowd, and its two parts: the first number, and the rest.
        first: the file with the first number alone.
        rest: the file with all the others.
        temporal: the server.
        desk: the API, with everybody's keys.
        records: what wiping plans and proves.
        carrier: the sample carrier's control address.
        simulator: the platform simulator's control address.
        worker: the engine's worker, replaced when it was killed.
        metrics: where the worker serves its metrics.
        kills: how many workers were killed.
        began: when the numbers began to come in, monotonic seconds.
    """

    directory: Path
    sample: crowd.Crowd
    first: crowd.Crowd
    rest: crowd.Crowd
    temporal: RunningTemporal
    desk: Desk
    records: Records
    carrier: str
    simulator: str
    worker: Child
    metrics: str
    kills: int = 0
    began: float = field(default_factory=time.monotonic)

    def stop_worker(self) -> None:
        """Stop whichever worker is the present one."""
        self.worker.stop()


def run(settings: Settings, *, numbers: int, platforms: int, report: Path | None, keep: Path | None) -> int:
    """Play the demo; return 0 only if every line ended as expected and the checker found no violation.

    Args:
        settings: for where a Temporal server is found or kept.
        numbers: enrollable lines; the special ones are always among them, the bad ones come on top.
        platforms: how many platforms are asked (at least 2: payment and social).
        report: where to write the JSON report, or None.
        keep: folder for databases and files that stay, or None for one that goes.

    Raises:
        NoTemporalServer, ChildNotReady, SettingRefused: each says what to do.
    """
    console, began = _console(), time.monotonic()
    with _folder(keep) as directory, ExitStack() as running:
        scene = _raise_curtain(console, settings, directory, numbers, platforms, running)
        _first_number(console, scene)
        rejected = _crowd(console, scene)
        verdict = _verdict(console, scene)
        figures = _figures(verdict, rejected, scene, time.monotonic() - began)
        _close(console, scene, figures, verdict, keep)
        if report is not None:
            report.write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if figures["violations"] == 0 else 1


def _console() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH_IN_A_FILE
    return console


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="fallow-demo-") as name:
            yield Path(name)
        return
    if keep.exists() and any(keep.iterdir()):
        what = f"The folder {keep} is not empty."
        raise SettingRefused(what, remedy="name a new folder after --keep.")
    keep.mkdir(parents=True, exist_ok=True)
    yield keep.absolute()


def _raise_curtain(console: Console, settings: Settings, directory: Path, numbers: int, platforms: int, running: ExitStack) -> Scene:
    """Start everything, each a process of its own; ``running`` ends them."""
    console.rule("[bold]fallow demo")
    stack.copy_sample(directory)
    files = directory / "crowd"
    files.mkdir()
    sample = crowd.select_lines(crowd.load(stack.EXAMPLES), numbers)
    sample.save(files)
    temporal = stack.temporal(directory, console.print, given=settings.temporal_cli, cache=settings.cache.expanduser() / "temporal")
    running.callback(temporal.stop)
    port, metrics = free_ports(2)
    stack.lay_out(
        directory,
        policy=directory / "policy.toml",
        records=directory / "records.toml",
        platforms=directory / "platforms.toml",
        temporal_address=temporal.address,
        api_port=port,
        more={"FALLOW_METRICS_PORT": str(metrics)},
    )
    stack.set_up(directory, demo=True)
    csv, scenario = files / crowd.NUMBERS, files / crowd.SCENARIO
    carrier = stack.carrier(directory, numbers=csv, scenario=scenario)
    running.callback(carrier.child.stop)
    url = f"http://127.0.0.1:{port}"
    simulator = stack.simulator(
        directory,
        platforms=platforms,
        numbers=csv,
        scenario=scenario,
        callback_url=stack.callback_url_of(url),
        engine_key=stack.engine_key(directory),
    )
    running.callback(simulator.child.stop)
    keys = stack.admit_everyone(directory)
    running.callback(stack.api(directory).stop)
    worker = stack.worker(directory, "worker-1")
    scene = Scene(
        directory,
        sample,
        *sample.split(1),
        temporal,
        Desk(url, keys),
        Records(directory),
        carrier.url,
        simulator.url,
        worker,
        f"http://127.0.0.1:{metrics}",
    )
    running.callback(scene.stop_worker)
    console.print(
        f"running, each a process of its own: Temporal {temporal.address} · API {url} · worker · sample carrier · {platforms} platforms"
    )
    return scene


def _first_number(console: Console, scene: Scene) -> None:
    """Take the buyer's number of the case through the lifecycle, line by line."""
    number = E164(scene.first.lines[0].text.split(",")[0])
    console.rule("one number")
    console.print("A woman bought this number; strangers called her for its former holder, and her payment account could not be bound.")
    console.print(f"Its former holder has cancelled. This time it lies fallow first: [bold]{number.masked()}")
    scene.desk.enrol(scene.first.numbers)
    cycle_id, told, began = scene.desk.cycle_of(number.text), 0, time.monotonic()
    while True:
        shown = scene.desk.get(f"/v1/cycles/{cycle_id}")
        for event in shown["timeline"][told:]:
            _say(console, scene, event, time.monotonic() - began)
            if event["kind"] == "CycleEnrolled":
                _plan(console, scene, number)
        told = len(shown["timeline"])
        if shown["state"] not in _ACTIVE or shown["attention"] or time.monotonic() - began > _SETTLED_WITHIN:
            break
        time.sleep(_LOOK_EVERY)
    if shown["state"] == "RESELLABLE":
        console.print("  The shop must show this to the next buyer, who acknowledges it before paying:")
        for line in demo_words.disclosure(scene.desk.order("/v1/tags", "shop", {"number": number.text})["body"]):
            console.print(f"    · {line}")


def _say(console: Console, scene: Scene, event: Mapping[str, Any], seconds: float) -> None:
    said = demo_words.sentence(event)
    if said is not None:
        console.print(f"  [dim]{seconds:5.1f} s[/]  {said}")
    if event["kind"] == "ObligationMoved":
        for line in scene.records.receipt(event["body"]["evidence"]):
            console.print(f"             {line}", markup=False, soft_wrap=True)


def _plan(console: Console, scene: Scene, number: E164) -> None:
    console.print("           what a wipe will find, in this order (`fallow records plan`, which changes nothing):")
    for line in scene.records.plan(number):
        console.print(f"             {line}", markup=False, soft_wrap=True)


def _crowd(console: Console, scene: Scene) -> int:
    """Enrol everybody else, kill the worker half-way, and wait until nothing moves; return how many lines were rejected."""
    console.rule("the crowd")
    count = scene.rest.enrollable
    scene.began = time.monotonic()
    control(scene.carrier, "/freeze-after", {"wiped": 1 + max(2, count // 4), "seconds": _BOTH_IN_FLIGHT_WITHIN})
    report = scene.desk.enrol(scene.rest.numbers)
    console.print(f"enrolled {report['accepted']} numbers; {len(report['rejections'])} lines rejected, each by line and reason:")
    console.print(demo_words.rejected(report["rejections"]), style="dim")
    _order(console, scene)
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        _kill_half_way(live, scene)
        _until_nothing_moves(live, scene)
    return len(report["rejections"])


def _order(console: Console, scene: Scene) -> None:
    """Two people give one number back and retire another; a third claim is denied by its second person: all before wiping."""
    references = {"reclaim": "identity check IC-0001", "retire": "regulator order RO-0001"}
    for play in (*references, _DENIED):
        line, number = _playing(scene, play)
        if play == _DENIED:
            scene.desk.deny(scene.desk.cycle_of(number), "reclaim", "identity check IC-0002", "photo differs")
            console.print(f"somebody claims the number of line {line} of {crowd.NUMBERS}; the second person denies it: the photo differs")
        else:
            scene.desk.two_people(scene.desk.cycle_of(number), play, references[play])
            console.print(f"two people {play} the number of line {line} of {crowd.NUMBERS}")


def _playing(scene: Scene, play: str) -> tuple[int, str]:
    """Return the line that plays something, and its number."""
    line = next(line for line, played in crowd.plays_of(scene.sample.scenario).items() if played == play)
    return line, crowd.rows_of(scene.sample.numbers)[line]["number"]


def _kill_half_way(live: Live, scene: Scene) -> None:
    """SIGKILL the worker while wiping and sending are both in flight: effects done at the carrier and at a platform, none reported."""
    frozen = _wait(live, scene, "waiting until wiping is in flight", lambda: bool(control(scene.carrier, "/state")["frozen"]))
    control(scene.simulator, "/hold-responses", {"after": 1, "seconds": _BOTH_IN_FLIGHT_WITHIN})
    held = _wait(live, scene, "wiping is in flight; waiting until sending is too", lambda: control(scene.simulator, "/state")["held"] > 0)
    scene.worker.kill()
    scene.kills += 1
    control(scene.carrier, "/thaw", {})
    control(scene.simulator, "/release", {})
    flight = " and ".join(name for name, flying in (("wiping", frozen), ("sending", held)) if flying) or "nothing"
    live.console.print(f"[bold red]worker killed[/] (SIGKILL) with {flight} in flight; another one starts")
    scene.worker = stack.worker(scene.directory, f"worker-{scene.kills + 1}")


def _wait(live: Live, scene: Scene, note: str, arrived: Callable[[], bool]) -> bool:
    ends = time.monotonic() + _BOTH_IN_FLIGHT_WITHIN
    while time.monotonic() < ends:
        if arrived():
            return True
        live.update(demo_words.standing(scene.desk.get("/v1/counts"), time.monotonic() - scene.began, note))
    return False


def _until_nothing_moves(live: Live, scene: Scene) -> None:
    ends = time.monotonic() + _SETTLED_WITHIN
    while time.monotonic() < ends:
        counts = scene.desk.get("/v1/counts")
        live.update(demo_words.standing(counts, time.monotonic() - scene.began, "waiting until only those are left that need a person"))
        if not any(counts[state] and _moving(scene, state) for state in _ACTIVE):
            return
        time.sleep(_LOOK_EVERY)


def _moving(scene: Scene, state: str) -> bool:
    return bool(_listed(scene, f"state={state}&held=false&attention=false&limit=1"))


def _listed(scene: Scene, query: str) -> list[dict[str, Any]]:
    found = scene.desk.get(f"/v1/cycles?{query}")
    return list(found["cycles"] if isinstance(found, dict) else found)


def _verdict(console: Console, scene: Scene) -> dict[str, Any]:
    """Let the independent checker read carrier, platforms, Temporal and our tables."""
    console.rule("the verdict")
    (scene.directory / "logs" / "metrics.prom").write_bytes(fetch(scene.metrics + "/metrics"))
    console.print(
        "a checker that imports nothing of the engine reads the carrier's database, the platforms' log, Temporal and our tables …"
    )
    command = [sys.executable, "-I", str(_CHECKER), "--directory", str(scene.directory), "--temporal", scene.temporal.address]
    for prefix, part in (("rest_", scene.rest), ("first_", scene.first)):
        part.save(scene.directory / "crowd", prefix)
        command += ["--csv", str(scene.directory / "crowd" / f"{prefix}{crowd.NUMBERS}")]
        command += ["--expected", str(scene.directory / "crowd" / f"{prefix}{crowd.EXPECTED}")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    try:
        verdict: dict[str, Any] = json.loads(ran.stdout)
    except ValueError:
        last = (ran.stderr.strip().splitlines() or ["nothing"])[-1]
        return {"violations": [{"kind": "checker", "what": f"it ended with exit code {ran.returncode} and said: {last}"}]}
    if ran.returncode and not verdict["violations"]:
        verdict["violations"] = [{"kind": "checker", "what": f"it ended with exit code {ran.returncode}"}]
    return verdict


def _figures(verdict: Mapping[str, Any], rejected: int, scene: Scene, seconds: float) -> dict[str, Any]:
    return {
        "numbers": scene.sample.enrollable,
        "states": {state: count for state, count in scene.desk.get("/v1/counts").items() if count},
        "rejected_rows": rejected,
        "violations": len(verdict["violations"]),
        "worker_kills": scene.kills,
        "seconds": round(seconds, 1),
        "history_events_median": verdict.get("history_events_median"),
        "history_events_max": verdict.get("history_events_max"),
    }


def _close(console: Console, scene: Scene, figures: Mapping[str, Any], verdict: Mapping[str, Any], keep: Path | None) -> None:
    for violation in verdict["violations"][:20]:
        console.print(f"[red]violation[/] {violation['kind']}: {violation['what']}", markup=True)
    console.rule("summary")
    console.print(demo_words.standing(figures["states"], figures["seconds"], "where they ended"))
    waiting = {each["cycle_id"]: each for query in ("held=true", "attention=true") for each in _listed(scene, query)}
    console.print("rightly not resellable:")
    console.print(demo_words.waiting([scene.desk.get(f"/v1/cycles/{cycle_id}") for cycle_id in sorted(waiting)]))
    _denied_claim(console, scene)
    _newer_holder(console, scene)
    colour = "red" if figures["violations"] else "green"
    console.print(
        f"[bold {colour}]{figures['violations']} violations[/], {figures['worker_kills']} worker killed, {figures['seconds']} s, "
        f"{figures['history_events_median']} history events a number (median; most {figures['history_events_max']})"
    )
    if keep is not None:
        console.print("look around (databases and files stay):")
        for command in ("numbers list --state RESELLABLE", "numbers list --attention", "up"):
            console.print(f"  {stack.typed(keep, command)}", markup=False, soft_wrap=True)
        console.print(f"  {stack.typed(keep, 'doctor')}   (Temporal is red there until `up` runs)", markup=False, soft_wrap=True)
    else:
        console.print("to look around afterwards: make demo ARGS='--keep DIR'")


def _denied_claim(console: Console, scene: Scene) -> None:
    line, number = _playing(scene, _DENIED)
    shown = scene.desk.get(f"/v1/cycles/{scene.desk.cycle_of(number)}")
    failed = shown["reclaims_denied"]
    console.print(f"the claim that was denied, line {line}: {failed} failed identity check, two lock it; it went on: {shown['state']}")


def _newer_holder(console: Console, scene: Scene) -> None:
    line, number = _playing(scene, _NEWER)
    shown = scene.desk.get(f"/v1/cycles/{scene.desk.cycle_of(number)}")
    console.print(f"the number that somebody else holds already, line {line}: it stops in {shown['state']} until a person has looked")
    for each in shown["obligations"]:
        said = scene.records.beside_a_newer_holder(each["evidence"])
        if said is not None:
            console.print(f"  {said}", markup=False, soft_wrap=True)
