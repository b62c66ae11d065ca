"""The two programs of one session, its relay and its title: started, found again, ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from runtime.protocol.control import RelayReady, RelayStatus
from runtime.protocol.errors import ServiceError

from .config import SessionServerConfig
from .files import SAMPLE_TITLE, RelayFiles, SessionDirectory, resolve_executable
from .policy.command_line import inherited_environment, redact, title_command
from .policy.ending import End, Stage, StagePlan
from .policy.relay_settings import relay_settings
from .process.base import Child, ChildExit, ChildSpec, ProcessError, ProcessHost, Usage
from .process.names import own_interpreter
from .record import SessionRecord

logger = logging.getLogger(__name__)
_READY_POLL_SECONDS = 0.02
_STREAMER_ID = "pixelstream"


class LaunchError(Exception):
    """A program could not be started; the text is for an operator."""


class SessionChildren:
    """Starts note the child's identity in ``record``; saving the record is the caller's business."""

    def __init__(
        self,
        record: SessionRecord,
        *,
        config: SessionServerConfig,
        processes: ProcessHost,
        installation: str,
        environment: Mapping[str, str],
    ) -> None:
        self.relay: Child | None = None
        self.program: Child | None = None
        self.directory = SessionDirectory(Path(config.data_directory), record.session_id)
        self._record, self._config, self._processes = record, config, processes
        self._mark = f"{installation}.{record.session_id}."
        self._environment = environment

    @property
    def relay_files(self) -> RelayFiles:
        """Of the newest start."""
        return self.directory.relay(self._record.relay_starts)

    async def adopt(self) -> None:
        """Find the children that the record names, whether they still run or not, and kill what it does not name."""
        if not self._record.relay_starts:
            return
        if self._record.relay is not None:
            self.relay = await self._processes.adopt(self._record.relay)
        if self._record.program is not None:
            self.program = await self._processes.adopt(self._record.program)
        # Adopted children that are gone say so on the next turn of the loop. Their marks are not spared: somebody else
        # who carries one was started in the last moment of the session server before us, which never noted it.
        await asyncio.sleep(0)
        found = (("relay", self.relay), ("title", self.program))
        await self.kill_strays([part for part, child in found if child is not None and not await child.wait_gone(0)])

    async def start_relay(self, port: int) -> Child:
        """Raise :class:`LaunchError`."""
        record, config = self._record, self._config
        record.relay_starts += 1
        files = self.relay_files
        settings = relay_settings(
            record.start,
            listen_address=config.relay.listen_address,
            port=port,
            private_port=record.private_port,
            media_addresses=config.relay.media_addresses,
            announced_addresses=config.relay.announced_addresses,
            allowed_origins=config.allowed_origins,
            ready_file=str(files.ready),
            streamer_secret=record.streamer_secret,
            private_secret=record.private_secret,
            log_level=config.log.level,
        )
        try:
            await asyncio.to_thread(self.directory.create_relay, record.relay_starts, settings)
        except OSError as error:
            raise LaunchError(f"The relay's files cannot be written: {error}.") from None
        command = config.relay.command or (own_interpreter(), "-m", "runtime", "relay")
        await self._start(
            "relay",
            ChildSpec(
                mark=f"{self._mark}relay",
                arguments=(*command, "--config", str(files.config)),
                environment={**inherited_environment(self._environment), "PYTHONUNBUFFERED": "1"},
                working_directory=files.directory,
                directory=files.directory,
                log_file_bytes=config.files.log_file_bytes,
                log_files=config.files.log_files,
            ),
        )
        assert self.relay is not None
        return self.relay

    async def relay_ready(self, child: Child) -> RelayReady | ChildExit:
        """What the relay wrote when it listened, or how it ended before that. The caller sets the deadline."""
        while True:
            try:
                found = await asyncio.to_thread(self.relay_files.ready.read_bytes)
                return msgspec.json.decode(found, type=RelayReady)
            except (FileNotFoundError, PermissionError):
                pass  # Windows refuses to open a file in the moment in which it gets its name.
            try:
                async with asyncio.timeout(_READY_POLL_SECONDS):
                    return await asyncio.shield(child.exited)
            except TimeoutError:
                continue

    def relay_told(self) -> End | None:
        """The reason that the relay left, if it ended on its own decision."""
        try:
            told = msgspec.json.decode(self.relay_files.ended.read_bytes(), type=RelayStatus)
        except (OSError, msgspec.DecodeError):
            return None
        return None if told.end_reason is None else End(told.end_reason, told.end_detail)

    async def start_program(self) -> Child:
        """Raise :class:`LaunchError`."""
        record, config = self._record, self._config
        launch = record.start.launch
        try:
            words = resolve_executable(launch.executable, config.title_roots, config.sample_title)
        except ServiceError as error:
            raise LaunchError(error.message) from None
        command = title_command(
            launch,
            streamer_url=f"ws://127.0.0.1:{record.private_port}/streamer/{record.streamer_secret}",
            streamer_id=_STREAMER_ID,
            gpu=record.gpu,
            allow_commands=record.start.policy.allow_commands,
            inherited=self._environment,
        )
        is_sample = launch.executable == SAMPLE_TITLE
        default_directory = self.directory.title if is_sample else Path(words[0]).parent
        arguments = (*words, *command.arguments)
        logger.info("starting %s", " ".join(redact(arguments, record.streamer_secret)))
        await self._start(
            "title",
            ChildSpec(
                mark=f"{self._mark}title",
                arguments=arguments,
                environment=command.environment | ({"PYTHONUNBUFFERED": "1"} if is_sample else {}),
                working_directory=Path(launch.working_directory or default_directory),
                directory=self.directory.title,
                log_file_bytes=config.files.log_file_bytes,
                log_files=config.files.log_files,
            ),
        )
        assert self.program is not None
        return self.program

    async def _start(self, part: str, spec: ChildSpec) -> None:
        # Shielded: a start that is cancelled half way would leave a process that nobody knows.
        starting = asyncio.ensure_future(self._processes.start(spec))
        try:
            self._note(part, await asyncio.shield(starting))
        except asyncio.CancelledError:
            try:
                self._note(part, await starting)
            except ProcessError:
                logger.debug("the %s did not start while the session was ended", part)
            raise
        except ProcessError as error:
            raise LaunchError(str(error)) from None

    def _note(self, part: str, child: Child) -> None:
        if part == "relay":
            if self.relay is not None:
                self.relay.close()
            self.relay, self._record.relay = child, child.identity
        else:
            self.program, self._record.program = child, child.identity

    async def end(self, plan: tuple[StagePlan, ...], stop_relay: Callable[[], Awaitable[None]]) -> bool:
        """End both trees, gently first; whether all is gone."""
        living = {part: child for part, child in (("relay", self.relay), ("title", self.program)) if child is not None}
        for entry in plan:
            living = {part: child for part, child in living.items() if not await child.wait_gone(0)}
            if not living:
                return True
            if entry.stage is not Stage.ASK:
                logger.warning("%s: %s did not end by itself", entry.stage, " and ".join(living))
            await asyncio.gather(*(self._apply(entry.stage, part, child, stop_relay) for part, child in living.items()))
            await asyncio.gather(*(child.wait_gone(entry.seconds) for child in living.values()))
        return all([await child.wait_gone(0) for child in living.values()])

    async def _apply(self, stage: Stage, part: str, child: Child, stop_relay: Callable[[], Awaitable[None]]) -> None:
        if stage is Stage.ASK:
            await (stop_relay() if part == "relay" else child.ask())
        elif stage is Stage.TERMINATE:
            await child.terminate()
        else:
            await child.kill()

    async def kill_strays(self, spare: Sequence[str] = ()) -> None:
        """Kill whatever else carries this session's mark: its supervisor or a keeper may have been killed."""
        strays = await self._processes.kill_marked(self._mark, [f"{self._mark}{part}" for part in spare])
        if strays:
            logger.warning("killed what was left of %s", ", ".join(mark.rpartition(".")[2] for mark in strays))

    def usage(self) -> Usage | None:
        """Of both trees. Blocks for milliseconds."""
        found = [usage for child in (self.relay, self.program) if child is not None and (usage := child.usage())]
        if not found:
            return None
        return Usage(
            cpu_seconds=sum(usage.cpu_seconds for usage in found),
            memory_bytes=sum(usage.memory_bytes for usage in found),
            processes=sum(usage.processes for usage in found),
        )

    def close(self) -> None:
        """Leave both running."""
        for child in (self.relay, self.program):
            if child is not None:
                child.close()
