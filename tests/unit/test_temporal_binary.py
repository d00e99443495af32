"""The search for a Temporal server: order, probing, what is passed over and why, building once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fallow.local.temporal_binary import NoTemporalServer, TemporalBinary, find_server, main
from fallow.local.temporal_probe import TIME_SKIPPING_KEYS, NotATemporalServer, probe
from fallow.local.temporal_sources import NEWER_CLI, OLDER_CLI, SERVER, Source, SourceUnavailable, standard_sources

OLD_CLI = "temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)"
NEW_CLI = "temporal version 1.9.1 (Server 1.32.0, UI 2.54.1)"
BARE_SERVER = "temporal version 1.32.0"
SYSTEM_DIRECTORIES = "/usr/bin:/bin"


def program(path: Path, version: str, *, known_keys: int = 1) -> Path:
    """Write a little executable that answers as a Temporal one does."""
    warnings = "; ".join(f"echo 'warning: unregistered key \"{key}\"'" for key in TIME_SKIPPING_KEYS[known_keys:])
    return script(
        path,
        f'if [ "$1" = --version ]; then echo "{version}"; exit; fi',
        f'if [ "$1" = validate-dynamic-config ]; then {warnings or ":"}; exit; fi',
        "exit 64",
    )


def script(path: Path, *lines: str) -> Path:
    """Write an executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


def offline_sources(progress: Callable[[str], None], search_path: str, cache: Path) -> list[Source]:
    """Return the standard sources but the one that needs the internet."""
    return [source for source in standard_sources(progress, None, search_path, cache) if source.name != "download"]


def unavailable() -> list[Path]:
    """Be a source with nothing to give."""
    reason = "the moon is in the wrong quarter"
    raise SourceUnavailable(reason)


class TestProbe:
    """What an executable says of itself decides, never where it was found."""

    @pytest.mark.parametrize(
        ("version", "kind", "server", "has_ui", "has_time_skipping"),
        [
            (OLD_CLI, "cli", "1.29.1", True, False),
            (NEW_CLI, "cli", "1.32.0", True, True),
            (BARE_SERVER, "server", "1.32.0", False, True),
            ("temporal version 1.31.5", "server", "1.31.5", False, False),
            ("temporal version 1.9.4-pre (Server 1.33.0-158.0, UI 2.60.0)", "cli", "1.33.0", False, True),
        ],
    )
    def test_kind_version_and_capabilities_are_read_off_the_answer(
        self, tmp_path: Path, version: str, kind: str, server: str, has_ui: bool, has_time_skipping: bool
    ) -> None:
        """Each known form of the version line gives kind, server version and capabilities."""
        found = probe(program(tmp_path / "temporal", version))

        assert (kind, server, has_ui, has_time_skipping) == (
            found.kind,
            found.version,
            found.has_ui,
            found.has_time_skipping,
        )

    def test_a_server_that_knows_no_time_skipping_setting_has_none(self, tmp_path: Path) -> None:
        """A new version number alone is no proof of time skipping: the server is asked for the setting."""
        found = probe(program(tmp_path / "temporal-server", BARE_SERVER, known_keys=0))

        assert not found.has_time_skipping

    @pytest.mark.parametrize(
        ("lines", "reason"),
        [
            (["exit 3"], "does not run"),
            (["echo 'hello'"], "does not tell a Temporal version"),
            (["echo 'temporal version 1.0.0 (Server 1.25.0, UI 2.30.0)'"], "older than 1.29"),
            (["echo 'temporal version unknown'"], "no usable version"),
        ],
    )
    def test_anything_else_is_refused_with_its_reason(self, tmp_path: Path, lines: list[str], reason: str) -> None:
        """A file that fails, is something else or is too old is named with the reason."""
        with pytest.raises(NotATemporalServer, match=reason):
            probe(script(tmp_path / "temporal", *lines))

    def test_a_file_that_is_no_program_is_refused(self, tmp_path: Path) -> None:
        """A half-written download is not taken for an executable."""
        broken = tmp_path / "temporal"
        broken.write_bytes(b"\x7fELF and then nothing")
        broken.chmod(0o755)

        with pytest.raises(NotATemporalServer, match="does not run"):
            probe(broken)


class TestOrder:
    """The cheapest source that can do what is needed wins."""

    def find(self, lines: list[str], tmp_path: Path, **needs: object) -> TemporalBinary:
        """Search with a path of its own and a cache of its own."""
        search_path = f"{tmp_path / 'bin'}:{SYSTEM_DIRECTORIES}"
        sources = offline_sources(lines.append, search_path, tmp_path / "cache")
        return find_server(lines.append, sources=sources, **needs)  # type: ignore[arg-type]

    def test_the_path_comes_before_the_cache(self, tmp_path: Path) -> None:
        """An executable that the user installed is preferred to one that was fetched."""
        installed = program(tmp_path / "bin/temporal", NEW_CLI)
        program(SERVER.path_in(tmp_path / "cache"), BARE_SERVER)
        lines: list[str] = []

        assert installed == self.find(lines, tmp_path).path
        assert len(lines) == 1

    def test_what_lacks_a_needed_capability_is_passed_over_with_a_line(self, tmp_path: Path) -> None:
        """Without time skipping an installed executable is passed over for one in the cache that has it."""
        program(tmp_path / "bin/temporal", OLD_CLI)
        cached = program(SERVER.path_in(tmp_path / "cache"), BARE_SERVER)
        lines: list[str] = []

        assert cached == self.find(lines, tmp_path, need_time_skipping=True).path
        assert "no time skipping" in lines[0]

    def test_the_web_interface_can_be_demanded(self, tmp_path: Path) -> None:
        """With a need for the web interface the bare server in the cache is passed over."""
        program(SERVER.path_in(tmp_path / "cache"), BARE_SERVER)
        cached = program(OLDER_CLI.path_in(tmp_path / "cache"), OLD_CLI)

        assert cached == self.find([], tmp_path, need_ui=True).path

    def test_a_broken_file_in_the_cache_is_passed_over(self, tmp_path: Path) -> None:
        """A broken file is a line of progress, and the search goes on."""
        script(SERVER.path_in(tmp_path / "cache"), "exit 1")
        cached = program(NEWER_CLI.path_in(tmp_path / "cache"), NEW_CLI)
        lines: list[str] = []

        assert cached == self.find(lines, tmp_path).path
        assert any("cache: passed over" in line and "does not run" in line for line in lines)

    def test_the_named_executable_comes_first(self, tmp_path: Path) -> None:
        """What the user names is used, whatever else there is."""
        named = program(tmp_path / "elsewhere/temporal", OLD_CLI)
        program(tmp_path / "bin/temporal", NEW_CLI)

        found = find_server(lambda _line: None, given=named, search_path=str(tmp_path / "bin"), cache=tmp_path)

        assert named == found.path

    def test_a_named_executable_that_does_not_work_is_an_error(self, tmp_path: Path) -> None:
        """A wrong setting is reported, not silently replaced by something else."""
        program(tmp_path / "bin/temporal", NEW_CLI)

        with pytest.raises(NoTemporalServer, match="FALLOW_TEMPORAL_CLI names no Temporal server"):
            find_server(lambda _line: None, given=tmp_path / "nothing", search_path=str(tmp_path / "bin"), cache=tmp_path)

    def test_when_nothing_works_each_source_has_its_line_and_the_error_its_remedy(self) -> None:
        """The user reads why each source was passed over and what exactly to install."""
        lines: list[str] = []
        sources = [Source("download", unavailable), Source("go install", unavailable, has_ui=False)]

        with pytest.raises(NoTemporalServer, match=r"install the Temporal CLI 1\.5 .* or install Go 1\.26"):
            find_server(lines.append, sources=sources)

        assert lines == [
            "Temporal server: download: passed over, the moon is in the wrong quarter",
            "Temporal server: go install: passed over, the moon is in the wrong quarter",
        ]

    def test_a_source_that_can_not_give_what_is_needed_is_not_even_tried(self, tmp_path: Path) -> None:
        """No executable is built for minutes only to be refused afterwards."""
        script(tmp_path / "bin/go", f"touch {tmp_path / 'built'}", "exit 1")

        with pytest.raises(NoTemporalServer, match=r"CLI 1\.9"):
            self.find([], tmp_path, need_ui=True, need_time_skipping=True)

        assert not (tmp_path / "built").exists()


class TestBuild:
    """With Go the server is built once, whole or not at all."""

    def go(self, tmp_path: Path, *before: str) -> Path:
        """Write a `go` that builds by copying a prepared executable."""
        made = program(tmp_path / "made", BARE_SERVER)
        return script(
            tmp_path / "bin/go", f'echo "$2" >> {tmp_path / "builds"}', *before, f'cp {made} "$GOBIN/${{2##*/}}"',
            'mv "$GOBIN/${2##*/}" "$GOBIN/server"',
        )  # fmt: skip

    def find(self, lines: list[str], tmp_path: Path) -> TemporalBinary:
        """Search where only Go can help, or the cache that it has filled."""
        search_path = f"{tmp_path / 'bin'}:{SYSTEM_DIRECTORIES}"
        return find_server(lines.append, sources=offline_sources(lines.append, search_path, tmp_path / "cache"))

    def test_what_was_built_is_found_in_the_cache_the_second_time(self, tmp_path: Path) -> None:
        """The second command builds nothing."""
        self.go(tmp_path)
        first = self.find([], tmp_path)
        second = self.find([], tmp_path)

        assert first == second
        assert SERVER.path_in(tmp_path / "cache") == first.path
        assert (tmp_path / "builds").read_text().split() == ["go.temporal.io/server/cmd/server@v1.32.0"]

    def test_a_failed_build_leaves_nothing_and_says_why(self, tmp_path: Path) -> None:
        """The last line of the compiler is the reason, and the cache stays empty."""
        self.go(tmp_path, "echo 'proxy: no such host' >&2", "exit 1")
        lines: list[str] = []

        with pytest.raises(NoTemporalServer):
            self.find(lines, tmp_path)

        assert any("passed over, failed: proxy: no such host" in line for line in lines)
        assert [path for path in (tmp_path / "cache").iterdir() if path.name != ".lock"] == []

    def test_two_commands_at_once_build_once(self, tmp_path: Path) -> None:
        """The second command waits for the first and uses what it built."""
        released = tmp_path / "released"
        self.go(tmp_path, f"while [ ! -e {released} ]; do sleep 0.02; done")

        def progress(line: str) -> None:
            if "waiting for another command" in line:
                released.touch()

        sources = offline_sources(progress, f"{tmp_path / 'bin'}:{SYSTEM_DIRECTORIES}", tmp_path / "cache")
        with ThreadPoolExecutor(2) as pool:
            searches = [pool.submit(find_server, progress, sources=sources) for _ in range(2)]

        assert searches[0].result() == searches[1].result()
        assert len((tmp_path / "builds").read_text().split()) == 1


def test_the_command_prints_the_path_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output carries the path for scripts; progress goes to standard error."""
    named = program(tmp_path / "temporal", NEW_CLI)

    assert main(["--given", str(named), "--cache", str(tmp_path / "cache")]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{named}\n"
    assert "using" in printed.err


def test_the_command_ends_with_one_line_and_code_1_when_there_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong setting ends the command with its remedy and no traceback."""
    assert main(["--given", str(tmp_path / "nothing"), "--cache", str(tmp_path)]) == 1
    assert "correct it or unset it" in capsys.readouterr().err
