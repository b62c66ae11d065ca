"""The part of WS-Management that remote shells use (MS-WSMV): Create, Command, Send, Receive, Signal, Delete."""

from __future__ import annotations

import base64
import json
import threading
import traceback
import uuid
import xml.etree.ElementTree as ElementTree
from typing import Protocol
from xml.sax.saxutils import escape

from .faults import Fault

SHELL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
NAMESPACES = {
    "s": "http://www.w3.org/2003/05/soap-envelope",
    "a": "http://schemas.xmlsoap.org/ws/2004/08/addressing",
    "w": "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd",
    "x": "http://schemas.xmlsoap.org/ws/2004/09/transfer",
    "rsp": SHELL,
}
# WinRM's default MaxEnvelopeSizekb.
MAX_ENVELOPE_BYTES = 500 * 1024
# How long one Receive waits before it answers with the time-out fault; pywinrm then asks again.
RECEIVE_SECONDS = 15.0
_FAULT_TIMEOUT = 2150858793
_FAULT_SHELL = 2150858843
_FAULT_SIZE = 2150858797

_ENVELOPE = (
    '<s:Envelope xml:lang="en-US" ' + " ".join(f'xmlns:{key}="{value}"' for key, value in NAMESPACES.items()) + ">"
    "<s:Header><a:Action>{action}Response</a:Action><a:MessageID>uuid:{message}</a:MessageID>"
    "<a:To>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:To>"
    "<a:RelatesTo>{relates}</a:RelatesTo></s:Header><s:Body>{body}</s:Body></s:Envelope>"
)
_FAULT = (
    "<s:Fault><s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>w:InternalError</s:Value></s:Subcode></s:Code>"
    '<s:Reason><s:Text xml:lang="en-US">{text}</s:Text></s:Reason><s:Detail>'
    '<f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" Code="{code}" Machine="simulated">'
    "<f:Message>{text}</f:Message></f:WSManFault></s:Detail></s:Fault>"
)
Answer = tuple[int, str]


class DropConnection(Exception):
    """An injected fault: close the connection without an answer."""


class Executor(Protocol):
    """Runs complete commands; ``Machine`` is the one used."""

    def fault(self, command_line: str, standard_input: bytes) -> Fault | None: ...

    def execute(self, command_line: str, standard_input: bytes) -> tuple[bytes, bytes, int]: ...


class Command:
    """One command of a shell, from Command to Signal."""

    def __init__(self, line: str) -> None:
        self.line = line
        self.standard_input = bytearray()
        self.started = False
        self.done = threading.Event()
        self.result: tuple[bytes, bytes, int] = (b"", b"", 1)
        self.fault: Fault | None = None


def _fault(code: int, text: str) -> Answer:
    return 500, _FAULT.format(code=code, text=escape(text))


class Endpoint:
    """State of all shells of one machine. Thread-safe as long as one client drives each shell, as pywinrm does."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._shells: dict[str, dict[str, Command]] = {}

    def handle(self, raw: bytes) -> Answer:
        """Answer one SOAP message with HTTP status and envelope; raises :class:`DropConnection`."""
        root = ElementTree.fromstring(raw)
        header, body = root.find("s:Header", NAMESPACES), root.find("s:Body", NAMESPACES)
        if header is None or body is None:
            raise ValueError("not a SOAP envelope")
        action = header.findtext("a:Action", "", NAMESPACES)
        message = header.findtext("a:MessageID", "", NAMESPACES)
        shell = header.findtext("w:SelectorSet/w:Selector", "", NAMESPACES)
        status, out = self._dispatch(action.rsplit("/", 1)[-1], shell, body, len(raw))
        return status, _ENVELOPE.format(action=action, message=uuid.uuid4(), relates=message, body=out)

    def _dispatch(self, operation: str, shell: str, body: ElementTree.Element, size_bytes: int) -> Answer:
        if size_bytes > MAX_ENVELOPE_BYTES:
            return _fault(_FAULT_SIZE, "The WS-Management service received a request larger than MaxEnvelopeSizekb.")
        if operation == "Create":
            return self._create()
        if shell not in self._shells:
            return _fault(_FAULT_SHELL, "The request contained an invalid ShellId.")
        handlers = {
            "Command": self._command,
            "Send": self._send,
            "Receive": self._receive,
            "Signal": self._signal,
            "Delete": self._delete,
        }
        return handlers[operation](shell, body)

    def _create(self) -> Answer:
        shell = str(uuid.uuid4()).upper()
        self._shells[shell] = {}
        return 200, (
            "<x:ResourceCreated><a:Address>http://simulated/wsman</a:Address><a:ReferenceParameters>"
            f"<w:ResourceURI>{SHELL}/cmd</w:ResourceURI>"
            f'<w:SelectorSet><w:Selector Name="ShellId">{shell}</w:Selector></w:SelectorSet>'
            "</a:ReferenceParameters></x:ResourceCreated>"
        )

    def _command(self, shell: str, body: ElementTree.Element) -> Answer:
        line = body.find("rsp:CommandLine", NAMESPACES)
        if line is None:
            raise ValueError("Command without CommandLine")
        arguments = [argument.text or "" for argument in line.findall("rsp:Arguments", NAMESPACES)]
        identity = str(uuid.uuid4()).upper()
        self._shells[shell][identity] = Command(" ".join([line.findtext("rsp:Command", "", NAMESPACES), *arguments]))
        return 200, f"<rsp:CommandResponse><rsp:CommandId>{identity}</rsp:CommandId></rsp:CommandResponse>"

    def _send(self, shell: str, body: ElementTree.Element) -> Answer:
        for stream in body.iter(f"{{{SHELL}}}Stream"):
            command = self._shells[shell][stream.get("CommandId", "")]
            command.standard_input += base64.b64decode(stream.text or "")
            if stream.get("End") == "true":
                self._start(command)
        return 200, "<rsp:SendResponse/>"

    def _start(self, command: Command) -> None:
        if command.started:
            return
        command.started = True
        standard_input = bytes(command.standard_input)
        command.fault = self._executor.fault(command.line, standard_input)
        if command.fault is not None and command.fault.mode == "drop":
            return  # the machine "died" before it ran the command
        threading.Thread(target=self._work, args=(command, standard_input), daemon=True).start()

    def _work(self, command: Command, standard_input: bytes) -> None:
        if command.fault is not None and command.fault.mode == "fail":
            command.result = (json.dumps({"failed": True, "msg": command.fault.message}).encode(), b"", 1)
        else:
            try:
                command.result = self._executor.execute(command.line, standard_input)
            except Exception as error:  # a bug of the model must fail the task, with its trace in the log
                traceback.print_exc()
                text = {"failed": True, "msg": f"winsim: {type(error).__name__}: {error}"}
                command.result = (json.dumps(text).encode(), b"", 1)
        command.done.set()

    def _receive(self, shell: str, body: ElementTree.Element) -> Answer:
        stream = body.find("rsp:Receive/rsp:DesiredStream", NAMESPACES)
        identity = "" if stream is None else stream.get("CommandId", "")
        command = self._shells[shell][identity]
        if not command.standard_input:
            self._start(command)  # a command without standard input starts when its output is asked for
        if command.fault is not None and command.fault.mode == "drop":
            raise DropConnection
        if command.fault is not None and command.fault.mode == "timeout":
            command.fault = None
            return _timeout()
        if not command.done.wait(RECEIVE_SECONDS):
            return _timeout()
        out, error, code = command.result
        streams = "".join(
            f'<rsp:Stream Name="{name}" CommandId="{identity}">{base64.b64encode(data).decode()}</rsp:Stream>'
            for name, data in (("stdout", out), ("stderr", error))
            if data
        )
        return 200, (
            f'<rsp:ReceiveResponse>{streams}<rsp:CommandState CommandId="{identity}" State="{SHELL}/CommandState/Done">'
            f"<rsp:ExitCode>{code}</rsp:ExitCode></rsp:CommandState></rsp:ReceiveResponse>"
        )

    def _signal(self, shell: str, body: ElementTree.Element) -> Answer:
        signal = body.find("rsp:Signal", NAMESPACES)
        if signal is not None:
            self._shells[shell].pop(signal.get("CommandId", ""), None)
        return 200, "<rsp:SignalResponse/>"

    def _delete(self, shell: str, _body: ElementTree.Element) -> Answer:
        del self._shells[shell]
        return 200, ""


def _timeout() -> Answer:
    text = "The WS-Management service cannot complete the operation within the time specified in OperationTimeout."
    return _fault(_FAULT_TIMEOUT, text)
