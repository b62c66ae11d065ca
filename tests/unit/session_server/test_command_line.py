from __future__ import annotations

import pytest

from runtime.protocol.control import Launch
from runtime.session_server.policy.command_line import UnknownEngineError, check_engine, redact, title_command

URL = "ws://127.0.0.1:9000/streamer/s3cret"


def command(launch: Launch, *, gpu: int | None = None, allow_commands: bool = False, **inherited: str):  # type: ignore[no-untyped-def]
    return title_command(
        launch,
        streamer_url=URL,
        streamer_id="one",
        gpu=gpu,
        allow_commands=allow_commands,
        inherited=inherited,
    )


@pytest.mark.parametrize(
    ("engine", "flag"),
    [
        ("unreal-4.27", "-PixelStreamingURL"),
        ("unreal-5.0", "-PixelStreamingURL"),
        ("unreal-5.4", "-PixelStreamingURL"),
        ("unreal-5.5", "-PixelStreamingSignallingURL"),
        ("unreal-5.6", "-PixelStreamingSignallingURL"),
        ("unreal-5.7", "-PixelStreamingConnectionURL"),
        ("unreal-5.8", "-PixelStreamingConnectionURL"),
        ("unreal-6.0", "-PixelStreamingConnectionURL"),
        ("unreal-5.6-ps1", "-PixelStreamingURL"),
    ],
)
def test_address_flag_follows_the_engines_version(engine: str, flag: str) -> None:
    found = command(Launch(executable="/x", engine=engine)).arguments
    assert [text for text in found if URL in text] == [f"{flag}={URL}"]
    assert "-PixelStreamingID=one" in found


def test_unreal_runs_headless_at_the_titles_size_without_commands() -> None:
    found = command(Launch(executable="/x", engine="unreal-5.4", width=1920, height=1080), gpu=1).arguments
    wanted = {"-RenderOffscreen", "-ForceRes", "-ResX=1920", "-ResY=1080", "-AudioMixer", "-Unattended"} | {
        "-SaveToUserDir"
    }
    assert wanted | {"-graphicsadapter=1"} <= set(found)
    assert not any("AllowPixelStreamingCommands" in text for text in found)
    allowed = command(Launch(executable="/x", engine="unreal-5.4"), allow_commands=True).arguments
    assert allowed.count("-AllowPixelStreamingCommands") == 1


def test_titles_own_flags_win_except_for_the_address() -> None:
    own = ("/Game/Map?x=1", "-ResX=800", "-renderoffscreen", "-PixelStreamingURL=ws://evil", "-AudioMixer")
    found = command(Launch(executable="/x", engine="unreal-5.7", arguments=own)).arguments
    assert found[0] == "/Game/Map?x=1"
    assert [text for text in found if text.lower().startswith("-resx")] == ["-ResX=800"]
    assert [text for text in found if text.lower() == "-renderoffscreen"] == ["-renderoffscreen"]
    assert not any("evil" in text for text in found)


@pytest.mark.parametrize("engine", ["unreal-4.26", "unreal-3.0", "unreal", "unreal-5", "unity-6", "", "unreal-5.x"])
def test_unknown_engines_are_refused(engine: str) -> None:
    with pytest.raises(UnknownEngineError, match="engine"):
        check_engine(engine)


def test_generic_titles_get_the_address_by_placeholder_and_environment() -> None:
    launch = Launch(
        executable="/x",
        arguments=("--to={streamer_url}", '--json={"a": {}}', "{streamer_id}"),
        environment={"SCENE": "hall", "PIXELSTREAM_STREAMER_URL": "ws://evil"},
    )
    found = command(launch, gpu=2)
    assert found.arguments == (f"--to={URL}", '--json={"a": {}}', "one")
    assert found.environment == {
        "SCENE": "hall",
        "PIXELSTREAM_STREAMER_URL": URL,
        "PIXELSTREAM_STREAMER_ID": "one",
        "CUDA_VISIBLE_DEVICES": "2",
        "PIXELSTREAM_GPU": "2",
    }
    pinned = command(Launch(executable="/x", environment={"CUDA_VISIBLE_DEVICES": "0,1"}), gpu=2)
    assert pinned.environment["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_titles_inherit_neither_our_own_settings_nor_secrets() -> None:
    found = command(
        Launch(executable="/x"),
        PATH="/bin",
        DISPLAY=":0",
        NOTIFY_SOCKET="/run/x",
        PYTHONPATH="/y",
        PIXELSTREAM_MARK="m",
        VAULT_TOKEN="t",
        DB_PASSWORD="p",
        AWS_SECRET_ACCESS_KEY="k",
    )
    assert set(found.environment) == {"PATH", "DISPLAY", "PIXELSTREAM_STREAMER_URL", "PIXELSTREAM_STREAMER_ID"}


def test_logged_command_lines_hide_the_secret() -> None:
    assert redact(("-a", f"-u={URL}"), "s3cret") == ["-a", "-u=ws://127.0.0.1:9000/streamer/[scrubbed]"]
