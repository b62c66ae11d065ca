"""Sockets: one task for each connection; TLS, who is logged in, and the way of a command to its answer."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging

from . import commands
from .access import Caller, Users
from .conf import Configuration
from .engine import Engine, EngineConnection
from .errors import CommandError, NotModelledError, StartError
from .members import Members
from .scram import Conversation
from .state import State
from .wire import Message, receive

logger = logging.getLogger("mongosim")
ADDRESS_IN_USE = 48


class Session:
    """One connection. Commands change it; the server behind it is every session's."""

    def __init__(self, server: Server, number: int, *, loopback: bool) -> None:
        self.configuration, self.state, self.members, self.users = (
            server.configuration,
            server.state,
            server.members,
            server.users,
        )
        self._server, self.number = server, number
        self.caller = Caller(server.users, authorization=server.configuration.authorization, loopback=loopback)
        self.conversation: Conversation | None = None
        self.login: tuple[str, str] | None = None
        self.empty_exchange = False
        self._engine: EngineConnection | None = None

    async def users_changed(self) -> None:
        self.state.save()
        if self.members.enabled:
            await self.members.tell()

    async def answer(self, message: Message) -> bytes:
        """Return the answer as bytes, an error document included."""
        try:
            return await self._answer(message)
        except CommandError as error:
            if isinstance(error, NotModelledError):
                logger.error("%s", error)
            told = {"ok": 0.0, "errmsg": str(error), "code": error.code, "codeName": error.name}
            return message.answer(told)

    async def _answer(self, message: Message) -> bytes:
        name = message.name
        if name in commands.DATA:
            commands.check_data(self, message)
            if self._engine is None:
                self._engine = await self._server.engine.connect()
            return await self._engine.pass_on(message)
        if name not in commands.COMMANDS:
            raise NotModelledError(f"the command {name}")
        if name in commands.OF_ADMIN and message.database != "admin":
            raise CommandError(13, "Unauthorized", f"{name} may only be run against the admin database.")
        try:
            result = await commands.COMMANDS[name](self, message)
        except KeyError as error:
            raise CommandError(40414, "IDLFailedToParse", f"BSON field '{name}.{error.args[0]}' is missing") from None
        return message.answer({**result, "ok": 1.0})

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()


class Server:
    """A mongod: listens on all its addresses until it is cancelled."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.state = State(configuration.data)
        self.users = Users(self.state.users)
        self.members = Members(configuration, self.state)
        self.engine = Engine(configuration.data)
        self._connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve. Raise ``StartError`` when an address or a certificate cannot be used."""
        try:
            context = self.configuration.listening_context()
        except OSError as error:
            raise StartError(f"InvalidSSLConfiguration: Can not set up PEM key file: {error}", 1) from None
        servers = []
        async with contextlib.AsyncExitStack() as stack:
            for address in self.configuration.addresses:
                try:
                    server = await asyncio.start_server(self._accept, address, self.configuration.port, ssl=context)
                except OSError as error:
                    raise StartError(f"Failed to set up listener: {address}: {error}", ADDRESS_IN_USE) from None
                servers.append(server)
                stack.callback(server.close)
            stack.push_async_callback(self.engine.close)
            logger.info("Waiting for connections on port %d", self.configuration.port)
            try:
                await self.members.keep_telling()
            finally:
                for task in self._tasks:
                    task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        loopback = ipaddress.ip_address(writer.get_extra_info("peername")[0]).is_loopback
        session = Session(self, self._connections, loopback=loopback)
        try:
            while True:
                message = Message(await receive(reader))
                answer = await session.answer(message)
                if not message.wants_no_answer:
                    writer.write(answer)
                    await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client went
        except ValueError as error:
            logger.error("connection %d is closed: %s", session.number, error)
        except asyncio.CancelledError:
            pass  # the server stops; nobody waits for this task
        finally:
            self._tasks.discard(task)
            session.close()
            writer.transport.abort()
